"""A workflow of several loops goes on, as a user sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.agents.cli_kit import Cli
from tests.agents.test_cli_campaign import attempts

STUDY = """
import json
from pathlib import Path
from idds_core import File, Loop, Real, Space, Workflow, chain, step
from idds_learners import Follow, MaxPoints, Sobol

@step
def prepare():
    print("preparing")
    return {"edge": 2.0}

@step
def look(x, edge):
    print("looking")
    return {"obs": x * edge, "exp": x}

@step
def begin(g, edge):
    return {"base": edge + g}

@step
def improve(v, base):
    return {"v": 0.5 * (v + base / v), "shift": v}

@step
def judge(result: File):
    return {"root": FACTOR * json.loads(Path(result).read_text())["points"][-1]["parameters"]["v"]}

@step
def last(scan, outer):
    return {"n": 1}

FACTOR = 1

def define(points: int = 4, turns: int = 2) -> Workflow:
    scan = Loop("scan", Space(x=Real(0, 1)), chain(look), Sobol(["obs", "exp"]), MaxPoints(points), batch=4, first=4,
                blind=("obs",))
    inner = Loop("inner", Space(v=Real(0.1, 10)), chain(improve), Follow({"v": 3.0}), MaxPoints(turns),
                 targets=("shift",))
    outer = Loop("outer", Space(g=Real(0, 3)), chain(begin, inner, judge), Sobol("root"), MaxPoints(2), batch=2,
                 first=2)
    return Workflow("study", chain(prepare, scan, outer, last))
"""


@pytest.fixture
def study(tmp_path: Path) -> Path:
    file = tmp_path / "source" / "study.py"
    file.parent.mkdir()
    file.write_text(STUDY, encoding="utf-8")
    return file


def test_loops_are_extended_by_their_paths_and_the_others_stay(cli: Cli, study: Path) -> None:
    assert cli("run", study, "--quiet").code == 2
    refused = cli("extend", "study", "--until", "MaxPoints(6)")
    assert (refused.code, refused.err.partition(" ")[0]) == (4, "E-USAGE-007")
    assert "study/scan" in refused.err
    assert cli("extend", study, "--until", "MaxPoints(6)").code == 4
    made = cli("extend", "study/scan", "--until", "MaxPoints(6)", "--json").json
    assert (made["path"], made["changes"]) == ("study~2", ["body.scan.until: MaxPoints(n=4) -> MaxPoints(n=6)"])
    assert cli("run", study, "--quiet").code == 2
    assert attempts("study~2", "study-run") == {"look": 2, "last": 1}
    inner = "study~2/outer/it/1/p/2/inner"
    assert cli("show", f"{inner}/p/1", "--json").json["observation"]["values"] == {"shift": 3.0}
    assert cli("extend", inner, "--until", "MaxPoints(3)").code == 0
    assert cli("run", "study", "--quiet").code == 2
    assert attempts("study~3", "study-run") == {"improve": 2, "judge": 2, "last": 1}
    assert cli("verify", "--deep").code == 0
    assert cli("replay", "study~3/outer/it/1/p/2/inner").code == 0
    assert cli("replay", "study~3/scan").code == 0


def test_what_a_revision_has_carried_on_is_found_by_its_paths(cli: Cli, study: Path, tmp_path: Path) -> None:
    cli("run", study, "--quiet")
    cli("run", study, "--quiet")
    changed = study.read_text(encoding="utf-8").replace("FACTOR = 1", "FACTOR = 2")
    study.write_text(changed, encoding="utf-8")
    dry = cli("amend", study, "--dry-run").out
    assert "scan: stays as it is" in dry
    assert "outer/inner: 2 times, stays as it is" in dry
    assert "run again: 2 judge, 1 last; taken over: 1 prepare, 2 begin" in dry
    told = cli("amend", study, "--json").json
    assert told["jobs"] == {"judge": 2, "last": 1}
    cli("run", study, "--quiet")
    assert attempts("study~2", "study-run") == told["jobs"]
    paths = [row["path"] for row in cli("ls", "study~2", "--json").json]
    assert paths == ["study~2/prepare/job/0", "study~2/scan", "study~2/outer", "study~2/last/job/0"]
    job = "study~2/outer/it/1/p/1/inner/it/1/p/1/improve/job/0"
    assert cli("show", job, "--json").json["attempts"][0]["path"].startswith("study/outer/")
    assert "preparing" in cli("logs", "study~2/prepare").out
    assert cli("logs", "study~2/scan/p/1/look").err.startswith("E-LOG-002")
    cli("get", "study~2/outer/it/1/p/1/inner/it/1/p/1", "-o", tmp_path / "out")
    assert list((tmp_path / "out").rglob("result.json"))
    assert cli("verify", "--deep").code == 0


def test_points_are_added_to_the_loop_that_is_named(cli: Cli, study: Path) -> None:
    cli("run", study, "--quiet")
    assert cli("add", "study", "x=0.3").err.startswith("E-USAGE-007")
    answer = cli("add", "study/scan", "x=0.3", "--json").json
    assert answer["workflow"] == "study~2"
    cli("run", "study", "--quiet")
    assert attempts("study~2", "study-run") == {"look": 1, "last": 1}


def test_a_workflow_begun_anew_takes_over_all_but_what_is_sealed(cli: Cli, study: Path) -> None:
    cli("run", study, "--quiet")
    cli("run", study, "--fresh", "--reuse", "--quiet")
    assert attempts("study~2", "study-run") == {"look": 4}
    job = cli("show", "study~2/outer/p/1/judge/job/0", "--json").json
    assert job["reason"] == "reused from study/outer/it/1/p/1/judge/job/0/a/1"
    cli("run", study, "--fresh", "--reuse", "--quiet", "--set", "turns=3")
    assert attempts("study~3", "study-run") == {"look": 4, "improve": 2, "judge": 2, "last": 1}
    assert cli("verify", "--deep").code == 0
