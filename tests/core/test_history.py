"""The history: what a learner knows, as a value with a digest."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idds_core import Categorical, Integer, Real, Space
from idds_core.history import History, IterationRecord, Observation, Point, canonical_json, derive_seed
from idds_core.states import PointState

quick = settings(derandomize=True, deadline=None, max_examples=50, database=None)
SPACE = Space(x=Real(0, 1), n=Integer(0, 9), c=Categorical(["a", "b"]))
numbers = st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def points(draw: Any) -> Any:
    found = []
    for number in range(1, draw(st.integers(0, 6)) + 1):
        state = draw(st.sampled_from(PointState))
        seen = None
        if state is PointState.MEASURED:
            seen = Observation({"obs": draw(numbers)}, {"obs": abs(draw(numbers))}, {"events": draw(numbers)})
        values = {"x": draw(st.floats(0, 1)), "n": draw(st.integers(0, 9)), "c": draw(st.sampled_from("ab"))}
        failure = "USER" if state is PointState.FAILED else None
        found.append(Point(number, draw(st.integers(1, 3)), values, state, seen, failure))
    return tuple(found)


records = st.integers(0, 3).map(lambda n: tuple(IterationRecord(i + 1, {"theta": [i]}, {"emv": 0.1}) for i in range(n)))
histories = st.builds(History, st.just(SPACE), st.integers(0, 2**63 - 1), st.just(("obs",)), points(), records)


def one(**changes: Any) -> Any:
    seen = Observation({"obs": 0.2}, {"obs": 0.01}, {"events": 12.0})
    given = {"number": 1, "iteration": 1, "parameters": {"x": 0.5, "n": 3, "c": "a"}, "state": PointState.MEASURED,
             "observation": seen, "failure_class": None}  # fmt: skip
    return Point(**{**given, **changes})


def digest(*given: Any, **fields: Any) -> Any:
    return History(SPACE, targets=("obs",), points=given, **fields).digest


# ---------------------------------------------------------------------- JSON
@quick
@given(histories)
def test_a_history_survives_json(history: Any) -> None:
    again = History.from_json(json.loads(json.dumps(history.to_json())))
    assert again == history
    assert again.digest == history.digest


@quick
@given(numbers)
def test_floats_are_written_so_that_they_come_back(value: Any) -> None:
    assert json.loads(canonical_json(value)) == value
    assert canonical_json(value) == repr(value)


def test_canonical_json_is_one_text_for_equal_values() -> None:
    assert canonical_json({"b": [1, 2.0], "a": "é"}) == '{"a":"\\u00e9","b":[1,2.0]}'


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, [math.nan], {"a": math.inf}])
def test_canonical_json_refuses_what_is_no_number(value: Any) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(value)


# ---------------------------------------------------------------------- the digest
@quick
@given(histories, st.randoms(use_true_random=False))
def test_the_digest_does_not_depend_on_the_order_of_points_and_values(history: Any, random: Any) -> None:
    shuffled = [replace(p, parameters=dict(sorted(p.parameters.items(), key=lambda _: random.random())))
                for p in history.points]  # fmt: skip
    random.shuffle(shuffled)
    assert replace(history, points=tuple(shuffled)).digest == history.digest


def test_the_digest_depends_on_nothing_but_the_physics() -> None:
    same = digest(one())
    assert digest(one(iteration=7)) == same
    assert digest(one(observation=Observation({"obs": 0.2}, {"obs": 0.01}, {"events": 13.0}))) == same
    assert digest(one(), seed=5) == same
    assert digest(one(), iterations=(IterationRecord(1, elapsed_s=3.0),)) == same
    assert History(SPACE, targets=("obs", "exp"), points=(one(),)).digest == same


@pytest.mark.parametrize(
    "change",
    [
        {"number": 2},
        {"parameters": {"x": 0.5000000001, "n": 3, "c": "a"}},
        {"parameters": {"x": 0.5, "n": 4, "c": "a"}},
        {"parameters": {"x": 0.5, "n": 3, "c": "b"}},
        {"state": PointState.INFEASIBLE},
        {"failure_class": "USER"},
        {"observation": None},
        {"observation": Observation({"obs": math.nextafter(0.2, 1)}, {"obs": 0.01})},
        {"observation": Observation({"exp": 0.2}, {"obs": 0.01})},
        {"observation": Observation({"obs": 0.2}, {"obs": 0.02})},
        {"observation": Observation({"obs": 0.2}, {})},
    ],
)
def test_the_digest_sees_every_difference_in_the_physics(change: Any) -> None:
    assert digest(one(**change)) != digest(one())


def test_the_digest_sees_a_point_more() -> None:
    assert len({digest(), digest(one()), digest(one(), one(number=2))}) == 3


def test_the_digest_refuses_what_is_no_number() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        digest(one(observation=Observation({"obs": math.nan})))


def test_the_digest_is_the_same_on_every_machine_and_in_every_release() -> None:
    assert digest(one()) == "1e2ed53e64738a224ef210d01ea9a11a4320121f1891ae664f326a3f03672f42"


# ---------------------------------------------------------------------- views
def test_points_are_told_apart_by_what_became_of_them() -> None:
    history = History(SPACE, points=tuple(one(number=i + 1, state=s) for i, s in enumerate(PointState)))
    assert [p.number for p in history.measured] == [2]
    assert [p.number for p in history.pending] == [1]
    assert [p.number for p in history.infeasible] == [3]


def test_values_and_sigmas_are_columns_of_the_measured_points() -> None:
    second = one(number=2, observation=Observation({"obs": 0.4}))
    history = History(SPACE, targets=("obs",), points=(one(), second, one(number=3, state=PointState.FAILED)))
    assert history.values("obs").tolist() == [0.2, 0.4]
    assert history.sigmas("obs").tolist() == [0.01, 0.0]
    assert history.unit(history.measured).shape == (2, 3)


def test_an_empty_history_has_empty_columns() -> None:
    history = History(SPACE, targets=("obs",))
    assert history.values("obs").shape == (0,)
    assert history.unit(()).shape == (0, 3)


def test_what_the_learner_said_belongs_to_the_last_closed_iteration() -> None:
    history = History(SPACE, iterations=(IterationRecord(1), IterationRecord(2)))
    told = history.with_diagnostics({"emv": 0.1}, {"theta": 1})
    assert (told.iterations[0].diagnostics, told.iterations[1].diagnostics) == ({}, {"emv": 0.1})
    assert told.iterations[1].state == {"theta": 1}
    assert history.iterations[1].diagnostics == {}


def test_before_the_first_iteration_nothing_is_kept() -> None:
    history = History(SPACE)
    assert history.with_diagnostics({"emv": 0.1}, {}) == history


# ---------------------------------------------------------------------- random numbers
def test_random_numbers_depend_on_seed_iteration_and_purpose_only() -> None:
    history = History(SPACE, seed=7, iterations=(IterationRecord(1),))
    same = history.rng("pool").random(3)
    assert np.array_equal(replace(history, points=(one(),)).rng("pool").random(3), same)
    others = [history.rng("fill"), replace(history, seed=8).rng("pool"), replace(history, iterations=()).rng("pool")]
    assert not any(np.array_equal(rng.random(3), same) for rng in others)


def test_a_seed_has_63_bits_and_comes_from_all_its_parts() -> None:
    seeds = {derive_seed(1, 2, "mc"), derive_seed(12, "mc"), derive_seed(1, 2, "an"), derive_seed(1, 3, "mc")}
    assert len(seeds) == 4
    assert all(0 <= s < 2**63 for s in seeds)
    assert derive_seed(0, 1, "generate") == 5_546_799_344_770_832_446


# ---------------------------------------------------------------------- as it was
def ended(number: int, iteration: int, ingest_no: int | None) -> Any:
    return one(number=number, iteration=iteration, observation=Observation({"obs": 0.1 * number}), ingest_no=ingest_no)


def test_as_asked_leaves_out_what_came_later_in_steady_mode() -> None:
    records = tuple(
        IterationRecord(i, {"theta": i}, {"emv": i}, 10.0 * i, 0.5 * i, upto) for i, upto in ((1, 1), (2, 3))
    )
    points = (ended(1, 1, 2), ended(2, 1, 1), ended(3, 2, 3), ended(4, 3, 4))
    history = History(SPACE, 7, ("obs",), points, records)
    first = history.as_asked(1)
    assert [(p.number, str(p.state), p.ingest_no) for p in first.points] == [(1, "open", None), (2, "MEASURED", 1)]
    assert first.points[0].observation is None
    assert first.iterations == (IterationRecord(1, {}, {}, 10.0, 0.5, 1),)
    second = history.as_asked(2)
    assert [p.ingest_no for p in second.points] == [2, 1, 3]
    assert second.iterations[0] == records[0]
    assert (second.iterations[1].state, second.iterations[1].elapsed_s) == ({}, 20.0)
    assert history.as_asked(0) == History(SPACE, 7, ("obs",))


def test_as_asked_in_batch_mode_keeps_whole_iterations() -> None:
    history = History(
        SPACE, points=(ended(1, 1, None), ended(2, 2, None)), iterations=(IterationRecord(1), IterationRecord(2))
    )
    assert history.as_asked(2) == history
    assert history.as_asked(1).points == history.points[:1]
    assert history.as_asked(1).pending == ()


def test_the_order_of_ingestion_survives_json_and_costs_a_batch_nothing() -> None:
    steady = History(SPACE, points=(ended(1, 1, 1),), iterations=(IterationRecord(1, ingested_upto=1),))
    assert History.from_json(steady.to_json()) == steady
    batch = History(SPACE, points=(ended(1, 1, None),), iterations=(IterationRecord(1),))
    assert "ingest" not in str(batch.to_json())
    assert batch.digest == steady.digest


# ---------------------------------------------------------------------- top-ups
def topped(number: int, to: int, ingest_no: int | None = None, **adds: Any) -> Any:
    adds = {"to": to, **(adds or {"more": {"events": 4000}})}
    seen = Observation({"obs": 0.5})
    return one(number=number, iteration=number, observation=seen, ingest_no=ingest_no, adds=adds)


def test_a_point_that_was_topped_up_counts_until_the_one_with_more_is_measured() -> None:
    points = (ended(1, 1, None), ended(2, 2, None))
    more = topped(3, 1)
    for state in (PointState.OPEN, PointState.FAILED, PointState.INFEASIBLE):
        waiting = replace(more, state=state, observation=None)
        assert [p.number for p in History(SPACE, points=(*points, waiting)).measured] == [1, 2]
    history = History(SPACE, targets=("obs",), points=(*points, more))
    assert [p.number for p in history.measured] == [2, 3]
    assert history.values("obs").tolist() == [0.2, 0.5]
    assert [p.number for p in history.current] == [2, 3]
    assert history.replaced == {1: 3}
    again = History(SPACE, points=(*points, more, topped(4, 3)))
    assert [p.number for p in again.measured] == [2, 4]


def test_a_replicate_counts_beside_what_it_repeats() -> None:
    history = History(SPACE, points=(ended(1, 1, None), topped(2, 1, replicate=True)))
    assert history.measured == history.points == history.current
    assert history.replaced == {}


def test_what_was_asked_before_a_top_up_ended_shows_the_old_observation() -> None:
    records = tuple(IterationRecord(i, ingested_upto=i) for i in (1, 2, 3))
    points = (ended(1, 1, 1), ended(2, 1, 2), topped(3, 1, 3))
    history = History(SPACE, points=(*points[:2], replace(points[2], iteration=2)), iterations=records)
    second = history.as_asked(2)
    assert [p.number for p in second.measured] == [1, 2]
    assert [p.adds for p in second.pending] == [{"to": 1, "more": {"events": 4000}}]
    assert [p.number for p in history.as_asked(3).measured] == [2, 3]


def test_what_a_point_adds_survives_json_and_is_part_of_the_digest_where_there_is_some() -> None:
    plain = History(SPACE, points=(ended(1, 1, None),))
    assert "adds" not in str(plain.to_json())
    more, replicate = topped(2, 1), topped(2, 1, replicate=True)
    for point in (more, replicate):
        history = History(SPACE, points=(*plain.points, point))
        assert History.from_json(history.to_json()) == history
    digests = {History(SPACE, points=(*plain.points, p)).digest
               for p in (more, replicate, replace(more, adds=None))}  # fmt: skip
    assert len(digests) == 3
