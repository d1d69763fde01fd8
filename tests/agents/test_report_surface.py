"""Lines, maps and plots of surrogates that are known exactly."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idds_agents.report.export import contour_csv, write_whole
from idds_agents.report.surface import Surface, surface_of
from idds_agents.report.terminal import draw_map
from idds_core.history import Observation, Point
from idds_core.ports import Prediction
from idds_core.space import Log, Real, Space
from idds_core.states import PointState


class Disc:
    """A target that is r, the distance from the middle, with sd 0.1; excluded inside (or outside) of r = 0.3."""

    targets = ("r",)
    levels: Mapping[str, float] = {"r": 0.3}

    def __init__(self, *, below: bool = True) -> None:
        self._sign = 1 if below else -1

    def predict(self, points: Sequence[Mapping[str, Any]]) -> Mapping[str, Prediction]:
        mean = np.array([math.hypot(p["x"] - 0.5, p["y"] - 0.5) for p in points])
        z = self._sign * (0.3 - mean) / 0.1
        p = np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in z])
        return {"r": Prediction(mean, np.full(len(points), 0.1), p)}


SQUARE = Space(x=Real(0, 1), y=Real(0, 1))


def _radii(surface: Surface, curve: str) -> np.ndarray[Any, Any]:
    points = np.vstack([line.points for line in surface.lines("r", curve)])
    return np.hypot(points[:, 0] - 0.5, points[:, 1] - 0.5)


@pytest.mark.parametrize("below", [True, False])
def test_plus_is_where_the_mean_and_one_sd_cross_the_level(below: bool) -> None:
    surface = surface_of(SQUARE, Disc(below=below), 101)
    for curve, radius in (("central", 0.3), ("plus", 0.2), ("minus", 0.4)):
        assert np.allclose(_radii(surface, curve), radius, atol=2e-4)


def test_the_csv_has_every_line_with_the_parameters_own_names() -> None:
    rows = [row.split(",") for row in contour_csv(surface_of(SQUARE, Disc(), 41)).splitlines()]
    assert rows[0] == ["target", "curve", "segment", "x", "y"]
    assert {row[1] for row in rows[1:]} == {"central", "plus", "minus"}
    assert all(math.hypot(float(r[3]) - 0.5, float(r[4]) - 0.5) < 0.41 for r in rows[1:])


def test_lines_end_at_the_border_of_what_is_allowed() -> None:
    surface = surface_of(Space(x=Real(0, 1), y=Real(0, 1), constraints=["x > 0.5"]), Disc(), 101)
    points = np.vstack([line.points for line in surface.lines("r")])
    assert points[:, 0].min() >= 0.5


def _points() -> list[Point]:
    seen = Observation({"r": 0.1})
    return [
        Point(1, 1, {"x": 0.05, "y": 0.95}, PointState.MEASURED, seen),
        Point(2, 1, {"x": 0.95, "y": 0.05}, PointState.FAILED, failure_class="USER"),
        Point(3, 1, {"x": 0.05, "y": 0.05}, PointState.INFEASIBLE),
        Point(4, 2, {"x": 0.95, "y": 0.95}, PointState.OPEN),
    ]


def test_the_map_has_the_size_asked_for_and_points_where_they_are() -> None:
    rows = draw_map(surface_of(SQUARE, Disc(), 41), "r", _points(), 24, 12).plain.split("\n")
    assert [len(row) for row in rows] == [24] * 12
    assert (rows[0][1], rows[-1][-2], rows[-1][1], rows[0][-2]) == (
        "\N{BULLET}",
        "\N{MULTIPLICATION SIGN}",
        "\N{WHITE BULLET}",
        "\N{MIDDLE DOT}",
    )
    assert set("".join(rows)) == {
        "\N{UPPER HALF BLOCK}",
        *"\N{BULLET}\N{MULTIPLICATION SIGN}\N{WHITE BULLET}\N{MIDDLE DOT}",
    }


def test_the_maps_colours_tell_excluded_allowed_and_forbidden_apart() -> None:
    space = Space(x=Real(0, 1), y=Real(0, 1), constraints=["y < 0.9"])
    text = draw_map(surface_of(space, Disc(), 41), "r", [], 21, 11)
    styles = [str(span.style) for span in text.spans]
    middle, corner, top = styles[21 * 5 + 10], styles[21 * 10], styles[10]
    assert len({middle, corner, top}) == 3
    assert "#707076" in top


def test_a_map_without_exclusion_shows_the_mean() -> None:
    class Flat(Disc):
        def predict(self, points: Sequence[Mapping[str, Any]]) -> Mapping[str, Prediction]:
            found = super().predict(points)["r"]
            return {"r": Prediction(found.mean, found.sd, np.full(len(points), 0.5))}

    text = draw_map(surface_of(SQUARE, Flat(), 41), "r", [], 20, 10)
    assert len({str(span.style) for span in text.spans}) > 10


def test_a_logarithmic_axis_is_told_to_the_plot() -> None:
    class Line:
        targets = ("m",)

        def predict(self, points: Sequence[Mapping[str, Any]]) -> Mapping[str, Prediction]:
            mean = np.array([math.log10(p["g"]) for p in points])
            return {"m": Prediction(mean, np.ones(len(points)), np.linspace(0.1, 0.9, len(points)))}

    (axis,) = surface_of(Space(g=Log(0.01, 1, unit="1/GeV")), Line(), 11).axes
    assert axis.log
    assert axis.label == "g [1/GeV]"
    assert axis.values[5] == pytest.approx(0.1)


def test_a_file_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "a.txt"
    write_whole(file, lambda path: path.write_text("old", encoding="utf-8"))

    def fail(path: Path) -> None:
        path.write_text("ne", encoding="utf-8")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_whole(file, fail)
    assert file.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [file]
