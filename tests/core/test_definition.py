"""A definition: one document when it is right, and a line for each of its mistakes when it is not."""

# What is of the wrong type here is so on purpose.
# mypy: disable-error-code="arg-type, dict-item, empty-body"

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

import pytest

from idds_core import (
    Categorical,
    File,
    Integer,
    Log,
    Loop,
    Real,
    Requirements,
    Retry,
    Space,
    Step,
    Workflow,
    chain,
    command,
    step,
)
from idds_core.definition import Definition, validate
from idds_core.errors import DefinitionError
from idds_core.loading import load
from idds_learners import BoundaryConverged, LevelSet, MaxPoints

TEN_MISTAKES = """
from idds_core import Log, Loop, Real, Requirements, Retry, Space, chain, command, step
from idds_learners import BoundaryConverged, LevelSet

space = Space(
    m_zp=Real(2800, 400),                                  # 1 low above high
    g=Log(0, 1),                                           # 2 no logarithm of 0
    m_a=Real(200, 1200),
    constraints=["m_zq > m_a + 125"],                      # 3 misspelt
)


@step(requires=Requirements(memory="lots"))                # 4 no quantity
def generate(m_zp, m_aa):                                  # 5 misspelt argument
    ...


simulate = command("Simulate", "./mc.sh {m_zz}", outputs={"events": "/tmp/events"})    # 6, 7, 8

scan = Loop(
    "scan",
    space=space,
    body=chain(generate, simulate, lambda x: x),           # 9, 10 no step, and no observation
    learner=LevelSet(["obs", "exp"], level=1.5),           # 11 a CLs of 1.5
    until=BoundaryConverged(0.01),                         # 12 no budget
    batch=0,                                               # 13 no count
    mode="eager",                                          # 14 not there
    parameters={"m_a": 3.0},                               # 15 twice
)
"""


def test_a_file_with_many_mistakes_gets_a_line_for_each(tmp_path: Any) -> None:
    file = tmp_path / "many.py"
    file.write_text(TEN_MISTAKES, encoding="utf-8")
    with pytest.raises(DefinitionError) as caught:
        load(file)
    lines = str(caught.value).splitlines()
    expected = [
        ("E-SPACE-002", "body.scan.space.m_zp"),
        ("E-SPACE-003", "body.scan.space.g"),
        ("E-SPACE-009", "Did you mean 'm_zp'?"),
        ("E-STEP-008", "requires.memory of step generate"),
        ("E-STEP-011", "argument m_aa of step generate"),
        ("E-DEF-001", "Simulate"),
        ("E-STEP-010", "{m_zz}"),
        ("E-STEP-007", "'/tmp/events'"),
        ("E-STEP-002", "<lambda> is no step"),
        ("E-STEP-009", "Simulate gives no observation"),
        ("E-DEF-005", "level 1.5 of obs has no probit"),
        ("E-DEF-010", "Add | MaxPoints(200)"),
        ("E-DEF-006", "batch is no count"),
        ("E-DEF-007", "'eager'"),
        ("E-DEF-009", "m_a is a parameter of the definition and of the space"),
    ]
    for code, words in expected:
        assert any(line.startswith(f"{code} ") and words in line for line in lines), (code, words, lines)
    assert len(lines) == len(expected) + 1  # the level is wrong for both targets
    assert all(" (body.scan" in line for line in lines)
    assert all(p.fix for p in caught.value.problems)


# ---------------------------------------------------------------------- a good one
@step
def generate(m_zp: float, m_a: float) -> File: ...


@step(retry=Retry(attempts=2, wait=1), requires=Requirements(memory="4GB", walltime="2h"))
def analyse(events: File) -> dict[str, float]: ...


SPACE = Space(m_zp=Real(400, 2800, unit="GeV"), m_a=Real(200, 1200), constraints=["m_zp > m_a + 125"])


def loop(**changes: Any) -> Loop:
    fine: dict[str, Any] = {
        "name": "scan",
        "space": SPACE,
        "body": chain(generate, analyse),
        "learner": LevelSet(["obs", "exp"], level=0.05),
        "until": BoundaryConverged(0.01) | MaxPoints(50),
    }
    return Loop(**{**fine, **changes})


def problems(given: Any) -> Any:
    with pytest.raises(DefinitionError) as caught:
        validate(given)
    return caught.value.problems


def codes(given: Any) -> Any:
    return [p.code for p in problems(given)]


def test_a_good_definition_is_a_document_and_comes_back() -> None:
    definition = validate(loop(parameters={"tag": "a", "deep": [1, {"b": None}]}))
    again = Definition(json.loads(definition.text))
    assert again.workflow == definition.workflow
    assert again.text == definition.text
    read = again.loop("scan")
    assert read.space == SPACE
    assert read.targets == ("obs", "exp")
    assert isinstance(read.body[1], Step)
    assert read.body[1].requires == Requirements(memory=4_000_000_000, walltime=7200)
    assert read.parameters == {"tag": "a", "deep": [1, {"b": None}]}


def test_a_loop_and_a_workflow_of_that_name_are_the_same_definition() -> None:
    assert validate(loop()).text == validate(Workflow("scan", (loop(),))).text


def test_the_order_of_the_parameters_is_the_user_s() -> None:
    definition = Definition(json.loads(validate(loop()).text))
    assert definition.loop("scan").space.names == ("m_zp", "m_a")


def test_how_a_number_is_written_makes_no_other_definition() -> None:
    whole = validate(loop(space=Space(m_zp=Real(400, 2800), m_a=Real(200, 1200))))
    point = validate(loop(space=Space(m_zp=Real(400.0, 2800.0), m_a=Real(200.0, 1200.0))))
    assert whole.text == point.text


def test_every_kind_of_parameter_comes_back() -> None:
    space = Space(m_zp=Real(1, 2), m_a=Log(1, 2, "pb"), n=Integer(1, 5), c=Categorical(["a", "b"]))
    assert Definition(json.loads(validate(loop(space=space)).text)).loop("scan").space == space


def test_lists_do_for_tuples() -> None:
    assert validate(loop(body=[generate, analyse])).text == validate(loop()).text
    assert validate(loop(targets="obs")).loop("scan").targets == ("obs",)


def test_a_command_and_a_function_bind_to_each_other() -> None:
    make = command("make", "./mc.sh {m_zp} {m_a} {tag} {seed} {bundle}", outputs={"events": "e.txt"}, result="n.json")
    fit = command("fit", "./fit {make.events} {make.count}", result="limits.json")
    assert validate(loop(body=chain(make, analyse), parameters={"tag": "x"}))
    assert validate(loop(body=chain(make, fit), parameters={"tag": "x"}))
    assert validate(loop(body=chain(generate, command("fit", "./fit {generate.output}", result="r.json"))))


def test_a_description_does_for_learner_and_condition() -> None:
    given = loop(learner={"type": "level_set", "targets": ["obs"], "level": 0.05}, until={"type": "max_points", "n": 5})
    assert validate(given).loop("scan").targets == ("obs",)


# ---------------------------------------------------------------------- mistakes of a loop
@dataclass(frozen=True)
class Plain:
    n: Any = 1


@dataclass(frozen=True)
class Odd:
    """A learner of the user's, with a field that its own check does not expect, or that is no JSON."""

    n: Any = 1
    targets: tuple[str, ...] = ("obs",)

    def ask(self, history: Any, n: int) -> Any: ...

    def problems(self) -> list[str]:
        return ["n is negative"] if self.n < 0 else []


def in_main(function: Any) -> Any:
    return dataclasses.replace(step(function), function="__main__:f")


def _one_only(x: Any, /) -> None: ...


async def _later(m_zp: Any) -> None: ...


def _stream(m_zp: Any) -> Any:
    yield m_zp


def _typo(m_zq: Any) -> None: ...


@pytest.mark.parametrize(
    ("changes", "code", "where"),
    [
        ({"name": "My Scan"}, "E-DEF-001", "name"),
        ({"name": "job"}, "E-DEF-001", "name"),
        ({"name": "x" * 41}, "E-DEF-001", "name"),
        ({"name": None}, "E-DEF-001", "name"),
        ({"space": {"m_zp": Real(0, 1), "m_a": Real(0, 1)}}, "E-DEF-003", "space"),
        ({"space": None}, "E-DEF-003", "space"),
        ({"learner": Plain()}, "E-DEF-004", "learner"),
        ({"until": Plain()}, "E-DEF-004", "until"),
        ({"until": LevelSet("obs", level=0.05)}, "E-DEF-004", "until"),
        ({"learner": LevelSet("obs", level=2.0)}, "E-DEF-005", "learner"),
        ({"learner": Odd(-1)}, "E-DEF-005", "learner"),
        ({"learner": Odd("a")}, "E-DEF-005", "learner"),
        ({"until": MaxPoints(0)}, "E-DEF-005", "until"),
        ({"learner": Odd(float("inf"))}, "E-DEF-012", "learner"),
        ({"learner": LevelSet}, "E-PLUGIN-003", "learner"),
        ({"learner": None}, "E-PLUGIN-003", "learner"),
        ({"learner": {"type": "levelset"}}, "E-PLUGIN-001", "learner"),
        ({"until": {"type": "max_points", "m": 5}}, "E-PLUGIN-004", "until"),
        ({"until": {"type": "no_such:Thing"}}, "E-PLUGIN-002", "until"),
        ({"batch": 0}, "E-DEF-006", "batch"),
        ({"batch": True}, "E-DEF-006", "batch"),
        ({"batch": 8.0}, "E-DEF-006", "batch"),
        ({"first": "10"}, "E-DEF-006", "first"),
        ({"hold_after": None}, "E-DEF-006", "hold_after"),
        ({"mode": "eager"}, "E-DEF-007", "mode"),
        ({"top_up": 2}, "E-DEF-007", "top_up"),
        ({"mode": "steady", "top_up": 9}, "E-DEF-006", "top_up"),
        ({"mode": "steady", "top_up": True}, "E-DEF-006", "top_up"),
        ({"parameters": {"x": float("nan")}}, "E-DEF-008", "parameters.x"),
        ({"parameters": {"x": object()}}, "E-DEF-008", "parameters.x"),
        ({"parameters": {5: 1}}, "E-DEF-008", "parameters.5"),
        ({"parameters": [1]}, "E-DEF-008", "parameters"),
        ({"parameters": {"m_a": 1}}, "E-DEF-009", "parameters.m_a"),
        ({"until": BoundaryConverged(0.01)}, "E-DEF-010", "until"),
        ({"learner": LevelSet([], level=0.05)}, "E-DEF-005", "learner"),
        ({"targets": ("obs", "obs")}, "E-DEF-011", "targets"),
        ({"targets": ("obs", "obs_sigma")}, "E-DEF-011", "targets"),
        ({"targets": ("a b",)}, "E-DEF-011", "targets"),
        ({"targets": 5}, "E-DEF-011", "targets"),
        ({"learner": Odd(targets=())}, "E-DEF-011", "targets"),
        ({"parameters": {"ctx": 1}}, "E-DEF-015", "space.ctx"),
        ({"body": None}, "E-STEP-001", "body"),
        ({"body": generate}, "E-STEP-001", "body"),
        ({"body": chain(generate, analyse, print)}, "E-STEP-002", "body[2]"),
        ({"body": chain(generate, generate)}, "E-STEP-003", "body.generate"),
        ({"body": chain(Step("empty"))}, "E-STEP-004", "body.empty"),
        ({"body": chain(dataclasses.replace(generate, run=("x",)))}, "E-STEP-004", "body.generate"),
        ({"body": chain(step(name="f")(lambda m_zp: m_zp))}, "E-STEP-005", "body.f.function"),
        ({"body": chain(in_main(_typo), generate)}, "E-STEP-005", "body._typo.function"),
        ({"body": chain(command("mc", "", result="r.json"))}, "E-STEP-006", "body.mc.run"),
        ({"body": chain(command("mc", [""], result="r.json"))}, "E-STEP-006", "body.mc.run"),
        ({"body": chain(command("mc", "x", result="../r.json"))}, "E-STEP-007", "body.mc.outputs"),
        ({"body": chain(command("mc", "x", result=" "))}, "E-STEP-007", "body.mc.outputs"),
        ({"body": chain(command("mc", "x", outputs={"a b": "e"}, result="r"))}, "E-STEP-007", "body.mc.outputs"),
        ({"body": chain(dataclasses.replace(generate, requires=Requirements(cores=0)))}, "E-STEP-008",
         "body.generate.requires.cores"),
        ({"body": chain(dataclasses.replace(generate, requires=Requirements(memory="4 XB")))}, "E-STEP-008",
         "body.generate.requires.memory"),
        ({"body": chain(dataclasses.replace(generate, requires=Requirements(walltime=-1)))}, "E-STEP-008",
         "body.generate.requires.walltime"),
        ({"body": chain(dataclasses.replace(generate, retry=Retry(0)))}, "E-STEP-008", "body.generate.retry.attempts"),
        ({"body": chain(dataclasses.replace(generate, retry=Retry(1, wait="soon")))}, "E-STEP-008",
         "body.generate.retry.wait"),
        ({"body": chain(command("mc", "x", outputs={"e": "e.txt"}))}, "E-STEP-009", "body.mc.result"),
        ({"body": chain(command("mc", "x {m_zq}", result="r.json"))}, "E-STEP-010", "body.mc.run"),
        ({"body": chain(generate, command("mc", "x {generate.evnts}", result="r"))}, "E-STEP-010", "body.mc.run"),
        ({"body": chain(step(name="f")(_typo))}, "E-STEP-011", "body.f.arguments"),
        ({"body": chain(step(name="f")(_one_only))}, "E-STEP-012", "body.f.function"),
        ({"body": chain(step(name="f")(_later))}, "E-STEP-012", "body.f.function"),
        ({"body": chain(step(name="f")(_stream))}, "E-STEP-012", "body.f.function"),
        ({"body": chain(dataclasses.replace(generate, provider=3))}, "E-DEF-013", "body.generate.provider"),
        ({"body": chain(dataclasses.replace(generate, requires={"cores": "2"}))}, "E-DEF-013",
         "body.generate.requires.cores"),
        ({"body": chain(dataclasses.replace(generate, retry=3))}, "E-DEF-013", "body.generate.retry"),
        ({"body": chain(command("mc", "x", outputs={"a": 1}, result="r"))}, "E-DEF-013", "body.mc.outputs.a"),
        ({"body": chain(command("mc", "x", result=5))}, "E-DEF-013", "body.mc.result"),
        ({"space": Space(m_zp=Real(0, 1, unit=5), m_a=Real(0, 1))}, "E-DEF-013", "space.m_zp.unit"),
        ({"space": Space(m_zp=Real(0, 1, unit=object()), m_a=Real(0, 1))}, "E-DEF-013", "space.m_zp.unit"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_code_its_place_and_how_to_mend_it(changes: Any, code: Any, where: Any) -> None:
    found = problems(loop(**changes))
    told = [p for p in found if p.code == code]
    assert told, [str(p) for p in found]
    name = changes.get("name", "scan")
    assert f"body.{name}.{where}" in [p.where for p in told]
    assert all(p.fix and p.what for p in found)


@pytest.mark.parametrize("given", [None, 5, "scan", [loop()], LevelSet("obs", level=0.05)])
def test_what_is_no_definition_is_refused(given: Any) -> None:
    assert codes(given) == ["E-DEF-002"]


@pytest.mark.parametrize("loops", [(), None, (5,)])
def test_a_workflow_has_steps_and_loops(loops: Any) -> None:
    assert "E-DEF-002" in codes(Workflow("w", loops))


def test_the_workflow_s_own_name_is_checked() -> None:
    assert codes(Workflow("W", (loop(),))) == ["E-DEF-001"]


def test_a_command_keeps_its_own_placeholders_to_itself() -> None:
    space = Space(m_zp=Real(0, 1), seed=Real(0, 1))
    assert codes(loop(space=space, body=chain(command("mc", "x {m_zp} {seed}", result="r")))) == ["E-DEF-015"]
    assert validate(loop(space=Space(m_zp=Real(0, 1), m_a=Real(0, 1), seed=Real(0, 1))))


def test_misspelt_names_are_answered_with_the_nearest_one() -> None:
    (problem,) = problems(loop(body=chain(step(name="f")(_typo))))
    assert problem.fix == "Did you mean 'm_zp'?"
    (problem,) = problems(loop(body=chain(command("mc", "x {sead}", result="r"))))
    assert problem.fix == "Did you mean 'seed'?"


def test_nothing_is_said_twice_of_one_place() -> None:
    assert codes(loop(batch=True)) == ["E-DEF-006"]
    assert codes(loop(space=Space(m_zp=Real("a", 1), m_a=Real(0, 1)))) == ["E-SPACE-001"]


# ---------------------------------------------------------------------- a stored document
def stored(change: Any) -> Any:
    document = json.loads(validate(loop()).text)
    change(document["body"][0])
    with pytest.raises(DefinitionError) as caught:
        _ = Definition(document).workflow
    return [(p.code, p.where) for p in caught.value.problems]


@pytest.mark.parametrize(
    ("change", "where"),
    [
        (lambda d: d.update(more=1), "body.scan.more"),
        (lambda d: d.pop("space"), "body.scan.space"),
        (lambda d: d.update(batch="8"), "body.scan.batch"),
        (lambda d: d.update(batch=True), "body.scan.batch"),
        (lambda d: d.update(body=5), "body.scan.body"),
        (lambda d: d["body"][0].update(provider=3), "body.scan.body.generate.provider"),
        (lambda d: d["body"][1]["requires"].update(gpus=1), "body.scan.body.analyse.requires.gpus"),
        (lambda d: d["body"][1]["requires"].update(memory=1.5), "body.scan.body.analyse.requires.memory"),
        (lambda d: d["space"]["parameters"]["m_a"].update(low="1"), "body.scan.space.m_a.low"),
        (lambda d: d["space"]["parameters"]["m_a"].update(kind="rael"), "body.scan.space.m_a"),
        (lambda d: d["space"]["parameters"]["m_a"].update(high=float("inf")), "body.scan.space.m_a.high"),
        (lambda d: d["space"].update(constraints=[5]), "body.scan.space.constraints[0]"),
    ],
)
def test_a_stored_document_of_another_shape_is_refused(change: Any, where: Any) -> None:
    assert stored(change) == [("E-DEF-013", where)]


@pytest.mark.parametrize("document", [{}, {"protocol": 2}, {"protocol": None, "name": "x"}])
def test_a_document_of_another_version_is_refused(document: Any) -> None:
    with pytest.raises(DefinitionError) as caught:
        _ = Definition(document).workflow
    assert caught.value.code == "E-DEF-014"


def test_every_mistake_of_a_stored_document_is_told() -> None:
    def spoil(d: Any) -> None:
        d.update(batch="8", more=1)
        d["body"][0].update(provider=3)

    assert len(stored(spoil)) == 3
