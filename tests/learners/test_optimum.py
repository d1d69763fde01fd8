"""The learner of optima: what it finds, and what it makes of noise, choices, failures and several objectives."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from idds_core.errors import IddsError
from idds_core.history import History, IterationRecord, Observation, Point
from idds_core.optima import front, hypervolume
from idds_core.space import Categorical, Integer, Log, Ordered, Real, Space
from idds_core.states import PointState
from idds_core.testing.toys import play
from idds_learners import Optimum, Sobol
from idds_learners.encoding import Encoding
from idds_learners.improvement import Belief, log_expected
from idds_learners.surrogate import GP, fit
from idds_learners.warp import Warp

PLANE = Space(x=Real(-5, 10), y=Real(0, 15))
TREE = Space(
    model=Categorical(["svc", "trees", "knn"]),
    c=Log(1e-3, 1e3, when="model == 'svc'"),
    depth=Integer(1, 20, when="model == 'trees'"),
    size=Ordered([8, 16, 32, 64]),
)


def branin(p: Mapping[str, Any]) -> float:
    x, y = p["x"], p["y"]
    valley = (y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6) ** 2
    return float(valley + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10)


def tree(p: Mapping[str, Any]) -> float:
    size = 0.1 * abs(math.log2(p["size"]) - 5)
    if p["model"] == "svc":
        return size + 0.1 * (math.log10(p["c"]) - 1) ** 2
    return size + (0.2 + 0.01 * (p["depth"] - 8) ** 2 if p["model"] == "trees" else 0.3)


def last(learner: Any, space: Space, value: Any, batches: tuple[int, ...], seed: int = 1, **more: Any) -> History:
    def outcome(number: int, point: Mapping[str, Any]) -> Any:
        found = value(point)
        return Observation({"f": float(found)}) if isinstance(found, (int, float)) else found

    history = History(space)
    for history in play(learner, space, outcome, seed=seed, batches=batches, **more):  # noqa: B007
        pass
    return history


# ---------------------------------------------------------------------- what it finds
@pytest.mark.parametrize("batch", [1, 6])
def test_the_minimum_of_branin_is_found_in_forty_points(batch: int) -> None:
    history = last(Optimum(), PLANE, branin, (10, *[batch] * (30 // batch)))
    assert history.values("f").min() - 0.397887 < 0.01
    assert history.values("f").min() < last(Sobol(), PLANE, branin, (40,)).values("f").min()


def test_a_maximum_is_the_minimum_of_the_negative() -> None:
    down = last(Optimum(), PLANE, branin, (8, 4, 4))
    up = last(Optimum(direction="max"), PLANE, lambda p: -branin(p), (8, 4, 4))
    assert [p.parameters for p in down.points] == [p.parameters for p in up.points]
    assert up.iterations[-1].diagnostics["best"] == -down.iterations[-1].diagnostics["best"]


def test_units_of_the_objective_are_irrelevant() -> None:
    one = last(Optimum(), PLANE, branin, (8, 4, 4))
    other = last(Optimum(), PLANE, lambda p: 1024.0 * branin(p), (8, 4, 4))
    a, b = (PLANE.to_unit([p.parameters for p in h.points]) for h in (one, other))
    assert np.allclose(a, b, atol=1e-3)


def test_choices_order_and_conditions_are_used() -> None:
    history = last(Optimum(), TREE, tree, (10, *[4] * 6))
    best = min(history.measured, key=lambda p: p.observation.values["f"] if p.observation else math.inf)
    assert best.parameters["model"] == "svc"
    assert best.parameters["size"] == 32
    assert abs(math.log10(best.parameters["c"]) - 1) < 0.3
    assert all(TREE.point_problem(p.parameters) == "" for p in history.points)


def test_a_few_huge_values_do_not_spoil_the_search() -> None:
    def wild(p: Mapping[str, Any]) -> float:
        return 1e12 if p["x"] > 8 else branin(p)

    assert last(Optimum(), PLANE, wild, (10, *[3] * 10)).values("f").min() - 0.397887 < 0.05


def test_where_nothing_can_exist_is_learnt() -> None:
    def half(p: Mapping[str, Any]) -> Any:
        return PointState.INFEASIBLE if p["x"] + p["y"] < 8 else branin(p)

    history = last(Optimum(), PLANE, half, (10, *[2] * 12))
    late = [p for p in history.points if p.iteration > 6]
    assert sum(p.state is PointState.INFEASIBLE for p in late) <= len(late) // 3
    assert history.values("f").min() < 1.0


def test_a_pruned_point_counts_as_a_bad_one() -> None:
    """Its surroundings are left alone, without it they are where improvement is expected."""

    def bad(p: Mapping[str, Any]) -> Any:
        return PointState.PRUNED if branin(p) > 40 else branin(p)

    history = last(Optimum(), PLANE, bad, (10, *[2] * 10))
    late = [p for p in history.points if p.iteration > 4]
    assert sum(p.state is PointState.PRUNED for p in late) <= len(late) // 3


def test_a_small_space_is_gone_through_once() -> None:
    space = Space(n=Integer(0, 2), c=Categorical(["a", "b"]), d=Integer(1, 3, when="c == 'a'"))
    history = last(Optimum(), space, lambda p: float(p["n"]), (4, 4, 4, 4, 4))
    assert len(history.points) == 3 * (3 + 1)
    proposal = Optimum().ask(history, 3)
    assert proposal.points == ()
    assert proposal.reason == "every point of the space has been proposed"


def test_points_of_a_batch_are_apart() -> None:
    history = last(Optimum(), PLANE, branin, (12,))
    unit = PLANE.to_unit(list(Optimum().ask(history, 8).points))
    distance = np.sqrt(((unit[:, None] - unit[None]) ** 2).sum(-1)) + np.eye(8)
    assert distance.min() > 0.02


def test_noise_that_is_reported_is_not_taken_for_structure() -> None:
    rng = np.random.default_rng(3)
    space = Space(x=Real(0, 1))

    def noisy(_: int, p: Mapping[str, Any]) -> Observation:
        return Observation({"f": (p["x"] - 0.7) ** 2 + 0.1 * float(rng.normal())}, {"f": 0.1})

    for history in play(Optimum(), space, noisy, batches=(8, *[4] * 8)):  # noqa: B007
        pass
    late = [p.parameters["x"] for p in history.points if p.iteration > 5]
    assert abs(float(np.median(late)) - 0.7) < 0.2


# ---------------------------------------------------------------------- several objectives
def two(_: int, p: Mapping[str, Any]) -> Observation:
    """Schaffer: the front is 0 <= x <= 2."""
    return Observation({"a": p["x"] ** 2 + p["y"] ** 2, "b": (p["x"] - 2) ** 2 + p["y"] ** 2})


def test_the_front_of_two_objectives_is_filled() -> None:
    space = Space(x=Real(-10, 10), y=Real(-5, 5))
    found = {}
    for learner in (Optimum(("a", "b")), Sobol()):
        for history in play(learner, space, two, batches=(10, *[5] * 6), targets=("a", "b")):  # noqa: B007
            pass
        y = np.stack([history.values(t) for t in ("a", "b")], axis=1)
        found[type(learner).__name__] = hypervolume(y, np.array([10.0, 10.0])), int(front(y).sum())
    assert found["Optimum"][0] > found["Sobol"][0] + 2
    assert found["Optimum"][1] >= 8
    told = Optimum(("a", "b")).ask(history, 0).diagnostics
    assert told["front"] == found["Sobol"][1]
    assert told["hypervolume"] > 0


def test_each_objective_has_a_direction_of_its_own() -> None:
    learner = Optimum(("gain", "cost"), {"gain": "max"})
    history = History(PLANE, targets=("gain", "cost"))
    assert learner.ways(history) == {"gain": "max", "cost": "min"}
    assert learner.problems() == []
    assert Optimum("a", {"b": "up"}).problems() == ["direction='up' is neither min nor max",
                                                    "direction names b, which is no objective"]  # fmt: skip
    assert Optimum(["a", "a"], first=0).problems() == ["objective a, a repeats a name", "first=0 is below 1"]


def test_an_objective_that_is_not_shown_is_told() -> None:
    with pytest.raises(IddsError, match="E-LEARNER-020 there is no objective"):
        Optimum("sealed").ask(History(PLANE, targets=("f",)), 1)


# ---------------------------------------------------------------------- what it says
def test_expected_improvement_and_regret_shrink_as_the_optimum_comes_near() -> None:
    history = last(Optimum(), PLANE, branin, (10, *[3] * 10))
    told = [r.diagnostics for r in history.iterations]
    assert told[0]["expected_improvement"] > 20 * told[-1]["expected_improvement"]
    assert told[0]["regret_bound"] > 20 * told[-1]["regret_bound"]
    assert told[-1]["regret_bound"] >= told[-1]["best"] - 0.397888
    assert set(told[-1]["lengthscales"]) == {"x", "y"}


def test_more_points_than_a_process_takes_are_thinned_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("idds_learners.searching.MOST", 20)
    history = last(Optimum(), PLANE, branin, (30, 4, 4))
    assert len(history.measured) == 38
    assert [r.diagnostics["n_used"] for r in history.iterations] == [20, 20, 20]
    assert history.values("f").min() < 2.0


# ---------------------------------------------------------------------- its parts
def test_the_logarithm_of_expected_improvement_is_right_where_it_is_tiny() -> None:
    z = np.array([-200.0, -29.0, -10.0, 0.0, 2.0, 8.0])
    value, slope = log_expected(z)
    assert value == pytest.approx([-20011.516, -428.157, -55.5531, -0.918939, 0.697383, 2.079442], rel=1e-5)
    step = (log_expected(z + 1e-5)[0] - log_expected(z - 1e-5)[0]) / 2e-5
    assert slope == pytest.approx(step, rel=1e-4)


def test_the_gradient_of_the_score_is_its_difference() -> None:
    rng = np.random.default_rng(0)
    X = rng.random((15, 3))
    y = np.sin(4 * X[:, 0]) + X[:, 1]
    belief = Belief.of(GP(X, y, np.full(15, 0.05), fit(X, y, np.full(15, 0.05))))
    for x in rng.random((4, 3)):
        value, slope = belief.slope(x)
        assert value == pytest.approx(float(belief.score(x[None])[0]))
        for j, e in enumerate(1e-6 * np.eye(3)):
            step = float(belief.score((x + e)[None])[0] - belief.score((x - e)[None])[0]) / 2e-6
            assert slope[j] == pytest.approx(step, rel=5e-3, abs=1e-3)


def test_a_bent_value_comes_back() -> None:
    y = np.random.default_rng(1).lognormal(0, 2, 60)
    warp = Warp.of(y)
    kept = y[y < np.quantile(y, 0.7)]
    assert np.allclose(warp.back(warp.forward(kept)), kept)
    assert (np.diff(warp.forward(np.sort(y))) >= 0).all()
    assert np.isfinite(warp.back(np.array([-50.0, 50.0]))).all()
    assert np.allclose(Warp.of(np.full(5, 3.0)).forward(np.full(5, 3.0)), 0.0)


def test_snapped_rows_are_where_their_points_are() -> None:
    encoding = Encoding(TREE)
    U, free = encoding.snap(np.random.default_rng(2).random((50, 4)))
    points = TREE.from_unit(U)
    assert np.allclose(TREE.to_unit(points), U)
    met = TREE.applies(points)
    assert [free[:, i].tolist() for i in range(4)] == [met[n].tolist() for n in TREE.names]
    X = encoding.features(U)
    assert encoding.names == ("model=svc", "model=trees", "model=knn", "c", "depth", "size")
    assert (X[:, :3].sum(axis=1) == 1).all()


def test_the_same_points_come_from_a_record_or_from_scratch() -> None:
    """Hyper-parameters on record are those that would be fitted anew."""
    history = last(Optimum(), PLANE, branin, (8, 4, 4))
    bare = dataclasses.replace(history, iterations=(*history.iterations[:-1], IterationRecord(3)))
    assert Optimum().ask(history, 4) == Optimum().ask(bare, 4)


def test_too_little_is_known_for_a_process() -> None:
    points = tuple(Point(i, 1, {"x": float(i), "y": 1.0}, PointState.FAILED, None, "USER") for i in range(1, 13))
    proposal = Optimum().ask(History(PLANE, 1, ("f",), points, (IterationRecord(1),)), 5)
    assert len(proposal.points) == 5
    assert proposal.diagnostics == {"n_measured": 0}
