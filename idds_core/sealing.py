"""Sealed results: encrypted where they would be stored, until somebody unblinds them on record.

It keeps honest people from seeing by accident, in any file, plot or listing, what they have decided not to look at yet.
It is no secret from the owner of the work folder: the key lies in it, readable by its owner alone.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from idds_core.errors import IddsError

__all__ = ["SEALED_FILE", "Seal"]

SEALED_FILE = "sealed.bin"
_KEY = "blind.key"


class Seal:
    """Seals and opens with one key (Fernet: AES-128-CBC with HMAC-SHA256).

    Parameters
    ----------
    folder : where the key is.
    make : whether a missing key is made; otherwise its absence is an error.

    Raises
    ------
    IddsError
        When the library is not installed, or the key is missing or damaged.

    """

    def __init__(self, folder: Path, *, make: bool = False) -> None:
        try:
            from cryptography.fernet import Fernet
        except ImportError as error:
            raise IddsError.of(
                "E-BLIND-001", "blinding needs the cryptography library", str(error), "",
                "Install it: pip install 'idds-core[blind]'.",
            ) from error  # fmt: skip
        file = folder / _KEY
        if make and not file.exists():
            new = file.with_suffix(f".{os.getpid()}")
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:  # noqa: PTH123
                stream.write(Fernet.generate_key())
                stream.flush()
                os.fsync(stream.fileno())
            new.replace(file)
        try:
            self._fernet = Fernet(file.read_bytes())
        except (OSError, ValueError) as error:
            raise IddsError.of(
                "E-BLIND-002", "the key of sealed results cannot be read", str(error), str(file),
                "Restore it from a backup of the work folder: without it they cannot be opened.",
            ) from error  # fmt: skip

    def text(self, value: Mapping[str, Any]) -> str:
        """A JSON object, sealed."""
        return self._fernet.encrypt(json.dumps(value, allow_nan=False).encode()).decode()

    def value(self, text: str) -> dict[str, Any]:
        """What :meth:`text` has sealed."""
        found: dict[str, Any] = json.loads(self._open(text.encode()))
        return found

    def _open(self, data: bytes) -> bytes:
        from cryptography.fernet import InvalidToken

        try:
            return self._fernet.decrypt(data)
        except InvalidToken as error:
            raise IddsError.of(
                "E-BLIND-003", "a sealed result cannot be opened", "it was sealed with another key, or is damaged", "",
                "Restore the key from a backup of the work folder.",
            ) from error  # fmt: skip

    def close_folder(self, folder: Path) -> bool:
        """Replace all that is in a folder by one sealed file; returns whether there was anything.

        The sealed file is complete and durable before anything is removed; what a crash leaves is closed by the next
        call, which keeps what was sealed before.
        """
        inside = [p for p in sorted(folder.iterdir()) if p.name != SEALED_FILE] if folder.is_dir() else []
        if not inside:
            return False
        sealed = folder / SEALED_FILE
        if not sealed.exists():
            data = io.BytesIO()
            with tarfile.open(fileobj=data, mode="w:gz") as tar:
                for path in inside:
                    tar.add(path, path.name)
            new = folder.parent / f"{folder.name}.sealing"
            with new.open("wb") as stream:
                stream.write(self._fernet.encrypt(data.getvalue()))
                stream.flush()
                os.fsync(stream.fileno())
            new.replace(sealed)
        for path in inside:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        return True

    def open_folder(self, folder: Path) -> bool:
        """Bring back what a folder held; returns whether it was sealed."""
        sealed = folder / SEALED_FILE
        if not sealed.exists():
            return False
        with tarfile.open(fileobj=io.BytesIO(self._open(sealed.read_bytes())), mode="r:gz") as tar:
            tar.extractall(folder, filter="data")
        sealed.unlink()
        return True
