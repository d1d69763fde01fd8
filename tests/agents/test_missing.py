"""What an older backup lacks is counted, and so is what of it waits in the folders of attempts."""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from idds_agents.missing import missing
from idds_core.store import back_up
from idds_core.testing.fakes import ScriptedProvider
from tests.agents.cli_kit import Cli, Runs
from tests.world import World, honest


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A run that ended after its backup was made."""
    (tmp_path / "work").mkdir()
    made = World(tmp_path / "work", ScriptedProvider(honest))
    for _ in range(5):
        made.turn()
    back_up(made.store.path, tmp_path / "older.db")
    made.run()
    back_up(made.store.path, tmp_path / "newer.db")
    yield made
    made.store.close()


def results(file: Path) -> dict[str, str]:
    with sqlite3.connect(file) as raw:
        rows = raw.execute("SELECT a.key, a.path FROM attempt a JOIN result r ON r.attempt_id = a.id").fetchall()
    raw.close()
    return dict(rows)


def leave(folder: Path, key: str, state: str = "succeeded") -> None:
    """What a runner leaves of an attempt that ended."""
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}", encoding="utf-8")
    (folder / "DONE.json").write_text(json.dumps({"key": key, "state": state}), encoding="utf-8")


def test_results_younger_than_the_backup_are_found_in_their_folders_or_run_again(world: World, tmp_path: Path) -> None:
    old, new = results(tmp_path / "older.db"), results(tmp_path / "newer.db")
    young = {key: path for key, path in new.items() if key not in old}
    assert old
    (first, second, third, *_) = young
    leave(world.folder / young[first], first)
    leave(world.folder / young[second], second, "failed")
    leave(world.folder / young[third], "of another store")
    known = next(iter(old))
    leave(world.folder / old[known], known)  # on record in both
    found = missing(tmp_path / "newer.db", tmp_path / "older.db", world.folder)
    assert (found.results, found.found) == (len(young), 1)
    assert (
        str(found) == f"{len(young)} results are younger: 1 are found in their folders, {len(young) - 1} jobs run again"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["newer.db", "older.db", "work"]


@pytest.mark.parametrize("damage", [None, b"no database", b""])
def test_with_a_record_that_cannot_be_read_the_folders_alone_are_counted(
    world: World, tmp_path: Path, damage: bytes | None
) -> None:
    young = set(new := results(tmp_path / "newer.db")) - set(results(tmp_path / "older.db"))
    key = min(young)
    leave(world.folder / new[key], key)
    leave(world.folder / "elsewhere", "other-1-1")
    before = None
    if damage is not None:
        before = tmp_path / "damaged.db"
        before.write_bytes(damage)
    found = missing(before, tmp_path / "older.db", world.folder)
    assert (found.results, found.found) == (None, 1)
    assert "cannot be read; 1 younger" in str(found)


# ---------------------------------------------------------------------- the whole way
COMMANDS = """
from pathlib import Path
from idds_core import Loop, Real, Space, chain, command
from idds_learners import MaxPoints, Sobol

def define(record: Path):
    body = chain(command("measure", "{bundle}/measure.sh {x} {record}", result="result.json",
                         outputs={"note": "note.txt"}))
    return Loop("copied", Space(x=Real(0, 1)), body, Sobol(["z"]), MaxPoints(9), first=3, batch=3)
"""
#: says that it ran, and at its fourth point makes a backup beside the engine
SCRIPT = f"""#!/bin/sh
echo "$1" >> "$2/executions"
if [ "$(wc -l < "$2/executions")" -eq 4 ]; then
    {sys.executable} -m idds_agents db backup "$2/older.db" --workdir "$2/copied-run" || exit 1
fi
echo "at $1" > note.txt
echo "{{\\"z\\": $1}}" > result.json
"""


def test_commands_that_ran_after_the_backup_count_again_and_do_not_run_again(cli: Cli, runs: Runs) -> None:
    """Backup while it runs, it goes on, the older record in its place: the same end from the outputs that are there."""
    scan = runs.folder / "scans" / "copied.py"
    scan.parent.mkdir()
    scan.write_text(COMMANDS, encoding="utf-8")
    (scan.parent / "measure.sh").write_text(SCRIPT, encoding="utf-8")
    (scan.parent / "measure.sh").chmod(0o755)
    arguments = ("run", scan, "--set", f"record={runs.folder}", "--slots", "1", "--json", "--quiet")
    whole = runs.call(*arguments).wait()
    assert whole.code == 2, whole.err
    executions = (runs.folder / "executions").read_text().split()
    assert len(executions) == 9
    workdir = runs.folder / "copied-run"
    chain = cli("verify", "--workdir", workdir, "--json").json
    restored = cli("db", "restore", runs.folder / "older.db", "--workdir", workdir, "--json")
    younger = restored.json["missing"]
    assert younger["results"] == younger["found"] >= 5
    older = cli("verify", "--workdir", workdir, "--json").json
    assert older["fine"]
    assert older["sealed"] < chain["sealed"]
    again = runs.call(*arguments).wait()
    assert (again.code, again.json["digest"]) == (2, whole.json["digest"])
    assert (runs.folder / "executions").read_text().split() == executions
    assert again.json["failed_attempts"] == []
    checked = cli("verify", "--deep", "--workdir", workdir, "--json")
    assert checked.code == 0, checked.out
    lost = cli("verify", "--head", chain["head"], "--workdir", workdir)
    assert lost.code == 3, "another log tells another story of the same history"
    assert "is of no event" in lost.out
