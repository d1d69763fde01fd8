"""Removes what attempts of concluded loops left on the disk and nobody needs any more."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from idds_core.store import Freed, Store
from idds_core.store.retention import Ended

__all__ = ["clean", "expired"]

_DAY_S = 86_400.0


def clean(
    store: Store, workdir: Path, loops: Sequence[Ended], actor: str, *, logs: bool = False, dry_run: bool = False
) -> list[Freed]:
    """Remove the folders of attempts of these loops, but for files that a result names, and logs unless asked for.

    It may die at any moment and be called again. What goes is an event of the store, written before.

    Returns
    -------
    What each loop frees, in order; loops with nothing to free are left out.

    """
    found, needed = [], _needed(store, workdir) if loops else set()
    for loop in loops:
        folders = [f for name in store.retention.folders(loop.loop_id) if (f := _inside(workdir, name)) is not None]
        removable = {folder: list(_removable(folder, needed, logs=logs)) for folder in folders}
        files = [file for listed in removable.values() for file in listed]
        if not files:
            continue
        freed = Freed(loop.path, sum(1 for v in removable.values() if v), len(files), sum(map(_size, files)))
        found.append(freed)
        if dry_run:
            continue
        store.retention.note(
            loop.loop_id, f"{freed.attempts} attempts, {freed.files} files, {freed.bytes} bytes", actor
        )
        for folder in folders:
            _remove(folder, removable[folder])
    if found and not dry_run:
        store.audit.seal_all()  # no engine may ever come
    return found


def expired(store: Store, days: float) -> list[Ended]:
    """Loops that concluded more than so many days ago."""
    return store.retention.ended_loops(store.now() - days * _DAY_S)


def _needed(store: Store, workdir: Path) -> set[str]:
    """Files that results name, wherever the work folder was when they were written."""
    found = set()
    for file in store.audit.files():
        found.add(file.path)
        _, here, rest = file.path.partition(f"/{file.attempt}/")
        if here:
            found.add(f"{workdir}/{file.attempt}/{rest}")
    return found


def _inside(workdir: Path, name: str) -> Path | None:
    """The folder, if it is there and truly below the work folder: a link that leads away is not followed."""
    folder = workdir / name
    if not folder.is_dir() or folder.resolve() != workdir.resolve() / name:
        return None
    return folder


def _removable(folder: Path, needed: Collection[str], *, logs: bool) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        links = [name for name in folders if Path(root, name).is_symlink()]
        for name in [*names, *links]:
            file = Path(root, name)
            if str(file) in needed or (not logs and file == folder / "log"):
                continue
            yield file


def _size(file: Path) -> int:
    """Bytes on the disk that removing it gives back."""
    with contextlib.suppress(OSError):
        info = file.lstat()
        return info.st_blocks * 512 if info.st_nlink == 1 else 0
    return 0


def _remove(folder: Path, files: Sequence[Path]) -> None:
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            file.unlink()
    for root, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # what is kept is in it
            Path(root).rmdir()
