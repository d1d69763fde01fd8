"""The verbs about a scan file: init, validate, plan, schema, convert; and the way of a newcomer."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from idds_agents.budget import Budget, budget_of, cost_of
from idds_agents.cli.app import app
from idds_core import to_yaml
from idds_core.loading import load
from idds_core.model import chain
from idds_learners import BoundaryConverged, CoreHours, MaxIterations, MaxPoints, Wall
from tests.agents.cli_kit import SCANS, Cli, Runs
from tests.world import function, toy

TEMPLATES = ("custom", "hpo", "limit", "shell")


# ---------------------------------------------------------------------- init
@pytest.mark.parametrize("template", TEMPLATES)
def test_each_template_is_fine_and_runs_to_its_end(cli: Cli, runs: Runs, template: str) -> None:
    done = cli("init", runs.folder / "mine", "--template", template, "--json").json
    assert done["template"] == template
    assert [line.split()[1] for line in done["next"][1:]] == ["validate", "plan", "run"]
    folder = runs.folder / "mine"
    assert sorted(done["files"]) == sorted(f.name for f in folder.iterdir())
    scan = folder / done["next"][-1].split()[-1]
    checked = cli("validate", scan)
    assert (checked.code, checked.err) == (0, "")
    assert checked.out.startswith(f"{scan} is fine: scan {template} of 2 parameters, 1 step, at most ")
    few = ("--set", "max_points=12") if template != "custom" else ()
    ran = runs.call("run", scan, "--quiet", *few).wait()
    assert ran.code in (0, 2), ran.err
    shown = cli("show", "--workdir", runs.folder / f"{template}-run", "--json").json
    assert shown["state"] in ("CONVERGED", "EXHAUSTED")
    assert shown["failures"] == {}
    assert (shown["evaluations"] == 40) if template == "custom" else (shown["evaluations"] == 12)
    if template == "hpo":
        assert shown["best"][0]["target"] == "error"
    elif template != "custom":  # it has no map
        assert (runs.folder / f"{template}-run" / "contour.csv").stat().st_size > 100


def test_init_never_overwrites(cli: Cli, tmp_path: Path) -> None:
    assert cli("init", "a", "--template", "shell").code == 0
    assert cli("init", "a", "--template", "shell").code == 0  # the same files: a call that was cut short is finished
    script = tmp_path / "a" / "mc.sh"
    script.write_text("mine\n", encoding="utf-8")
    (tmp_path / "a" / "scan.yaml").unlink()
    refused = cli("init", "a", "--template", "shell")
    assert (refused.code, len(refused.lines)) == (4, 1)
    assert refused.err.startswith("E-INIT-002 mc.sh would be overwritten")
    assert script.read_text(encoding="utf-8") == "mine\n"
    assert not (tmp_path / "a" / "scan.yaml").exists()


def test_init_says_what_to_do_next(cli: Cli, tmp_path: Path) -> None:
    done = cli("init", "my scan", "--template", "shell")
    assert "  cd 'my scan'\n  idds-core validate scan.yaml\n  idds-core plan scan.yaml\n  idds-core run" in done.out
    assert "mc.sh" in done.out
    assert stat.S_IMODE((tmp_path / "my scan" / "mc.sh").stat().st_mode) & 0o111
    assert not [f for f in (tmp_path / "my scan").iterdir() if f.suffix == ".py"]
    here = cli("init")
    assert "cd " not in here.out
    assert (tmp_path / "scan.py").exists()
    wrong = cli("init", "--template", "shel")
    assert (wrong.code, wrong.err.split()[0]) == (4, "E-INIT-001")
    assert "Did you mean shell?" in wrong.err
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert cli("init", tmp_path / "file" / "x").err.startswith("E-INIT-003")


# ---------------------------------------------------------------------- validate
def test_validate_tells_all_mistakes_with_their_lines(cli: Cli, tmp_path: Path) -> None:
    cli("init", ".", "--template", "shell")
    file = tmp_path / "scan.yaml"
    text = file.read_text(encoding="utf-8").replace("low: 400", "lo: 400").replace("retry: 2", "retri: 2")
    file.write_text(text, encoding="utf-8")
    number = {word: text[: text.index(word)].count("\n") + 1 for word in ("lo: 400", "retri")}
    done = cli("validate", "scan.yaml")
    assert (done.code, done.out, len(done.lines)) == (4, "", 3)
    assert f"(scan.yaml:{number['lo: 400']})" in done.err
    assert f"'retri' (scan.yaml:{number['retri']}). Did you mean 'retry'?" in done.err
    document = cli("validate", "scan.yaml", "--json")
    assert document.code == 4
    assert {k for p in document.json["problems"] for k in p} == {"code", "what", "why", "where", "fix"}
    assert (document.json["ok"], document.json["name"], len(document.json["problems"])) == (False, None, 3)


def test_validate_has_one_schema_for_good_and_bad(cli: Cli, tmp_path: Path) -> None:
    cli("init", ".", "--template", "limit")
    good, bad = cli("validate", "scan.py", "--json"), cli("validate", "no.yaml", "--json")
    assert (good.code, bad.code) == (0, 4)
    assert set(good.json) == set(bad.json) == {"file", "ok", "name", "problems"}
    assert good.json == {"file": "scan.py", "ok": True, "name": "limit", "problems": []}


@pytest.mark.parametrize(("change", "code"), [("remove", "E-SCRIPT-001"), ("chmod", "E-SCRIPT-002")])
@pytest.mark.parametrize("verb", ["validate", "plan", "run"])
def test_a_script_that_cannot_be_started_is_told_before_anything_runs(
    cli: Cli, tmp_path: Path, change: str, code: str, verb: str
) -> None:
    cli("init", ".", "--template", "shell")
    script = tmp_path / "mc.sh"
    script.rename(tmp_path / "mcc.sh") if change == "remove" else script.chmod(0o644)
    done = cli(verb, "scan.yaml")
    assert (done.code, len(done.lines)) == (4, 1)
    assert done.err.startswith(code)
    number = (tmp_path / "scan.yaml").read_text(encoding="utf-8").split("run: ./mc.sh")[0].count("\n") + 1
    assert f"(scan.yaml:{number})" in done.err
    assert ("Did you mean './mcc.sh'?" if change == "remove" else "chmod +x ./mc.sh") in done.err
    assert not list(tmp_path.glob("*-run"))


# ---------------------------------------------------------------------- plan
def test_a_plan_shows_the_points_that_a_run_then_takes(cli: Cli, runs: Runs) -> None:
    file = runs.scan("plane")
    plan = cli("plan", file, "--seed", "3", "--json")
    assert plan.code == 0
    (loop,) = plan.json["loops"]
    assert len(loop["first_points"]) == 10
    assert not list(Path.cwd().glob("plane-run"))
    assert runs.run("plane", "--seed", "3", "--set", "max_points=10", "--quiet").wait().code == 2
    exported = json.loads(cli("export", "plane", "--workdir", runs.folder / "plane-run", "--json").out)
    assert [p["parameters"] for p in exported["points"]] == loop["first_points"]


def test_a_plan_has_graph_providers_and_bounds(cli: Cli, tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "shell" / "scan.yaml"
    document = cli("plan", example, "--json", "--slots", "4").json
    assert set(document) == {"file", "name", "seed", "loops", "disk", "steps"}
    (loop,) = document["loops"]
    assert set(loop) == {"loop", "space", "targets", "learner", "until", "steps", "first_points", "batch", "budget",
                         "cost"}  # fmt: skip
    assert loop["budget"] == {"points": 60, "core_hours": None, "wall_s": None}
    assert loop["cost"] == {"jobs": 120, "attempts": 360, "core_hours": 70.0, "core_hours_retried": 210.0}
    first, second = loop["steps"]
    assert first["providers"] == [{"name": "local", "slots": 4, "ok": True, "reason": "it fits"}]
    assert (first["takes"], first["gives"]) == (["m_zp", "coupling", "events", "seed"], ["events"])
    assert (second["takes"], second["gives"]) == (["generate.events", "background"], ["obs", "exp"])
    assert document["disk"]["needed_bytes"] is None
    assert document["disk"]["free_bytes"] > 0
    text = cli("plan", example, "--slots", "4").out
    for words in ("learner level-set\n  | m_zp, coupling\n  v  generate (command): ./generate.sh {m_zp}",
                  "  | events\n  v  limit (command)", "until BoundaryConverged(0.02) | MaxPoints(60)",
                  "local (4 slots) fits: it fits", "first points (10):", "at most 60 points, 120 jobs"):  # fmt: skip
        assert words in text


def test_a_plan_knows_the_disk_from_an_earlier_run(cli: Cli, finished: Path, tmp_path: Path) -> None:
    file = tmp_path / "plane.py"
    file.write_text(SCANS["plane"], encoding="utf-8")
    disk = cli("plan", file, "--workdir", finished, "--json").json["disk"]
    assert disk["bytes_per_point"] > 0
    assert disk["needed_bytes"] == pytest.approx(26 * disk["bytes_per_point"] + disk["bundle_bytes"], abs=2)
    assert "by the run that is here" in cli("plan", file, "--workdir", finished).out


def test_a_plan_that_no_provider_can_run_is_shown_and_refused(cli: Cli, tmp_path: Path) -> None:
    cli("init", ".", "--template", "shell")
    file = tmp_path / "scan.yaml"
    file.write_text(file.read_text(encoding="utf-8").replace("cores: 1", "cores: 64"), encoding="utf-8")
    done = cli("plan", "scan.yaml", "--slots", "2")
    assert done.code == 4
    assert "local (2 slots) does not fit: it needs 64 cores, there are 2" in done.out
    assert done.err.startswith("E-ROUTE-001")


def test_a_learner_that_fails_is_told_by_the_plan(cli: Cli, tmp_path: Path) -> None:
    cli("init", ".", "--template", "custom")
    file = tmp_path / "scan.py"
    file.write_text(file.read_text(encoding="utf-8").replace("target = self.targets[0]", "1 / 0"), encoding="utf-8")
    done = cli("plan", "scan.py")
    assert (done.code, len(done.lines)) == (3, 1)
    assert done.err.startswith("E-LEARNER-003 the learner failed: ZeroDivisionError")


@pytest.mark.parametrize(
    ("until", "budget"),
    [
        (MaxPoints(60), Budget(60)),
        (MaxIterations(3), Budget(26)),
        (BoundaryConverged(0.1) | MaxPoints(60) | Wall("2h") | CoreHours(5), Budget(60, 5.0, 7200.0)),
        (MaxPoints(60) | MaxPoints(30), Budget(30)),
        (MaxPoints(60) & MaxPoints(30), Budget(60)),
        (MaxPoints(60) & Wall(10), Budget()),
        (~MaxPoints(60) | Wall(10), Budget(None, None, 10.0)),
    ],
)
def test_bounds_follow_the_conditions(until: Any, budget: Budget) -> None:
    from idds_core.plugins import CONDITIONS, describe

    loop = {"until": json.loads(json.dumps(describe(until, CONDITIONS))), "first": 10, "batch": 8, "body": []}
    assert budget_of(loop) == budget
    assert cost_of(toy().workflow.loops[0], None).jobs is None


def test_bounds_count_every_chunk_of_every_variant() -> None:
    loop = toy(body=chain(replace(function("make", "x"), split=5, foreach=("a", "b")), function("measure", "n")))
    assert cost_of(loop.workflow.loops[0], 10).jobs == 110


# ---------------------------------------------------------------------- schema and convert
def test_the_schema_is_printed_and_written(cli: Cli, tmp_path: Path) -> None:
    printed, document = cli("schema"), cli("schema", "--json").json
    assert json.loads(printed.out) == document
    Draft202012Validator.check_schema(document)
    assert cli("schema", "-o", "s.json").code == 0
    assert cli("schema", "-o", "s.json", "--json").json == {"file": "s.json"}  # made again
    assert json.loads((tmp_path / "s.json").read_text(encoding="utf-8")) == document
    assert cli("schema", "-o", "no/s.json").code == 4


def test_a_scan_is_converted_and_runs_as_it_was(cli: Cli, runs: Runs) -> None:
    file = runs.scan("curve")
    out = file.parent / "scan.yaml"
    done = cli("convert", file, "-o", out)
    assert (done.code, done.err) == (0, "")
    assert "its functions stay in Python: curve" in done.out
    assert load(out).text == load(file).text
    assert cli("convert", file).out == out.read_text(encoding="utf-8")
    assert set(cli("convert", file, "--json").json) == {"file", "yaml", "modules"}
    again = cli("convert", file, "-o", out)
    assert (again.code, again.err.split()[0]) == (4, "E-CONVERT-002")
    nowhere = cli("convert", file, "-o", out.parent / "no" / "such" / "scan.yaml")
    assert (nowhere.code, nowhere.err.split()[0]) == (4, "E-CONVERT-003")
    ran = runs.call("run", out, "--quiet").wait()
    assert ran.code == 0
    resumed = runs.call("run", out, "--quiet").wait()  # concluded: its result again
    assert (resumed.code, resumed.out) == (0, ran.out)
    assert any((runs.folder / "curve-run" / "bundles").glob("*/scan.yaml"))


def test_what_would_not_come_back_the_same_is_not_written(
    cli: Cli, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idds_agents.cli.convert.to_yaml", lambda _: to_yaml(toy(points=3)))
    done = cli("convert", runs.scan("cube"))
    assert (done.code, done.err.split()[0]) == (4, "E-CONVERT-001")


# ---------------------------------------------------------------------- all verbs
@pytest.mark.parametrize("verb", [c.name or c.callback.__name__ for c in app.registered_commands if c.callback])
def test_the_help_of_every_verb_ends_with_an_example(cli: Cli, verb: str) -> None:
    done = cli(verb, "--help")
    assert done.code == 0
    last = done.out.rstrip().splitlines()[-1]
    assert last.strip().startswith(f"Example: idds-core {verb}")
    assert "--json" in done.out


# ---------------------------------------------------------------------- the newcomer
OWN = """#!/bin/sh
# a simulation of one's own, which knows nothing of idds-core
set -e
echo "mass $1 GeV, coupling $2"
awk -v m="$1" -v g="$2" 'BEGIN { s = 4000 * g * g * exp(-m / 300); printf "{\\"cls\\": %.8g}", exp(-s) }' > limits.json
"""


def test_a_newcomer_comes_from_nothing_to_a_contour_without_python(tmp_path: Path) -> None:
    """Literally: each line is typed in a shell, and what is edited is what `init` has said."""

    def shell(line: str) -> str:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                              env={**os.environ, "PATH": path})  # fmt: skip
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    assert "Put your simulation into mc.sh" in shell("idds-core init my-scan --template shell")
    folder = tmp_path / "my-scan"
    (folder / "mc.sh").write_text(OWN, encoding="utf-8")
    scan = (folder / "scan.yaml").read_text(encoding="utf-8")
    for old, new in (
        ("  m_zp: {low: 400, high: 2800, unit: GeV}\n  m_a: {low: 200, high: 1200, unit: GeV}\n",
         "  mass: {low: 200, high: 2000, unit: GeV}\n  coupling: {log: [0.05, 2]}\n"),
        ("constraints:\n  - m_zp > m_a + 125\n", ""),
        ("./mc.sh {m_zp} {m_a} {events} {seed}", "./mc.sh {mass} {coupling}"),
        ("targets: [obs, exp]", "targets: [cls]"),
    ):  # fmt: skip
        assert old in scan
        scan = scan.replace(old, new)
    (folder / "scan.yaml").write_text(scan, encoding="utf-8")
    assert "is fine" in shell("cd my-scan && idds-core validate scan.yaml")
    assert "first points (10)" in shell("cd my-scan && idds-core plan scan.yaml")
    assert "CONVERGED" in shell("cd my-scan && idds-core run scan.yaml")
    lines = (folder / "shell-run" / "contour.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "target,curve,segment,mass,coupling"
    assert len(lines) > 20
    assert (folder / "shell-run" / "contour.png").read_bytes().startswith(b"\x89PNG")
    assert not list(folder.glob("*.py"))


def test_init_works_where_files_cannot_be_linked(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_link(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    assert cli("init", ".", "--template", "shell").code == 0
    assert sorted(f.name for f in tmp_path.iterdir()) == [".scan.schema.json", "mc.sh", "scan.yaml"]
    assert cli("validate", "scan.yaml").code == 0
