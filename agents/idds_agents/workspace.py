"""A work folder: the store, the lock of its one engine, bundles, and the folders of all attempts."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from idds_core.errors import DefinitionError, IddsError, StoreError
from idds_core.settings import Settings
from idds_core.store import HeartbeatLock, OwnerLock, Store, is_network, kind_of, open_store
from idds_core.store.lease import STALE_S

__all__ = ["Workspace", "is_workdir", "steady_clock"]

_LOCK_PATIENCE_S = 1.0
_NETWORK, _DATABASE = "network", "database"  # notes in the state folder


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def steady_clock(
    wall: Callable[[], float] = time.time, passed: Callable[[], float] = _since_boot
) -> Callable[[], float]:
    """A clock that is read once, and from then on goes by the time that has passed.

    When somebody sets the machine's clock, no pause, limit or elapsed time of a process that works becomes days longer.

    >>> times = iter([100.0, 3.0])
    >>> now = steady_clock(lambda: next(times), iter([5.0, 7.0]).__next__)
    >>> now()
    102.0
    """
    began = wall() - passed()
    return lambda: began + passed()


def is_workdir(folder: Path) -> bool:
    """Whether a run has been here."""
    return (folder / "idds.db").exists() or (folder / ".idds" / _DATABASE).exists()


class Workspace:
    """Where one embedded engine keeps everything.

    Parameters
    ----------
    folder : made when it is not there. clock : seconds since the epoch; a :func:`steady_clock` by default.

    """

    def __init__(self, folder: str | Path, settings: Settings, clock: Callable[[], float] | None = None) -> None:
        self.folder = Path(folder).resolve()
        self.settings = settings
        self._clock = clock or steady_clock()

    @cached_property
    def file_system(self) -> str:
        """Name of the kind of file system that the folder is on."""
        return kind_of(self.folder)

    @cached_property
    def on_network(self) -> bool:
        """Whether several machines may see the folder; once it was so, it stays so, from whatever machine."""
        return self._is_shared(self.file_system) or (self.state_folder / _NETWORK).exists()

    def _is_shared(self, kind: str) -> bool:
        wanted = self.settings.file_system
        return wanted == "network" or (wanted == "auto" and is_network(kind))

    @cached_property
    def lock(self) -> OwnerLock | HeartbeatLock:
        """The lock of the one engine."""
        if self.on_network:
            return HeartbeatLock(self.state_folder)
        return OwnerLock(self.state_folder / "engine.lock")

    @property
    def database(self) -> Path:
        """The store's file."""
        return self._elsewhere() or self.folder / "idds.db"

    def _elsewhere(self) -> Path | None:
        """The store's file when it is not in the folder, as it was once said."""
        noted = self._note().get("path")
        if isinstance(noted, str):
            return Path(noted)
        return Path(self.settings.database).resolve() if self.settings.database else None

    def _note(self) -> dict[str, Any]:
        try:
            found = json.loads((self.state_folder / _DATABASE).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def journal(self) -> Literal["wal", "delete"]:
        """How the store is kept: by what the file itself is on."""
        elsewhere = self._elsewhere()
        shared = self.on_network if elsewhere is None else self._is_shared(kind_of(elsewhere))
        return "delete" if shared else "wal"

    def warnings(self) -> list[str]:
        """What is promised of a folder that several machines see, in a line; nothing for any other."""
        if not self.on_network:
            return []
        kept = "the database is elsewhere" if self.journal == "wal" else "the database has a rollback journal"
        return [
            f"W-WORKDIR-001 {self.folder} is on a network file system ({self.file_system or 'unknown'}): {kept}, one "
            f"engine owns it by a heartbeat and is followed {STALE_S:g} s after its last, and what is acknowledged "
            "survives the death of any process, and of the server as far as that keeps its word. "
            "--database FILE on a local disk is faster and safer."
        ]

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
            if self.on_network:
                (self.state_folder / _NETWORK).touch()
            self._place_database()
        except OSError as error:
            raise StoreError.of(
                "E-WORKDIR-001",
                f"the work folder {self.folder} cannot be written",
                error.strerror or str(error),
                str(self.folder),
                "Check its permissions and free space, or give another --workdir.",
            ) from error

    def _place_database(self) -> None:
        """Note where the store is, when it is not in the folder; it never moves by itself."""
        wanted = Path(self.settings.database).resolve() if self.settings.database else None
        note, here = self._note(), self.folder / "idds.db"
        noted = note.get("path")
        if wanted is not None and noted is None and wanted != here:
            if here.exists():
                noted = str(here)
            else:
                wanted.parent.mkdir(parents=True, exist_ok=True)
                partial = self.state_folder / f"{_DATABASE}.{os.getpid()}"
                partial.write_text(json.dumps({"path": str(wanted), "host": socket.gethostname()}), encoding="utf-8")
                partial.replace(self.state_folder / _DATABASE)
                return
        if wanted is not None and noted is not None and wanted != Path(noted):
            raise DefinitionError.of("E-WORKDIR-004", "the database of this folder is elsewhere", f"it is {noted}",
                               str(self.folder), "Leave --database out, or give another --workdir.")  # fmt: skip
        host = note.get("host")
        if noted is not None and host not in (None, socket.gethostname()) and not Path(noted).exists():
            raise IddsError.of("E-WORKDIR-005", "the database of this folder is on another machine",
                               f"it is {noted} on {host}", str(self.folder), f"Go on there ({host}).")  # fmt: skip

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
        store = open_store(self.database, "write", self._clock, self.settings.durability, self.journal)
        store.outbox.workdir = self.folder
        if isinstance(self.lock, HeartbeatLock) and self.lock.token:
            store.own(self.lock.token)
        return store

    def look(self) -> Store:
        """The store, for reading only."""
        return open_store(self.database, "read", self._clock)
