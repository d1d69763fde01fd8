"""A work folder: the store, the lock of its one engine, bundles, and the folders of all attempts."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from idds_core.errors import IddsError, StoreError
from idds_core.settings import Settings
from idds_core.store import OwnerLock, Store, open_store

__all__ = ["Workspace"]

_LOCK_PATIENCE_S = 1.0


class Workspace:
    """Where one embedded engine keeps everything.

    Parameters
    ----------
    folder : made when it is not there.

    """

    def __init__(self, folder: str | Path, settings: Settings, clock: Callable[[], float] = time.time) -> None:
        self.folder = Path(folder).resolve()
        self.settings = settings
        self._clock = clock
        self.lock = OwnerLock(self.state_folder / "engine.lock")

    @property
    def database(self) -> Path:
        """The store's file."""
        return self.folder / "idds.db"

    @property
    def state_folder(self) -> Path:
        """What the engine needs and nobody reads: lock, socket, workers."""
        return self.folder / ".idds"

    @property
    def bundles(self) -> Path:
        """Source bundles by digest."""
        return self.folder / "bundles"

    @property
    def socket(self) -> Path:
        """Where the engine listens for nudges."""
        return self.state_folder / "nudge.sock"

    def make(self) -> None:
        """Make the folders.

        Raises
        ------
        StoreError
            When the folder cannot be made or written.

        """
        try:
            self.state_folder.mkdir(parents=True, exist_ok=True)
            self.bundles.mkdir(exist_ok=True)
            probe = self.state_folder / f"probe.{os.getpid()}"
            probe.write_text("x", encoding="ascii")
            probe.unlink()
        except OSError as error:
            raise StoreError.of(
                "E-WORKDIR-001",
                f"the work folder {self.folder} cannot be written",
                error.strerror or str(error),
                str(self.folder),
                "Check its permissions and free space, or give another --workdir.",
            ) from error

    def own(self) -> None:
        """Become the one engine of this folder.

        Raises
        ------
        IddsError
            When another engine has it.

        """
        deadline = time.monotonic() + _LOCK_PATIENCE_S  # 'hold' and its like have the lock for a moment
        while not self.lock.acquire():
            if time.monotonic() < deadline:
                time.sleep(0.02)
                continue
            raise IddsError.of(
                "E-ENGINE-001",
                "another engine works in this folder",
                f"process {self.lock.holder() or 'unknown'}",
                str(self.folder),
                "Wait for it, or give another --workdir; 'show', 'hold', 'cancel' work meanwhile.",
            )

    def publish(self, facts: Mapping[str, Any]) -> None:
        """Leave a note about the engine at work, for who asks why nothing happens; losing it costs only that."""
        with contextlib.suppress(OSError):
            partial = self._facts.with_suffix(f".{os.getpid()}")
            partial.write_text(json.dumps(facts), encoding="utf-8")
            partial.replace(self._facts)

    def engine_facts(self) -> dict[str, Any] | None:
        """What the engine at work says of itself; None when there is no engine."""
        return self.last_note() if self.lock.taken() else None

    def last_note(self) -> dict[str, Any]:
        """What the last engine said of itself, at work or not; empty when there is no such note."""
        try:
            found = json.loads(self._facts.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = None
        return found if isinstance(found, dict) else {}

    @property
    def _facts(self) -> Path:
        return self.state_folder / "engine.json"

    def open(self) -> Store:
        """The store, for writing."""
        return open_store(self.database, "write", self._clock, self.settings.durability)

    def look(self) -> Store:
        """The store, for reading only."""
        return open_store(self.database, "read", self._clock)
