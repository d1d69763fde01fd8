"""Sealed targets: nothing that a user can reach holds them before they are unblinded."""

from __future__ import annotations

import contextlib
import json
import re
import sqlite3
import sys
from pathlib import Path

import pytest

from idds_agents.blinding import close_left_open
from idds_core.definition import Definition
from idds_core.errors import DefinitionError, IddsError
from idds_core.sealing import SEALED_FILE, Seal
from idds_core.store import open_store
from tests.agents.cli_kit import Cli
from tests.world import toy

SCAN = """
import json, math
from pathlib import Path
from idds_core import Loop, Real, Retry, Space, chain, command, step
from idds_learners import LevelSet, MaxPoints

@step(retry=Retry(attempts=2))
def measure(x: float, y: float) -> dict:
    obs = 0.123 + 0.5 / (1 + math.exp(-9 * (math.hypot(x, y) - 0.6)))
    Path("secret.json").write_text(json.dumps({"obs": obs}))
    print("observed", obs)
    if x > 0.9:
        raise ValueError(f"cannot digest {obs}")
    return {"exp": 1 / (1 + math.exp(-9 * (math.hypot(x, y) - 0.5))), "obs": obs, "obs_sigma": obs / 7, "n": obs * 1000}

def define():
    return Loop("sealed", Space(x=Real(0, 1), y=Real(0, 1)), chain(measure), LevelSet(["obs", "exp"], level=0.5),
                MaxPoints(18), blind=("obs",), hold_after=100)
"""

COMMAND = """
from idds_core import Loop, Real, Space, chain, command
from idds_learners import LevelSet, MaxPoints

def define():
    body = chain(command("measure", "./measure.sh {x} {y}", result="limits.json", outputs={"note": "note.txt"}))
    return Loop("sealed", Space(x=Real(0, 1), y=Real(0, 1)), body, LevelSet(["obs", "exp"], level=0.5),
                MaxPoints(6), first=6, blind=("obs",))
"""

SCRIPT = """#!/bin/sh
obs=$(awk "BEGIN{print 0.123 + $1 / 2}")
echo "observed $obs"
echo "$obs" > note.txt
echo "{\\"obs\\": $obs, \\"exp\\": $2}" > limits.json
"""


def values_of(workdir: Path) -> set[str]:
    """The sealed values, which the test may open, as text of five digits."""
    seal = Seal(workdir / ".idds")
    with contextlib.closing(sqlite3.connect(workdir / "idds.db")) as connection:
        query = "SELECT observation FROM point WHERE observation IS NOT NULL"
        rows = connection.execute(query).fetchall()
    opened = [seal.value(json.loads(text)["sealed"]) for (text,) in rows]
    numbers = [n for part in opened for kind in ("values", "sigmas", "extras") for n in part[kind].values()]
    return {f"{n:.17g}"[:10] for n in numbers}


def leaks(workdir: Path, values: set[str]) -> list[str]:
    """Files below a folder that hold one of the values."""
    pattern = re.compile("|".join(re.escape(v) for v in values).encode())
    files = [p for p in workdir.rglob("*") if p.is_file()]
    return [str(p.relative_to(workdir)) for p in files if pattern.search(p.read_bytes())]


@pytest.fixture
def blinded(cli: Cli, tmp_path: Path) -> Path:
    """A finished blinded scan."""
    (tmp_path / "scan.py").write_text(SCAN)
    workdir = tmp_path / "run"
    assert cli("run", tmp_path / "scan.py", "--workdir", workdir).code == 2
    return workdir


def test_no_file_holds_a_sealed_value(blinded: Path) -> None:
    values = values_of(blinded)
    assert len(values) > 30
    assert leaks(blinded, values) == []


def test_nothing_that_is_printed_holds_one(cli: Cli, blinded: Path) -> None:
    values = values_of(blinded)
    at = ("--workdir", blinded)
    shown = [
        cli("show", "sealed", "--json", *at),
        cli("show", "sealed/p/3", "--json", *at),
        cli("ls", "sealed/it/1", *at),
        cli("why", "sealed/p/3", *at),
        cli("export", "sealed", "--format", "json", *at),
    ]
    text = "".join(result.out + result.err for result in shown)
    assert '"exp"' in text
    assert not re.search("|".join(map(re.escape, values)), text)
    assert not re.search(r'"obs":', text)
    assert cli("logs", "sealed/p/3/measure", *at).err.startswith("E-LOG-002")


def test_no_export_and_no_report_holds_one(cli: Cli, blinded: Path, tmp_path: Path) -> None:
    values = values_of(blinded)
    at = ("--workdir", blinded)
    out = tmp_path / "out"
    out.mkdir()
    for kind in ("csv", "json", "parquet"):
        for what in ("contour", "points", "map"):
            assert cli("export", "--format", kind, "--what", what, "-o", out / f"{what}.{kind}", *at).code == 0
    for kind in ("hepdata", "surrogate"):
        assert cli("export", "--format", kind, "-o", out / kind, *at).code == 0
    assert cli("report", "-o", out / "report.html", *at).code == 0
    assert cli("get", "sealed/p/3", "-o", out / "got", *at, "--json").json["missing"][0]["why"].endswith("'unblind'")
    assert len(list(out.rglob("*"))) > 12
    assert leaks(out, values) == []


def test_unblinding_is_on_record_and_shows_all(cli: Cli, blinded: Path) -> None:
    at = ("--workdir", blinded)
    empty = cli("unblind", "sealed", "--reason", " ", *at)
    assert (empty.code, empty.err.split()[0]) == (4, "E-BLIND-005")
    assert "can be seen now" in cli("unblind", "sealed", "--reason", "minutes 12", *at).out
    assert "before" in cli("unblind", "sealed", "--reason", "again", *at).out
    point = json.loads(cli("show", "sealed/p/3", "--json", *at).out)
    assert set(point["observation"]["values"]) == {"obs", "exp"}
    assert point["observation"]["sigmas"]["obs"] == pytest.approx(point["observation"]["values"]["obs"] / 7)
    assert cli("logs", "sealed/p/3/measure", *at).out.startswith("observed 0.")
    assert "obs" in cli("export", "sealed", "--format", "csv", *at).out
    assert cli("get", "sealed/p/3", "-o", blinded / "got", *at, "--json").json["missing"] == []
    events = sqlite3.connect(blinded / "idds.db").execute("SELECT new, reason FROM event WHERE entity = 'blinding'")
    assert events.fetchall() == [("unblinded", "minutes 12")]
    assert cli("verify", *at).code == 0


def test_a_command_s_files_are_sealed_too(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "scan.py").write_text(COMMAND)
    (tmp_path / "measure.sh").write_text(SCRIPT)
    (tmp_path / "measure.sh").chmod(0o755)
    workdir = tmp_path / "run"
    assert cli("run", tmp_path / "scan.py", "--workdir", workdir).code == 2
    seal = Seal(workdir / ".idds")
    folder = workdir / "sealed/sealed/it/1/p/1/measure/job/0/a/1"
    assert [p.name for p in folder.iterdir()] == [SEALED_FILE]
    assert leaks(workdir, values_of(workdir)) == []
    assert seal.open_folder(folder)
    assert (folder / "note.txt").read_text().startswith("0.")


def test_what_a_crash_left_open_is_sealed_by_the_next_engine(blinded: Path) -> None:
    store = open_store(blinded / "idds.db")
    folder = blinded / "sealed/sealed/it/1/p/1/measure/job/0/a/1"
    assert Seal(blinded / ".idds").open_folder(folder)
    assert (folder / "secret.json").exists()
    assert close_left_open(store, blinded, 1) == 1
    assert [p.name for p in folder.iterdir()] == [SEALED_FILE]
    assert close_left_open(store, blinded, 1) == 0
    store.close()


def test_a_folder_is_never_lost_between_its_two_forms(tmp_path: Path) -> None:
    """A crash after the sealed file was written and before the rest was removed."""
    seal = Seal(tmp_path, make=True)
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / "log").write_text("one")
    assert seal.close_folder(folder)
    (folder / "log").write_text("left over")
    assert seal.close_folder(folder)
    assert seal.open_folder(folder)
    assert (folder / "log").read_text() == "one"


def test_the_learner_never_sees_a_sealed_target(blinded: Path) -> None:
    store = open_store(blinded / "idds.db", "read")
    definition = Definition(json.loads(store.workflows.by_id(1).definition))
    history = store.iterations.history(1, definition.loop("sealed"), 0)
    assert history.targets == ("exp",)
    assert all(
        set(p.observation.values) == {"exp"} and not p.observation.extras for p in history.measured if p.observation
    )
    store.close()


def test_another_key_opens_nothing(cli: Cli, blinded: Path) -> None:
    (blinded / ".idds" / "blind.key").unlink()
    assert cli("unblind", "sealed", "--reason", "x", "--workdir", blinded).err.startswith("E-BLIND-002")
    Seal(blinded / ".idds", make=True)
    assert cli("unblind", "sealed", "--reason", "x", "--workdir", blinded).err.startswith("E-BLIND-003")


@pytest.mark.parametrize("blind", [("other",), ("z",), "z"])
def test_what_cannot_be_blinded_is_refused(blind: object) -> None:
    with pytest.raises(DefinitionError) as caught:
        toy(blind=blind)
    assert "E-DEF-017" in [p.code for p in caught.value.problems]


def test_a_loop_without_sealed_targets_cannot_be_unblinded(cli: Cli, finished: Path) -> None:
    assert cli("unblind", "--reason", "x", "--workdir", finished).err.startswith("E-BLIND-004")


def test_without_the_library_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    with pytest.raises(IddsError, match="E-BLIND-001"):
        Seal(tmp_path, make=True)
