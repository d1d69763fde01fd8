"""Whether a step may ask for something that has changed: in doubt it does."""

from __future__ import annotations

import pytest

from idds_agents.revision_asks import Outside, asks_for
from idds_core.model import Loop, Step, command
from tests.agents.workflow_kit import scan
from tests.world import function

STEP, LOOP = function("made", "x"), scan("found", "x", function("look", "x"))


@pytest.mark.parametrize(
    ("step", "changed", "bound", "first", "asks"),
    [
        (function("f", "x"), STEP, (), True, False),  # a parameter wins over all
        (function("f", "n"), STEP, (), False, True),  # a step may give any name
        (function("f", "n"), STEP, ("n",), False, False),  # but not before a nearer one
        (function("f", "n"), LOOP, (), False, False),  # a loop gives its result and its name
        (function("f", "n"), LOOP, (), True, True),  # unless the name is left over
        (function("f", "result"), LOOP, (), False, True),
        (function("f", "found"), LOOP, (), False, True),
        (function("f", "result"), LOOP, ("result",), False, False),
        (command("c", "cp {found.result} out"), LOOP, (), False, True),
        (command("c", "cp {other.result} {x} out"), LOOP, (), True, False),
        (command("c", "cp {made.file} out"), STEP, (), False, True),
        (command("c", "run {x} {seed}"), STEP, (), True, False),
    ],
)
def test_what_a_step_asks_for(
    step: Step, changed: Step | Loop, bound: tuple[str, ...], first: bool, asks: bool
) -> None:
    assert asks_for(step, {"x"}, Outside((changed,), frozenset(bound), first)) is asks


def test_nothing_has_changed_for_nobody() -> None:
    assert not asks_for(function("f", "n"), (), Outside())


def test_beside_a_changed_step_no_other_name_is_certain() -> None:
    inside = Outside().with_changed([LOOP], {"n", "result"}, first=False)
    assert inside.bound == {"n"}
    assert Outside().with_changed([STEP], {"n"}, first=False).bound == frozenset()
