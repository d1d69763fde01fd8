"""The map of a loop in a terminal: two pixels in each character cell, points marked, the forbidden region grey."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from idds_agents.report.surface import Surface
from idds_core.history import Point
from idds_core.states import PointState

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from rich.text import Text

__all__ = ["draw_map"]

# Blue and orange: told apart by everybody; the light middle is where the contour runs
_STOPS = ((0.0, (0xE0, 0x98, 0x40)), (0.35, (0xF0, 0xC4, 0x8A)), (0.5, (0xFF, 0xFF, 0xFF)), (0.65, (0x8F, 0xBE, 0xE0)),
    (1.0, (0x1A, 0x5F, 0x9E)))  # fmt: skip
_FORBIDDEN = (0x70, 0x70, 0x76)
_MARKS: Mapping[PointState, str] = {
    PointState.MEASURED: "\N{BULLET}",
    PointState.FAILED: "\N{MULTIPLICATION SIGN}",
    PointState.INFEASIBLE: "\N{WHITE BULLET}",
    PointState.PRUNED: "\N{WHITE DOWN-POINTING SMALL TRIANGLE}",
    PointState.OPEN: "\N{MIDDLE DOT}",
}
_FLAT = 1e-9


def draw_map(surface: Surface, target: str, points: Sequence[Point], width: int, height: int) -> Text:
    """A picture of `width` x `height` characters: the probability of exclusion, or the mean where there is none."""
    from rich.text import Text

    ny, nx = surface.grid.allowed.shape
    rows, columns = _nearest(ny, 2 * height)[::-1], _nearest(nx, width)
    shade = _shade(surface, target)[rows][:, columns]
    allowed = surface.grid.allowed[rows][:, columns]
    pixels = [
        [_colour(float(value)) if fine else _FORBIDDEN for value, fine in zip(*row, strict=True)]
        for row in zip(shade, allowed, strict=True)
    ]
    marks = _marks(surface, points, width, height)
    text = Text(no_wrap=True)
    for i in range(height):
        for j in range(width):
            upper, lower = pixels[2 * i][j], pixels[2 * i + 1][j]
            mark = marks.get((i, j))
            if mark is None:
                text.append("\N{UPPER HALF BLOCK}", f"{_hex(upper)} on {_hex(lower)}")
            else:
                text.append(mark, f"bold #000000 on {_hex(_mixed(upper, lower))}")
        if i + 1 < height:
            text.append("\n")
    return text


def _nearest(have: int, wanted: int) -> list[int]:
    return [round(i * (have - 1) / max(wanted - 1, 1)) for i in range(wanted)]


def _shade(surface: Surface, target: str) -> NDArray[np.float64]:
    """Numbers from 0 to 1."""
    import numpy as np

    found, allowed = surface.grid.predictions[target], surface.grid.allowed
    seen = found.p_excluded[allowed]
    if seen.size and np.isfinite(seen).all() and np.ptp(seen) > _FLAT:
        return found.p_excluded
    seen = found.mean[allowed]
    if seen.size and np.ptp(seen) > 0:
        return np.asarray((found.mean - seen.min()) / np.ptp(seen))
    return np.full(found.mean.shape, 0.5)


def _colour(value: float) -> tuple[int, int, int]:
    value = min(max(value, 0.0), 1.0)
    for (low, first), (high, last) in pairwise(_STOPS):
        if value <= high:
            f = (value - low) / (high - low)
            r, g, b = (round(a + f * (c - a)) for a, c in zip(first, last, strict=True))
            return r, g, b
    return _STOPS[-1][1]


def _mixed(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    return (a[0] + b[0]) // 2, (a[1] + b[1]) // 2, (a[2] + b[2]) // 2


def _hex(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _marks(surface: Surface, points: Sequence[Point], width: int, height: int) -> dict[tuple[int, int], str]:
    """Cell -> mark; where several points share a cell the one that was measured last is seen."""
    known = [p for p in points if p.state in _MARKS]
    unit = surface.space.to_unit([p.parameters for p in known])
    found: dict[tuple[int, int], str] = {}
    for point, (u, v) in zip(known, unit.tolist(), strict=True):
        cell = min(int((1 - v) * height), height - 1), min(int(u * width), width - 1)
        found[cell] = _MARKS[point.state]
    return found
