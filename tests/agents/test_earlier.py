"""A loop whose learner reads what a cheaper loop before it has measured."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from idds_agents.earlier import earlier_of
from idds_agents.report.reading import view_loop
from idds_core.definition import Definition, validate
from idds_core.errors import DefinitionError
from idds_core.model import Loop, Workflow, chain
from idds_core.ports import JobReport, JobSpec
from idds_core.space import Real, Space
from idds_core.states import LoopState
from idds_core.testing.fakes import arguments, success
from idds_learners import LevelSet, MaxPoints, Sobol
from tests.agents.revision_kit import draft
from tests.agents.workflow_kit import step_of, whole, world
from tests.world import World, function

SPACE = Space(x=Real(0, 1), y=Real(0, 1))


def loop(name: str, points: int, learner: Any, step: str, **changes: Any) -> Loop:
    fields: dict[str, Any] = {
        "space": SPACE,
        "body": chain(function(step, "x", "y")),
        "batch": 4,
        "first": 6,
        **changes,
    }
    return Loop(name, learner=learner, until=MaxPoints(points), **fields)


def two(quick: int = 24, full: int = 14, trend: str = "quick.mu", **changes: Any) -> Definition:
    """A quick loop, and the full one that reads it."""
    learner = LevelSet("mu", level=1.0, transform="log", first=6, trend=trend)
    first = loop("quick", quick, Sobol(), "fast", **{"targets": ("mu",), **changes})
    return validate(Workflow("study", chain(first, loop("full", full, learner, "slow"))))


def answer(spec: JobSpec) -> JobReport:
    """The fast step leaves out what the slow one has."""
    given = arguments(spec)
    x, y = given["x"], given["y"]
    return success(spec, {"mu": 0.3 + x + y**2 + (0.3 * x * y if step_of(spec) == "slow" else 0.0)})


def test_a_loop_sees_what_the_loop_before_it_has_measured_and_replays(tmp_path: Path) -> None:
    w = world(tmp_path, two(), answer)
    assert w.run().state is LoopState.EXHAUSTED
    plan = w.conductor._catalog.plan(w.loops()["full"].id)
    assert plan.loop.reads == ("quick",)
    shown = earlier_of(w.store, plan, w.loops()["full"].id)["quick"]
    assert len(shown.measured) == 24
    assert shown.digest == w.history_of(w.loops()["quick"]).digest
    whole(w)
    maps: Any = view_loop(w.store, tmp_path, w.loops()["full"].id).surrogate
    assert maps.gps["mu"].beta.shape == (2,)


def test_a_crash_between_any_two_turns_of_both_changes_nothing(tmp_path: Path) -> None:
    plain, often = (world(tmp_path / name, two(), answer) for name in ("plain", "often"))
    plain.run()
    for _ in range(200):
        often.turn()
        if often.loop.state.isupper():
            break
        often.restart()
    for name, record in plain.loops().items():
        assert often.history_of(often.loops()[name]).digest == plain.history_of(record).digest
    whole(often)


def test_in_a_revision_the_loop_that_reads_goes_on_when_the_one_it_reads_has_gone_on(tmp_path: Path) -> None:
    w = world(tmp_path, two(), answer)
    w.run()
    from idds_agents.revising import extend

    made = extend(w.store, draft(w, two(quick=30)), "user")
    w.definition, w.workflow = two(quick=30), made
    w._agents()
    assert w.run().state is LoopState.EXHAUSTED
    full = w.loops()["full"]
    assert len(earlier_of(w.store, w.conductor._catalog.plan(full.id), full.id)["quick"].measured) == 30
    whole(w)


@pytest.mark.parametrize(
    ("changes", "text"),
    [({"trend": "quik.mu"}, "cannot read quik: before it there are quick .*Did you mean 'quick'"),
     ({"trend": "quick.nu"}, "cannot read quick.nu: its targets are mu"),
     ({"targets": ("mu", "nu"), "blind": ("mu",)}, "cannot read quick.mu: it is blind"),
     ({"space": Space(x=Real(0, 1))}, "cannot read quick: its parameters are x, not x, y"),
     ({"space": Space(x=Real(0, 1), y=Real(0, 0.5))}, "cannot read quick: y goes beyond its range"),
     ({"trend": "quick mu"}, "trend 'quick mu' of mu is no module:function and no loop.target")],
)  # fmt: skip
def test_what_cannot_be_read_is_told_when_it_is_submitted(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(DefinitionError, match=text):
        two(**changes)


def test_a_loop_that_runs_later_or_is_alone_cannot_be_read() -> None:
    quick, full = two().workflow.loops
    for body, text in ((chain(full, quick), "E-DEF-018 loop full cannot read quick: there is no loop before it"),
                       (chain(full), "E-DEF-018 .* Put the loop that is read before")):  # fmt: skip
        with pytest.raises(DefinitionError, match=text):
            validate(Workflow("study", body))


def test_a_loop_that_was_read_and_measured_too_little_holds_the_one_that_reads(tmp_path: Path) -> None:
    w = world(tmp_path, two(quick=2), answer)
    w.run()
    held = w.loops()["full"]
    assert held.state is LoopState.HELD
    assert "E-LEARNER-013 trend quick.mu cannot be used: quick has measured 2 points; 3 are needed" in held.reason


def test_a_definition_from_before_loops_could_read_is_the_same_one() -> None:
    document = json.loads(json.dumps(two().document))
    for part in document["body"]:
        del part["reads"]
    assert Definition(document).workflow.loops[0] == two().workflow.loops[0]


SCAN = """
import math
from idds_core import Loop, Real, Space, Workflow, chain, step
from idds_learners import LevelSet, MaxPoints, Sobol

SPACE = Space(m_zp=Real(500, 3000, unit="GeV"), m_s=Real(30, 200, unit="GeV"))


@step
def fast(m_zp, m_s):
    return {"mu": math.exp((m_zp - 1500) / 400 + m_s / 100)}


@step
def slow(m_zp, m_s):
    return {"mu": math.exp((m_zp - 1500) / 400 + m_s / 100 + 0.3 * math.sin(m_zp / 500))}


quick = Loop("quick", SPACE, chain(fast), Sobol("mu", level=1.0, transform="log"), MaxPoints(48), batch=16, first=16)
full = Loop("full", SPACE, chain(slow), LevelSet("mu", level=1.0, transform="log", trend="quick.mu"), MaxPoints(16))
scan = Workflow("study", chain(quick, full))
"""


def test_a_scan_of_a_fast_and_a_slow_loop_runs_to_its_end_and_replays(tmp_path: Path) -> None:
    (tmp_path / "scan.py").write_text(SCAN)
    for verb in (["run", str(tmp_path / "scan.py"), "--seed", "3", "--quiet"], ["replay", "study/full"],
                 ["export", "study/full", "--format", "surrogate", "-o", str(tmp_path / "taken")]):  # fmt: skip
        command = [sys.executable, "-m", "idds_agents", *verb, "--workdir", str(tmp_path / "work")]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=tmp_path)
        assert ran.returncode == (2 if verb[0] == "run" else 0), ran.stderr
    document = json.loads((tmp_path / "taken" / "surrogate.json").read_text())
    assert document["targets"]["mu"]["trend"][0][0] == "quick.mu for mu"


def test_the_learner_is_shown_no_more_of_the_earlier_loop_than_its_points(tmp_path: Path) -> None:
    w: World = world(tmp_path, two(), answer)
    asked: list[Any] = []
    real = w.thinker.answer

    def answered(request: Mapping[str, Any]) -> Mapping[str, Any]:
        asked.append(request["history"].get("earlier"))
        return real(request)

    w.thinker.answer = answered
    w.run()
    earlier = next(e for e in asked if e)
    assert set(earlier) == {"quick"}
    assert (earlier["quick"]["iterations"], earlier["quick"]["seed"]) == ([], 0)
    assert replace(w.history, earlier={}) == w.history
