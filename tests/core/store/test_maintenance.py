"""Backups are whole, checked and consistent; a restore loses nothing, not even the file that was damaged."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from idds_core.errors import StoreError
from idds_core.store import back_up, check_file, maintenance, open_store, restore
from idds_core.testing.fakes import ScriptedProvider
from tests.world import World, honest


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    (tmp_path / "work").mkdir()
    made = World(tmp_path / "work", ScriptedProvider(honest))
    yield made
    made.store.close()


def points(path: Path) -> list[Any]:
    with sqlite3.connect(path) as raw:
        rows = raw.execute("SELECT number, state FROM point ORDER BY number").fetchall()
    raw.close()
    return rows


def spoil(path: Path) -> None:
    """One page of many: it opens, and most can be read."""
    data = path.read_bytes()
    path.write_bytes(data[:-4096] + b"\xff" * 4096)


# ---------------------------------------------------------------------- backup
def test_a_backup_is_one_sound_file_with_all_that_was_committed(world: World, tmp_path: Path) -> None:
    world.turn()
    copy = tmp_path / "safe" / "copy.db"
    assert back_up(world.store.path, copy) == copy.stat().st_size
    assert check_file(copy) == []
    assert [p.name for p in copy.parent.iterdir()] == ["copy.db"]
    opened = open_store(copy, "read")
    assert not any(opened.audit.verify().values())
    assert opened.id == world.store.id
    opened.close()
    assert points(copy) == points(world.store.path)


def test_a_backup_made_while_somebody_writes_is_one_consistent_state(world: World, tmp_path: Path) -> None:
    """Every copy holds the record of one commit: all invariants hold, and no copy is older than the one before."""
    stop = threading.Event()
    sizes: list[int] = []
    wrong: list[list[str]] = []

    def copies() -> None:
        number = 0
        while not stop.is_set() or number < 3:
            number += 1
            copy = tmp_path / f"copy{number}.db"
            back_up(world.store.path, copy)
            store = open_store(copy, "read")
            wrong.extend(v for v in store.audit.verify().values() if v)
            sizes.append(len(store.audit.events(limit=10**6)))
            store.close()

    thread = threading.Thread(target=copies)
    thread.start()
    while world.loop.state == "active":
        world.turn()
        world.store.audit.seal()
    stop.set()
    thread.join(timeout=60)
    assert wrong == []
    assert len(sizes) >= 3
    assert sizes == sorted(sizes)


def test_a_backup_never_replaces_a_file_unasked(world: World, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("mine", encoding="utf-8")
    with pytest.raises(StoreError, match=r"^E-DB-001 .*there already"):
        back_up(world.store.path, copy)
    assert copy.read_text(encoding="utf-8") == "mine"
    back_up(world.store.path, copy, replace=True)
    assert check_file(copy) == []
    with pytest.raises(StoreError, match=r"^E-DB-001 .*the store itself"):
        back_up(world.store.path, world.store.path, replace=True)


def test_a_backup_to_a_place_that_cannot_be_written_is_told(world: World, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StoreError, match="E-DB-001"):
        back_up(world.store.path, tmp_path / "file" / "copy.db")
    with pytest.raises(StoreError, match="E-STORE-006"):
        back_up(tmp_path / "none.db", tmp_path / "copy.db")


def test_a_damaged_store_makes_no_backup(world: World, tmp_path: Path) -> None:
    world.run()
    world.store.close()
    spoil(world.folder / "idds.db")
    copy = tmp_path / "copy.db"
    with pytest.raises(StoreError, match=r"^E-DB-002 the backup is not sound"):
        back_up(world.folder / "idds.db", copy)
    assert list(tmp_path.iterdir()) == [world.folder]


def test_what_a_killed_backup_left_is_cleared_away(world: World, tmp_path: Path) -> None:
    dead, alive = tmp_path / ".copy.db.partial.999999999", tmp_path / f".copy.db.partial.{os.getppid()}"
    dead.write_text("half", encoding="utf-8")
    alive.write_text("another one at work", encoding="utf-8")
    back_up(world.store.path, tmp_path / "copy.db")
    assert not dead.exists()
    assert alive.exists()


# ---------------------------------------------------------------------- restore
def test_a_restore_goes_back_and_the_run_ends_with_the_same_history(world: World, tmp_path: Path) -> None:
    for _ in range(5):
        world.turn()
    back_up(world.store.path, tmp_path / "copy.db")
    assert world.run().state == "EXHAUSTED"
    digest = world.history.digest
    path = world.store.path
    world.store.close()
    aside = restore(tmp_path / "copy.db", path, 5.0, "user me", "now")
    assert aside is not None
    assert points(aside)[-1] == (12, "MEASURED")
    assert check_file(aside) == []
    assert not path.with_name("idds.db-wal").exists()
    world.restart()
    assert world.store.audit.restored()
    assert world.loop.state == "active"
    assert world.run().state == "EXHAUSTED"
    assert world.history.digest == digest
    assert world.violations() == {}
    told = [(e.entity, e.new, e.actor, e.reason) for e in world.store.audit.events(limit=10**6) if e.entity == "store"]
    assert told == [("store", "restored", "user me", "from copy.db")]


def test_a_damaged_store_is_kept_aside_with_its_log(world: World, tmp_path: Path) -> None:
    world.turn()
    back_up(world.store.path, tmp_path / "copy.db")
    path = world.store.path
    world.turn()
    log = path.with_name("idds.db-wal").read_bytes()  # not in the file yet
    assert log
    world.store.close()
    path.write_bytes(b"this is no database, " * 500)
    path.with_name("idds.db-wal").write_bytes(log)
    aside = restore(tmp_path / "copy.db", path, 5.0, "me", "now")
    assert aside is not None
    assert aside.read_bytes().startswith(b"this is no database")
    assert aside.with_name(aside.name + "-wal").read_bytes() == log
    assert check_file(path) == []
    assert points(path) == points(tmp_path / "copy.db")
    again = restore(tmp_path / "copy.db", path, 6.0, "me", "now")
    assert again is not None
    assert again != aside


@pytest.mark.parametrize("kind", ["missing", "text", "empty", "other", "damaged"])
def test_what_is_no_sound_backup_is_not_restored(world: World, tmp_path: Path, kind: str) -> None:
    world.run()
    copy = tmp_path / "copy.db"
    if kind == "text":
        copy.write_text("this is no database, " * 500, encoding="utf-8")
    elif kind == "empty":
        copy.touch()
    elif kind == "other":
        with sqlite3.connect(copy) as raw:
            raw.execute("CREATE TABLE accounts (id INTEGER)")
        raw.close()
    elif kind == "damaged":
        back_up(world.store.path, copy)
        spoil(copy)
    world.store.close()
    before = (world.folder / "idds.db").read_bytes()
    with pytest.raises(StoreError, match=r"^E-DB-003 copy.db cannot be restored"):
        restore(copy, world.folder / "idds.db", 5.0, "me", "now")
    assert (world.folder / "idds.db").read_bytes() == before
    assert not list(world.folder.glob("idds.db.before*"))


class Death(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("where", ["_copy", "_mark", "_make_durable", "_set_aside", "replace", "folder"])
def test_a_restore_that_dies_leaves_the_old_store_or_the_new_one(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """At each line; the process's own cleaning up does not happen either."""
    world.turn()
    copy, path = tmp_path / "copy.db", world.store.path
    back_up(path, copy)
    world.run()
    world.store.close()
    old, new = points(path), points(copy)

    def die(*_: object, **__: object) -> Any:
        raise Death

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: None)
        if where == "replace":
            patch.setattr(Path, "replace", die)
        elif where == "folder":
            real = maintenance._make_durable
            patch.setattr(maintenance, "_make_durable", lambda p: die() if p.is_dir() else real(p))
        else:
            patch.setattr(maintenance, where, die)
        with pytest.raises(Death):
            restore(copy, path, 5.0, "me", "now")
    assert check_file(path) == []
    assert points(path) == (new if where == "folder" else old)
    restore(copy, path, 6.0, "me", "now")
    assert points(path) == new
    store = open_store(path)
    assert store.audit.restored()
    store.close()


def test_where_files_have_one_name_only_the_old_store_is_copied(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    world.run()
    path = world.store.path
    back_up(path, tmp_path / "copy.db")
    world.store.close()
    monkeypatch.setattr(os, "link", refuse)
    aside = restore(tmp_path / "copy.db", path, 5.0, "me", "now")
    assert aside is not None
    assert points(aside) == points(path)


# ---------------------------------------------------------------------- the reaper, after a restore
class Busy(ScriptedProvider):
    """Knows what it runs, as a batch system does."""

    def running_keys(self) -> list[str]:
        return sorted(set(self.jobs) - self.cancelled)


def test_after_a_restore_what_runs_is_adopted_and_never_cancelled(tmp_path: Path) -> None:
    """Jobs that started after the backup: the record does not know them, and asks for the very same again."""
    (tmp_path / "work").mkdir()
    gate = {"open": False}
    provider = Busy(lambda spec: honest(spec) if gate["open"] else None)
    world = World(tmp_path / "work", provider)
    world.transformer.start()
    world.transformer.step()  # points are on record, nothing runs
    path = world.store.path
    back_up(path, tmp_path / "copy.db")
    world.carrier.step()
    running = provider.running_keys()
    assert len(running) == 4
    spec = provider.jobs[running[0]]
    world.store.close()
    restore(tmp_path / "copy.db", path, 5.0, "me", "now")
    world.restart()
    assert world.carrier.reap() == 0
    assert provider.cancelled == set()
    assert world.store.audit.restored()
    world.carrier.step()
    assert set(running) == world.store.jobs.live_keys()
    assert world.carrier.reap() == 0
    assert not world.store.audit.restored()
    gate["open"] = True
    assert world.run().state == "EXHAUSTED"
    assert world.violations() == {}
    provider.jobs[f"{world.store.id}-99-1"] = spec
    gate["open"] = False
    assert world.carrier.reap() == 1  # it is on again
    world.store.close()
