"""Frames on a socket: four bytes of length, then JSON."""

from __future__ import annotations

import json
import struct
from typing import Any

__all__ = ["FrameReader", "dumps", "pack"]

_LENGTH = struct.Struct(">I")
# NaN and infinity pass: whoever takes results in rejects them with a reason.
dumps = json.JSONEncoder(separators=(",", ":"), check_circular=True).encode


def pack(text: str) -> bytes:
    """A frame with this JSON text."""
    data = text.encode("utf-8", "surrogatepass")
    return _LENGTH.pack(len(data)) + data


class FrameReader:
    """Cuts what arrives into frames. Raises ValueError for a frame longer than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._buffer = b""

    def feed(self, data: bytes) -> list[Any]:
        """The values of the frames that are now complete."""
        buffer = self._buffer + data if self._buffer else data
        found, position, end = [], 0, len(buffer)
        while end - position >= 4:
            (length,) = _LENGTH.unpack_from(buffer, position)
            if length > self._limit:
                raise ValueError(f"a frame of {length} bytes")
            if end - position - 4 < length:
                break
            found.append(json.loads(buffer[position + 4 : position + 4 + length].decode("utf-8", "surrogatepass")))
            position += 4 + length
        self._buffer = buffer[position:]
        return found
