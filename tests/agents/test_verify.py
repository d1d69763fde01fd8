"""``verify`` beyond its counts: the head of the chain, and what would mend what was found."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from idds_agents.cli.outputs import output_schema
from tests.agents.cli_kit import Cli


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "plane-run"
    shutil.copytree(finished, copy, ignore=shutil.ignore_patterns("*.sock"))
    return copy


def write(workdir: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(workdir / "idds.db", isolation_level=None)) as raw:
        for statement in statements:
            raw.executescript(statement)


def planned(cli: Cli, workdir: Path) -> Any:
    done = cli("verify", "--repair-plan", "--workdir", workdir, "--json")
    jsonschema.validate(done.json, output_schema("verify"))
    return done.json["plan"]


def content(workdir: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(workdir / "idds.db")) as raw:
        return list(raw.iterdump())


def test_a_concluded_run_is_sealed_and_its_head_can_be_noted_down(cli: Cli, copied: Path) -> None:
    first = cli("verify", "--workdir", copied, "--json").json
    assert first["sealed"] > 0
    assert (
        f"{first['sealed']} events are sealed, the head of the chain is {first['head']}"
        in cli("verify", "--workdir", copied).out
    )
    with contextlib.closing(sqlite3.connect(copied / "idds.db")) as raw:
        (unsealed,) = raw.execute("SELECT count(*) FROM event WHERE hash IS NULL").fetchone()
        assert unsealed == 0
    assert cli("clean", "--older-than", "0d", "--logs", "--workdir", copied).code == 0  # one more event, sealed at once
    later = cli("verify", "--head", first["head"], "--workdir", copied, "--json")
    assert (later.code, later.json["sealed"]) == (0, first["sealed"] + 1)
    assert later.json["head"] != first["head"]
    wrong = cli("verify", "--head", "ab12", "--workdir", copied)
    assert wrong.code == 3
    assert "1  the head that was noted down is in the chain" in wrong.out
    assert cli("verify", "--head", "no hash", "--workdir", copied).code == 3


def test_nothing_is_planned_where_nothing_is_wrong(cli: Cli, copied: Path) -> None:
    done = cli("verify", "--repair-plan", "--workdir", copied)
    assert done.code == 0
    assert done.out.splitlines()[-2:] == ["nothing is to be mended", "fine"]
    assert planned(cli, copied) == []


def test_statements_mend_what_follows_from_the_rest_and_the_plan_changes_nothing(cli: Cli, copied: Path) -> None:
    write(
        copied,
        "UPDATE counter SET value = value - 3 WHERE name = 'MEASURED'",
        "DELETE FROM counter WHERE name = 'INFEASIBLE'",
        "UPDATE job SET state = 'CANCELLED', version = 9 WHERE id = 2",
        "UPDATE point SET version = 7 WHERE id = 4",
    )
    before = content(copied)
    plan = planned(cli, copied)
    assert content(copied) == before
    assert {mend["by"] for mend in plan if mend["invariant"].startswith(("counters", "each move"))} == {"statement"}
    statements = [mend["act"] for mend in plan if mend["by"] == "statement"]
    assert len(statements) == 4
    write(copied, *statements)
    assert cli("verify", "--workdir", copied).code == 0


def test_a_log_that_is_not_whole_mends_no_state(cli: Cli, copied: Path) -> None:
    write(copied, "UPDATE event SET new = 'CANCELLED' WHERE entity = 'job' AND entity_id = 2 AND new = 'DONE'")
    plan = planned(cli, copied)
    assert {mend["by"] for mend in plan} == {"hand"}
    assert {mend["act"].split(" is fine: ")[1] for mend in plan} == {
        "idds-core db restore FILE, with one from elsewhere"
    }


def test_the_newest_backup_in_which_nothing_is_wrong_is_named(cli: Cli, copied: Path) -> None:
    for _ in range(2):
        assert cli("db", "backup", "--workdir", copied).code == 0
    (copied / "backups" / "damaged.db").write_bytes(b"no store")
    newest = max((copied / "backups").glob("idds-*.db"), key=lambda file: file.stat().st_mtime_ns)
    write(copied, "DELETE FROM result WHERE job_id = (SELECT min(job_id) FROM result)")
    said = cli("verify", "--repair-plan", "--workdir", copied)
    assert said.code == 3
    assert "what would be done (nothing was changed):" in said.out
    acts = {mend["act"] for mend in planned(cli, copied)}
    assert acts == {f"idds-core db restore {newest} --workdir {copied}"}
    assert cli(*acts.pop().split()[1:]).code == 0
    assert cli("verify", "--workdir", copied).code == 0


def test_a_damaged_store_is_restored_and_a_lost_file_is_put_back_by_hand(cli: Cli, copied: Path) -> None:
    lost = "every file of a result exists"
    write(
        copied,
        """UPDATE result SET result = json_set(result, '$.files.note', json('{"path": "/gone/note.txt", "bytes": 4,
        "sha256": "00"}')) WHERE job_id = (SELECT min(job_id) FROM result)""",
    )
    (mend,) = planned(cli, copied)
    assert (mend["invariant"], mend["by"]) == (lost, "hand")
    assert "/gone/note.txt" in mend["rows"]
    write(
        copied,
        """PRAGMA writable_schema = ON;
        UPDATE sqlite_master SET rootpage = (SELECT rootpage FROM sqlite_master WHERE name = 'ix_point_open')
        WHERE name = 'ix_job_ready';""",
    )
    plan = planned(cli, copied)
    assert [mend["by"] for mend in plan if mend["invariant"] != lost] == ["hand"]
    assert "no backup in" in plan[0]["act"]
