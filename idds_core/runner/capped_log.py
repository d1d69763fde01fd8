"""Logs of bounded size: the head and the tail are kept, the middle is left out."""

from __future__ import annotations

import os

__all__ = ["CappedLog", "copy_capped", "cut_middle", "last_line", "marker", "write_all"]

_CHUNK = 1 << 16
_MARKER_ROOM = 64


def marker(left_out: int) -> bytes:
    """The line that stands for what was left out."""
    return b"\n... %d bytes left out ...\n" % left_out


def write_all(fd: int, data: bytes | bytearray | memoryview) -> None:
    """Write every byte."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def last_line(data: bytes | bytearray) -> str:
    """The last line that is not blank, as printable text."""
    for line in reversed(bytes(data).splitlines()):
        text = line.decode("utf-8", "replace").strip()
        if text:
            return "".join(c if c.isprintable() else " " for c in text)[:500]
    return ""


class CappedLog:
    """Writes to `path` as it comes, up to `limit` bytes; in the end the file holds the head and the tail.

    It needs at most `limit` bytes of memory. It never raises when the disk refuses: `error` tells, and what comes is
    counted and dropped, so that the writer at the other end of the pipe never blocks.
    """

    def __init__(self, path: str, limit: int) -> None:
        self.limit = max(limit, 2 * _MARKER_ROOM)
        self.head = self.limit // 2
        self.keep = self.limit - self.head - _MARKER_ROOM
        self.total = 0
        self.error: OSError | None = None
        self._tail = bytearray()
        self._recent = b""
        self._fd = -1
        try:
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            self.error = error

    def write(self, chunk: bytes) -> None:
        """Take what the payload wrote."""
        before, self.total = self.total, self.total + len(chunk)
        self._recent = (self._recent + chunk)[-4096:]
        if before < self.limit:
            self._append(chunk[: self.limit - before])
        self._tail += chunk[max(0, self.head - before) :]
        if len(self._tail) > self.keep and self.total > self.limit:
            del self._tail[: len(self._tail) - self.keep]

    def _append(self, data: bytes | bytearray) -> None:
        if self.error is not None:
            return
        try:
            write_all(self._fd, data)
        except OSError as error:
            self.error = error

    def close(self) -> None:
        """Put the tail behind the head, if something had to be left out."""
        if self._fd < 0:
            return
        if self.total > self.limit and self.error is None:
            try:
                os.ftruncate(self._fd, self.head)
            except OSError as error:
                self.error = error
            self._append(marker(self.total - self.head - len(self._tail)) + self._tail)
        os.close(self._fd)
        self._fd = -1

    def last_line(self) -> str:
        """The last line that is not blank."""
        return last_line(self._recent)


def copy_capped(source: int, path: str, limit: int) -> None:
    """Append the file open as `source` to `path`, head and tail of it when it is longer than `limit`."""
    size = os.fstat(source).st_size
    limit = max(limit, 2 * _MARKER_ROOM)
    target = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        if size <= limit:
            _copy(source, target, 0, size)
            return
        head = limit // 2
        keep = limit - head - _MARKER_ROOM
        _copy(source, target, 0, head)
        write_all(target, marker(size - head - keep))
        _copy(source, target, size - keep, size)
    finally:
        os.close(target)


def cut_middle(path: str, limit: int) -> None:
    """Leave head and tail of a log that is being appended to; what comes in this very moment may be left out, too."""
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    try:
        size, head = os.fstat(fd).st_size, limit // 2
        tail = os.pread(fd, limit - head, max(head, size - (limit - head)))
        os.ftruncate(fd, head)
        write_all(fd, marker(size - head - len(tail)) + tail)
    finally:
        os.close(fd)


def _copy(source: int, target: int, start: int, end: int) -> None:
    while start < end:
        data = os.pread(source, min(_CHUNK, end - start), start)
        if not data:
            return
        write_all(target, data)
        start += len(data)
