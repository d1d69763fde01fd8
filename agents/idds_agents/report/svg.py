"""Numbers for vector drawings in a page: scales with their ticks, and paths that are as short as they look."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idds_agents.report.surface import regions

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["Box", "Scale", "filled_path", "line_path", "lines_path"]

_MOST_DECADES = 7


@dataclass(frozen=True)
class Scale:
    """From values to places on the page; `first` is where `low` is."""

    low: float
    high: float
    first: float
    last: float
    log: bool = False

    def __call__(self, values: Any) -> Array:
        """Places of values; what is outside stays outside."""
        import numpy as np

        low, high, v = self.low, self.high, np.asarray(values, dtype=float)
        if self.log:
            low, high, v = math.log10(low), math.log10(high), np.log10(np.maximum(v, 1e-300))
        found: Array = self.first + (v - low) / ((high - low) or 1.0) * (self.last - self.first)
        return found

    def ticks(self, most: int = 6, *, whole: bool = False) -> list[tuple[float, str]]:
        """Place and text of each tick; only at whole numbers if asked so."""
        from matplotlib.ticker import LogLocator, MaxNLocator

        inside: list[float] = []
        if self.log:
            decades = math.log10(self.high / self.low)
            subs = (1.0,) if decades > 1.5 else (1.0, 2.0, 5.0)
            found = LogLocator(subs=subs, numticks=max(most, _MOST_DECADES)).tick_values(self.low, self.high)
            inside = self._inside(found)
        if len(inside) < 2:
            inside = self._inside(MaxNLocator(nbins=most, integer=whole).tick_values(self.low, self.high))
        return [(round(float(self(v)), 1), f"{v:.6g}") for v in inside]

    def _inside(self, values: Iterable[Any]) -> list[float]:
        room = 1e-9 * abs(self.high - self.low)
        found = [float(v) for v in values if self.low - room <= v <= self.high + room]
        return [0.0 if abs(v) < room else v for v in found]


@dataclass(frozen=True)
class Box:
    """The frame of a drawing: its place, and a scale for each axis."""

    width: float
    height: float
    x: Scale
    y: Scale

    @property
    def left(self) -> float:
        """Left edge of what is drawn."""
        return self.x.first

    @property
    def top(self) -> float:
        """Upper edge of what is drawn."""
        return self.y.last

    @property
    def w(self) -> float:
        """Width of what is drawn."""
        return self.x.last - self.x.first

    @property
    def h(self) -> float:
        """Height of what is drawn."""
        return self.y.first - self.y.last

    @property
    def bottom(self) -> float:
        """Lower edge of what is drawn."""
        return self.y.first

    def place(self, points: Array) -> Array:
        """(n, 2) points in natural units -> (n, 2) on the page."""
        import numpy as np

        return np.column_stack([self.x(points[:, 0]), self.y(points[:, 1])])


def line_path(places: Array, *, closed: bool = False) -> str:
    """The path through (n, 2) places to a tenth of a unit, without what nobody could see; empty for fewer than two."""
    import numpy as np
    from matplotlib.path import Path

    if len(places) < 2:
        return ""
    kept: Any = Path(places).cleaned(simplify=True, remove_nans=True)
    drawn = np.asarray(kept.vertices)[np.asarray(kept.codes) != Path.STOP]
    tenths = np.rint(10.0 * drawn).astype(int)
    steps = np.diff(tenths, axis=0)
    steps = steps[(steps != 0).any(axis=1)]
    if not len(steps):
        return ""
    text = f"M{_short(tenths[0, 0])} {_short(tenths[0, 1])}l"
    return text + " ".join(f"{_short(a)} {_short(b)}" for a, b in steps) + ("z" if closed else "")


def _short(tenths: int) -> str:
    whole, rest = divmod(abs(int(tenths)), 10)
    text = f"{whole}.{rest}" if rest and whole else f".{rest}" if rest else str(whole)
    return f"-{text}" if tenths < 0 else text


def lines_path(box: Box, pieces: Iterable[Array]) -> str:
    """Several polylines, given in natural units, as one path."""
    return "".join(line_path(box.place(piece)) for piece in pieces)


def filled_path(box: Box, axes: Sequence[Any], z: Array, low: float, high: float) -> str:
    """Where low < z < high as one path, to be filled by the even-odd rule; z is (ny, nx), NaN outside."""
    rings = (ring for polygon in regions(axes, z, low, high) for ring in polygon)
    return "".join(line_path(box.place(ring), closed=True) for ring in rings)
