"""What every verb promises to scripts: an example that runs, ``--json`` as its schema says, and exit codes."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from idds_agents.cli.outputs import OUTPUTS, output_schema, page
from tests.agents import verbs_kit as kit
from tests.agents.cli_kit import Cli, Runs

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kit.world(tmp_path_factory.mktemp("world"))


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the folder in which all examples run."""
    folder = tmp_path / "copy"
    shutil.copytree(made, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def check(verb: str, document: Any) -> None:
    found = [
        f"{list(e.absolute_path)}: {e.message}" for e in Draft202012Validator(output_schema(verb)).iter_errors(document)
    ]
    assert not found


def example(cli: Cli, verb: str) -> list[str]:
    """The words of the example in a verb's help."""
    done = cli(*verb.split(), "--help")
    assert done.code == 0
    assert "--json" in done.out
    lines = [line.strip() for line in done.out.splitlines()]
    (line,) = [line.removeprefix("Example: ") for line in lines if line.startswith("Example: ")]
    program, *words = shlex.split(line)
    assert [program, *words[: len(verb.split())]] == ["idds-core", *verb.split()]
    return words


# ---------------------------------------------------------------------- every verb
def test_there_is_a_schema_for_each_verb_and_for_nothing_else() -> None:
    assert sorted(OUTPUTS) == sorted(kit.commands())


def test_a_schema_leaves_nothing_open() -> None:
    def objects(schema: Any) -> list[dict[str, Any]]:
        if isinstance(schema, list):
            return [o for s in schema for o in objects(s)]
        if not isinstance(schema, dict):
            return []
        return ([schema] if schema.get("type") == "object" else []) + objects([*schema.values()])

    for verb in OUTPUTS:
        Draft202012Validator.check_schema(output_schema(verb))
        for found in objects(OUTPUTS[verb]):
            assert "additionalProperties" in found
            assert set(found.get("required", [])) <= set(found.get("properties", {}))


@pytest.mark.parametrize("verb", list(kit.commands()))
def test_the_example_of_every_verb_runs_and_its_JSON_is_as_its_schema_says(cli: Cli, verb: str, here: Path) -> None:
    words = example(cli, verb)
    if verb in kit.PREPARED:
        kit.PREPARED[verb](here)
    if verb == "config":  # its example prints TOML
        assert cli(*words).code == 0
        words = ["config"]
    if "--json" not in words:
        words.append("--json")
    done = cli(*words)
    assert done.code == kit.CODES.get(verb, 0), done.err
    check(verb, json.loads(done.out))


# ---------------------------------------------------------------------- other forms of the same verb
@pytest.mark.parametrize(
    "line",
    [
        "show monohbb",
        "show monohbb/it/2",
        "show monohbb/p/42",
        "show monohbb/p/42/generate",
        "show monohbb/p/42/generate/job/0/a/1",
        "ls",
        "ls monohbb",
        "ls monohbb/it/1",
        "ls monohbb/p/42",
        "ls monohbb/p/42/generate/job/0",
        "logs",
        "logs monohbb/p/42/generate",
        "why monohbb/p/42",
        "plot monohbb -o now.svg",
        "plot monohbb --movie movie.gif",
        "export",
        "export --what points",
        "export --what map --grid 5",
        "export -o contour.csv",
        "export --format surrogate -o surrogate",
        "get monohbb/p/42/limit -o results",
        "verify",
        "errors",
        "errors E-SPACE-004",
        "config --schema",
        "schema",
        "schema --output show",
        "schema --output 'db check' -o check.json",
        "convert scan.py",
        "plan scan.py",
        "validate scan.py",
        "init other --template custom",
        "clean monohbb --dry-run",
        "compare monohbb monohbb",
        "db check",
        "db upgrade",
        "retry --point 1",
        "hold",
        "run scan.py --detach --workdir monohbb-run",
    ],
)  # fmt: skip
def test_every_form_of_a_verb_keeps_its_schema(cli: Cli, here: Path, line: str) -> None:
    verb = " ".join(shlex.split(line)[:2]) if line.startswith("db ") else line.split(maxsplit=1)[0]
    done = cli(*shlex.split(line), "--json")
    if done.code == 4:
        pytest.fail(done.err)
    check(verb, json.loads(done.out))


FLOW = """
from idds_core import Categorical, Loop, Real, Space, Workflow, chain, step
from idds_learners import MaxPoints, Sobol

@step
def before() -> dict:
    return {"a": 0.25}

@step
def measure(x: float, kind: str, a: float) -> dict:
    return {"cls": a * x, "events": 3}

space = Space(x=Real(0, 1), kind=Categorical(["u", "v"]))
loop = Loop("steady", space=space, body=chain(measure), learner=Sobol(["cls"]), until=MaxPoints(8), mode="steady",
            first=3, batch=2)
workflow = Workflow("flow", body=chain(before, loop))
"""


def test_steps_outside_a_loop_and_steady_iterations_have_the_same_schemas(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "flow.py").write_text(FLOW, encoding="utf-8")
    done = cli("run", "flow.py", "--quiet")
    assert (done.code, done.err) == (2, "")
    for line in (
        "show",
        "show flow/steady",
        "show flow/steady/it/1",
        "show flow/steady/p/1",
        "show flow/before",
        "ls",
        "ls flow",
        "ls flow/steady/it/1",
        "ls flow/before",
        "why flow/before",
        "logs flow/before",
        "export flow/steady --what points",
        "replay flow/steady",
        "get flow/steady -o files",
    ):
        done = cli(*line.split(), "--json")
        assert done.code == 0, done.err
        check(line.split(maxsplit=1)[0], json.loads(done.out))
    assert "ingested_upto" in cli("show", "flow/steady/it/1", "--json").json
    check("plan", cli("plan", "flow.py", "--json").json)


def test_points_that_were_brought_have_an_iteration_without_a_decision(cli: Cli, here: Path) -> None:
    assert cli("import", "monohbb", "points.csv").code == 0
    assert cli("run", "monohbb", "--quiet").code == 2
    done = cli("show", "monohbb~2/it/0", "--json")
    assert done.code == 0, done.err
    check("show", done.json)
    (point,) = done.json["points"]
    assert point["parameters"] == {"m_zp": 600.0, "m_a": 300.0}


def test_one_value_is_all_that_stdout_has(cli: Cli, here: Path) -> None:
    done = cli("run", "scan.py", "--workdir", "again", "--set", "max_points=20", "--json")
    assert done.code == 2
    check("run", json.loads(done.out))
    assert "iteration 1: 10 points" in done.err


def test_a_run_at_work_is_told_when_it_is_detached(cli: Cli, runs: Runs) -> None:
    runs.shut_gate()
    words = ("--set", f"gate={runs.gate}", "--slots", "1")
    done = cli("run", runs.scan("gated"), *words, "--workdir", runs.folder / "gated-run", "--detach", "--json")
    assert done.code == 0, done.err
    check("run", done.json)
    check("why", cli("why", "--workdir", runs.folder / "gated-run", "--json").json)
    assert set(done.json) == {"pid", "workdir", "log"}
    ended = cli("cancel", "--workdir", runs.folder / "gated-run", "--json")
    check("cancel", ended.json)
    runs.open_gate()
    attached = cli("attach", runs.folder / "gated-run", "--json")
    assert attached.code == 3
    check("attach", json.loads(attached.out))


def test_logs_that_are_followed_are_one_value_at_the_end(cli: Cli, runs: Runs) -> None:
    runs.shut_gate()
    words = ("--set", f"gate={runs.gate}", "--slots", "1")
    workdir = runs.folder / "gated-run"
    process = runs.run("gated", *words, "--quiet")
    from tests.agents.cli_kit import until

    until(lambda: "submitted" in cli("why", "--workdir", workdir, "--json").out, "an attempt")
    path = "gated/p/1/measure/job/0/a/1"
    followed = runs.call("logs", "-f", path, "--workdir", workdir, "--json")
    runs.let_one_pass()
    runs.open_gate()
    done = followed.wait()
    assert done.code == 0, done.err
    (log,) = json.loads(done.out)
    assert (log["state"], log["log"]) == ("SUCCEEDED", "started\nreleased\n")
    check("logs", [log])
    assert process.wait().code == 2


# ---------------------------------------------------------------------- refusals
def _empty(_: Path) -> None:
    pass


def _no_store(folder: Path) -> None:
    (folder / "monohbb-run").mkdir()


def _garbage(folder: Path) -> None:
    (folder / "monohbb-run").mkdir()
    (folder / "monohbb-run" / "idds.db").write_bytes(b"garbage" * 1000)


def _no_folder(folder: Path) -> None:
    (folder / "monohbb-run").write_text("a file", encoding="utf-8")


@pytest.mark.parametrize("verb", list(kit.commands()))
@pytest.mark.parametrize("broken", [_empty, _no_store, _garbage, _no_folder])
def test_where_nothing_is_to_be_had_every_verb_says_so_by_its_code(
    cli: Cli, verb: str, tmp_path: Path, broken: Any
) -> None:
    broken(tmp_path)
    done = cli(*example(cli, verb))
    assert done.code in (0, 3, 4)
    assert bool(done.code) == any(line.startswith("E-") for line in done.lines) or verb == "doctor"
    for line in done.lines:
        assert re.match(r"[EW]-[A-Z]+-\d{3} ", line), line


def test_a_point_that_is_not_there_is_not_tried_again(cli: Cli, here: Path) -> None:
    done = cli("retry", "--point", "51", "--json")
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("E-PATH-007 there is no point 51")


def test_an_interrupted_verb_has_not_concluded(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any, **__: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("idds_agents.cli.show.show", stopped)
    assert cli("show").code == 3


def test_a_mistake_prints_no_JSON_but_its_code(cli: Cli, here: Path) -> None:
    for line in ("show monohbbb", "export --format xml", "predict --points no.csv", "plan no.py", "get monohbb/p/999"):
        done = cli(*line.split(), "--json")
        assert (done.code, done.out) == (4, "")
        assert done.err.startswith("E-")


def test_validate_tells_its_problems_as_JSON(cli: Cli, here: Path) -> None:
    Path("bad.yaml").write_text("name: bad\nspace: {x: {low: 1, high: 0}}\n", encoding="utf-8")
    done = cli("validate", "bad.yaml", "--json")
    assert done.code == 4
    check("validate", done.json)
    assert not done.json["ok"]


def test_an_example_file_is_no_JSON(cli: Cli) -> None:
    done = cli("config", "--example", "--json")
    assert (done.code, len(done.lines)) == (4, 1)
    assert done.err.startswith("E-USAGE-005 --json and --example are two things")


def test_a_schema_of_no_verb_is_refused(cli: Cli) -> None:
    done = cli("schema", "--output", "shwo")
    assert (done.code, done.out) == (4, "")
    assert done.err.startswith("E-USAGE-008 there is no verb shwo. Did you mean show?")


def test_a_process_of_its_own_gives_the_code_that_the_readme_says(cli: Cli, here: Path) -> None:
    def code(*words: str) -> int:
        return subprocess.run(
            [sys.executable, "-m", "idds_agents", *words], capture_output=True, timeout=100
        ).returncode

    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    promised = "0 converged or fine, 2 budget spent, 3 failed or not concluded, 4 bad input, 5 handed over"
    assert promised in text
    assert promised in " ".join(cli("--help").out.split())
    Path("scan.py").write_text(Path("scan.py").read_text(encoding="utf-8").replace("> 2600", "> 0"), encoding="utf-8")
    assert code("show") == 0
    assert code("run", "monohbb") == 2
    assert code("run", "scan.py", "--workdir", "failing", "--quiet", "--set", "max_points=10") == 3
    assert code("run", "scan.py", "--nonsense") == 4
    handed = ("--max-wall", "1s", "--margin", "0.99s")
    assert code("run", "scan.py", "--workdir", "short", "--quiet", *handed) == 5


# ---------------------------------------------------------------------- documentation
def test_the_page_of_outputs_is_made_from_the_schemas() -> None:
    file = ROOT / "docs" / "reference" / "json.md"
    assert file.read_text(encoding="utf-8") == page(), "python -m idds_agents.cli.outputs > docs/reference/json.md"
