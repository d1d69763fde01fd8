"""The lines of numpy that evaluate an exported surrogate: the same numbers as the surrogate itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idds_core.history import History, Observation, Point
from idds_core.ports import Portable
from idds_core.space import Categorical, Integer, Log, Real, Space
from idds_core.states import PointState
from idds_learners import LevelSet
from idds_learners.mapping import Maps
from idds_learners.portable import CODE, portable

SPACE = Space(x=Real(-3, 5), g=Log(0.01, 10), n=Integer(1, 6), c=Categorical(("red", "green")))


def _maps(transform: str, excluded: str, *, sigma: float) -> Maps:
    rng = np.random.default_rng(5)
    points = []
    for i, p in enumerate(SPACE.from_unit(rng.random((30, 4)))):
        latent = 0.4 * p["x"] + 0.5 * np.sin(2 * p["x"] + p["n"]) + np.log10(p["g"]) - 0.2 * p["n"] + (p["c"] == "red")
        value = float({"none": latent, "log": np.exp(latent)}.get(transform, 1 / (1 + np.exp(-latent))))
        seen = Observation({"y": value}, {"y": sigma * abs(value)} if sigma and i % 2 else {})
        points.append(Point(i + 1, 1, p, PointState.MEASURED, seen))
    learner = LevelSet("y", level=0.3, transform=transform, excluded=excluded)
    maps = learner.surrogate(History(SPACE, 0, ("y",), tuple(points)))
    assert maps is not None
    return maps


def _evaluate(folder: Path, maps: Maps, points: list[dict[str, Any]]) -> tuple[Any, Any]:
    document, arrays = portable(maps)
    (folder / "surrogate.json").write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
    np.savez(folder / "surrogate.npz", allow_pickle=False, **dict(arrays))
    names: dict[str, Any] = {}
    exec(document["code"], names)
    mean, sd = names["evaluate"](folder, "y", points)
    return mean, sd


def test_there_is_no_value_where_points_probably_cannot_exist(tmp_path: Path) -> None:
    space = Space(x=Real(-3, 5), n=Integer(1, 6))
    points = tuple(
        Point(i, 1, p, PointState.INFEASIBLE if p["x"] > 2 else PointState.MEASURED,
              None if p["x"] > 2 else Observation({"y": p["x"] + p["n"]}))
        for i, p in enumerate(space.from_unit(np.random.default_rng(5).random((40, 2))), 1)
    )  # fmt: skip
    maps = LevelSet("y", level=3.0, transform="none").surrogate(History(space, 0, ("y",), points))
    assert maps is not None
    tried = [{"x": x, "n": 3} for x in (-2.0, 0.0, 4.0, 4.8)]
    mean, sd = _evaluate(tmp_path, maps, tried)
    assert np.isnan(mean).tolist() == np.isnan(sd).tolist() == [False, False, True, True]
    exists = maps.can_exist(tried)
    assert exists is not None
    assert (exists >= 0.5).tolist() == [True, True, False, False]
    np.testing.assert_allclose(mean[:2], maps.predict(tried)["y"].mean[:2], rtol=1e-9)


@pytest.mark.parametrize("transform", ["none", "log", "probit", "logit"])
@pytest.mark.parametrize(("excluded", "sigma"), [("below", 0.0), ("above", 0.05)])
def test_the_lines_give_what_the_surrogate_gives(tmp_path: Path, transform: str, excluded: str, sigma: float) -> None:
    maps = _maps(transform, excluded, sigma=sigma)
    points = SPACE.from_unit(np.random.default_rng(9).random((200, 4)))
    mean, sd = _evaluate(tmp_path, maps, points)
    expected = maps.predict(points)["y"]
    np.testing.assert_allclose(mean, expected.mean, rtol=1e-9)
    # where the data leave less than half a percent of the prior, the difference of two large numbers is rounded in both
    gp = maps.gps["y"]
    known = gp.predict(SPACE.to_unit(points))[1] < 5e-3 * gp.spread * np.exp(gp.theta[-2] / 2)
    np.testing.assert_allclose(sd[~known], expected.sd[~known], rtol=1e-9)
    np.testing.assert_allclose(sd, expected.sd, rtol=1e-6)
    assert transform == "none" or np.mean(known) < 0.1  # that one is noiseless and all but linear
    assert np.ptp(mean) > 0


def test_kappa_inflates_what_the_lines_give(tmp_path: Path) -> None:
    import dataclasses

    maps = _maps("none", "below", sigma=0.0)
    points = SPACE.from_unit(np.random.default_rng(2).random((5, 4)))
    _, sd = _evaluate(tmp_path, maps, points)
    _, wider = _evaluate(tmp_path, dataclasses.replace(maps, kappa={"y": 2.5 * maps.kappa["y"]}), points)
    np.testing.assert_allclose(wider, 2.5 * sd, rtol=1e-9)


def test_there_are_at_most_twenty_lines_and_the_map_is_portable() -> None:
    assert len([line for line in CODE.splitlines() if line]) <= 20
    assert all(len(line) <= 120 for line in CODE.splitlines())
    assert isinstance(_maps("none", "below", sigma=0.0), Portable)


def test_a_trend_that_another_loop_measured_is_taken_along(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    wide = Space(x=Real(-4, 6), g=Log(0.005, 20), n=Integer(0, 8), c=Categorical(("red", "green")))

    def measured(space: Space, n: int, more: float) -> tuple[Point, ...]:
        points = SPACE.from_unit(rng.random((n, 4)))
        mu = [float(np.exp(p["x"] * (0.4 + more * p["x"]) + np.log(p["g"]) + 0.1 * p["n"])) for p in points]
        return tuple(Point(i, 1, p, PointState.MEASURED, Observation({"y": v}))
                     for i, (p, v) in enumerate(zip(points, mu, strict=True), 1))  # fmt: skip

    quick = History(wide, 0, ("y",), measured(wide, 60, 0.0))
    learner = LevelSet("y", level=1.0, transform="log", trend="quick.y")
    maps = learner.surrogate(History(SPACE, 0, ("y",), measured(SPACE, 12, 0.02), earlier={"quick": quick}))
    assert maps is not None
    points = SPACE.from_unit(rng.random((50, 4)))
    mean, _ = _evaluate(tmp_path, maps, points)
    np.testing.assert_allclose(mean, maps.predict(points)["y"].mean, rtol=1e-7)
