"""The laws that every learner keeps: subclass :class:`LearnerLaws`, give it a learner, and run pytest.

    class TestMine(LearnerLaws):
        @pytest.fixture
        def learner(self):
            return Mine(["f"])

The learner is asked about toys whose only target is ``f``, and about spaces and histories of every kind that it
supports (this needs ``pip install hypothesis``). What it says it does not support it is not asked.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import pytest

from idds_core.history import History, IterationRecord, Observation, Point, canonical_json
from idds_core.plugins import LEARNERS, build, describe
from idds_core.ports import Learner, Proposal
from idds_core.space import Space
from idds_core.states import PointState
from idds_core.supporting import Supports
from idds_core.testing.toys import CIRCLE, STAIRS, Outcome, play, play_steady

__all__ = ["LearnerLaws"]

_SPACES = {
    "real": CIRCLE.space,
    "constrained": Space(CIRCLE.space.parameters, constraints=["y < x + 0.5"]),
    "integer": STAIRS.space,
}


def _value(point: Mapping[str, Any]) -> float:
    return CIRCLE.value(point) if "y" in point else STAIRS.value(point)


def _observe(point: Mapping[str, Any]) -> Outcome:
    return Observation({"f": _value(point)})


def _history(learner: Learner, space: Space, outcome: Callable[[Mapping[str, Any]], Outcome]) -> History:
    """A history of three iterations; shorter where the learner has nothing more to propose."""
    history = History(space, 1, ("f",))
    for history in play(learner, space, lambda _, p: outcome(p)):  # noqa: B007  the last one counts
        pass
    return history


def _close(history: History) -> History:
    """The same history as it is before the learner was asked about its last iteration."""
    last = dataclasses.replace(history.iterations[-1], state={}, diagnostics={})
    return dataclasses.replace(history, iterations=(*history.iterations[:-1], last))


def _key(point: Mapping[str, Any]) -> str:
    return canonical_json(dict(point))


def _same(a: Proposal, b: Proposal) -> bool:
    return _text(a) == _text(b)


def _text(proposal: Proposal) -> str:
    chosen = [dict(c) for c in proposal.chosen]
    return canonical_json(
        [[dict(p) for p in proposal.points], chosen, dict(proposal.diagnostics), dict(proposal.state)]
    )


def _uneven(number: int) -> float:
    """Some points take ten times as long as others."""
    return 10.0 if number % 3 == 1 else 1.0 + 0.1 * (number * 7 % 5)


def _with_pending(history: History, points: tuple[Mapping[str, Any], ...]) -> History:
    """The history as it is when these have been sent out after its last iteration, and nothing has come back."""
    number, first = len(history.iterations) + 1, len(history.points) + 1
    new = tuple(Point(i, number, p) for i, p in enumerate(points, first))
    return dataclasses.replace(history, points=history.points + new,
                               iterations=(*history.iterations, IterationRecord(number)))  # fmt: skip


class LearnerLaws:
    """Laws of :class:`idds_core.ports.Learner`; override `learner`.

    Attributes
    ----------
    apart : how far from a pending point, in the unit cube, a new one must be while little is known.
    examples : how many histories of every kind it is asked about.
    finds : "min" or "max" for a learner that claims to find the smallest or largest value with fewer points than an
        even sweep; empty for one that claims nothing.
    positive : whether it can see values above zero only, such as one that takes logarithms.
    folder : where a fresh process finds the learner's module, when it is not installed.

    """

    apart = 0.02
    examples = 20
    finds = ""
    positive = False
    folder = ""

    @staticmethod
    def _can(learner: Learner) -> Supports:
        found = getattr(learner, "supports", None)
        return found if isinstance(found, Supports) else Supports()

    def _tried_on(self, learner: Learner, space: Space) -> bool:
        """Whether the learner says that it supports the space."""
        can = self._can(learner)
        return (can.constraints or not space.constraints) and all(
            p.kind in can.kinds for p in space.parameters.values()
        )

    @pytest.fixture
    def learner(self) -> Learner:
        """The learner the laws are for."""
        raise NotImplementedError

    @pytest.fixture(params=sorted(_SPACES))
    def space(self, request: pytest.FixtureRequest, learner: Learner) -> Space:
        """The spaces it is tried on; one that it does not support gives way to the plain one."""
        space = _SPACES[request.param]
        return space if self._tried_on(learner, space) else _SPACES["real"]

    def _fair(self, proposal: Proposal, history: History, n: int) -> None:
        """At most n points, inside the space, none twice and none that exists, or a reason why there is none.

        Why points were chosen is said of all of them or of none.
        """
        assert len(proposal.points) <= n
        assert len(proposal.chosen) in (0, len(proposal.points))
        assert proposal.points or proposal.reason or n == 0
        for point in proposal.points:
            assert history.space.point_problem(point) == ""
        keys = [_key(p) for p in proposal.points]
        assert len(set(keys)) == len(keys)
        assert not set(keys) & {_key(p.parameters) for p in history.points}
        json.loads(_text(proposal))

    @pytest.mark.parametrize("n", [0, 1, 5])
    def test_an_empty_history_gets_points_inside_the_space(self, learner: Learner, space: Space, n: int) -> None:
        """The first design."""
        history = History(space, 3, ("f",))
        self._fair(learner.ask(history, n), history, n)

    @pytest.mark.parametrize("n", [0, 1, 5])
    def test_never_more_than_asked_for_and_none_that_exists(self, learner: Learner, space: Space, n: int) -> None:
        """Later batches."""
        history = _history(learner, space, _observe)
        self._fair(learner.ask(history, n), history, n)

    def test_pending_points_are_not_proposed_again(self, learner: Learner, space: Space) -> None:
        """Steady mode: half of the last batch is still out."""
        if not self._can(learner).pending:
            return
        history = _history(learner, space, _observe)
        points = [
            dataclasses.replace(p, state=PointState.OPEN, observation=None) if p.number % 2 and p.iteration > 1 else p
            for p in history.points
        ]
        history = dataclasses.replace(history, points=tuple(points))
        self._fair(learner.ask(history, 4), history, 4)

    @pytest.mark.parametrize("name", ["real", "constrained"])
    def test_points_are_proposed_away_from_pending_ones(self, learner: Learner, name: str) -> None:
        """Asked for one point again and again while nothing comes back: a pending point counts as looked at."""
        space = _SPACES[name]
        if not (self._can(learner).pending and self._tried_on(learner, space)):
            return
        history = next(play(learner, space, lambda _, p: _observe(p), batches=(10,)))
        for _ in range(5):
            proposal = learner.ask(history, 1)
            self._fair(proposal, history, 1)
            if not proposal.points:
                return
            if history.pending:
                new, out = space.to_unit([proposal.points[0]]), history.unit(history.pending)
                assert ((out - new) ** 2).sum(axis=1).min() ** 0.5 > self.apart
            history = _with_pending(history, proposal.points)

    def test_in_steady_mode_every_answer_is_given_again(self, learner: Learner, space: Space) -> None:
        """From what was known and pending when it was asked, whatever has come in and been answered since."""
        if not self._can(learner).pending:
            return
        histories = list(play_steady(learner, space, lambda _, p: _observe(p), _uneven, top_up=2, points=18))
        last = histories[-1]
        assert any(h.pending for h in histories)
        for before, after in pairwise(histories):
            number = len(before.iterations)
            new = [p.parameters for p in after.points if p.iteration == number + 1]
            asked = last.as_asked(number)
            assert asked == before.as_asked(number)
            answer = learner.ask(asked, len(new))
            self._fair(answer, asked, len(new))
            assert [dict(p) for p in answer.points] == [dict(p) for p in new]
            record = before.iterations[-1]
            assert _text(Proposal((), answer.diagnostics, answer.state)) == _text(
                Proposal((), record.diagnostics, record.state)
            )

    def test_the_same_history_gets_the_same_answer(self, learner: Learner, space: Space) -> None:
        """Asked twice, asked by a copy, asked after something else: no hidden state."""
        history = _history(learner, space, _observe)
        answer = learner.ask(history, 4)
        learner.ask(History(space, 99, ("f",)), 3)
        again = History.from_json(json.loads(json.dumps(history.to_json())))
        assert _same(answer, learner.ask(history, 4))
        assert _same(answer, copy.deepcopy(learner).ask(again, 4))

    def test_an_answer_on_record_does_not_change_the_answer(self, learner: Learner, space: Space) -> None:
        """Before and after the diagnostics and the state of the last iteration are stored."""
        history = _history(learner, space, _observe)
        assert _same(learner.ask(_close(history), 4), learner.ask(history, 4))

    def test_the_order_of_points_is_irrelevant(self, learner: Learner, space: Space) -> None:
        """They are told apart by number."""
        history = _history(learner, space, _observe)
        turned = dataclasses.replace(history, points=tuple(reversed(history.points)))
        assert _same(learner.ask(history, 4), learner.ask(turned, 4))

    def test_the_history_is_left_alone(self, learner: Learner, space: Space) -> None:
        """A learner is a function."""
        history = _history(learner, space, _observe)
        before = canonical_json(history.to_json())
        learner.ask(history, 4)
        assert canonical_json(history.to_json()) == before

    @pytest.mark.parametrize("end", [PointState.FAILED, PointState.INFEASIBLE])
    def test_points_that_ended_badly_are_survived(self, learner: Learner, space: Space, end: PointState) -> None:
        """Some of them, and all of them."""
        for bad in (lambda v: v > 0.5, math.isfinite):
            history = _history(learner, space, lambda p, bad=bad: end if bad(_value(p)) else _observe(p))  # type: ignore[misc]
            self._fair(learner.ask(history, 4), history, 4)

    def test_a_constant_is_survived(self, learner: Learner, space: Space) -> None:
        """Nothing varies."""
        history = _history(learner, space, lambda _: Observation({"f": 0.25}))
        self._fair(learner.ask(history, 4), history, 4)

    def test_duplicates_are_survived(self, learner: Learner, space: Space) -> None:
        """The same place measured again and again, as after an import."""
        place = dict(learner.ask(History(space, 1, ("f",)), 1).points[0])
        points = tuple(Point(i, 1, place, PointState.MEASURED, Observation({"f": 0.1 * i})) for i in range(1, 7))
        history = History(space, 1, ("f",), points, (IterationRecord(1),))
        self._fair(learner.ask(history, 4), history, 4)

    def test_it_is_its_json(self, learner: Learner, space: Space) -> None:
        """Described, written, read and built again it is equal, and answers the same."""
        twin = build(json.loads(json.dumps(describe(learner, LEARNERS))), LEARNERS)
        history = _history(learner, space, _observe)
        assert twin == learner
        assert _same(twin.ask(history, 4), learner.ask(history, 4))

    def test_any_space_and_history_is_survived(self, learner: Learner) -> None:
        """One to eight parameters of all kinds, up to 500 points: constant, doubled, failed, pending, of wild scale."""
        from hypothesis import HealthCheck, given, settings

        from idds_core.testing.strategies import histories

        @settings(derandomize=True, deadline=None, max_examples=self.examples, database=None,
                  suppress_health_check=list(HealthCheck))  # fmt: skip
        @given(histories(self._can(learner), positive=self.positive))
        def holds(history: History) -> None:
            self._fair(learner.ask(history, 3), history, 3)

        holds()

    def test_a_fresh_process_gives_the_same_answer(self, learner: Learner) -> None:
        """Cold is warm: nothing that a process remembers may count."""
        history = _history(learner, _SPACES["real"], _observe)
        question = {
            "learner": describe(learner, LEARNERS),
            "history": history.to_json(),
            "path": [self.folder, *sys.path],
        }
        done = subprocess.run([sys.executable, "-c", _COLD], input=json.dumps(question), capture_output=True, text=True,
                              check=False)  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1]) == json.loads(_text(learner.ask(history, 4)))

    def test_it_finds_more_than_an_even_sweep(self, learner: Learner) -> None:
        """For learners that claim it: the median best value of five seeds after 40 points, on two toys."""
        if not self.finds:
            return
        sign = 1.0 if self.finds == "min" else -1.0
        for value in (_valley, _dents):
            found, swept = [], []
            for seed in range(1, 6):
                outcomes = (lambda _, p, v=value: Observation({"f": sign * v(p)}),)
                *_, last = play(learner, _SPACES["real"], outcomes[0], seed=seed, batches=(10, 10, 10, 10))
                found.append(float((sign * last.values("f")).min()))
                swept.append(min(value(p) for p in _sweep(_SPACES["real"], seed, 40)))
            assert sorted(found)[2] <= sorted(swept)[2]


_COLD = """
import json, sys
question = json.loads(sys.stdin.read())
sys.path[:0] = [p for p in question["path"] if p and p not in sys.path]
from idds_core.history import History
from idds_core.plugins import LEARNERS, build
from idds_core.testing.learner_laws import _text
proposal = build(question["learner"], LEARNERS).ask(History.from_json(question["history"]), 4)
print(_text(proposal))
"""


def _valley(p: Mapping[str, Any]) -> float:
    """Rosenbrock's, on [-1, 1]^2: a bent valley."""
    return float((1 - p["x"]) ** 2 + 20 * (p["y"] - p["x"] ** 2) ** 2)


def _dents(p: Mapping[str, Any]) -> float:
    """A bowl with dents."""
    return float((p["x"] - 0.3) ** 2 + (p["y"] + 0.2) ** 2 + 0.1 * math.sin(9 * p["x"]) * math.sin(7 * p["y"]))


def _sweep(space: Space, seed: int, n: int) -> list[dict[str, Any]]:
    from scipy.stats import qmc

    return space.from_unit(qmc.Sobol(space.dimension, seed=seed).random(2 ** (n - 1).bit_length())[:n])
