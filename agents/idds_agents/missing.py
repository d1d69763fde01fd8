"""What a store that was restored from an older backup has lost, and what of it waits in the folders of its attempts."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from idds_core.runner.folder import read_json

__all__ = ["Missing", "missing"]

_DONE_LIMIT = 1_000_000
_RESULTS = "SELECT a.key, a.path FROM attempt a JOIN result r ON r.attempt_id = a.id"


@dataclass(frozen=True, slots=True)
class Missing:
    """Results that are younger than a backup.

    results : how many the old record had and the new one has not; None when the old one cannot be read.
    found : how many of them the next engine finds again in their folders. All others run again, with the same seeds.
    """

    results: int | None
    found: int

    def __str__(self) -> str:
        """One line for people."""
        if self.results is None:
            return f"the old record cannot be read; {self.found} younger results are in their folders and count again"
        again = self.results - self.found
        return f"{self.results} results are younger: {self.found} are found in their folders, {again} jobs run again"


def missing(before: Path | None, now: Path, folder: Path) -> Missing:
    """What the store `now` lacks.

    Parameters
    ----------
    before : the record that was replaced; None when there was none.
    folder : the work folder, below which the attempts have theirs.

    """
    known = _results(now) or {}
    old = _results(before) if before is not None else None
    if old is None:
        found = [key for key, _ in _ended(folder) if key not in known and key.startswith(f"{_store_id(now)}-")]
        return Missing(None, len(set(found)))
    young = {key: path for key, path in old.items() if key not in known}
    return Missing(len(young), sum(_succeeded(folder / path) == key for key, path in young.items()))


def _results(file: Path) -> dict[str, str] | None:
    """Key -> folder of all attempts that gave a result; None when that cannot be read."""
    try:
        with contextlib.closing(_opened(file)) as raw:
            return dict(raw.execute(_RESULTS).fetchall())
    except sqlite3.Error:
        return None


def _store_id(file: Path) -> str:
    with contextlib.closing(_opened(file)) as raw:
        return str(raw.execute("SELECT value FROM meta WHERE key = 'store_id'").fetchone()[0])


def _opened(file: Path) -> sqlite3.Connection:
    """Nobody writes to it, and nothing is left beside it."""
    return sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro&immutable=1", uri=True)


def _ended(folder: Path) -> Iterator[tuple[str, Path]]:
    """Key and folder of all attempts that ended well, whoever knows of them."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        if "DONE.json" in files:
            key = _succeeded(Path(root))
            if key is not None:
                yield key, Path(root)


def _succeeded(folder: Path) -> str | None:
    """The key of the attempt that left a result here."""
    try:
        done = read_json(str(folder / "DONE.json"), _DONE_LIMIT)
        return str(done["key"]) if done["state"] == "succeeded" and (folder / "result.json").is_file() else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
