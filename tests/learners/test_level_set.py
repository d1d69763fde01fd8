"""The learner of contours, from the first point to the last."""

import dataclasses
import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from idds_core.contour import grid_map
from idds_core.history import History, Observation, Point
from idds_core.ports import Learner, Mapper
from idds_core.space import Categorical, Integer, Real, Space
from idds_core.states import PointState
from idds_core.testing.toys import CIRCLE, PLANE, STAIRS, TOYS, Toy, play, play_steady
from idds_learners import LevelSet, Sobol
from idds_learners.mapping import Data, Maps
from idds_learners.surrogate import GP, Fitted


def circle(learner: Any = None, batches: Any = (10, 8, 8), seed: int = 1) -> Any:
    learner = learner or LevelSet(["f"], level=CIRCLE.level, transform="none")
    return list(play(learner, CIRCLE.space, CIRCLE.observe, seed=seed, batches=batches))


def map_of(learner: LevelSet, history: History) -> Maps:
    maps = learner.surrogate(history)
    assert maps is not None
    return maps


@pytest.mark.parametrize("learner", [LevelSet("f"), Sobol("f")])
def test_it_keeps_both_ports(learner: Any) -> None:
    assert isinstance(learner, Learner)
    assert isinstance(learner, Mapper)


@pytest.mark.parametrize("targets", ["f", ["f"], ("f",)])
def test_targets_are_given_as_one_name_or_several(targets: Any) -> None:
    assert LevelSet(targets) == LevelSet(("f",))


@pytest.mark.parametrize(
    ("learner", "text"),
    [
        (LevelSet(()), "it has no targets"),
        (LevelSet("f", transform="sqrt"), "transform 'sqrt' of f is none of"),
        (LevelSet("f", level=1.5), "level 1.5 of f has no probit"),
        (LevelSet("f", level=0.0, transform="log"), "level 0.0 of f has no log"),
        (LevelSet("f", level={"g": 0.1}), "level None of f is no number"),
        (LevelSet("f", level={"f": {"up": 1.5}}), "level 1.5 of f.up has no probit"),
        (LevelSet("f", level={"f": {"1st": 0.1}}), "contour '1st' of f is no name"),
        (LevelSet("f", level={"f": {}}), "level of f names no contour"),
        (LevelSet("f", excluded="left"), "neither below nor above"),
        (LevelSet(["f", "f"]), "repeat a name"),
        (LevelSet("f", first=0), "first=0 is below 1"),
        (LevelSet("f", squash=0.0), "squash=0.0 is not above 0"),
        (LevelSet("f", near=0.0), "near=0.0 is no share above 0"),
        (LevelSet("f", trend="xsec"), "trend 'xsec' of f is no module:function"),
        (LevelSet("f", maximin=1.5), "maximin=1.5 is no share"),
        (LevelSet("f", strategy="greedy"), "strategy 'greedy' is none of emv, straddle, poisson_disc, timse"),
    ],
)
def test_what_is_wrong_with_it_is_said(learner: Any, text: str) -> None:
    assert any(text in problem for problem in learner.problems())


def test_nothing_is_wrong_with_the_defaults() -> None:
    assert LevelSet(["obs", "exp"]).problems() == Sobol().problems() == []


def test_the_first_design_is_the_beginning_of_the_sobol_sequence() -> None:
    empty = History(CIRCLE.space, 5, ("f",))
    level_set, sobol = LevelSet("f").ask(empty, 30).points, Sobol().ask(empty, 30).points
    assert len(level_set) == 10
    assert level_set == sobol[:10]


@pytest.mark.parametrize(("d", "n"), [(1, 5), (2, 10), (3, 16), (4, 32), (6, 32)])
def test_the_first_design_grows_with_the_dimension(d: int, n: int) -> None:
    space = Space({f"x{i}": Real(0, 1) for i in range(d)})
    assert len(LevelSet("f").ask(History(space), 100).points) == n


def test_points_that_come_one_by_one_have_a_smaller_first_design_in_two_dimensions() -> None:
    history = circle(batches=(6,))[-1]
    learner = LevelSet(["f"], level=CIRCLE.level, transform="none")
    assert learner.ask(history, 1).points != Sobol().ask(history, 1).points
    assert learner.ask(history, 8).points[:2] == Sobol().ask(history, 2).points


def test_a_small_first_batch_is_filled_up_by_sobol_before_the_map_is_asked() -> None:
    history = circle(batches=(8,))[-1]
    learner = LevelSet(["f"], level=CIRCLE.level, transform="none", first=10)
    assert learner.ask(history, 2).points == Sobol().ask(history, 2).points
    assert learner.ask(history, 4).points[2:] != Sobol().ask(history, 4).points[2:]


def test_failed_points_are_replaced_in_the_first_design() -> None:
    learner = LevelSet("f", level=CIRCLE.level, transform="none", first=10)

    def half(number: Any, point: Any) -> Any:
        return CIRCLE.observe(number, point) if number % 2 else PointState.FAILED

    history = list(play(learner, CIRCLE.space, half, batches=(10,)))[-1]
    assert learner.ask(history, 5).points == Sobol().ask(history, 5).points


def test_sobol_goes_on_where_it_stopped() -> None:
    sobol, empty = Sobol(), History(CIRCLE.space, 5, ("f",))
    history = list(play(sobol, CIRCLE.space, CIRCLE.observe, seed=5, batches=(7, 9)))[-1]
    assert [dict(p.parameters) for p in history.points] == list(sobol.ask(empty, 16).points)


def test_the_circle_is_found_to_one_per_cent() -> None:
    learner = LevelSet("f", level=CIRCLE.level, transform="none")
    grid = grid_map(map_of(learner, circle(learner)[-1]), CIRCLE.space)
    assert grid.excluded_share("f") == pytest.approx(CIRCLE.excluded_share, rel=0.01)
    assert max(abs(np.hypot(*line.T) - np.sqrt(0.5)).max() for line in grid.lines("f")) < 0.02


@pytest.mark.parametrize("toy", TOYS, ids=lambda t: t.name)
def test_every_toy_is_found(toy: Toy) -> None:
    learner = LevelSet("f", level=toy.level, transform="none")
    history = list(play(learner, toy.space, toy.observe, batches=(10, 8, 8)))[-1]
    assert history.iterations[-1].diagnostics["targets"]["f"]["excluded_share"] == pytest.approx(
        toy.excluded_share, abs=0.02
    )


def test_excluded_above_is_the_other_side() -> None:
    below, above = (LevelSet("f", level=0.5, transform="none", excluded=side) for side in ("below", "above"))
    history, places = circle(below)[-1], [{"x": 0.0, "y": 0.1}, {"x": 0.9, "y": -0.9}]
    p, q = (map_of(m, history).predict(places)["f"].p_excluded for m in (below, above))
    np.testing.assert_allclose(p, 1 - q, atol=1e-12)
    assert p[0] > 0.99 > 0.01 > p[1]


def test_predictions_are_in_natural_units() -> None:
    learner = LevelSet("f", level=0.5, transform="log")
    found = map_of(learner, circle(learner)[-1]).predict([{"x": 0.5, "y": 0.5}, {"x": 0.1, "y": 0.7}])["f"]
    np.testing.assert_allclose(found.mean, [0.5, 0.5], rtol=0.03)
    assert (found.sd < 0.05).all()


def test_there_is_no_map_until_three_points_are_measured() -> None:
    learner = LevelSet("f", level=0.5, transform="none")
    assert learner.surrogate(circle(batches=(2,))[-1]) is None
    assert learner.surrogate(circle(batches=(3,))[-1]) is not None
    assert learner.ask(circle(batches=(2,))[-1], 1).diagnostics == {"n_measured": 2}


def test_diagnostics_are_finite_json_and_complete() -> None:
    last = circle()[-1].iterations[-1]
    assert json.loads(json.dumps([last.diagnostics, last.state], allow_nan=False))
    assert {"emv", "kappa", "loo_rmse", "loo_z2", "at_bounds", "residuals", "n_measured", "unexplored_radius",
            "unexplored_volume"} <= set(last.diagnostics)  # fmt: skip
    assert {"excluded_share", "band_volume", "lengthscales"} <= set(last.diagnostics["targets"]["f"])


def test_residuals_are_those_of_the_batch_just_closed_by_the_map_before_it() -> None:
    learner = LevelSet("f", level=CIRCLE.level, transform="none", near=1.0)
    first, second, third = circle(learner)
    assert first.iterations[-1].diagnostics["residuals"] == {}
    new = [p for p in third.measured if p.iteration == 3]
    maps = map_of(learner, second)
    gp = maps.gps["f"]
    mean, sd = gp.predict(third.unit(new))
    expected = (np.array([p.observation.values["f"] for p in new]) - mean) / np.hypot(sd, gp.spread * gp.nugget**0.5)
    np.testing.assert_allclose(third.iterations[-1].diagnostics["residuals"]["f"], expected, rtol=1e-6)


def test_in_steady_mode_residuals_are_those_of_what_came_in_by_the_map_before_it() -> None:
    learner = LevelSet("f", level=CIRCLE.level, transform="none", near=1.0)
    slow = 14  # asked for early, comes in late
    histories = list(play_steady(learner, CIRCLE.space, CIRCLE.observe, lambda n: 6.0 if n == slow else 1.0 + 0.01 * n))
    at = next(i for i, h in enumerate(histories) if any(p.number == slow for p in h.measured))
    before, after = histories[at - 1], histories[at]
    point = after.points[slow - 1]
    assert point.iteration < after.iterations[-1].number - 3
    came = [p for p in after.measured if (p.ingest_no or 0) > (before.iterations[-1].ingested_upto or 0)]
    assert point in came
    gp = map_of(learner, before).gps["f"]
    mean, sd = gp.predict(after.unit(came))
    expected = (np.array([p.observation.values["f"] for p in came if p.observation]) - mean) / np.hypot(
        sd, gp.spread * gp.nugget**0.5
    )
    np.testing.assert_allclose(after.iterations[-1].diagnostics["residuals"]["f"], expected, rtol=1e-6)


@pytest.mark.parametrize("adds", [{"to": 3, "more": {"events": 900}}, {"to": 3, "replicate": True}])
def test_a_top_up_is_a_surprise_to_the_map_that_knew_nothing_of_what_it_is_made_of(adds: dict[str, Any]) -> None:
    learner = LevelSet("f", level=CIRCLE.level, transform="none", near=1.0)
    first, second, _ = circle(learner)
    point = second.points[2]
    assert point.observation is not None
    seen = Observation({"f": point.observation.values["f"] + 0.01})
    number = len(first.points) + 1
    new = Point(number, 2, point.parameters, point.state, seen, adds=adds)
    history = dataclasses.replace(second, points=(*first.points, new))
    before = first if "replicate" in adds else dataclasses.replace(first, points=history.measured[:-1])
    state = history.iterations[0].state["gp"]["f"]
    fitted = Fitted(np.array(state["theta"]), state["centre"], state["spread"])
    known = Data.of(before, learner.scales(), before.measured)
    gp = GP(known.X, known.y["f"], known.noise["f"], fitted)
    mean, sd = gp.predict(history.unit([new]))
    expected = (seen.values["f"] - mean) / np.hypot(sd, gp.spread * gp.nugget**0.5)
    answer = learner.ask(history, 4)
    np.testing.assert_allclose(answer.diagnostics["residuals"]["f"], expected, rtol=1e-6)
    assert answer.diagnostics["n_measured"] == len(history.measured)
    assert len(answer.points) == 4


def test_kappa_is_taken_over_the_residuals_on_record() -> None:
    history = circle()[-1]
    rows = [dataclasses.replace(r, diagnostics=dict(r.diagnostics) | {"residuals": {"f": [3.0] * 24}})
            for r in history.iterations[:-1]]  # fmt: skip
    surprised = dataclasses.replace(history, iterations=(*rows, history.iterations[-1]))
    learner = LevelSet("f", level=CIRCLE.level, transform="none")
    calm, wide = map_of(learner, history), map_of(learner, surprised)
    place = [{"x": 0.3, "y": 0.9}]
    assert wide.kappa["f"] > 2 > calm.kappa["f"]
    assert wide.predict(place)["f"].sd[0] > 1.5 * calm.predict(place)["f"].sd[0]


def test_hyper_parameters_are_fitted_again_when_the_data_have_grown_by_a_tenth() -> None:
    learner = LevelSet("f", level=CIRCLE.level, transform="none")
    fitted = [h.iterations[-1].state["gp"]["f"]["n"] for h in circle(learner, (20, 1, 1, 1))]
    assert fitted == [10, 11, 12, 12] or fitted == [10, 11, 11, 13]


def test_it_explores_once_the_contour_is_known_better_than_the_largest_hole() -> None:
    learner = LevelSet("f", maximin=0.5)
    early, late = ({"emv": emv, "unexplored_volume": 0.1} for emv in (0.02, 0.001))
    assert learner._exploring(10, 8, early) == 0
    assert [learner._exploring(n, 8, late) for n in (10, 18, 26)] == [4, 4, 4]
    assert sum(learner._exploring(n, 1, late) for n in range(10, 30)) in (9, 10, 11)
    assert LevelSet("f", maximin=0.0)._exploring(10, 8, late) == 0


def test_an_island_is_found_by_exploring() -> None:
    space = Space(x=Real(0, 1), y=Real(0, 1))

    def island(_: Any, p: Any) -> Any:
        a = np.exp(-((p["x"] - 0.3) ** 2 / 0.03 + (p["y"] - 0.6) ** 2 / 0.05))
        b = np.exp(-((p["x"] - 0.8) ** 2 / 0.006 + (p["y"] - 0.2) ** 2 / 0.009))
        return Observation({"f": float(0.5 - a - 0.8 * b)})

    learner = LevelSet("f", level=0.0, transform="none", first=24)
    maps = map_of(learner, list(play(learner, space, island, batches=(24, *[4] * 9)))[-1])
    assert maps.predict([{"x": 0.8, "y": 0.2}])["f"].p_excluded[0] > 0.5


def test_a_noisy_target_is_learnt_with_its_sigma() -> None:
    def noisy(number: Any, p: Any) -> Any:
        noise = 0.05 * np.random.default_rng(number).normal()
        return Observation({"f": CIRCLE.value(p) + noise}, {"f": 0.05})

    learner = LevelSet("f", level=CIRCLE.level, transform="none")
    last = list(play(learner, CIRCLE.space, noisy, batches=(10, 8, 8, 8)))[-1].iterations[-1].diagnostics
    assert last["targets"]["f"]["excluded_share"] == pytest.approx(CIRCLE.excluded_share, abs=0.03)
    assert 0.3 < last["loo_z2"] < 2.5


@pytest.mark.parametrize(("sigma", "spared"), [(0.0, True), (1e-4, True), (0.05, False)])
def test_far_values_have_a_tolerance_unless_the_noise_is_large(sigma: float, spared: bool) -> None:
    def seen(_: Any, p: Any) -> Any:
        return Observation({"f": CIRCLE.value(p)}, {"f": sigma} if sigma else {})

    learner = LevelSet("f", level=CIRCLE.level, transform="none")
    state = list(play(learner, CIRCLE.space, seen, batches=(10, 8)))[-1].iterations[-1].state["gp"]["f"]
    assert (state["far"] is not None) == spared


def test_several_targets_with_levels_of_their_own() -> None:
    def both(_: Any, p: Any) -> Any:
        return Observation({"near": CIRCLE.value(p), "far": CIRCLE.value(p) + 1.0})

    learner = LevelSet(["near", "far"], level={"near": 0.3, "far": 1.7}, transform="none")
    last = list(play(learner, CIRCLE.space, both, targets=("near", "far")))[-1].iterations[-1].diagnostics
    assert last["targets"]["near"]["excluded_share"] == pytest.approx(np.pi * 0.3 / 4, abs=0.01)
    assert last["targets"]["far"]["excluded_share"] == pytest.approx(np.pi * 0.7 / 4, abs=0.01)
    assert last["emv"] == max(t["emv"] for t in last["targets"].values())


def test_a_small_finite_space_is_exhausted_and_says_so() -> None:
    space = Space(n=Integer(0, 2), c=Categorical(("a", "b")))
    learner = LevelSet("f", level=1.0, transform="none", first=3)
    history = list(play(learner, space, lambda _, p: Observation({"f": float(p["n"])}), batches=(3, 8, 8)))[-1]
    assert len(history.points) == 6
    assert learner.ask(history, 4).reason == "every point of the space has been proposed"


def test_a_sliver_of_a_space_is_filled() -> None:
    space = Space(x=Real(0, 1), y=Real(0, 1), constraints=["y < x + 0.001", "y > x - 0.001"])
    proposal = Sobol().ask(History(space), 20)
    assert len(proposal.points) == 20
    assert all(space.point_problem(p) == "" for p in proposal.points)


def test_coverage_shrinks_as_points_come() -> None:
    radius = [h.iterations[-1].diagnostics["unexplored_radius"] for h in circle()]
    assert radius[0] > radius[-1] > 0.05


def test_parameter_names_in_any_order_keep_their_coordinates() -> None:
    space = Space(z=Real(0, 100), a=Real(0, 1), constraints=["z < 50"])
    assert all(p["z"] < 50 and p["a"] <= 1 for p in Sobol().ask(History(space), 40).points)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import idds_learners, sys; print([m for m in ('numpy', 'scipy', 'contourpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_plane_in_a_logarithmic_coupling_is_a_straight_line() -> None:
    learner = LevelSet("f", level=PLANE.level, transform="none")
    maps = map_of(learner, list(play(learner, PLANE.space, PLANE.observe, batches=(10, 8)))[-1])
    for line in grid_map(maps, PLANE.space).lines("f"):
        np.testing.assert_allclose(np.log10(line[:, 1]), -0.01 * line[:, 0], atol=0.01)


def test_integers_stay_integers() -> None:
    learner = LevelSet("f", level=STAIRS.level, transform="none")
    history = list(play(learner, STAIRS.space, STAIRS.observe))[-1]
    assert all(isinstance(p.parameters["n"], int) for p in history.points)


@pytest.mark.parametrize("state", [PointState.PRUNED, PointState.INFEASIBLE])
def test_near_a_point_that_gave_no_value_it_looks_elsewhere(state: PointState) -> None:
    history = circle()[-1]
    learner = LevelSet(["f"], level=CIRCLE.level, transform="none", maximin=0.0)
    wanted = learner.ask(history, 1).points[0]
    silent = dataclasses.replace(history.points[-1], number=len(history.points) + 1, parameters=wanted, state=state,
                                 observation=None)  # fmt: skip
    after = learner.ask(dataclasses.replace(history, points=(*history.points, silent)), 1).points[0]
    a, b = history.space.to_unit([wanted, after])
    assert float(np.abs(a - b).max()) > 0.02
