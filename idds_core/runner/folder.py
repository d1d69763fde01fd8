"""The folder of an attempt: its files, how they are written so that a crash never leaves half of one.

====================  =================================================================================================
``job.json``          what to run; written by the provider
``claim/``            made with mkdir by the runner that won; its ``runner.json`` says who that is
``params.json``       values of the point and of the definition
``log``               standard output and error of the payload, head and tail
``cancel``            the wish that the payload be ended; written by the provider
``reports.jsonl``     what the payload says on its way, a JSON object a line
``result.json``       values and files
``DONE.json``         the end, written last
====================  =================================================================================================
"""

# Text paths: the import of pathlib is a third of a short command's overhead
# ruff: noqa: PTH102, PTH104, PTH108, PTH117, PTH118, PTH123

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import stat
from typing import Any

__all__ = [
    "FULL",
    "PROTOCOL",
    "REPORTS",
    "Folder",
    "OutputError",
    "describe_file",
    "disk_full",
    "read_checked",
    "read_json",
    "write_json",
]

PROTOCOL = 1
REPORTS = "reports.jsonl"
#: Error numbers of a full disk.
FULL = (errno.ENOSPC, errno.EDQUOT)


class OutputError(Exception):
    """An output is not what was declared; carries the failure code and the text."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def read_json(path: str, limit: int) -> Any:
    """The JSON in a file of at most `limit` bytes. Raises OSError, or ValueError for everything else."""
    return read_checked(path, limit)[0]


def read_checked(path: str, limit: int) -> tuple[Any, str]:
    """The JSON in a file of at most `limit` bytes, and the sha256 of the file. Raises as :func:`read_json`."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    info = os.fstat(fd)
    if not stat.S_ISREG(info.st_mode):
        os.close(fd)
        raise ValueError("not a regular file")
    with open(fd, "rb") as file:
        if info.st_size > limit:
            raise ValueError(f"{info.st_size} bytes, {limit} are allowed")
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"more than the {limit} bytes allowed")
    try:
        return json.loads(data), hashlib.sha256(data).hexdigest()
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_json(folder: str, name: str, value: Any, durable: bool = True) -> str:
    """Write `folder/name` whole or not at all; returns its sha256. Durable: it survives a power cut."""
    data = json.dumps(value).encode()
    temporary = os.path.join(folder, f".{name}.{os.getpid()}")
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            if durable:
                os.fsync(fd)
        os.rename(temporary, os.path.join(folder, name))
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if durable:
        _sync_folder(folder)
    return hashlib.sha256(data).hexdigest()


def _sync_folder(folder: str) -> None:
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def describe_file(path: str, shown: str) -> dict[str, Any]:
    """Size and checksum of a regular file, under the path that is to be shown; from now on it survives a power cut.

    Raises OutputError when there is no such file, OSError when the disk fails.
    """
    try:
        # A named pipe would block the open for ever.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise OutputError("E-JOB-OUTPUT", f"{shown}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OutputError("E-JOB-OUTPUT", f"{shown}: not a regular file")
    with open(fd, "rb") as file:
        digest, size = hashlib.sha256(), 0
        while chunk := file.read(1 << 20):
            digest.update(chunk)
            size += len(chunk)
        os.fsync(file.fileno())  # before the result that names it can be acknowledged; the payload seldom does
    return {"path": shown, "bytes": size, "sha256": digest.hexdigest()}


def disk_full(error: OSError | None, folder: str) -> bool:
    """Whether an error says so, or the folder's file system has next to nothing left."""
    if error is not None and error.errno in FULL:
        return True
    try:
        space = os.statvfs(folder)
    except OSError:
        return False
    return space.f_bavail * space.f_frsize < 8192


class Folder:
    """The files of one attempt, for the runner."""

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        self._ballast = os.path.join(self.path, "claim", "ballast")

    def file(self, *parts: str) -> str:
        """Path of a file in the folder."""
        return os.path.join(self.path, *parts)

    def claim(self) -> bool:
        """Whether this process is the one that may run the job."""
        try:
            os.mkdir(self.file("claim"))
        except FileExistsError:
            return False
        return True

    def keep_ballast(self) -> None:
        """Occupy a little space, so that the end can be told on a disk that has become full."""
        try:
            with open(self._ballast, "wb") as file:
                file.write(b"\0" * 16384)
        except OSError:
            pass

    def drop_ballast(self) -> None:
        """Give the space back."""
        with contextlib.suppress(OSError):
            os.unlink(self._ballast)

    def inside(self, relative: str) -> str:
        """Absolute path of an output. Raises OutputError when it lies outside of the folder."""
        path = os.path.realpath(self.file(relative))
        if os.path.isabs(relative) or not path.startswith(self.path + os.sep):
            raise OutputError("E-JOB-OUTPUT", f"{relative}: outside of the job's folder")
        return path

    def outputs(self, declared: dict[str, str]) -> dict[str, Any]:
        """Description of every declared output. Raises OutputError."""
        return {name: describe_file(self.inside(path), path) for name, path in declared.items()}

    def values(self, relative: str | None, limit: int) -> dict[str, Any]:
        """The values that the payload wrote. Raises OutputError."""
        if relative is None:
            return {}
        try:
            values = read_json(self.inside(relative), limit)
        except OSError as error:
            raise OutputError("E-JOB-OUTPUT", f"{relative}: {error.strerror}") from None
        except ValueError as error:
            raise OutputError("E-JOB-RESULT", f"{relative} is not a usable JSON file: {error}") from None
        if not isinstance(values, dict):
            raise OutputError("E-JOB-RESULT", f"{relative} holds no JSON object but a {type(values).__name__}")
        return values
