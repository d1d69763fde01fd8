"""Contours of a surrogate that is known exactly."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr

from idds_core.contour import grid_map
from idds_core.errors import IddsError
from idds_core.ports import Prediction
from idds_core.space import Categorical, Integer, Log, Real, Space


@dataclass
class Known:
    """A surrogate that knows: f of the points, sd 0.1, excluded below 0.5."""

    f: Callable[[Any], float]
    targets: tuple[str, ...] = ("f",)

    def predict(self, points: Any) -> Any:
        mean = np.array([self.f(p) for p in points], dtype=np.float64)
        return {"f": Prediction(mean, np.full(len(mean), 0.1), ndtr((0.5 - mean) / 0.1))}


class Told(Known):
    """The same, with its level told."""

    levels = {"f": 0.5}  # noqa: RUF012


SQUARE = Space(x=Real(-1, 1), y=Real(-1, 1))


def radius2(p: Any) -> Any:
    return p["x"] ** 2 + p["y"] ** 2


@pytest.mark.parametrize("kind", [Known, Told])
def test_a_circle_has_its_radius_its_area_and_its_band(kind: Any) -> None:
    grid = grid_map(kind(radius2), SQUARE, 101)
    (line,) = grid.lines("f")
    np.testing.assert_allclose(np.hypot(*line.T), np.sqrt(0.5), atol=2e-3)
    assert grid.excluded_share("f") == pytest.approx(np.pi * 0.5 / 4, rel=0.01)
    outer, inner = grid.band("f")
    np.testing.assert_allclose(np.hypot(*outer[0].T), np.sqrt(0.6), atol=2e-3)
    np.testing.assert_allclose(np.hypot(*inner[0].T), np.sqrt(0.4), atol=2e-3)


def test_what_the_constraints_forbid_is_neither_drawn_nor_counted() -> None:
    grid = grid_map(Told(radius2), Space(SQUARE.parameters, constraints=["x > 0"]), 101)
    assert all((line[:, 0] > 0).all() for line in grid.lines("f"))
    assert np.isnan(grid.predictions["f"].mean[~grid.allowed]).all()
    assert grid.excluded_share("f") == pytest.approx(np.pi * 0.5 / 4, rel=0.02)


def test_axes_are_natural_and_even_on_their_own_scale() -> None:
    grid = grid_map(Told(lambda p: np.log10(p["g"])), Space(g=Log(0.1, 1000.0), n=Integer(1, 4)), 41)
    np.testing.assert_allclose(grid.axes[0], np.logspace(-1, 3, 41))
    assert grid.axes[1].tolist() == [1, 2, 3, 4]
    assert grid.names == ("g", "n")
    for line in grid.lines("f"):
        np.testing.assert_allclose(line[:, 0], np.sqrt(10.0), rtol=0.05)


def test_in_one_dimension_a_contour_is_its_crossing_points() -> None:
    grid = grid_map(Told(lambda p: p["x"] ** 2), Space(x=Real(-1, 1)), 201)
    assert [float(c[0, 0]) for c in grid.lines("f")] == pytest.approx([-np.sqrt(0.5), np.sqrt(0.5)], abs=1e-3)
    assert grid.excluded_share("f") == pytest.approx(np.sqrt(0.5), abs=0.01)
    assert len(grid.band("f")[0]) == 2


def test_a_map_without_a_crossing_has_no_line() -> None:
    grid = grid_map(Told(lambda _: 3.0), SQUARE, 11)
    assert grid.lines("f") == []
    assert grid.excluded_share("f") == 0.0


@pytest.mark.parametrize(
    ("space", "code"),
    [
        (Space(x=Real(0, 1), y=Real(0, 1), z=Real(0, 1)), "E-CONTOUR-001"),
        (Space(x=Real(0, 1), c=Categorical(("a", "b"))), "E-CONTOUR-002"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(space: Space, code: str) -> None:
    with pytest.raises(IddsError, match=code):
        grid_map(Told(radius2), space)


def test_a_map_ends_where_points_probably_cannot_exist() -> None:
    @dataclass(frozen=True)
    class Halved:
        targets: tuple[str, ...] = ("f",)

        def predict(self, points: Any) -> Any:
            x = np.array([p["x"] for p in points])
            return {"f": Prediction(x, np.full(len(x), 0.1), (x > 0).astype(float))}

        def can_exist(self, points: Any) -> Any:
            return np.array([0.9 if p["y"] < 0 else 0.1 for p in points])

    found = grid_map(Halved(), Space(x=Real(-1, 1), y=Real(-1, 1)), 21)
    assert found.exists is not None
    assert (found.allowed == (found.exists > 0.5)).all()
    assert np.isnan(found.predictions["f"].mean[~found.allowed]).all()
    (line,) = found.lines("f")
    assert line[:, 1].max() < 0
    assert found.excluded_share("f") == pytest.approx(0.5, abs=0.05)
