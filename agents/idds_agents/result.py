"""What a run gives back in Python: the loop as it stands on record, to look at, to draw and to take away.

A result is a look at the record at one moment; it holds no connection and changes nothing. `refresh` looks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idds_agents.report.extras import need
from idds_agents.report.reading import LoopView, view_loop
from idds_agents.workspace import Workspace
from idds_core.errors import IddsError, did_you_mean
from idds_core.history import History, Observation, Point
from idds_core.optima import directions
from idds_core.states import LoopState
from idds_core.store import LoopRecord, WorkflowRecord

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from idds_agents.report.points import Table
    from idds_agents.report.surface import Line, Surface
    from idds_core.ports import Surrogate

__all__ = ["Contour", "Result", "open_result"]


class Contour:
    """The contour of a target, with its band."""

    def __init__(self, surface: Surface, target: str, level: float | str | None) -> None:
        self._surface = surface
        self.target = target
        self.level = level

    def lines(self, curve: str = "central") -> list[NDArray[np.float64]]:
        """The pieces (k, 2) in natural units, (1, 1) in one dimension, of "central", "plus" or "minus"."""
        return [line.points for line in self._lines(curve)]

    def _lines(self, curve: str) -> list[Line]:
        from idds_agents.report.surface import CURVES

        if curve not in CURVES:
            raise IddsError.of("E-RESULT-003", f"there is no curve {curve}", "", "", f"Known: {', '.join(CURVES)}.")
        return self._surface.lines(self.target, curve)

    @property
    def excluded_share(self) -> float:
        """Share of the allowed space where exclusion is more likely than not."""
        return self._surface.grid.excluded_share(self.target)

    def to_csv(self, path: str | Path | None = None) -> str | None:
        """The lines with their band as CSV: into a file, or returned."""
        from idds_agents.report.export import contour_csv

        text = contour_csv(self._surface, self.target)
        if path is None:
            return text
        _write(Path(path), text)
        return None

    def frame(self) -> Any:
        """The lines with their band as a pandas DataFrame."""
        from idds_agents.report.tables import contour_table

        return _frame(contour_table(self._surface, self.target))

    def __repr__(self) -> str:
        pieces = len(self._surface.lines(self.target))
        level = "" if self.level is None else f" at {self.level}"
        return f"<contour of {self.target}{level}: {pieces} pieces, {100 * self.excluded_share:.3g} % excluded>"


class Result:
    """A run as it stands on record.

    Attributes
    ----------
    workdir : Path
        The work folder.
    view : LoopView
        What was read, and when.

    """

    def __init__(self, workdir: Path, view: LoopView) -> None:
        self.workdir = workdir
        self.view = view

    def refresh(self) -> Result:
        """The same run as it stands now."""
        return _look(self.workdir, self.view.record.id)

    # ------------------------------------------------------------------ how it stands
    @property
    def path(self) -> str:
        """``workflow/loop``."""
        return self.view.path

    @property
    def workflow(self) -> WorkflowRecord:
        """The workflow's record."""
        return self.view.workflow

    @property
    def loop(self) -> LoopRecord:
        """The loop's record."""
        return self.view.record

    @property
    def state(self) -> LoopState:
        """State of the loop."""
        return self.view.record.state

    @property
    def reason(self) -> str:
        """Why it is so."""
        return self.view.record.reason

    @property
    def exit_code(self) -> int:
        """0 converged, 2 budget spent, 3 not concluded."""
        from idds_agents.engine import exit_code

        return exit_code(self.view.record.state)

    @property
    def history(self) -> History:
        """All points and iterations."""
        return self.view.history

    # ------------------------------------------------------------------ points
    @property
    def points(self) -> tuple[Point, ...]:
        """All points, by number."""
        return self.view.history.points

    @property
    def observations(self) -> dict[int, Observation]:
        """Point number -> what was measured, but for points that a top-up has replaced."""
        return {p.number: p.observation for p in self.view.history.measured if p.observation is not None}

    @property
    def best(self) -> Point | None:
        """The measured point that answers the question best, for the first objective or target; see :meth:`best_of`."""
        learner = self.view.plan.document["learner"]
        return self.best_of(next(iter(directions(learner, self.view.history.targets)), None))

    def best_of(self, target: str | None = None, goal: str | None = None) -> Point | None:
        """The measured point that answers the question best; None while nothing is measured.

        With the goal "level" it is the point whose measured value is nearest to the level: the best measurement of
        where the contour runs. With "min" or "max" it is the smallest or largest measured value. The earliest of
        equals wins.

        Parameters
        ----------
        target : the first one by default.
        goal : by default what the learner says it is after (a field ``direction`` or ``goal`` with "min" or "max"),
            else "level" when its map has levels, else "min".

        """
        name = self._target(target)
        wanted = goal or self._goal(name)
        if wanted not in ("min", "max", "level"):
            raise IddsError.of("E-RESULT-002", f"there is no goal {wanted}", "", self.path, "Use min, max or level.")
        level = self._levels.get(name)
        if wanted == "level" and level is None:
            raise IddsError.of("E-RESULT-002", f"{name} has no level", "the learner has none", self.path,
                               "Use min or max.")  # fmt: skip
        keys = {"min": lambda v: v, "max": lambda v: -v, "level": lambda v: abs(v - (level or 0.0))}
        seen = [(keys[wanted](p.observation.values[name]), p.number, p)
                for p in self.view.history.measured if p.observation]  # fmt: skip
        return min(seen, key=lambda entry: entry[:2])[2] if seen else None

    @property
    def front(self) -> tuple[Point, ...]:
        """Of several objectives the measured points that no other beats in all of them, by number; else none."""
        from idds_agents.report.best import front_of

        return tuple(front_of(self.view))

    def _goal(self, target: str) -> str:
        learner = self.view.plan.document["learner"]
        way = directions({**learner, "objective": None}, [target])[target]
        given = {"direction", "goal"} & {k for k, v in learner.items() if v}
        return "level" if not given and target in self._levels else way

    @cached_property
    def _levels(self) -> dict[str, float]:
        from idds_agents.report.surface import levels_of

        return levels_of(self.view)

    def _target(self, target: str | None) -> str:
        known = self.view.history.targets
        if target is None:
            return known[0]
        if target not in known:
            raise IddsError.of("E-RESULT-001", f"{self.path} has no target {target}", "", self.path,
                               did_you_mean(target, known) or f"Its targets are {', '.join(known)}.")  # fmt: skip
        return target

    def frame(self) -> Any:
        """All points as a pandas DataFrame, a row each; units are in ``frame.attrs["units"]``."""
        from idds_agents.report.points import points_table

        return _frame(points_table(self.view))

    # ------------------------------------------------------------------ the map
    @property
    def surrogate(self) -> Surrogate | None:
        """The map, or None while too little is known."""
        return self.view.surrogate

    def contour(self, target: str | None = None) -> Contour:
        """The contour of that name, the first one by default: of a target, or ``target.name`` where it has several."""
        from idds_agents.report.surface import level_words

        known = self._surface.targets
        name = known[0] if target is None else target if target in known else self._target(target)
        if name not in known:
            raise IddsError.of("E-RESULT-001", f"{self.path} has no contour {name}", "", self.path,
                               f"Its contours are {', '.join(known)}.")  # fmt: skip
        return Contour(self._surface, name, level_words(self.view).get(name))

    @cached_property
    def _surface(self) -> Surface:
        from idds_agents.report.surface import need_surrogate, surface_of

        return surface_of(self.view.plan.loop.space, need_surrogate(self.view))

    def plot(
        self,
        path: str | Path,
        target: str | None = None,
        *,
        kind: str | None = None,
        at: Mapping[str, Any] | None = None,
        style: str | None = None,
    ) -> Path:
        """Draw into a png, svg or pdf file, or write the numbers behind the figure into a json or csv file.

        Parameters
        ----------
        target : only this one.
        kind : "contour", "slices", "profile", "pairs", "parallel", "importance", "convergence" or "search"; by default
            the contour (in one dimension the curve), slices where there are more than two axes, or the search for an
            optimum.
        at : parameter -> its value, or a list of them, that slices are cut at.
        style : "atlas" or "cms"; needs ``pip install 'idds-core[hep]'``.

        """
        from idds_agents.report.cuts import checked_values
        from idds_agents.report.figures import Wanted, drawing, write_figure

        fixed = {n: v if isinstance(v, (list, tuple)) else [v] for n, v in (at or {}).items()}
        wanted = Wanted(kind, target, checked_values(self.view.plan.loop.space, fixed), style)
        write_figure(self.view, drawing(self.view, wanted), Path(path), style)
        return Path(path)

    def export(self, out: str | Path, what: str | None = None, *, kind: str | None = None) -> list[Path]:
        """Write an export; returns the files.

        Parameters
        ----------
        out : a file that ends with .csv, .json or .parquet, a folder called ``hepdata`` or ``surrogate``, another
            name together with `kind`; or only the name of a table's format, for the usual name in the work folder.
        what : "contour" (default), "points" or "map", for the tables.
        kind : "csv", "json", "parquet", "hepdata" or "surrogate".

        """
        from idds_agents.report.exports import FORMATS, TEXTS, export_to, request

        place = Path(out)
        if kind is None and str(out) in (*TEXTS, "parquet"):  # hepdata and surrogate are folders of that name
            kind, place = str(out), self.workdir / f"{self.workflow.path}-{what or 'contour'}.{out}"
        elif kind is None and not Path(out).suffix and Path(out).name not in FORMATS:
            raise IddsError.of("E-EXPORT-001", f"the format of {out} is not clear", "", "",
                               f"Give kind=, one of {', '.join(FORMATS)}.")  # fmt: skip
        return export_to(self.view, request(kind, what, place), place)

    # ------------------------------------------------------------------ as shown
    def __repr__(self) -> str:
        v = self.view
        return f"<{v.path}: {v.record.state}, {v.evaluations} evaluations in {len(v.iterations)} iterations>"

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:  # noqa: ARG002 - IPython's
        from idds_agents.notebook import result_html

        return {"text/plain": repr(self), "text/html": result_html(self.view)}


def open_result(workdir: str | Path | None = None, path: str | None = None) -> Result:
    """The result of a run, past or still running, for reading only.

    Parameters
    ----------
    workdir : the work folder; by default the current folder, or the ``*-run`` folder in it that is the only one or that
        has the name of `path`.
    path : ``workflow`` or ``workflow/loop``; the only one by default.

    """
    from idds_agents.cli.where import looking, resolve_loop

    with looking(None if workdir is None else Path(workdir), path) as (workspace, store):
        target = resolve_loop(store, path)
        return Result(workspace.folder, view_loop(store, workspace.folder, target.loop.id))


def _look(workdir: Path, loop_id: int) -> Result:
    from idds_core.settings import Settings

    store = Workspace(workdir, Settings()).look()
    try:
        return Result(workdir, view_loop(store, workdir, loop_id))
    finally:
        store.close()


def _frame(table: Table) -> Any:
    pandas = need("pandas", "data", "frame()")
    types = {"integer": "Int64", "number": "float64", "text": "string"}
    series = {c.name: pandas.Series(table.column(i), dtype=types[c.type]) for i, c in enumerate(table.columns)}
    frame = pandas.DataFrame(series, columns=table.names)
    frame.attrs["units"] = {c.name: c.unit for c in table.columns if c.unit}
    return frame


def _write(path: Path, text: str) -> None:
    from idds_agents.report.export import write_whole

    try:
        write_whole(path, lambda partial: partial.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise IddsError.of("E-FILE-020", f"{path} cannot be written", error.strerror or str(error), str(path),
                           "Give another path.") from error  # fmt: skip
