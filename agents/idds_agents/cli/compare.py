"""``compare``: two loops, of this work folder or of others."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from idds_agents.cli.problems import FINE, InputError, did_you_mean
from idds_agents.cli.text import number, print_json, say
from idds_agents.cli.where import looking, resolve_loop
from idds_agents.report.compare import (
    Comparison,
    Overlap,
    Side,
    common_space,
    definition_differences,
    point_differences,
)
from idds_agents.report.reading import LoopView, view_loop
from idds_agents.report.surface import level_words, need_surrogate
from idds_core.errors import IddsError

__all__ = ["compare"]

_FEW = 10


def compare(
    first: str, second: str, workdir: Path | None, *, target: str | None, out: Path | None, as_json: bool
) -> int:
    """Say how two loops differ; draw it, too."""
    from idds_agents.report.style import FORMATS, save

    if out is not None and out.suffix.lower() not in FORMATS:  # told before the work is done
        raise InputError.of("E-PLOT-004", f"{out} is no plot", f"its ending is {out.suffix or 'missing'}", "",
                            f"Use one of {', '.join(FORMATS)}.")  # fmt: skip
    a, b = _side(first, workdir), _side(second, workdir)
    try:
        common_space(a, b)
        found = Comparison(a, b, _targets(a, b, target))
        overlaps = {t: found.overlap(t) for t in found.targets}
    except IddsError as error:
        raise InputError(*error.problems) if error.code == "E-COMPARE-001" else error from error
    if out is not None:
        if not found.drawable:
            raise InputError.of("E-COMPARE-003", "there is nothing to draw",
                                f"the space has {found.space.dimension} dimensions or choices; contours are drawn in "
                                "two", "", "Leave out -o; the figures are the same.")  # fmt: skip
        from idds_agents.report.compare_plot import draw_comparison

        save(draw_comparison(found), out)
    points = point_differences(a.view, b.view, found.targets)
    asked = definition_differences(a.view, b.view)
    if as_json:
        print_json(
            {
                "protocol": 1,
                "a": _about(a),
                "b": _about(b),
                "targets": {t: _overlap_json(found, o) for t, o in overlaps.items()},
                "points": points,
                "definition": asked,
                "file": str(out.resolve()) if out else None,
            }
        )
        return FINE
    _tell(found, overlaps, points, asked)
    if out is not None:
        say(f"{out}")
    return FINE


# ---------------------------------------------------------------------- which two
def _side(text: str, workdir: Path | None) -> Side:
    """The loop that a text names: its path in the work folder, or ``WORKDIR:PATH``, where PATH may be left out."""
    folder, path = workdir, text or None
    head, colon, rest = text.rpartition(":")
    if colon and head:
        folder, path = Path(head), rest or None
    elif (Path(text) / "idds.db").is_file():
        folder, path = Path(text), None
    with looking(folder, path) as (workspace, store):
        target = resolve_loop(store, path)
        view = view_loop(store, workspace.folder, target.loop.id)
    name = f"{folder}:{view.path}" if folder is not None and folder != workdir else view.path
    with _own_modules(view):
        return Side(name, view, need_surrogate(view))


@contextmanager
def _own_modules(view: LoopView) -> Iterator[None]:
    """A learner may live beside its scan file, under a name that the other loop's has as well."""
    before, path = set(sys.modules), list(sys.path)
    try:
        yield
    finally:
        sys.path[:] = path
        bundle = str(view.plan.bundle)
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(bundle):
                del sys.modules[name]


def _targets(a: Side, b: Side, target: str | None) -> tuple[str, ...]:
    shared = [t for t in a.surrogate.targets if t in b.surrogate.targets]
    if target is not None and target not in shared:
        raise InputError.of("E-COMPARE-002", f"there is no target {target} in both loops", "", "",
                            did_you_mean(target, shared))  # fmt: skip
    if not shared:
        raise InputError.of("E-COMPARE-002", "the loops have no target in common",
                            f"{', '.join(a.surrogate.targets)} and {', '.join(b.surrogate.targets)}", "",
                            "Compare loops of the same targets.")  # fmt: skip
    return (target,) if target is not None else tuple(shared)


# ---------------------------------------------------------------------- what is said
def _about(side: Side) -> dict[str, Any]:
    view = side.view
    return {
        "name": side.name,
        "path": view.path,
        "state": str(view.record.state),
        "evaluations": view.evaluations,
        "levels": level_words(view),
        "digest": view.history.digest,
    }


def _overlap_json(found: Comparison, o: Overlap) -> dict[str, Any]:
    return {
        "excluded_share": [o.a, o.b],
        "intersection_over_union": o.union_share,
        "symmetric_difference": o.difference,
        "natural": None
        if o.areas is None
        else {"excluded": list(o.areas[:2]), "symmetric_difference": o.areas[2], "unit": found.area_unit},
        "largest_distance": o.distance,
        "largest_distance_between": [dict(p) for p in o.where] if o.where else None,
    }


def _tell(found: Comparison, overlaps: dict[str, Overlap], points: dict[str, Any], asked: list[dict[str, Any]]) -> None:
    for letter, side in (("A", found.a), ("B", found.b)):
        say(f"{letter}: {side.name}  {side.view.record.state}, {side.view.evaluations} evaluations")
    for target, o in overlaps.items():
        text = f"{target}: A excludes {100 * o.a:.4g} % of the space, B {100 * o.b:.4g} %"
        if o.areas is not None:
            text += f" ({number(o.areas[0])} and {number(o.areas[1])} {found.area_unit})".replace(" )", ")")
        say(text)
        text = f"{target}: intersection over union {o.union_share:.4f}, {100 * o.difference:.4g} % differs"
        if o.areas is not None:
            text += f" ({number(o.areas[2])} {found.area_unit})".replace(" )", ")")
        say(text)
        if o.distance is not None and o.where is not None:
            places = [", ".join(f"{n} = {v:.5g}" for n, v in p.items()) for p in o.where]
            say(f"{target}: contours at most {o.distance:.4g} of the unit cube apart, "
                f"A at {places[0]}, B at {places[1]}")  # fmt: skip
    differ = points["differ"]
    say(f"points: {points['shared']} measured at the same parameters, {len(differ)} of them with other values")
    for row in differ[:_FEW]:
        where = ", ".join(f"{n} = {number(v)}" for n, v in row["parameters"].items())
        say(f"  {where}: " + ", ".join(f"{t} {number(x)}, {number(y)}" for t, (x, y) in row["values"].items()))
    say(f"definition: {len(asked)} difference{'s' if len(asked) != 1 else ''}")
    for row in asked[:_FEW]:
        say(f"  {row['path']}: {_brief(row['a'])}, {_brief(row['b'])}")
    for rest, what in ((len(differ) - _FEW, "points"), (len(asked) - _FEW, "differences")):
        if rest > 0:
            say(f"  {rest} more {what}: --json has them all")


def _brief(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else text[:16] + "..."
