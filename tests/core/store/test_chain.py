"""The event log is sealed without gaps, whoever dies, and whatever a hand does to it is found."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from idds_core.errors import StoreError
from idds_core.store import Store, back_up, open_store, upgrade_store
from idds_core.store.chain import Head, head_of
from idds_core.store.database import Database
from idds_core.testing.fakes import ManualClock, ScriptedProvider
from tests.world import World, honest

CHAIN = "the events are a chain of hashes, and none is missing"


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A run that has ended, all of it sealed."""
    made = World(tmp_path, ScriptedProvider(honest))
    made.run()
    assert made.violations() == {}
    yield made
    made.store.close()


def write(path: Path, *statements: str) -> None:
    """What somebody does with a plain SQLite shell."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw:
        for statement in statements:
            raw.execute(statement)


def read(path: Path, query: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(path)) as raw:
        return raw.execute(query).fetchall()


def found(path: Path) -> dict[str, list[str]]:
    store = open_store(path, "read")
    try:
        return {name: lines for name, lines in store.audit.verify().items() if lines}
    finally:
        store.close()


SEAL_5 = "seal number 5 (event 5: "
TAMPERED = {
    "an event is changed": (
        ["UPDATE event SET actor = 'nobody' WHERE seal_no = 5"],
        [SEAL_5, "is not what was sealed"],
    ),
    "its time is changed": (["UPDATE event SET at = at + 1 WHERE seal_no = 5"], [SEAL_5]),
    "its reason is changed, by a hand that knows no text": (
        ["UPDATE event SET reason = x'ff00' WHERE seal_no = 5"],
        [SEAL_5],
    ),
    "its hash is changed, so that the next one does not follow": (
        ["UPDATE event SET hash = zeroblob(32) WHERE seal_no = 5"],
        [SEAL_5],
    ),
    "its hash is taken away": (["UPDATE event SET hash = NULL WHERE seal_no = 5"], [SEAL_5, "has lost its hash"]),
    "an event is removed": (["DELETE FROM event WHERE seal_no = 5"], ["seal number 5 is gone from the log"]),
    "some events are removed": (
        ["DELETE FROM event WHERE seal_no BETWEEN 5 AND 8"],
        ["seal numbers 5 to 8 are gone from the log"],
    ),
    "an event is removed, and the numbers behind it are moved up": (
        [
            "DELETE FROM event WHERE seal_no = 5",
            "UPDATE event SET seal_no = -seal_no WHERE seal_no > 5",
            "UPDATE event SET seal_no = -seal_no - 1 WHERE seal_no < 0",
        ],
        ["seal number 5 (event 6: ", "is not what was sealed"],
    ),
    "an event is put in between": (
        [
            "UPDATE event SET seal_no = -seal_no WHERE seal_no >= 5",
            "UPDATE event SET seal_no = 1 - seal_no WHERE seal_no < 0",
            "INSERT INTO event (seal_no, entity, entity_id, old, new, actor, reason, at, hash)"
            " SELECT 5, 'blinding', 1, 'blind', 'unblinded', actor, '', at, hash FROM event WHERE seal_no = 4",
        ],
        ["seal number 5 (event ", "blinding 1 blind -> unblinded) is not what was sealed"],
    ),
    "an event is added with a number of its own": (
        [
            "INSERT INTO event (seal_no, entity, entity_id, old, new, actor, reason, at, hash) SELECT max(seal_no) + 1,"
            " 'blinding', 1, 'blind', 'unblinded', 'me', '', 0, zeroblob(32) FROM event"
        ],
        ["blinding 1 blind -> unblinded) is not what was sealed"],
    ),
    "two events change places": (
        [
            "UPDATE event SET seal_no = -seal_no WHERE seal_no IN (5, 6)",
            "UPDATE event SET seal_no = 11 + seal_no WHERE seal_no < 0",
        ],
        ["seal number 5 (event 6: "],
    ),
    "two events change their ids": (
        [
            "UPDATE event SET id = -id WHERE seal_no IN (5, 6)",
            "UPDATE event SET id = 11 + id WHERE id < 0",
        ],
        ["seal number 5 (event 6: "],
    ),
    "the last events are cut off": (
        ["DELETE FROM event WHERE seal_no > (SELECT max(seal_no) - 3 FROM event)"],
        ["are gone from the end of the log"],
    ),
    "the head is moved back": (
        ["UPDATE meta SET value = json_set(value, '$.seal_no', 4) WHERE key = 'chain'"],
        ["the head of the chain, at seal number 4, is not the last event, at "],
    ),
    "the head is taken away": (["DELETE FROM meta WHERE key = 'chain'"], ["the head of the chain is gone"]),
    "the head is nonsense": (["UPDATE meta SET value = 'x' WHERE key = 'chain'"], ["the head of the chain is gone"]),
}


@pytest.mark.parametrize("how", TAMPERED)
def test_whatever_is_done_to_the_log_is_found(world: World, how: str) -> None:
    statements, words = TAMPERED[how]
    world.store.close()
    write(world.store.path, *statements)
    first = found(world.store.path)[CHAIN][0]
    for word in words:
        assert word in first


def test_a_log_that_is_cut_with_its_head_misses_the_moves_of_the_entities(world: World) -> None:
    path = world.store.path
    world.store.close()
    write(
        path,
        "DELETE FROM event WHERE seal_no > 20",
        "UPDATE meta SET value = (SELECT json_object('seal_no', seal_no, 'hash', lower(hex(hash))) FROM event"
        " WHERE seal_no = 20) WHERE key = 'chain'",
    )
    wrong = found(path)
    assert CHAIN not in wrong
    assert "loop 1: 2 moves, " in " ".join(wrong["each move of an entity has its event"])


def test_one_change_is_one_line(world: World) -> None:
    world.store.close()
    write(world.store.path, "UPDATE event SET actor = 'nobody' WHERE seal_no = 5")
    assert [len(lines) for lines in found(world.store.path).values()] == [1]


def test_a_row_that_somebody_put_in_or_took_out_has_no_events(world: World) -> None:
    path = world.store.path
    world.store.close()
    write(
        path, "DELETE FROM late_result", "DELETE FROM result WHERE attempt_id = 1", "DELETE FROM attempt WHERE id = 1"
    )
    assert "attempt 1: there is none, but it has 2 events" in found(path)["each move of an entity has its event"]


# ---------------------------------------------------------------------- the sealer
def test_an_event_that_becomes_visible_late_is_sealed_later_and_once(world: World) -> None:
    """As on a server, where a writer with an older number may commit after a younger one was sealed."""
    path, (before, _) = world.store.path, world.store.audit.head()
    values = "'blinding', 1, 'blind', 'unblinded', 'ann', '', 1.0"
    write(path, f"INSERT INTO event (id, entity, entity_id, old, new, actor, reason, at) VALUES (9001, {values})")
    world.store.audit.seal_all()
    write(path, f"INSERT INTO event (id, entity, entity_id, old, new, actor, reason, at) VALUES (9000, {values})")
    world.store.audit.seal_all()
    assert world.store.audit.seal() == 0
    query = "SELECT id, seal_no FROM event WHERE id >= 9000 ORDER BY seal_no"
    assert read(path, query) == [(9001, before + 1), (9000, before + 2)]
    assert world.violations() == {}


def test_many_sealers_at_once_seal_each_event_once(world: World) -> None:
    path = world.store.path
    values = ",".join("('blinding', 1, 'blind', 'unblinded', 'ann', '', 1.0)" for _ in range(400))
    write(path, f"INSERT INTO event (entity, entity_id, old, new, actor, reason, at) VALUES {values}")
    stores = [open_store(path, durability="normal") for _ in range(4)]
    sealed: list[int] = []

    def work(store: Store) -> None:
        while n := store.audit.seal(limit=7):
            sealed.append(n)

    threads = [threading.Thread(target=work, args=(store,)) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for store in stores:
        store.close()
    assert sum(sealed) == 400
    assert world.violations() == {}


def test_a_sealer_that_dies_before_its_commit_has_sealed_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    path, head = world.store.path, world.store.audit.head()
    write(path, "INSERT INTO event (entity, entity_id, old, new, actor, at) VALUES ('x', 1, 'a', 'b', 'ann', 1.0)")
    real = Database.transaction

    @contextlib.contextmanager
    def dying(self: Database) -> Iterator[object]:
        with real(self) as connection:
            yield connection
            raise StoreError.of("E-STORE-002", "the power went")

    with monkeypatch.context() as patch, pytest.raises(StoreError):
        patch.setattr(Database, "transaction", dying)
        world.store.audit.seal()
    assert world.store.audit.head() == head
    assert world.store.audit.seal() == 1
    assert world.violations() == {}


def test_an_engine_goes_on_with_a_log_that_was_tampered_with_and_the_trace_stays(world: World) -> None:
    path = world.store.path
    for statement in (TAMPERED["the last events are cut off"][0][0], "DELETE FROM meta WHERE key = 'chain'"):
        write(
            path,
            statement,
            "INSERT INTO event (entity, entity_id, old, new, actor, at) VALUES ('x', 1, 'a', 'b', 'c', 1)",
        )
        assert world.store.audit.seal() == 1
    assert "are gone from the log" in found(path)[CHAIN][0]


# ---------------------------------------------------------------------- old stores, copies
def older(path: Path) -> None:
    """The store as the version before the chain left it: numbered, without hashes."""
    write(
        path,
        "ALTER TABLE event DROP COLUMN hash",
        "ALTER TABLE iteration DROP COLUMN versions",
        "DELETE FROM meta WHERE key = 'chain'",
        "UPDATE event SET seal_no = NULL WHERE seal_no > 20",
        "UPDATE alembic_version SET version_num = '0006'",
    )


def test_the_events_of_an_older_store_are_chained_by_the_next_engine(world: World) -> None:
    path = world.store.path
    world.store.close()
    older(path)
    assert upgrade_store(path) == ("0006", "0007")
    assert found(path) == {}
    store = open_store(path)
    assert store.audit.head() == (0, "")
    assert store.audit.seal(limit=8) == 8
    assert store.audit.head()[0] == 8
    store.audit.seal_all()
    (events,) = read(path, "SELECT count(*), max(seal_no), count(hash) FROM event")
    assert events[0] == events[1] == events[2] == store.audit.head()[0]
    store.close()
    assert found(path) == {}


def test_what_an_older_version_numbered_meanwhile_is_chained_behind_the_head(world: World) -> None:
    path, (head, _) = world.store.path, world.store.audit.head()
    values = f"'blinding', 1, 'blind', 'unblinded', 'ann', 1.0, {head + 1}"
    write(path, f"INSERT INTO event (entity, entity_id, old, new, actor, at, seal_no) VALUES ({values})")
    assert found(path) == {}
    assert world.store.audit.seal() == 1
    assert world.store.audit.head()[0] == head + 1
    assert world.violations() == {}


def test_a_backup_has_the_chain_as_it_was(world: World, tmp_path: Path) -> None:
    back_up(world.store.path, tmp_path / "copy.db")
    database = Database(tmp_path / "copy.db", "read", ManualClock())
    with database.reading() as connection:
        head = head_of(connection)
    database.close()
    assert head is not None
    assert (head.seal_no, head.hash.hex()) == world.store.audit.head()
    assert head != Head()
    assert found(tmp_path / "copy.db") == {}
