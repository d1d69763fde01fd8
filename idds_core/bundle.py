"""The source bundle: a copy of a scan's folder under its digest, the only code that workers run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from idds_core.errors import DefinitionError

__all__ = ["MAX_BUNDLE_BYTES", "MAX_BUNDLE_FILES", "make_bundle"]

MAX_BUNDLE_BYTES = 20_000_000
MAX_BUNDLE_FILES = 1000
_LEFT_OUT = frozenset({"__pycache__", "node_modules", "venv", "build", "dist"})
#: notebooks, whose outputs change whenever they are saved, are no code that workers could import
_ENDINGS = (".pyc", ".ipynb")
#: what a folder that was exported beside the scan holds: it must not make the source another one
_EXPORTS = ("submission.yaml", "surrogate.json")
_DATABASES = (".db", ".db-wal", ".db-shm", ".db-journal")


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was read: once, so that the copy is what the digest says."""

    path: str
    content: bytes
    executable: bool


def make_bundle(folder: Path, bundles: Path, exclude: Path | None = None) -> tuple[str, Path]:
    """Copy a source folder to ``bundles/<digest>``; the same content gives the same folder.

    Hidden files, caches, environments, databases, notebooks, work folders, exported folders and `exclude` are left
    out. A copy that is there already is read again before it is used: after a power cut it may be half of one.

    Returns
    -------
    digest, path : of the bundle.

    Raises
    ------
    DefinitionError
        When the folder is too large, or has a file that cannot be read.

    """
    files = _read(folder.resolve(), exclude.resolve() if exclude else None)
    name = _digest(files)
    target = bundles / name
    if not (target.is_dir() and _intact(target, name)):
        _write(files, bundles, name, target)
    return name, target


def _intact(bundle: Path, name: str) -> bool:
    try:
        return _digest(_read(bundle, None)) == name
    except DefinitionError:
        return False


def _digest(files: list[_File]) -> str:
    digest = hashlib.sha256()
    for file in files:
        digest.update(os.fsencode(file.path) + (b"\0x\0" if file.executable else b"\0-\0"))
        digest.update(hashlib.sha256(file.content).digest())
    return digest.hexdigest()[:16]


def _write(files: list[_File], bundles: Path, name: str, target: Path) -> None:
    """A whole copy under another name first; what died half-way is cleared away."""
    for rest in bundles.glob(f".{name}.*"):
        shutil.rmtree(rest, ignore_errors=True)
    partial = bundles / f".{name}.{os.getpid()}"
    partial.mkdir(parents=True)
    for file in files:
        copy = partial / file.path
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.content)
        copy.chmod(0o755 if file.executable else 0o644)
    if target.exists():
        target.rename(bundles / f".{name}.old")
    partial.rename(target)
    shutil.rmtree(bundles / f".{name}.old", ignore_errors=True)


def _read(folder: Path, exclude: Path | None) -> list[_File]:
    """Files of a folder in a fixed order."""
    found: list[_File] = []
    total = 0
    for root, folders, names in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(f for f in folders if not _is_left_out(here / f, exclude))
        for name in sorted(names):
            path = here / name
            if name.startswith(".") or name.endswith((*_ENDINGS, *_DATABASES)) or not path.is_file():
                continue
            with contextlib.suppress(FileNotFoundError):  # an editor's temporary file
                total += path.stat().st_size
                _refuse_large(len(found) + 1, total, folder)
                found.append(_one(path, folder))
    return found


def _is_left_out(path: Path, exclude: Path | None) -> bool:
    name = path.name
    if name in _LEFT_OUT or name.startswith((".", "demo-")) or path == exclude or _is_workdir(path):
        return True
    return any((path / mark).exists() for mark in _EXPORTS)


def _is_workdir(path: Path) -> bool:
    return (path / "idds.db").exists() or (path / ".idds").is_dir()


def _refuse_large(files: int, total: int, folder: Path) -> None:
    if files > MAX_BUNDLE_FILES or total > MAX_BUNDLE_BYTES:
        raise DefinitionError.of(
            "E-FILE-011",
            f"the folder {folder} is too large to bundle",
            f"more than {MAX_BUNDLE_FILES} files or {MAX_BUNDLE_BYTES // 10**6} MB",
            str(folder),
            "Put the scan file into a folder of its own with the code it needs, and name data by path.",
        )


def _one(path: Path, folder: Path) -> _File:
    try:
        content, mode = path.read_bytes(), path.stat().st_mode
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DefinitionError.of(
            "E-FILE-013",
            f"{path.name} cannot be bundled",
            error.strerror or str(error),
            str(path),
            "Make it readable, or move it away.",
        ) from error
    return _File(str(path.relative_to(folder)), content, bool(mode & 0o100))
