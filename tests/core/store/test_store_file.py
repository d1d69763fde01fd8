"""The file of a store: who may have it, and what a disk does to it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from idds_core.errors import StoreError
from idds_core.states import AttemptState
from idds_core.store import OwnerLock, Store, open_store
from idds_core.testing.fakes import ManualClock
from tests.core.store.test_store import claim, done, four_points, violations
from tests.stores import empty
from tests.world import toy


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = empty("sqlite", tmp_path / "idds.db", ManualClock())
    yield opened
    opened.close()


@pytest.fixture
def loop_id(store: Store) -> int:
    return four_points(store)


def test_a_second_engine_does_not_get_the_lock(tmp_path: Path) -> None:
    first, second = OwnerLock(tmp_path / "lock"), OwnerLock(tmp_path / "lock")
    assert first.acquire()
    assert not second.acquire()
    first.release()
    assert second.acquire()
    second.release()


# ---------------------------------------------------------------------- what a disk does
def test_a_missing_store_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"^E-STORE-006 .*no such file"):
        open_store(tmp_path / "none.db", "read")


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_damaged_store_is_one_clear_line(tmp_path: Path, mode: str) -> None:
    (tmp_path / "idds.db").write_bytes(b"this is no database, " * 500)
    with pytest.raises(StoreError, match=r"^E-STORE-003 the database is damaged") as error:
        open_store(tmp_path / "idds.db", mode)  # type: ignore[arg-type]
    assert len(str(error.value).splitlines()) == 1


def test_a_store_damaged_in_the_middle_is_one_clear_line(store: Store, loop_id: int) -> None:
    path = store.path
    store.close()
    data = bytearray(path.read_bytes())
    data[4096:-4096] = b"\xff" * (len(data) - 8192)
    path.write_bytes(data)
    with pytest.raises(StoreError, match="E-STORE-003"):
        broken = open_store(path)
        try:
            broken.jobs.all(loop_id)
        finally:
            broken.close()


def test_another_database_is_not_taken_for_a_store(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "idds.db") as raw:
        raw.execute("CREATE TABLE accounts (id INTEGER)")
    raw.close()
    with pytest.raises(StoreError, match="E-STORE-008"):
        open_store(tmp_path / "idds.db")


def test_a_store_of_a_newer_version_is_refused(store: Store) -> None:
    path = store.path
    store.close()
    with sqlite3.connect(path) as raw:
        raw.execute("UPDATE alembic_version SET version_num = '9999'")
        raw.execute("UPDATE meta SET value = '9999' WHERE key = 'readable_from'")
    raw.close()
    with pytest.raises(StoreError, match="E-STORE-009"):
        open_store(path)


def test_a_full_disk_is_one_clear_line_and_loses_nothing_acknowledged(store: Store, loop_id: int) -> None:
    (claimed,) = claim(store, loop_id, 1)
    store.jobs.finish([done(claimed)], "me")
    definition = toy().workflow.loops[0]
    with store.transaction() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
    store._db.connect().exec_driver_sql(f"PRAGMA max_page_count={pages + 2}")
    store._db.connect().rollback()
    points = [{"x": i / 5000, "y": 0.1} for i in range(5000)]
    with pytest.raises(StoreError, match=r"E-STORE-002 the disk is full"):
        store.iterations.add(loop_id, definition, 2, points, 5000, 5)
    assert len(store.iterations.points(loop_id)) == 4
    assert store.jobs.attempts([claimed.job_id])[0].state is AttemptState.SUCCEEDED
    assert violations(store) == {}
