"""Workflows of several loops, what their steps do, and worlds that run them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from idds_agents.replay import replay
from idds_core.definition import Definition, validate
from idds_core.model import Loop, Workflow, chain
from idds_core.ports import Function, JobReport, JobSpec
from idds_core.space import Real, Space
from idds_core.testing.fakes import ScriptedProvider, arguments, success
from idds_learners import MaxPoints, Sobol
from tests.world import World, function, toy


def scan(name: str, parameter: str, *steps: Any, points: int = 3, **changes: Any) -> Loop:
    """A loop over one parameter."""
    fields = {"learner": Sobol(), "until": MaxPoints(points), "batch": 2, "first": 2, "targets": ("z",), **changes}
    space: Any = {parameter: Real(0, 1)}
    return Loop(name, Space(**space), chain(*steps), **fields)


def step_of(spec: JobSpec) -> str:
    """Name of the step a job is of."""
    assert isinstance(spec.payload, Function)
    return spec.payload.reference.partition(":")[2]


def altered(element: Any, **changes: Any) -> Any:
    """A step or loop with other fields."""
    return replace(element, **changes)


def changed(definition: Definition, *names: str) -> Definition:
    """The same with other code in these steps, at any depth."""

    def of(element: Any) -> Any:
        if isinstance(element, Loop):
            return replace(element, body=tuple(map(of, element.body)))
        return replace(element, function=f"elsewhere:{element.name}") if element.name in names else element

    workflow = definition.workflow
    return validate(replace(workflow, body=tuple(map(of, workflow.body))))


def sequence(coarse: int = 3, fine: int = 2) -> Definition:
    """A step, a loop that sees it, a step that sees both, another loop, a last step."""
    return validate(
        Workflow(
            "study",
            chain(
                function("prepare"),
                scan("coarse", "x", function("look", "table", "x"), points=coarse),
                function("choose", "result"),
                scan("fine", "y", function("measure", "y", "best", "table"), points=fine),
                function("summarise", "coarse", "fine", "scale"),
            ),
            parameters={"scale": 2},
        )
    )


def answer_sequence(spec: JobSpec) -> JobReport:
    """What the steps of the sequence do."""
    given, step = dict(arguments(spec)), step_of(spec)
    if step == "prepare":
        return success(spec, {"table": [1, 2, 3]})
    if step == "look":
        assert given["table"] == [1, 2, 3]
        return success(spec, {"z": given["x"]})
    if step == "choose":
        found = json.loads(Path(given["result"]["$file"]).read_text())
        return success(spec, {"best": max(p["values"]["z"] for p in found["points"])})
    if step == "measure":
        return success(spec, {"z": given["best"] + given["y"] + len(given["table"])})
    both = [json.loads(Path(given[name]["$file"]).read_text()) for name in ("coarse", "fine")]
    return success(spec, {"total": given["scale"] * sum(len(found["points"]) for found in both)})


def whole(w: World) -> None:
    """Nothing is broken, and every loop gives its answers again."""
    assert w.violations() == {}
    for loop in w.loops().values():
        if loop.name:
            plan = w.conductor._catalog.plan(loop.id)
            assert replay(w.store, plan, loop.id, w.thinker).differences == ()


def world(folder: Path, definition: Definition, answers: Callable[[JobSpec], JobReport | None]) -> World:
    """Agents on that definition."""
    folder.mkdir(exist_ok=True)
    return World(folder, ScriptedProvider(answers), definition)


def nested(inner: int = 4, outer: int = 3, **changes: Any) -> Definition:
    """An outer loop whose points each run an inner one."""
    loop = scan("inner", "x", function("measure", "x", "a", "base"), points=inner)
    return validate(
        scan("outer", "a", function("prepare", "a"), loop, function("judge", "result"), points=outer, **changes)
    )


def answer_nested(spec: JobSpec) -> JobReport:
    """z of the inner loop is a + x + 10 a; of the outer one the largest of those."""
    given, step = dict(arguments(spec)), step_of(spec)
    if step == "prepare":
        return success(spec, {"base": 10 * given["a"]})
    if step == "measure":
        return success(spec, {"z": given["a"] + given["x"] + given["base"]})
    found = json.loads(Path(given["result"]["$file"]).read_text())
    return success(spec, {"z": max(p["values"]["z"] for p in found["points"] if "values" in p)})


def two_loops(batch: int = 4) -> Definition:
    """A workflow of two loops, one after the other."""
    loop = toy().workflow.loops[0]
    return validate(Workflow("toy", chain(replace(loop, name="one", batch=batch), replace(loop, name="two"))))
