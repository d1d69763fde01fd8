"""The contour as files: CSV of the lines, JSON with everything that is known, and how a file is written whole."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from idds_agents.report.reading import LoopView
from idds_agents.report.surface import Surface, level_words

__all__ = ["contour_csv", "contour_json", "head", "write_products", "write_whole"]


def contour_csv(surface: Surface, target: str | None = None) -> str:
    """Lines as CSV: ``target,curve,segment,<x>,<y>``, numbers at 10 significant digits; of one target, or of all."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["target", "curve", "segment", *surface.grid.names])
    for line in surface.all_lines():
        for point in line.points.tolist() if target in (None, line.target) else ():
            writer.writerow([line.target, line.curve, line.segment, *(f"{x:.10g}" for x in point)])
    return text.getvalue()


def head(view: LoopView) -> dict[str, Any]:
    """What every JSON export begins with: which loop, its space, how far it is."""
    space = view.plan.loop.space
    return {
        "protocol": 1,
        "loop": view.path,
        "parameters": {name: {"unit": p.unit, "kind": p.kind} for name, p in space.parameters.items()},
        "constraints": list(space.constraints),
        "targets": list(view.history.targets),
        "state": str(view.record.state),
        "reason": view.record.reason,
        "digest": view.history.digest,
        "seed": view.workflow.seed,
        "evaluations": view.evaluations,
    }


def contour_document(view: LoopView, surface: Surface) -> dict[str, Any]:
    """The contour with what it was made from."""
    return {
        **head(view),
        "level": level_words(view),
        "lines": [
            {"target": line.target, "curve": line.curve, "segment": line.segment, "points": line.points.tolist()}
            for line in surface.all_lines()
        ],
        "points": [p.to_json() for p in view.history.current],
    }


def contour_json(view: LoopView, surface: Surface) -> str:
    """The contour and all points as JSON."""
    return json.dumps(contour_document(view, surface), indent=1, allow_nan=False) + "\n"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, then put it in its place: nobody ever sees half a file."""
    partial = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def write_products(view: LoopView, surface: Surface, folder: Path) -> list[Path]:
    """``contour.csv``, ``.json``, ``.png`` and ``.svg`` of a two-dimensional loop; returns what was written."""
    from idds_agents.report.plot import draw_surface
    from idds_agents.report.style import save

    texts = {"contour.csv": contour_csv(surface), "contour.json": contour_json(view, surface)}
    for name, text in texts.items():
        write_whole(folder / name, lambda path, text=text: path.write_text(text, encoding="utf-8"))  # type: ignore[misc]
    figure = draw_surface(view, surface)
    for name in ("contour.png", "contour.svg"):
        save(figure, folder / name)
    return [folder / name for name in (*texts, "contour.png", "contour.svg")]
