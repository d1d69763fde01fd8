"""A loop as a HEPData submission: contours, measured points, the excluded area; one table each.

hepdata-lib makes the tables. Its own ``create_files`` is not used: it leaves an archive in the current folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idds_agents.report.extras import need
from idds_agents.report.reading import LoopView
from idds_agents.report.surface import CURVES, Line, Surface, level_words, need_surrogate, surface_of
from idds_core.errors import IddsError
from idds_core.history import Point
from idds_core.space import Categorical, Integer, Ordered

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["write_submission"]

_CURVES = {"central": "", "plus": " plus 1 sd", "minus": " minus 1 sd"}
_DIGITS = 10
_LONGEST = 64  # a table's name, says HEPData
#: p_excluded where the contour is certain, likely or possible to one standard deviation
_CERTAIN, _LIKELY, _POSSIBLE = 0.8413447460685429, 0.5, 0.15865525393145707


def write_submission(view: LoopView, folder: Path) -> None:
    """Fill an empty folder with ``submission.yaml`` and the tables it names.

    Raises
    ------
    IddsError
        When hepdata-lib is not there, or nothing is measured yet.

    """
    lib = need("hepdata_lib", "hep", "--format hepdata")
    if not view.history.measured:
        raise IddsError.of("E-EXPORT-004", f"{view.path} has nothing to submit", "no point is measured", view.path,
                           "Wait for the first points.")  # fmt: skip
    maker = _Maker(lib, view)
    surface = _surface(view)
    if surface is not None:
        for target in surface.targets:
            for curve in CURVES:
                maker.contour(surface, target, surface.lines(target, curve), curve)
        maker.area(surface)
    maker.points(view.history.measured)
    maker.write(folder)


def _surface(view: LoopView) -> Surface | None:
    """The map, where lines can be drawn on one; the measured points are worth a submission without."""
    space = view.plan.loop.space
    if space.dimension > 2 or any(isinstance(p, (Categorical, Ordered)) for p in space.parameters.values()):
        return None
    try:
        return surface_of(space, need_surrogate(view))
    except IddsError as error:
        if error.code == "E-REPORT-002":
            return None
        raise


class _Maker:
    """Makes the tables of one loop."""

    def __init__(self, lib: Any, view: LoopView) -> None:
        self._lib = lib
        self._view = view
        self._levels = level_words(view)
        self._tables: list[Any] = []
        self._names: set[str] = set()

    def _table(self, name: str, description: str) -> Any:
        """A table; its name is unique without regard to case, since files are named by it."""
        short, number = name[:_LONGEST], 1
        while short.lower() in self._names:
            number += 1
            short = f"{name[: _LONGEST - 4]} {number}"
        self._names.add(short.lower())
        table = self._lib.Table(short)
        table.description = description
        table.location = f"Data of the scan {self._view.path}"
        table.keywords = {}
        self._tables.append(table)
        return table

    def _variable(self, name: str, values: Sequence[Any], unit: str = "", *, independent: bool = False,
                  qualifiers: Mapping[str, Any] | None = None) -> Any:  # fmt: skip
        variable = self._lib.Variable(name, is_independent=independent, is_binned=False, units=unit,
                                      values=list(values), zero_uncertainties_warning=False)  # fmt: skip
        variable.digits = _DIGITS
        for key, value in (qualifiers or {}).items():
            variable.add_qualifier(key, value)
        return variable

    def _qualifiers(self, target: str) -> dict[str, Any]:
        level = self._levels.get(target)
        return {"target": target, **({} if level is None else {"level": level})}

    def contour(self, surface: Surface, target: str, lines: Sequence[Line], curve: str) -> None:
        """One curve of a target; nothing where it does not cross the space."""
        if not lines:
            return
        words = {"central": "is at the level", "plus": "plus one standard deviation is at the level",
                 "minus": "minus one standard deviation is at the level"}[curve]  # fmt: skip
        table = self._table(f"Contour {target}{_CURVES[curve]}",
                            f"Where the prediction of {target} {words}. Points in the order of the line.")  # fmt: skip
        given = {**self._qualifiers(target), "curve": curve}
        points = [point for line in lines for point in line.points.tolist()]
        segments = [line.segment for line in lines for _ in line.points]
        x, *more = surface.axes
        if more:
            table.add_variable(self._variable(x.name, [p[0] for p in points], x.unit, independent=True))
            table.add_variable(self._variable(more[0].name, [p[1] for p in points], more[0].unit, qualifiers=given))
            if len(lines) > 1:
                table.add_variable(self._variable("segment", segments, qualifiers=given))
        else:
            table.add_variable(self._variable("crossing", segments, independent=True))
            table.add_variable(self._variable(x.name, [p[0] for p in points], x.unit, qualifiers=given))

    def points(self, points: Sequence[Point]) -> None:
        """The measured points, with the uncertainties that were reported."""
        table = self._table("Measured points", "All points measured by the scan; uncertainties are those reported.")
        for name, parameter in self._view.plan.loop.space.parameters.items():
            values = [p.parameters[name] for p in points]
            table.add_variable(self._variable(name, values, parameter.unit, independent=True))
        seen = [p.observation for p in points if p.observation is not None]
        for target in self._view.history.targets:
            variable = self._variable(target, [o.values[target] for o in seen], qualifiers=self._qualifiers(target))
            sigmas = [float(o.sigmas.get(target, 0.0)) for o in seen]
            if any(sigmas):
                uncertainty = self._lib.Uncertainty("measurement")
                uncertainty.values = sigmas
                variable.add_uncertainty(uncertainty)
            table.add_variable(variable)
            bounds = [o.censored.get(target, "") for o in seen]
            if any(bounds):  # where the truth is on that side of the value, and no more is known
                table.add_variable(self._variable(f"{target} censored", bounds, qualifiers=self._qualifiers(target)))

    def area(self, surface: Surface) -> None:
        """How much is excluded: the share of the allowed space on its own scales, and the area in natural units."""
        table = self._table("Excluded area", "Where exclusion is more likely than not. The error is what is certain, "
                            "or possible, to one standard deviation of the map.")  # fmt: skip
        targets = surface.targets
        table.add_variable(self._variable("target", list(targets), independent=True))
        unit, natural = _weights(surface)
        found = [_amounts(surface, t, unit) for t in targets]
        share = self._variable("Excluded share of the allowed space", [f[0] for f in found])
        self._band(share, found)
        what = "Excluded area" if len(surface.axes) == 2 else "Excluded length"
        found = [_amounts(surface, t, natural, relative=False) for t in targets]
        area = self._variable(what, [f[0] for f in found], _unit(surface))
        self._band(area, found)
        for variable in (share, area):
            for target, level in self._levels.items():
                variable.add_qualifier(f"level of {target}", level)
            table.add_variable(variable)

    def _band(self, variable: Any, found: Sequence[tuple[float, float, float]]) -> None:
        uncertainty = self._lib.Uncertainty("map, 1 sd", is_symmetric=False)
        uncertainty.values = [(low - middle, high - middle) for middle, low, high in found]
        variable.add_uncertainty(uncertainty)

    def write(self, folder: Path) -> None:
        """The head of the submission, then each table with its part of it."""
        yaml = need("yaml", "hep", "--format hepdata")
        view = self._view
        comment = (f"Scan {view.path}: {view.record.state}, {view.evaluations} evaluations; {view.record.reason}. "
                   f"Digest of the history: {view.history.digest}.")  # fmt: skip
        start = {"comment": comment, "data_license": self._lib.Submission.get_license()}
        text = yaml.safe_dump(start, explicit_start=True, default_flow_style=False, allow_unicode=True)
        (folder / "submission.yaml").write_text(text, encoding="utf-8")
        for table in self._tables:
            table.write_output(str(folder))


# ---------------------------------------------------------------------- how much is excluded
def _weights(surface: Surface) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each node stands for: on the scales of the parameters, and in natural units."""
    import numpy as np

    unit, natural = np.ones(()), np.ones(())
    for axis in reversed(surface.axes):
        n = len(axis.values)
        whole = isinstance(surface.space.parameters[axis.name], Integer)  # each value stands for itself
        widths = np.gradient(axis.values) if n > 1 else np.ones(1)
        cells = np.ones(n)
        if n > 1 and not whole:
            cells[[0, -1]] = 0.5
            widths[[0, -1]] *= 0.5
        unit, natural = np.multiply.outer(unit, cells), np.multiply.outer(natural, widths)
    return unit, natural


def _amounts(
    surface: Surface, target: str, weights: NDArray[np.float64], *, relative: bool = True
) -> tuple[float, float, float]:
    """Excluded more likely than not, certainly and possibly: sums of weights, or their shares of what is allowed."""
    import numpy as np

    p = np.nan_to_num(surface.grid.predictions[target].p_excluded, nan=-1.0)
    total = float(weights[surface.grid.allowed].sum()) if relative else 1.0
    likely, certain, possible = (float(weights[p > least].sum()) / (total or 1.0)
                                 for least in (_LIKELY, _CERTAIN, _POSSIBLE))  # fmt: skip
    return likely, certain, possible


def _unit(surface: Surface) -> str:
    units = [a.unit for a in surface.axes]
    if len(units) == 2 and units[0] == units[1] and units[0]:
        return f"{units[0]}^2"
    return " ".join(u for u in units if u)
