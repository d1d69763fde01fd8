"""What the command line refuses: each with its code, in one line."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from idds_agents.cli.lines import LineDisplay
from idds_core.store import open_store
from tests.agents.cli_kit import Cli, Runs
from tests.world import toy


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code", "says"),
    [
        (("show", "plan"), 4, "E-PATH-003", "Did you mean plane?"),
        (("show", "plane/plan"), 4, "E-PATH-004", "Did you mean plane?"),
        (("show", "plane/it"), 4, "E-PATH-005", "a number belongs after it/"),
        (("show", "plane/p/1/measure/job/0/b/1"), 4, "E-PATH-006", "'b' is not expected there"),
        (("show", "plane/p/4000"), 4, "E-PATH-007", "there is no point 4000"),
        (("show", "plane/p/1/measur"), 4, "E-PATH-008", "Did you mean measure?"),
        (("plot", "plane/p/1"), 4, "E-PATH-009", "it is a part of one"),
        (("plot", "plane", "--target", "obbs"), 4, "E-PLOT-003", "obbs"),
        (("plot", "plane", "-o", "contour.doc"), 4, "E-PLOT-004", "its ending is .doc"),
        (("plot", "plane", "-o", "no/where.svg"), 3, "E-FILE-020", "No such file or directory"),
        (("export", "plane", "-o", "no/where.csv"), 3, "E-FILE-020", "No such file or directory"),
        (("export", "plane", "--format", "xml"), 4, "E-EXPORT-001", "csv, json"),
        (("logs", "plane/p/4000"), 4, "E-PATH-007", "4000"),
        (("run", "scan.py", "--set", "max_points"), 4, "E-USAGE-002", "NAME=VALUE"),
    ],
)
def test_each_mistake_has_its_code(
    cli: Cli, finished: Path, arguments: tuple[str, ...], exit_code: int, code: str, says: str
) -> None:
    if arguments[0] == "run":
        Path("scan.py").write_text("def define(max_points: int = 1): ...\n", encoding="utf-8")
        done = cli(*arguments)
    else:
        done = cli(*arguments, "--workdir", finished)
    assert (done.code, len(done.lines)) == (exit_code, 1)
    assert done.err.startswith(f"{code} ")
    assert says in done.err


def test_a_point_at_which_nothing_failed_has_no_log_to_show(cli: Cli, finished: Path) -> None:
    done = cli("logs", f"plane/p/{_measured(finished)}", "--workdir", finished)
    assert (done.code, len(done.lines)) == (4, 1)
    assert done.err.startswith("E-LOG-001 no attempt below it has failed")


def _measured(workdir: Path) -> int:
    store = open_store(workdir / "idds.db", "read")
    try:
        return next(p.number for p in store.iterations.points(1) if p.state == "MEASURED")
    finally:
        store.close()


def test_a_store_without_a_workflow_or_with_two_is_told(cli: Cli, tmp_path: Path) -> None:
    store = open_store(tmp_path / "idds.db")
    assert cli("show").err.startswith("E-PATH-001 the store has no workflow yet")
    store.workflows.add(toy(), "bundle", 1)
    store.workflows.add(toy(name="other"), "bundle", 1)
    store.close()
    done = cli("show")
    assert (done.code, len(done.lines)) == (4, 1)
    assert done.err.startswith("E-PATH-002 which workflow is meant: there are 2")


PLAIN = """
from dataclasses import dataclass
from idds_core import Loop, Real, Space, chain, step
from idds_core.ports import Proposal
from idds_learners import MaxPoints

@dataclass(frozen=True)
class Plain:
    targets: tuple[str, ...] = ("y",)

    def ask(self, history, n):
        return Proposal([{"x": (len(history.points) + i + 1) / 100} for i in range(n)])

@step
def measure(x: float) -> dict:
    return {"y": x}

loop = Loop("plain", space=Space(x=Real(0, 1)), body=chain(measure), learner=Plain(), first=2, until=MaxPoints(2))
"""


def test_a_learner_without_a_map_has_none_to_take_away(cli: Cli, runs: Runs) -> None:
    file = runs.folder / "scans" / "plain.py"
    file.parent.mkdir()
    file.write_text(PLAIN, encoding="utf-8")
    assert runs.call("run", file).wait().code == 2
    Path("points.csv").write_text("x\n0.5\n", encoding="utf-8")
    done = cli("predict", "--points", "points.csv", "--workdir", runs.folder / "plain-run")
    assert (done.code, len(done.lines)) == (3, 1)
    assert done.err.startswith("E-REPORT-002 plain/plain has no map")


def test_a_display_that_fails_does_not_end_the_run(cli: Cli, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no such terminal")

    monkeypatch.setattr(LineDisplay, "show", fail)
    done = cli("run", runs.scan("cube"))
    assert done.code == 2
    assert "cube/cube: EXHAUSTED, 6 evaluations" in done.out
    assert done.err == "W-DISPLAY the display failed: RuntimeError: no such terminal.\n"


@pytest.mark.parametrize(("name", "code"), [("contour.png", "E-FILE-020"), ("contour.csv", "W-REPORT-001")])
def test_products_that_cannot_be_written_do_not_change_how_a_run_ends(
    cli: Cli, finished: Path, tmp_path: Path, name: str, code: str
) -> None:
    shutil.copytree(finished, tmp_path / "copy")
    (tmp_path / "copy" / "contour.svg").unlink()
    (tmp_path / "copy" / name).unlink()
    (tmp_path / "copy" / name / "in the way").mkdir(parents=True)
    scan = finished.parent / "scans" / "plane" / "plane.py"
    done = cli("run", scan, "--set", "max_points=26", "--workdir", tmp_path / "copy")
    assert done.code == 2
    assert done.err.startswith(f"{code} ")
    assert "plane/plane: EXHAUSTED" in done.out
