"""The maps of a report as numbers and paths: what the page's template draws. Text stays text, to be escaped there."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from idds_agents.report.choice import choice_text
from idds_agents.report.cuts import Slices, fixed_text, near
from idds_agents.report.frames import Frame
from idds_agents.report.reading import LoopView
from idds_agents.report.surface import Axis, Surface, forbidden, level_words, levels_of, observed, rule
from idds_agents.report.svg import Box, Scale, filled_path, line_path, lines_path
from idds_agents.topups import said_of
from idds_core.history import Point
from idds_core.space import Categorical, Ordered
from idds_core.states import PointState

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["COLOURS", "curve_figures", "frame_notes", "map_figure", "slice_figures"]

#: target colours that the style sheet has; more targets begin again
COLOURS = 6
_SHADES = 10
_DECADES = 30.0
_SURE = 1e3
_MOST_WORDS = 40
_MARKS: Mapping[PointState, str] = {
    PointState.MEASURED: "measured",
    PointState.FAILED: "failed",
    PointState.INFEASIBLE: "infeasible",
    PointState.OPEN: "open",
}


# ---------------------------------------------------------------------- two dimensions
def map_figure(view: LoopView, frames: Sequence[Frame]) -> dict[str, Any]:
    """The map with its frames: band, line and excluded side of each target, and every point there is."""
    surfaces = [f.surface for f in frames if f.surface is not None]
    figure = _plane(surfaces[-1], 720, 460)
    box = figure.pop("box")
    x, y = figure["names"]
    return figure | {
        "targets": _targets(view),
        "frames": [{"k": f.number, "targets": _layers(box, f.surface)} for f in frames],
        "points": _points(view, lambda p: (p.parameters[x], p.parameters[y]), box),
    }


def _plane(surface: Surface, width: float, height: float) -> dict[str, Any]:
    """Frame, axes and forbidden region of a map."""
    x, y = surface.axes
    box = Box(width, height, _scale(x, 74, width - 28), _scale(y, height - 58, 14))
    where = ""
    if not surface.grid.allowed.all():
        xs, ys, outside = forbidden(surface)
        where = filled_path(box, (xs, ys), outside, 0.5, _SURE)
    return {
        "box": box,
        "frame": box,
        "names": (x.name, y.name),
        "x_label": x.label,
        "y_label": y.label,
        "x_ticks": box.x.ticks(),
        "y_ticks": box.y.ticks(),
        "forbidden": where,
        "rule": rule(surface),
    }


def _scale(axis: Axis, first: float, last: float) -> Scale:
    return Scale(float(axis.values[0]), float(axis.values[-1]), first, last, axis.log)


def _targets(view: LoopView) -> list[dict[str, Any]]:
    levels = level_words(view)
    return [
        {"name": t, "colour": i % COLOURS, "level": f"{v:g}" if isinstance(v := levels.get(t, ""), float) else v}
        for i, t in enumerate(view.surrogate.targets if view.surrogate else ())
    ]


def _layers(box: Box, surface: Surface | None) -> list[dict[str, str]]:
    """For each target the paths of its band, its excluded side and its line."""
    found = []
    for target in surface.targets if surface else ():
        assert surface is not None
        score, axes = surface.score(target), surface.grid.axes
        found.append(
            {
                "band": filled_path(box, axes, score, -1.0, 1.0),
                "excluded": filled_path(box, axes, score, 0.0, _SURE),
                "line": lines_path(box, (line.points for line in surface.lines(target))),
            }
        )
    return found


def slice_figures(view: LoopView, last: Slices, frames: Sequence[Frame]) -> list[dict[str, Any]]:
    """Small maps on planes through one point of a space of more than two dimensions, with their frames."""
    found, space = [], view.plan.loop.space
    for i, cut in enumerate(last.cuts):
        fixed = fixed_text(space, cut.fixed)
        if len(cut.surface.axes) == 1:
            continue
        figure = _plane(cut.surface, 420, 340)
        box = figure.pop("box")
        x, y = figure["names"]
        points = _points(view, lambda p, x=x, y=y: (p.parameters[x], p.parameters[y]), box,
                         lambda p, cut=cut: not near(space, p, cut))  # fmt: skip
        layers = [
            {"k": f.number, "targets": _layers(box, f.slices.cuts[i].surface if f.slices else None)} for f in frames
        ]
        layers = layers or [{"k": 0, "targets": _layers(box, cut.surface)}]
        found.append(figure | {"targets": _targets(view), "frames": layers, "points": points, "fixed": fixed})
    return found


# ---------------------------------------------------------------------- points
def _points(view: LoopView, place: Any, box: Box, far: Any = None) -> list[dict[str, Any]]:
    """Every point with its place, mark, iteration, shade of that iteration, and words.

    far : tells whether a point is far from what is drawn, and faint. gone : iteration of the point that replaces it.
    """
    replaced = view.history.replaced
    last = max((p.iteration for p in view.history.points), default=1)
    found = []
    for point in view.history.points:
        if point.state not in _MARKS:
            continue
        x, y = place(point)
        by = replaced.get(point.number)
        found.append(
            {
                "x": round(float(box.x(x)), 1),
                "y": round(float(box.y(y)), 1),
                "k": point.iteration,
                "gone": view.history.points[by - 1].iteration if by else None,
                "mark": _MARKS[point.state],
                "shade": round((_SHADES - 1) * (max(point.iteration, 1) - 1) / max(last - 1, 1)),
                "words": _words(view, point),
                "far": far is not None and far(point),
            }
        )
    return found


def _words(view: LoopView, point: Point) -> str:
    """What a point is, for who rests on it."""
    words = [f"point {point.number}, iteration {point.iteration}, {point.state}"]
    words += [said] if (said := said_of(point.adds, view.history.replaced.get(point.number))) else []
    if point.number in view.chosen:
        words.append(choice_text(view.chosen[point.number]).partition(";")[0])
    for name, value in point.parameters.items():
        parameter = view.plan.loop.space.parameters[name]
        unit = "" if isinstance(parameter, (Categorical, Ordered)) else f" {parameter.unit}"
        words.append(f"{name} = {_number(value)}{unit}".rstrip())
    if point.observation:
        for name, value in point.observation.said.items():
            sigma = point.observation.sigmas.get(name)
            said = f"{name} {value}" if isinstance(value, str) else f"{name} = {value:.4g}"
            words.append(said + (f" ± {sigma:.2g}" if sigma else ""))
    return "\n".join(w[:200] for w in words[:_MOST_WORDS])


def _number(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


# ---------------------------------------------------------------------- one dimension
def curve_figures(view: LoopView, frames: Sequence[Frame]) -> list[dict[str, Any]]:
    """A panel for each target: the curve with its band in every frame, the level, the points."""
    surfaces = [f.surface for f in frames if f.surface is not None]
    (axis,) = surfaces[-1].axes
    found = []
    for target in _targets(view):
        box = _panel(view, surfaces[-1], axis, target["name"])
        layers = [
            {"k": f.number, "targets": [_curve(box, f.surface, target["name"])] if f.surface else []} for f in frames
        ]
        number = levels_of(view).get(target["name"])
        level = None if number is None else float(box.y(number))
        foot = box.y.low  # what was not measured has no value: it is marked at the foot

        def place(p: Point, name: str = observed(view, target["name"]), foot: float = foot) -> tuple[Any, float]:
            return p.parameters[axis.name], p.observation.values[name] if p.observation else foot

        found.append(
            {
                "frame": box,
                "x_label": axis.label,
                "y_label": target["name"],
                "x_ticks": box.x.ticks(),
                "y_ticks": box.y.ticks(5),
                "forbidden": "",
                "rule": "",
                "level": round(level, 1) if level is not None and box.top <= level <= box.bottom else None,
                "targets": [target],
                "frames": layers,
                "points": _points(view, place, box),
            }
        )
    return found


def _panel(view: LoopView, surface: Surface, axis: Axis, target: str) -> Box:
    """The frame of a curve: high enough for the last band, the level and what was measured."""
    import numpy as np

    p = surface.grid.predictions[target]
    seen = [o.values[observed(view, target)] for o in (q.observation for q in view.history.measured) if o]
    level = levels_of(view).get(target)
    shown = np.concatenate([p.mean, p.mean - p.sd, p.mean + p.sd, seen, [] if level is None else [level]])
    shown = shown[np.isfinite(shown)]
    low, high = (float(shown.min()), float(shown.max())) if shown.size else (0.0, 1.0)
    log = low > 0 and high > _DECADES * low
    if log:
        room = (high / low) ** 0.05
        low, high = low / room, high * room
    else:
        room = 0.06 * ((high - low) or 1.0)
        low, high = low - room, high + room
    return Box(720, 320, _scale(axis, 74, 692), Scale(low, high, 262, 14, log))


def _curve(box: Box, surface: Surface, target: str) -> dict[str, str]:
    """Band and line of a curve; pieces end where nothing is allowed."""
    import numpy as np

    (axis,), p = surface.axes, surface.grid.predictions[target]
    band, line = [], []
    for piece in _runs(np.isfinite(p.mean) & np.isfinite(p.sd)):
        x, mean, sd = axis.values[piece], p.mean[piece], p.sd[piece]
        edge = np.column_stack([np.concatenate([x, x[::-1]]), np.concatenate([mean + sd, (mean - sd)[::-1]])])
        band.append(line_path(_clipped(box, edge), closed=True))
        line.append(line_path(_clipped(box, np.column_stack([x, mean]))))
    return {"band": "".join(band), "excluded": "", "line": "".join(line)}


def _clipped(box: Box, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Places with the height kept near the frame, which cuts them off."""
    import numpy as np

    places = box.place(points)
    places[:, 1] = np.clip(places[:, 1], box.top - 20, box.bottom + 20)
    return places


def _runs(mask: NDArray[np.bool_]) -> list[slice]:
    """Stretches of a mask that hold."""
    import numpy as np

    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(int)))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


# ---------------------------------------------------------------------- what is said of a frame
def frame_notes(frames: Sequence[Frame]) -> list[str]:
    """One line for each position of the slider."""
    return [_note(f) for f in frames]


def _note(frame: Frame) -> str:
    found = frame.view.history.iterations[-1].diagnostics if frame.view.history.iterations else {}
    words = [f"{frame.view.evaluations} evaluations"]
    emv = found.get("emv")
    if isinstance(emv, (int, float)) and math.isfinite(emv):
        words.append(f"expected misclassified share {100 * emv:.3g} %")
    shares: dict[str, Any] = {}
    if frame.surface is None and frame.slices is None:
        words.append("no map yet")
    elif frame.slices is not None:  # of the whole space, as the learner counted
        told = found.get("targets")
        shares = {t: d.get("excluded_volume") for t, d in (told.items() if isinstance(told, Mapping) else ())
                  if isinstance(d, Mapping)}  # fmt: skip
    elif frame.surface is not None and len(frame.surface.axes) == 2:
        shares = {t: frame.surface.grid.excluded_share(t) for t in frame.surface.targets}
    known = [f"{t} {100 * s:.3g} %" for t, s in shares.items() if isinstance(s, (int, float)) and math.isfinite(s)]
    words += [f"excluded: {', '.join(known)}"] if known else []
    return " · ".join(words)
