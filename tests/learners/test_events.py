"""The number of events, chosen by what it tells a core hour."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from idds_core.definition import validate
from idds_core.errors import DefinitionError
from idds_core.history import History, Observation, Point
from idds_core.model import Loop, chain
from idds_core.plugins import LEARNERS, build, describe
from idds_core.space import Integer, Ordered, Real, Space
from idds_core.states import PointState
from idds_core.testing.toys import CIRCLE, play, play_steady
from idds_learners import Events, LevelSet, MaxPoints
from tests.world import function

CHOICES = (1000, 100_000, 10_000)
SPACE = Space({**CIRCLE.space.parameters, "events": Ordered(CHOICES)})
SIGMA = 8.0  # of one event


def learner(cost: str = "0.1 + 2e-5 * events", **changes: Any) -> LevelSet:
    return LevelSet("f", level=CIRCLE.level, transform="none", events=Events("events", cost=cost, **changes))


def observe(number: int, point: Mapping[str, Any]) -> Observation:
    sigma = SIGMA / math.sqrt(point["events"])
    value = CIRCLE.value(point) + sigma * float(np.random.default_rng(number).normal())
    return Observation({"f": value}, {"f": sigma}, {"core_s": 40.0 + 0.002 * point["events"]})


def last(asks: LevelSet, batches: tuple[int, ...] = (10, 8, 8)) -> History:
    return list(play(asks, SPACE, observe, batches=batches))[-1]


def chosen(asks: LevelSet, history: History, n: int = 8) -> list[Any]:
    proposal = asks.ask(history, n)
    assert all(SPACE.point_problem(p) == "" for p in proposal.points)
    return [p["events"] for p, c in zip(proposal.points, proposal.chosen, strict=True) if c["why"] == "refine"]


def test_the_first_design_has_the_middle_number_of_events_or_the_one_that_is_given() -> None:
    for asks, events in ((learner(), 10_000), (learner(first=1000), 1000)):
        proposal = asks.ask(History(SPACE, 1, ("f",)), 10)
        assert [p["events"] for p in proposal.points] == [events] * 10
        assert list(proposal.points[0]) == ["x", "y", "events"]


def test_the_map_is_of_the_other_parameters_and_finds_the_contour() -> None:
    maps = learner().surrogate(last(learner(), (10, 8, 8, 8)))
    assert maps is not None
    assert maps.space.names == ("x", "y")
    inside, outside = ({"x": x, "y": 0.0, "events": 1000} for x in (0.3, 0.95))
    assert list(maps.predict([inside, outside])["f"].p_excluded > 0.5) == [True, False]


def test_where_events_cost_little_there_are_many_and_where_a_core_hour_is_all_events_there_are_few() -> None:
    history = last(learner())
    assert set(chosen(learner("10 + 1e-5 * events"), history)) == {100_000}
    assert set(chosen(learner("1e-5 * events"), history)) == {1000}


def test_a_cost_that_was_measured_counts_more_than_one_that_was_stated() -> None:
    history = last(learner(first=1000), (10, 8))
    more = Point(99, 2, {"x": 0.1, "y": 0.1, "events": 100_000}, PointState.MEASURED, observe(99, {
        "x": 0.1, "y": 0.1, "events": 100_000}))  # fmt: skip
    history = dataclasses.replace(history, points=(*history.points, more))
    stated, measured = Events("events", cost="7"), Events("events", cost="7", measured="core_s")
    assert stated.costs(history).tolist() == [7.0, 7.0, 7.0]
    np.testing.assert_allclose(measured.costs(history), [42.0, 60.0, 240.0])
    alone = dataclasses.replace(history, points=tuple(p for p in history.points if p.parameters["events"] == 1000))
    assert measured.costs(alone).tolist() == [7.0, 7.0, 7.0]


def test_the_noise_to_come_is_the_reported_one_by_the_square_root_of_events() -> None:
    history = last(learner())
    maps = learner().surrogate(history)
    assert maps is not None
    events = learner().events
    assert events is not None
    gp = maps.gps["f"]
    noise = events.noise(history, maps)["f"] - gp.nugget * gp.spread**2
    np.testing.assert_allclose(noise, SIGMA**2 / np.array(sorted(CHOICES)), rtol=1e-9)


def test_it_says_why_so_many_events() -> None:
    proposal = learner().ask(last(learner()), 8)
    for told in proposal.chosen:
        assert set(told["choices"]) == {"1000", "10000", "100000"}
        worth = {n: c["taken"] / c["cost"] for n, c in told["choices"].items()}
        assert worth[str(told["events"])] == max(worth.values())
    assert {c["why"] for c in proposal.chosen} >= {"refine"}


def test_it_is_its_json_and_answers_again_what_it_answered() -> None:
    asks = learner(measured="core_s")
    twin = build(describe(asks, LEARNERS), LEARNERS)
    assert twin == asks
    *_, history = play_steady(asks, SPACE, observe, lambda n: float(n % 3 + 1), points=24)
    for number in range(len(history.iterations)):
        then = history.as_asked(number)
        new = [dict(p.parameters) for p in history.points if p.iteration == number + 1]
        assert [dict(p) for p in twin.ask(then, len(new)).points] == new


@pytest.mark.parametrize(
    ("space", "events", "text"),
    [(SPACE, Events("event", cost="1"), "event is no parameter of the space: x, y, events"),
     (Space(x=Real(0, 1), events=Integer(1, 9)), Events("events", cost="1"), "events is not Ordered numbers above 0"),
     (Space(events=Ordered((1, 2))), Events("events", cost="1"), "events is the only parameter"),
     (Space(SPACE.parameters, constraints=["events > x"]), Events("events", cost="1"), "a constraint is on events"),
     (SPACE, Events("events", cost="1", first=7), "first=7 is none of the choices of events"),
     (SPACE, Events("events", cost="5000 - events"), "is not above 0 at events=100000"),
     (SPACE, Events("events", cost="event"), "unknown name 'event'"),
     (SPACE, Events("events"), "not a Python expression"),
     (SPACE, Events("events", cost="events > 3"), "is true or false, no number")],
)  # fmt: skip
def test_what_cannot_be_chosen_is_told_when_it_is_submitted(space: Space, events: Events, text: str) -> None:
    asks = LevelSet("f", level=0.5, transform="none", events=events)
    loop = Loop("toy", space, chain(function("measure", *space.names)), asks, MaxPoints(20))
    with pytest.raises(DefinitionError, match=f"E-DEF-005 the learner LevelSet cannot work: .*{text}"):
        validate(loop)


def test_events_may_be_a_mapping_as_in_yaml() -> None:
    given: Any = {"name": "events", "cost": "0.1 + 2e-5 * events"}
    assert LevelSet("f", level=CIRCLE.level, transform="none", events=given) == learner()


def test_events_go_with_the_strategy_that_says_what_a_point_is_worth() -> None:
    wrong = dataclasses.replace(learner(), strategy="straddle")
    assert wrong.problems() == ["events are chosen with strategy emv, not straddle"]
