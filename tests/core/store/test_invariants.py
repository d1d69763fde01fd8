"""Each promise about the record, broken by hand in a database, is seen by the check that bears its name."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from pathlib import Path

import pytest

from idds_core.states import MOVES
from idds_core.store import open_store
from idds_core.store.log import LAST_EVENT
from idds_core.testing.fakes import ScriptedProvider
from tests.world import World, honest

PAGE = Path(__file__).parents[3] / "docs" / "reliability.md"
_DAMAGE = "damage"

#: invariant -> what somebody does to the record of a run that has ended (three iterations of four points, two steps)
BROKEN: dict[str, str] = {
    "the file is sound": _DAMAGE,
    "a job is DONE exactly when it has a result": "DELETE FROM result WHERE job_id = 3",
    "a result belongs to its SUCCEEDED attempt, or was taken over from another job's":
        "UPDATE attempt SET state = 'FAILED' WHERE job_id = 3",
    "a result that was taken over is what it was":
        "UPDATE result SET attempt_id = NULL, reused_from = 1, result = '{}' WHERE job_id = 3",
    "a SUCCEEDED attempt has the result": "DELETE FROM result WHERE job_id = 3",
    "a job has at most one live attempt": """DROP INDEX ix_attempt_live;
        UPDATE attempt SET state = 'submitted', job_id = 3, number = number + id WHERE id IN (3, 4)""",
    "a job is running exactly when it has a live attempt": "UPDATE job SET state = 'running' WHERE id = 3",
    "attempt numbers are dense": "UPDATE attempt SET number = 2 WHERE id = 3",
    "point numbers are dense": "UPDATE point SET number = 99 WHERE number = 3",
    "a point ended exactly when its jobs did": "UPDATE job SET state = 'ready' WHERE id = 3",
    "nothing of an ended point goes on": "UPDATE point SET wide = 1; UPDATE job SET state = 'ready' WHERE id = 3",
    "a continued point is the same point": "UPDATE point SET continued = 1 WHERE id = 2",
    "a MEASURED point has an observation, and no other has one": "UPDATE point SET observation = NULL WHERE id = 3",
    "a FAILED point says its class": "UPDATE point SET failure_class = 'USER' WHERE id = 3",
    "a last report belongs to a PRUNED point": "UPDATE point SET last_report = '[1, 0.5]' WHERE id = 3",
    "a top-up is at the place of an earlier point of its loop": """UPDATE point SET adds = '{"to": 99}' WHERE id = 3""",
    "a point is replaced by one other at most":
        """UPDATE point SET adds = '{"to": 1, "more": {"n": 1}}' WHERE id IN (3, 4)""",
    "no live child is under a terminal loop": "UPDATE point SET state = 'open' WHERE id = 3",
    "no live loop is under a terminal workflow": "UPDATE loop SET state = 'active'",
    "a closed iteration holds only closed points": "UPDATE point SET state = 'open' WHERE id = 3",
    "ingest numbers are dense": "UPDATE point SET ingest_no = 2 * number",
    "only what has ended is ingested": "UPDATE point SET ingest_no = 1, state = 'open' WHERE id = 3",
    "the pending points of a question had not been ingested, and all others had":
        "UPDATE iteration SET ingested_upto = 4, pending = '[]'",
    "a question never forgets what an earlier one knew":
        "UPDATE iteration SET ingested_upto = 9 - number, pending = '[]'",
    "an iteration is decided only when it is closed": "UPDATE iteration SET closed = NULL WHERE number = 2",
    "an iteration has the points it says": "UPDATE iteration SET proposed = 5 WHERE number = 2",
    "keys are unique": """CREATE TABLE copy AS SELECT * FROM attempt; DROP TABLE attempt;
        ALTER TABLE copy RENAME TO attempt; UPDATE attempt SET key = (SELECT key FROM attempt WHERE id = 1)""",
    "a late result is in no history": """UPDATE attempt SET state = 'LOST' WHERE id = 3;
        INSERT INTO late_result (attempt_id, report, at) VALUES (3, '{}', 1)""",
    "every observation is finite": "UPDATE point SET observation = replace(observation, '0.', 'NaN0') WHERE id = 3",
    "every result is finite": """UPDATE result SET result = '{"values": {"z": 1e999}, "files": {}}' WHERE job_id = 3""",
    "every report is finite": "INSERT INTO report (job_id, step, value, at) VALUES (3, 1, 1e999, 1)",
    "an observation is what the last step measured":
        "UPDATE point SET observation = json_set(observation, '$.values.z', 0.75) WHERE id = 3",
    "every point has its own digest": "UPDATE point SET parameters = json_set(parameters, '$.x', 0.5) WHERE id = 3",
    "the events are a chain of hashes, and none is missing": "UPDATE event SET reason = 'x' WHERE id = 3",
    "events make unbroken chains of legal moves":
        """INSERT INTO event (entity, entity_id, old, new, actor, at)
        VALUES ('point', 3, 'MEASURED', 'open', 'me', 1)""",
    "each move of an entity has its event": "UPDATE job SET version = version + 1 WHERE id = 3",
    "counters equal a recount": "UPDATE counter SET value = value + 1 WHERE name = 'MEASURED'",
    **{
        LAST_EVENT[entity]: f"UPDATE {entity} SET state = '{state}' WHERE id = 1"
        for entity, state in (("workflow", "active"), ("loop", "held"), ("point", "FAILED"), ("job", "FAILED"),
                              ("attempt", "LOST"))
    },
}  # fmt: skip
#: what `verify` adds with its options, or looks for outside of the store
BESIDE = {
    "every file of a result exists",
    "every file of a result has its size",
    "every file of a result has its checksum",
    "every proposal and verdict is given again by its learner",
}


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run that has ended; only ever copied."""
    world = World(tmp_path_factory.mktemp("ended"), ScriptedProvider(honest))
    world.run()
    assert world.violations() == {}
    world.store.close()
    return world.store.path


def verified(path: Path) -> dict[str, list[str]]:
    store = open_store(path, "read")
    try:
        return store.audit.verify()
    finally:
        store.close()


@pytest.mark.parametrize("invariant", BROKEN)
def test_what_is_broken_by_hand_is_found(ended: Path, tmp_path: Path, invariant: str) -> None:
    path = tmp_path / "idds.db"
    with (
        contextlib.closing(sqlite3.connect(ended)) as original,
        contextlib.closing(sqlite3.connect(path, isolation_level=None)) as raw,
    ):
        original.backup(raw)
        if BROKEN[invariant] != _DAMAGE:
            raw.executescript(BROKEN[invariant])
        else:  # an index without its entries
            raw.executescript("""PRAGMA writable_schema = ON;
                UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'ix_point_open')
                WHERE name = 'ix_job_ready';""")
    found = verified(path)
    assert found[invariant], {name: lines for name, lines in found.items() if lines}
    assert all(len(line) < 300 for lines in found.values() for line in lines)


def test_there_is_nothing_to_find_in_a_clean_run_and_each_check_has_its_sabotage(ended: Path) -> None:
    found = verified(ended)
    assert {name: lines for name, lines in found.items() if lines} == {}
    assert set(found) == set(BROKEN)
    assert set(MOVES) == {"workflow", "loop", "point", "job", "attempt"}


def test_the_page_of_promises_names_each_check_once() -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## Invariants\n")[2].partition("\n## ")[0]
    named = re.findall(r'"([^"]+)"', section)
    assert sorted(named) == sorted(set(BROKEN) | BESIDE)
