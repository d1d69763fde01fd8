"""The report of a loop: one HTML file that asks nothing of anybody, not even of the network."""

from __future__ import annotations

import base64
import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from idds_agents.cli.diagnosis import approximated
from idds_agents.cli.text import clean, duration
from idds_agents.report import facts
from idds_agents.report.best import bests, front_of, ranked, sought
from idds_agents.report.charts import charts, finite, search_charts, title_of
from idds_agents.report.cuts import ordered, slices
from idds_agents.report.document import excluded
from idds_agents.report.export import write_whole
from idds_agents.report.frames import Frame, frames, sliced
from idds_agents.report.importance import weights_of
from idds_agents.report.pictures import curve_figures, frame_notes, map_figure, slice_figures
from idds_agents.report.reading import LoopView
from idds_agents.topups import said_of
from idds_core import __version__
from idds_core.errors import IddsError
from idds_core.history import Point
from idds_core.ports import Gauge
from idds_core.states import LoopState, PointState
from idds_core.store import Store

__all__ = ["Report", "make_report", "write_report"]

_NODES, _SLICE_NODES, _CURVE_NODES = 81, 49, 301
_MOST_SLICES, _MOST_SLICE_FRAMES, _SLICED_POINTS = 6, 16, 3000
_MOST_POINTS = 1000
_BEST = 10
_LEAST = 1e-3
_MOODS: Mapping[LoopState, str] = {
    LoopState.CONVERGED: "good",
    LoopState.FAILED: "bad",
    LoopState.CANCELLED: "bad",
    LoopState.HELD: "warn",
    LoopState.EXHAUSTED: "warn",
    LoopState.STALLED: "warn",
}
_HEALTH = (("loo_rmse", "leave-one-out error"), ("loo_z2", "z²"), ("kappa", "kappa"), ("emv", "emv"),
    ("approximation_error", "approximation"), ("band_volume", "band"))  # fmt: skip
_ASKED = frozenset({"name", "space", "body", "learner", "until", "targets"})


class Report:
    """A page, and what is said of it.

    Attributes
    ----------
    text : the whole HTML.
    iterations : those that the slider goes through.
    warnings : what makes the map unreliable, one line each.

    """

    def __init__(self, text: str, iterations: Sequence[int], warnings: Sequence[str]) -> None:
        self.text = text
        self.iterations = list(iterations)
        self.warnings = list(warnings)


def make_report(view: LoopView, store: Store) -> Report:
    """The page of a loop, from what is on record of it."""
    seen = _maps(view)
    warned = facts.warnings_of(view)
    context = _header(view) | _health(view) | _work(view, store) | _asked(view) | seen | {"warnings": warned}
    numbers = seen["slider"]["numbers"] if seen["slider"] else []
    return Report(_rendered(context), numbers, [str(w) for w in warned])


def write_report(view: LoopView, store: Store, file: Path) -> Report:
    """Write the page of a loop, whole or not at all.

    Raises
    ------
    IddsError
        When the place cannot be written.

    """
    report = make_report(view, store)
    try:
        write_whole(file, lambda partial: partial.write_bytes(report.text.encode("utf-8", "replace")))
    except OSError as error:
        raise IddsError.of("E-FILE-020", f"{file} cannot be written", error.strerror or str(error), str(file),
                           "Give another -o FILE.") from error  # fmt: skip
    return report


def _rendered(context: Mapping[str, Any]) -> str:
    """The template filled in: everything is escaped but our own style and script, which the policy names by hash."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("idds_agents.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"figure": _figure, "duration": duration}
    own: dict[str, str] = {}
    for name, file in (("style", "report.css"), ("script", "report.js")):
        assert environment.loader is not None
        text = environment.loader.get_source(environment, file)[0]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        own |= {name: Markup(text), f"{name}_hash": f"sha256-{digest}"}  # noqa: S704 - our own files
    return environment.get_template("report.html").render(**context, **own).lstrip()


def _figure(value: Any) -> str:
    if not isinstance(value, (int, float)):
        return str(value)
    return "< 0.001" if 0 < value < _LEAST else f"{value:.3g}"


# ---------------------------------------------------------------------- maps
def _maps(view: LoopView) -> dict[str, Any]:
    """The map by iteration, curves, cuts, or a line that says why there is none."""
    found: dict[str, Any] = {"map": None, "curves": [], "curve_targets": [], "slices": [], "slider": None,
                             "through": "", "left_out": 0, "best": None}  # fmt: skip
    space, count = view.plan.loop.space, Counter(p.state for p in view.history.points)
    found |= {
        "dimension": space.dimension,
        "turns": max((p.iteration for p in view.history.points), default=0),
        "no_map": "There is no map yet: too few points are measured, or the learner has none.",
        "marks": [
            ("measured", "measured", len(view.history.measured)),
            ("failed", "failed", count[PointState.FAILED]),
            ("infeasible", "infeasible", count[PointState.INFEASIBLE]),
            ("open", "open", count[PointState.OPEN]),
        ],
    }
    if sought(view):
        return found | {"best": _search(view), "no_map": "Nothing is measured yet."}
    if view.surrogate is None:
        return found
    names = ordered(space)
    if not names:
        return found | {"no_map": "All parameters are choices: there is no axis to draw a map on."}
    if space.dimension > 2 or len(names) < space.dimension:
        return found | _cut(view)
    seen = _trimmed(list(frames(view, _NODES if space.dimension == 2 else _CURVE_NODES)))
    if not seen:
        return found
    found["slider"] = _slider(seen)
    if space.dimension == 2:
        return found | {"map": map_figure(view, seen)}
    panels = curve_figures(view, seen)
    return found | {"curves": panels, "curve_targets": [p["targets"][0] for p in panels]}


def _cut(view: LoopView) -> dict[str, Any]:
    """The map of more than two parameters: slices, by iteration."""
    last = slices(view, _SLICE_NODES, _MOST_SLICES)
    most = min(_MOST_SLICE_FRAMES, max(2, _SLICED_POINTS // max(view.evaluations, 1)))  # a map of many points is slow
    seen = _trimmed(list(sliced(view, last, _SLICE_NODES, most)))
    drawn = slice_figures(view, last, seen)
    return {
        "slices": drawn,
        "slider": _slider(seen) if drawn and seen else None,
        "through": last.centre.text,
        "left_out": last.left_out,
        "no_map": "Only one parameter has an order: 'idds-core plot --kind slices' draws the curves.",
    }


def _slider(seen: Sequence[Frame]) -> dict[str, Any]:
    return {"numbers": [f.number for f in seen], "notes": frame_notes(seen)}


def _search(view: LoopView) -> dict[str, Any] | None:
    """The best points of each objective, and the front of several; None while nothing is measured."""
    targets = sought(view)
    if not view.history.measured:
        return None
    tables: list[dict[str, Any]] = [
        {"target": target, "direction": way, "points": [b.point for b in ranked(view, target, way)[:_BEST]]}
        for target, way in targets.items()
    ]
    front = front_of(view)
    if front:
        tables = [{"target": "", "direction": "", "points": front[:_MOST_POINTS]}]
    return {
        "names": view.plan.loop.space.names,
        "targets": view.history.targets,
        "tables": [table | {"points": [_row(view, p) for p in table["points"]]} for table in tables],
        "front": len(front),
    }


def _row(view: LoopView, point: Point) -> dict[str, Any]:
    values = point.observation.said if point.observation else {}
    cells = [*(point.parameters[n] for n in view.plan.loop.space.names), *(values.get(t) for t in view.history.targets)]
    return {"number": point.number, "cells": [_short(c) for c in cells]}


def _trimmed(seen: list[Frame]) -> list[Frame]:
    """Without any map at all there is nothing for a slider to move."""
    return seen if any(f.surface is not None or f.slices is not None for f in seen) else []


# ---------------------------------------------------------------------- words and tables
def _header(view: LoopView) -> dict[str, Any]:
    emv = next((r.diagnostics.get("emv") for r in reversed(view.history.iterations) if r.diagnostics), None)
    tiles = [
        ("evaluations", str(view.evaluations)),
        ("iterations", str(len(view.iterations))),
        ("failed points", str(sum(p.state is PointState.FAILED for p in view.history.points))),
        ("core hours", _figure(view.core_hours)),
        ("wall time", duration(view.elapsed_s)),
    ]
    tiles += [(f"best {b.target}", _short(b.value)) for b in bests(view)]
    if isinstance(emv, (int, float)) and math.isfinite(emv):
        tiles.insert(2, ("still misclassified", f"{100 * emv:.2g} %"))
    began, looked = (
        datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%d %H:%M UTC") for t in (view.record.created, view.now)
    )
    return {
        "path": view.path,
        "state": str(view.record.state),
        "mood": _MOODS.get(view.record.state, ""),
        "reason": clean(view.record.reason),
        "tiles": tiles,
        "version": __version__,
        "when": f"started {began}" if view.ended else f"started {began}, as of {looked}",
        "seed": view.workflow.seed,
        "digest": view.history.digest,
        "iterations": view.iterations,
    }


def _health(view: LoopView) -> dict[str, Any]:
    told = facts.health(view)
    known = {key for h in told for key in h["numbers"]}
    newest = next((r.diagnostics for r in reversed(view.history.iterations) if r.diagnostics), {})
    radius, volume = newest.get("unexplored_radius"), newest.get("unexplored_volume")
    coverage = ""
    if isinstance(radius, (int, float)) and isinstance(volume, (int, float)):
        coverage = (f"The largest ball without a point has a radius of {radius:.3g} in the unit cube and holds "
                    f"{100 * volume:.3g} % of the allowed space.")  # fmt: skip
    return {
        "charts": [*search_charts(view), *charts(view, facts.gauges_of(view))],
        "searching": bool(sought(view)),
        "health": told,
        "excluded": _excluded(view),
        "importance": _importance(view),
        "health_columns": [(key, title) for key, title in _HEALTH if key in known],
        "coverage": coverage,
        "approximated": approximated(newest),
    }


def _excluded(view: LoopView) -> dict[str, str]:
    """Target -> how much of the space is excluded, in words."""
    found = {}
    for target, told in excluded(view).items():
        share, span = told["share"], told["range"]
        if finite(share):
            text = f"{100 * share:.3g} %"
            known = isinstance(span, list) and len(span) == 2 and all(map(finite, span))
            found[target] = f"{text} ({100 * span[0]:.3g} to {100 * span[1]:.3g})" if known else text
    return found


def _importance(view: LoopView) -> list[dict[str, Any]]:
    """For each target its parameters with a bar, those that matter most first, and the pairs that act together."""
    found = []
    for target, known in weights_of(view).items():
        if len(known.names) < 2:
            continue
        bars, scales = known.bars, known.lengthscales
        most = max(bars.values()) or 1.0
        rows = [
            {"name": n, "width": round(100 * bars[n] / most, 1),
             "text": f"{100 * bars[n]:.3g} %" + (f" \N{MIDDLE DOT} {_figure(scales[n])}" if n in scales else "")}
            for n in sorted(known.names, key=lambda n: -bars[n])
        ]  # fmt: skip
        pairs = [f"{a} with {b} {100 * share:.3g} %" for a, b, share in known.pairs]
        found.append({"target": target, "bars": rows, "pairs": ", ".join(pairs), "shares": bool(known.main)})
    return found


def _work(view: LoopView, store: Store) -> dict[str, Any]:
    attempts = store.jobs.failed_attempts(view.record.id)
    return {
        "failures": facts.failure_groups(attempts, store.path.parent, _sealed_step(view)),
        "infeasible": len(view.history.infeasible),
        "usage": facts.usage(view, store),
        "gauges": [_gauge(g) for g in facts.gauges_of(view)],
    }


def _sealed_step(view: LoopView) -> str:
    """The step that sees targets which are still sealed."""
    sealed = view.plan.loop.blind and view.record.unblinded is None
    return view.plan.loop.body[-1].name if sealed else ""


def _gauge(gauge: Gauge) -> dict[str, Any]:
    """A goal's bar is full when it is reached: on the scale of logarithms, where 1 is nowhere."""
    value, limit = gauge.value, gauge.limit
    if gauge.goal:
        far = math.log(max(limit, 1e-12)) or -1.0
        share = 1.0 if value <= limit else math.log(min(max(value, 1e-12), 1.0)) / far
        text = f"{100 * value:.3g} %, goal {100 * limit:.3g} %" if limit <= 1 else f"{value:.4g}, goal {limit:.4g}"
    else:
        share = value / limit if limit else 1.0
        seconds = gauge.unit == "s"
        text = f"{duration(value) if seconds else _figure4(value)} of {duration(limit) if seconds else _figure4(limit)}"
        text += f" {gauge.unit}" if gauge.unit and not seconds else ""
    return {"name": title_of(gauge.name), "share": round(100 * min(max(share, 0.0), 1.0), 1), "text": text}


def _figure4(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f"{value:.4g}"


def _asked(view: LoopView) -> dict[str, Any]:
    document, space = view.plan.document, view.plan.loop.space
    more = [(k.replace("_", " "), facts.field_text(v)) for k, v in document.items() if k not in _ASKED]
    points = view.history.points
    return {
        "asked": [
            ("learner", facts.spec_text(document["learner"])),
            ("until", facts.spec_text(document["until"])),
            ("targets", ", ".join(view.plan.loop.targets)),
            *[(k, v) for k, v in more if v],
        ],
        "parameters": [_parameter(name, p) for name, p in space.to_json()["parameters"].items()],
        "constraints": space.constraints,
        "steps": facts.steps(document["body"]),
        "targets": view.plan.loop.targets,
        "points_total": len(points),
        "points": [
            {
                "number": p.number,
                "iteration": p.iteration,
                "state": ", ".join(filter(None, (str(p.state), said_of(p.adds, view.history.replaced.get(p.number))))),
                "why": str(view.chosen.get(p.number, {}).get("why", ""))[:40],
                "cells": [
                    *(_short(p.parameters[n]) for n in space.names),
                    *(_short(p.observation.said.get(t)) if p.observation else "" for t in view.plan.loop.targets),
                ],
            }
            for p in points[:_MOST_POINTS]
        ],
    }


def _short(value: Any) -> str:
    return "" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _parameter(name: str, given: Mapping[str, Any]) -> dict[str, str]:
    choices = given.get("choices")
    span = ", ".join(map(str, choices)) if choices else f"{_short(given.get('low'))} to {_short(given.get('high'))}"
    return {"name": name, "kind": str(given.get("kind", "")), "range": span, "unit": str(given.get("unit", ""))}
