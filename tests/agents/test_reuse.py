"""A run that begins anew takes over what is known, and nothing that is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agents.cli_kit import Cli

SCAN = """
from pathlib import Path
from idds_core import File, Infeasible, Loop, Real, Space, chain, step
from idds_learners import MaxPoints, Sobol

@step
def make(ctx, x) -> File:
    with open({log!r}, "a") as log:
        log.write("make ")
    Path(ctx.file("events")).write_text(f"{{x}} {{ctx.seed}}")
    return ctx.file("events")

@step
def measure(events, x):
    with open({log!r}, "a") as log:
        log.write("measure ")
    if x > 0.8:
        raise Infeasible("too heavy")
    return {{"z": float(Path(events).read_text().split()[0])}}

scan = Loop("again", space=Space(x=Real(0, 1)), body=chain(make, measure), first=3, batch=3,
            learner=Sobol("z", transform="none"), until=MaxPoints(6))
"""


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    file = tmp_path / "source" / "scan.py"
    file.parent.mkdir()
    file.write_text(SCAN.format(log=str(tmp_path / "ran")), encoding="utf-8")
    return file


def ran(tmp_path: Path) -> dict[str, int]:
    """How often each step ran since the last look."""
    log = tmp_path / "ran"
    words = log.read_text(encoding="utf-8").split() if log.exists() else []
    log.write_text("", encoding="utf-8")
    return {name: words.count(name) for name in ("make", "measure")}


def test_a_fresh_run_with_reuse_runs_only_what_is_not_known(cli: Cli, scan: Path, tmp_path: Path) -> None:
    first = cli("run", scan, "--json").json
    assert ran(tmp_path) == {"make": 6, "measure": 6}
    again = cli("run", scan, "--fresh", "--reuse", "--json").json
    assert ran(tmp_path) == {"make": 0, "measure": 0}
    assert (again["path"], again["digest"]) == ("again~2/again", first["digest"])
    job = cli("show", "again~2/again/p/1/make/job/0", "--json").json
    assert (job["state"], job["attempts"]) == ("DONE", [])
    assert job["reason"] == "reused from again/again/it/1/p/1/make/job/0/a/1"
    assert cli("verify", "--deep").code == 0
    scan.write_text(scan.read_text(encoding="utf-8").replace('{"z": ', '{"z": 2 * '), encoding="utf-8")
    cli("run", scan, "--fresh", "--reuse", "--json")
    assert ran(tmp_path) == {"make": 0, "measure": 6}
    cli("run", scan, "--fresh", "--json")
    assert ran(tmp_path) == {"make": 6, "measure": 6}
    assert cli("verify", "--deep").code == 0


def test_a_result_whose_files_are_gone_is_made_again(cli: Cli, scan: Path, tmp_path: Path) -> None:
    cli("run", scan, "--json")
    ran(tmp_path)
    for file in (tmp_path / "again-run" / "again" / "again").rglob("events"):
        if "/p/1/" in str(file):
            file.unlink()
    cli("run", scan, "--fresh", "--reuse", "--json")
    assert ran(tmp_path) == {"make": 1, "measure": 0}


def test_another_seed_is_another_result_for_a_step_that_sees_it(cli: Cli, scan: Path, tmp_path: Path) -> None:
    first = cli("run", scan, "--json").json
    ran(tmp_path)
    other = cli("run", scan, "--fresh", "--reuse", "--seed", "3", "--json").json
    assert ran(tmp_path)["make"] == 6
    assert other["digest"] != first["digest"]
