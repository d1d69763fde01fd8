"""A definition written as YAML and read back is the same document, letter for letter."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from idds_core import (
    Categorical,
    Integer,
    Log,
    Loop,
    Ordered,
    Real,
    Requirements,
    Retry,
    Space,
    Step,
    Workflow,
    chain,
    command,
    step,
    to_yaml,
)
from idds_core.definition import Definition, validate
from idds_core.errors import DefinitionError
from idds_core.loading import load
from idds_core.plugins import LEARNERS, build
from idds_core.yaml.loading import load_text
from idds_core.yaml.nodes import parse
from idds_core.yaml.schema import json_schema
from idds_learners import BoundaryConverged, CoreHours, LevelSet, MaxIterations, MaxPoints, Optuna, Skopt, Sobol, Wall
from idds_learners.conditions import All, Any_, Not

ROOT = Path(__file__).parents[3]
HERE = Path(__file__)


@step
def plain(x: float, y: float = 1.0) -> dict[str, float]:
    return {"obs": x + y}


@step(requires=Requirements(cores=2, memory="1GB"), retry=Retry(attempts=7))
def demanding(ctx: Any, x: float) -> dict[str, float]:
    return {"obs": x}


def undecorated(x: float) -> dict[str, float]:
    return {"obs": x}


# ---------------------------------------------------------------------- definitions of all sorts
WORDS = [
    "on",
    "null",
    "true",
    "no",
    "y",
    "e",
    "_",
    "1e-3",
    "012",
    "constraints",
    "type",
    "kind",
    "~",
    "",
    " a ",
    "a: b",
    "#x",
]
names = st.one_of(
    st.sampled_from(["on", "null", "true", "no", "y", "e", "constraints", "type", "kind", "low", "parameters"]),
    st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,8}", fullmatch=True),
)
odd = st.one_of(st.sampled_from(WORDS), st.text(max_size=12))
numbers = st.one_of(
    st.sampled_from([1e-3, 1e-5, 0.1, 400.0, 1e22, -0.0, 1e-300, 123456789.25]),
    st.floats(-1e9, 1e9, allow_nan=False),
)
counts = st.integers(1, 50)


@st.composite
def parameters(draw: Any) -> Any:
    low, width, unit = draw(numbers), draw(st.floats(1e-3, 1e6)), draw(odd)
    match draw(st.integers(0, 4)):
        case 0:
            return Real(low, low + width, unit)
        case 1:
            return Log(abs(low) + 1e-3, abs(low) + width + 1, unit)
        case 2:
            return Integer(int(low), int(low) + 1 + int(width), unit)
        case 3:
            values = draw(st.sampled_from([st.integers(-99, 99), st.floats(-9, 9), odd]))
            return Ordered(draw(st.lists(values, min_size=1, max_size=4, unique=True)), unit, when=draw(odd))
    return Categorical(draw(st.lists(odd, min_size=1, max_size=4, unique=True)), unit)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**60), 2**60), numbers, odd),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(odd, inner, max_size=3)),
    max_leaves=6,
)
leaves = st.one_of(
    st.builds(BoundaryConverged, tol=st.floats(1e-6, 1), consecutive=counts, give_up=counts),
    st.builds(MaxPoints, counts),
    st.builds(MaxIterations, counts),
    st.builds(Wall, st.one_of(st.sampled_from(["12h", "1d 6h", "90 min"]), st.floats(1, 1e6))),
    st.builds(CoreHours, st.one_of(counts, st.floats(1e-3, 1e6))),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(lambda a, b: a | b, inner, inner),
        st.builds(lambda a, b: a & b, inner, inner),
        st.builds(lambda a: ~a, inner),
        st.builds(lambda *c: Any_(c), inner),
        st.builds(lambda a, b: All((a, Any_((b,)))), inner, inner),
        st.builds(lambda a: Not((a,)), inner),
    ),
    max_leaves=5,
)
needs = st.builds(
    Requirements,
    cores=counts,
    memory=st.one_of(st.none(), st.sampled_from(["4GB", "3GiB"]), st.integers(1, 10**12)),
    walltime=st.one_of(st.sampled_from(["2h", "90s", "1.5h"]), st.floats(1e-3, 1e7)),
)
tries = st.builds(Retry, counts, st.one_of(st.just(0), st.floats(1e-3, 1e6)))
providers = st.sampled_from([None, "local", "slurm:perlmutter | local"])
tokens = st.lists(st.one_of(st.sampled_from(["./mc.sh", "{seed}", "{bundle}/x", "--a='b c'", "{{}}"]), odd.filter(
    lambda t: "{" not in t and "}" not in t)), max_size=4)  # fmt: skip


@st.composite
def commands(draw: Any, name: str, last: bool) -> Step:
    return Step(
        name,
        run=("./run.sh", *draw(tokens)),
        outputs=draw(st.dictionaries(names, st.sampled_from(["a.txt", "on", "012", "x y.txt"]), max_size=2)),
        result="limits.json" if last or draw(st.booleans()) else None,
        provider=draw(providers),
        requires=draw(needs),
        retry=draw(tries),
    )


@st.composite
def definitions(draw: Any) -> Definition:
    space = draw(st.dictionaries(names, parameters(), min_size=1, max_size=3))
    last = st.one_of(
        commands("last", True), st.just(Step("ref", function="nowhere:run", optional=("on",), context=True))
    )
    loop = Loop(
        name=draw(st.sampled_from(["scan", "on", "null", "a-b_c"])),
        space=Space(space, constraints=draw(st.sampled_from([[], [f"{next(iter(space))} == {next(iter(space))}"]]))),
        body=chain(draw(commands("first", False)), draw(last)),
        learner=draw(st.one_of(
            st.builds(LevelSet, st.sampled_from(["obs", ["obs", "exp"]]), level=st.floats(1e-3, 0.9)),
            st.builds(LevelSet, st.just(["obs"]), level=st.just({"obs": 0.05}), transform=st.just("none")),
            st.builds(Sobol, st.just(["y"])), st.just({"type": "sobol", "targets": ["on"]}),
        )),
        until=draw(conditions) | MaxPoints(draw(counts)),
        batch=draw(counts), first=draw(counts), hold_after=draw(counts),
        targets=draw(st.sampled_from([(), ("other",)])),
        parameters=draw(st.dictionaries(odd.map(lambda t: f"p{t}"), json_values, max_size=3)),
    )  # fmt: skip
    try:
        return validate(loop if draw(st.booleans()) else Workflow("flow", (loop,)))
    except DefinitionError:
        assume(False)
        raise


@given(definitions())
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_any_definition_comes_back_as_it_was(definition: Definition) -> None:
    text = to_yaml(definition)
    assert text.isascii()
    assert load_text(text, HERE).text == definition.text


@given(st.one_of(odd, st.text(max_size=40), json_values))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_any_value_comes_back_as_it_was(value: Any) -> None:
    loop = Loop("scan", Space(x=Real(0, 1)), chain(plain), LevelSet("obs"), MaxPoints(3), parameters={"p": value})
    try:
        definition = validate(loop)
    except DefinitionError:  # a half of a surrogate pair is no JSON
        assume(False)
    assert load_text(to_yaml(definition), HERE).text == definition.text


# ---------------------------------------------------------------------- functions
@pytest.fixture
def as_module(monkeypatch: pytest.MonkeyPatch) -> str:
    """This file's functions as a module that can be imported by a name."""
    monkeypatch.setitem(sys.modules, plain.target.__module__, sys.modules[plain.target.__module__])
    return str(plain.target.__module__)


@pytest.mark.parametrize(
    "made",
    [plain, demanding, step(undecorated), step(name="other", retry=Retry(2))(undecorated)],
    ids=["plain", "demanding", "undecorated", "renamed"],
)
def test_functions_are_written_by_reference(as_module: str, made: Any) -> None:
    definition = validate(Loop("scan", Space(x=Real(0, 1)), chain(made), LevelSet("obs"), MaxPoints(3)))
    text = to_yaml(definition)
    assert "arguments" not in text
    assert load_text(text, HERE).text == definition.text


def test_options_that_differ_from_the_decorator_s_are_written(as_module: str) -> None:
    import dataclasses

    usual = dataclasses.replace(demanding, requires=Requirements(), retry=Retry())
    definition = validate(Loop("scan", Space(x=Real(0, 1)), chain(usual), LevelSet("obs"), MaxPoints(3)))
    text = to_yaml(definition)
    assert "requires: {}" in text
    assert load_text(text, HERE).text == definition.text


def test_a_function_that_is_not_at_hand_is_written_with_its_signature() -> None:
    away = Step("away", function="no_such_module:run", arguments=("x",), context=True, returns_file=False)
    definition = validate(Loop("scan", Space(x=Real(0, 1)), chain(away), LevelSet("obs"), MaxPoints(3)))
    text = to_yaml(definition)
    assert "arguments: [x]" in text
    assert load_text(text, HERE).text == definition.text


# ---------------------------------------------------------------------- the examples
@pytest.mark.parametrize(
    ("name", "arguments"), [("monohbb", {"max_points": "60"}), ("onelbb", {"max_points": "60", "learner": "sobol"})]
)
def test_examples_converted_and_loaded_again_are_the_same(tmp_path: Path, name: str, arguments: dict[str, str]) -> None:
    folder = tmp_path / name
    shutil.copytree(ROOT / "examples" / name, folder)
    if name == "onelbb":
        arguments = {**arguments, "data": str(_tables(tmp_path))}
    definition = load(folder / "scan.py", arguments)
    file = folder / "converted.yaml"
    file.write_text(to_yaml(definition), encoding="utf-8")
    assert load(file).text == definition.text


def test_onelbb_is_the_same_in_yaml(tmp_path: Path) -> None:
    example = ROOT / "examples" / "onelbb"
    for arguments in ({}, {"max_points": "75"}):
        given = {"data": str(_tables(tmp_path)), **arguments}
        assert load(example / "scan.yaml", given).text == load(example / "scan.py", given).text


def _tables(folder: Path) -> Path:
    """A folder with counts of the nine regions, which is all that a definition looks at."""
    found = folder / "tables"
    found.mkdir(exist_ok=True)
    rows = "\n".join(f"r{i},{i + 3},{i + 3}.5,1.5" for i in range(9))
    (found / "background.csv").write_text(f"sr,observed,expected,uncertainty\n{rows}\n", encoding="utf-8")
    return found


CAMPAIGN = """
from idds_core import Integer, Log, Loop, Real, Space, Workflow, chain, command
from idds_learners import BoundaryConverged, Follow, LevelSet, MaxPoints, Sobol, When

def define():
    generate = command("generate", "mc.sh {x} {chunk} {variant}", outputs={"events": "e.txt"}, split="1000 events",
                       foreach=["nominal", "up"], accept=0.97)
    merge = command("merge", "cat {generate.events}", outputs={"all": "a.txt"}, merge=True)
    limit = command("limit", "limit.sh {merge.all} {generate.share}", result="r.json")
    scan = Loop("scan", Space(x=Real(0, 1), y=Log(0.1, 2)), chain(generate, merge, limit),
                LevelSet(["obs", "exp"], level=0.05), BoundaryConverged(0.01) | MaxPoints(60), blind=("obs",),
                mode="steady", top_up=2, parameters={"events": 5000})
    inner = Loop("inner", Space(v=Real(0, 9)), chain(command("improve", "i.sh {v}", result="r.json")),
                 Follow({"v": 1.0}), When("shift < 1e-3") | MaxPoints(9), targets=("shift",))
    judge = command("judge", "j.sh {inner.result}", result="r.json")
    outer = Loop("outer", Space(n=Integer(1, 5)), chain(inner, judge),
                 Sobol(), MaxPoints(4), targets=("root",))
    first = command("first", "first.sh {scale}", outputs={"table": "t.txt"})
    last = command("last", "last.sh {scan.result} {outer.result}", outputs={"all": "all.json"})
    return Workflow("study", chain(first, scan, outer, last), parameters={"scale": 2})
"""


def test_a_workflow_of_steps_and_loops_comes_back_the_same(tmp_path: Path) -> None:
    (tmp_path / "study.py").write_text(CAMPAIGN, encoding="utf-8")
    definition = load(tmp_path / "study.py")
    text = to_yaml(definition)
    (tmp_path / "study.yaml").write_text(text, encoding="utf-8")
    assert "1000 events" in text
    assert load_text(text, tmp_path / "study.yaml").text == definition.text


def test_a_mistake_inside_a_loop_of_a_workflow_names_its_line(tmp_path: Path) -> None:
    (tmp_path / "study.py").write_text(CAMPAIGN, encoding="utf-8")
    text = to_yaml(load(tmp_path / "study.py")).replace("accept: 0.97", "acept: 0.97")
    line = next(i for i, words in enumerate(text.splitlines(), 1) if "acept" in words)
    with pytest.raises(DefinitionError, match=f"study.yaml:{line}.*Did you mean 'accept'"):
        load_text(text, tmp_path / "study.yaml")


# ---------------------------------------------------------------------- a learner's name that says more
@pytest.mark.parametrize(("learner", "written"), [
    (Optuna(), "learner: optuna:tpe\n"),
    (Optuna("obs", "max", "cmaes"), "  optuna:cmaes: {objective: [obs], direction: max}\n"),
    (Optuna(sampler="qmc"), "learner: optuna:qmc\n"),
    (Skopt(), "learner: skopt:gp\n"),
    (Skopt("obs", estimator="RF", first=4), "  skopt:forest: {objective: [obs], first: 4}\n"),
])  # fmt: skip
def test_a_sampler_is_a_part_of_the_learner_s_name(learner: Any, written: str) -> None:
    body = chain(command("measure", "./m.sh {x}", result="r.json"))
    loop = Loop("s", Space(x=Real(0, 1)), body, learner, MaxPoints(9), targets=("obs",))
    text = to_yaml(loop)
    assert written in text
    assert load_text(text, HERE).text == validate(loop).text
    Draft202012Validator(json_schema()).validate(parse(text, "s.yaml").plain())


@pytest.mark.parametrize(("spelt", "message"), [
    ("optuna:cma", "no sampler 'cma' of optuna"),
    ("Optuna:best: {objective: obs}", "Known are optuna:tpe, optuna:gp, optuna:cmaes, optuna:nsga2, optuna:qmc, "
     "optuna:random."),
    ("skopt:trees", "Known are skopt:gp, skopt:forest, skopt:extra_trees, skopt:gbrt."),
])  # fmt: skip
def test_an_unknown_sampler_is_one_line_with_those_there_are(spelt: str, message: str) -> None:
    learner = f"learner:\n  {spelt}" if ": " in spelt else f"learner: {spelt}"
    text = (
        "name: s\nspace: {x: [0, 1]}\nsteps: {measure: {run: ./m.sh, result: r.json}}\n"
        f"targets: obs\n{learner}\nuntil: MaxPoints(9)\n"
    )
    with pytest.raises(DefinitionError) as caught:
        load_text(text, HERE)
    (problem,) = caught.value.problems
    assert problem.code == "E-PLUGIN-001"
    assert message in f"{problem.what}. {problem.fix}"


def test_json_may_name_the_sampler_too() -> None:
    assert build({"type": "optuna:nsga2", "objective": ["f"]}, LEARNERS) == Optuna(("f",), sampler="nsga2")
