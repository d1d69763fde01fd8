"""Which parameters matter: against functions whose parts are known."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from idds_core.history import History, Observation, Point
from idds_core.space import Categorical, Integer, Ordered, Real, Space
from idds_core.states import PointState
from idds_learners import LevelSet, Optimum, Sobol
from idds_learners.importance import shares

Array = NDArray[np.float64]


def ishigami(U: Array) -> Array:
    x = np.pi * (2 * U - 1)
    return np.asarray(np.sin(x[:, 0]) + 7 * np.sin(x[:, 1]) ** 2 + 0.1 * x[:, 2] ** 4 * np.sin(x[:, 0]))


def measured(space: Space, value: Any, n: int, targets: tuple[str, ...] = ("f",)) -> History:
    points = tuple(
        Point(i, 1, p, PointState.MEASURED, Observation(dict.fromkeys(targets, float(value(p)))))
        for i, p in enumerate(Sobol().ask(History(space), n).points, 1)
    )
    return History(space, 1, targets, points)


def test_the_parts_of_ishigamis_function_are_those_that_are_known() -> None:
    found = shares(ishigami, 3, rows=4096)
    assert found.main == pytest.approx([0.3139, 0.4424, 0.0], abs=0.01)
    assert found.total == pytest.approx([0.5576, 0.4424, 0.2437], abs=0.01)
    assert found.pairs[0, 2] == pytest.approx(0.2437, abs=0.015)
    assert max(found.pairs[0, 1], found.pairs[1, 2]) < 0.015


def test_an_additive_function_has_no_pairs_and_a_constant_has_nothing() -> None:
    found = shares(lambda U: U @ np.array([3.0, 2.0, 1.0]), 3)
    assert found.main == pytest.approx(np.array([9.0, 4.0, 1.0]) / 14.0, abs=0.005)
    assert found.total == pytest.approx(found.main, abs=0.005)
    assert found.document("abc")["pairs"] == []
    flat = shares(lambda U: np.full(len(U), 1e3), 2)
    assert flat.document("ab") == {"main": {"a": 0.0, "b": 0.0}, "total": {"a": 0.0, "b": 0.0}, "pairs": []}


def test_a_level_set_knows_which_parameters_act_together() -> None:
    space = Space(x=Real(-1, 1), y=Real(-1, 1), z=Real(0, 1))
    told = LevelSet("f", 0.0, "none").importance(measured(space, lambda p: p["x"] * p["y"] + 0.5 * p["x"], 64))["f"]
    # the variances of xy and x/2 are 1/9 and 1/12
    assert told["main"] == pytest.approx({"x": 3 / 7, "y": 0.0, "z": 0.0}, abs=0.03)
    assert [pair["parameters"] for pair in told["pairs"]] == [["x", "y"]]
    assert told["pairs"][0]["share"] == pytest.approx(4 / 7, abs=0.03)


def test_choices_order_and_conditions_have_their_parts_in_an_optimum() -> None:
    space = Space(kind=Categorical(["a", "b", "c"]), n=Integer(1, 4), size=Ordered([8, 16]),
                  depth=Real(0, 1, when="kind == 'a'"))  # fmt: skip

    def value(p: Mapping[str, Any]) -> float:
        return float({"a": 0.0, "b": 1.0, "c": 3.0}[p["kind"]] + 0.3 * p["n"])

    told = Optimum().importance(measured(space, value, 60))["f"]
    assert set(told["main"]) == set(space.names)
    assert told["main"]["kind"] > 3 * told["main"]["n"] > 10 * told["main"]["size"]
    assert sum(told["main"].values()) == pytest.approx(1.0, abs=0.15)
    assert Optimum().importance(History(space, 1, ("f",))) == {}


def test_each_of_several_objectives_has_its_own() -> None:
    space = Space(x=Real(0, 1), y=Real(0, 1))
    history = measured(space, lambda p: p["x"], 20, ("f", "g"))
    told = Optimum().importance(history)
    assert set(told) == {"f", "g"}
    assert math.isclose(told["f"]["main"]["x"], 1.0, abs_tol=0.05)
