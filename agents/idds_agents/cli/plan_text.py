"""A plan in words: the graph of its steps, the first points, providers, and bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from idds_agents.cli.text import columns, duration, number
from idds_core.yaml.conditions import write_condition

__all__ = ["plan_lines"]

_MOST_POINTS = 10


def plan_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a plan's document."""
    yield f"{document['name']}: what a run would do (nothing is run now; seed {document['seed']})"
    if document["steps"]:
        yield ""
        yield f"steps outside of loops: {', '.join(step['step'] for step in document['steps'])}"
    for loop in document["loops"]:
        yield ""
        if len(document["loops"]) > 1:
            yield f"loop {loop['loop']}"
        yield from _space(loop)
        yield ""
        yield from _graph(loop)
        yield ""
        yield from _points(loop)
        yield ""
        yield from _bounds(loop)
    yield from _disk(document["disk"])


def _space(loop: Mapping[str, Any]) -> Iterator[str]:
    rows = []
    for name, p in loop["space"]["parameters"].items():
        span = ", ".join(p["choices"]) if "choices" in p else f"{p['low']:g} .. {p['high']:g} {p['unit']}"
        rows.append([f"  {name}", p["kind"], span])
    yield from columns(rows, ["parameter", "kind", "range"])
    for text in loop["space"]["constraints"]:
        yield f"  only where {text}"


def _graph(loop: Mapping[str, Any]) -> Iterator[str]:
    """The circle from the learner through the steps and back, one below the other."""
    learner = loop["learner"]["type"].replace("_", "-")
    yield f"learner {learner}"
    yield f"  | {', '.join(loop['space']['parameters'])}"
    for step in loop["steps"]:
        yield f"  v  {step['step']} ({step['kind']}): {step['runs']}"
        yield f"  |    {_needs(step)}"
        for provider in step["providers"]:
            word = "fits" if provider["ok"] else "does not fit"
            yield f"  |    {provider['name']} ({provider['slots']} slots) {word}: {provider['reason']}"
        if step["gives"]:
            yield f"  | {', '.join(step['gives'])}"
    yield f"  v  learner {learner}, in batches of {loop['batch']}, until {_until(loop['until'])}"


def _until(spec: Mapping[str, Any]) -> str:
    return write_condition(spec) or str(spec["type"])


def _needs(step: Mapping[str, Any]) -> str:
    needs = step["requires"]
    memory = f", {needs['memory'] / 1e9:.3g} GB" if needs["memory"] else ""
    cores = "1 core" if needs["cores"] == 1 else f"{needs['cores']} cores"
    return f"{cores}{memory}, at most {duration(needs['walltime'])}, {step['attempts']} attempts"


def _points(loop: Mapping[str, Any]) -> Iterator[str]:
    points = loop["first_points"]
    yield f"first points ({len(points)}):"
    names = list(loop["space"]["parameters"])
    yield from (f"  {line}" for line in columns([[number(p[n]) for n in names] for p in points[:_MOST_POINTS]], names))
    if len(points) > _MOST_POINTS:
        yield f"  and {len(points) - _MOST_POINTS} more"


def _bounds(loop: Mapping[str, Any]) -> Iterator[str]:
    budget, cost = loop["budget"], loop["cost"]
    if cost["jobs"] is None:
        yield "jobs: the conditions do not bound their number"
    else:
        yield f"jobs: at most {budget['points']} points, {cost['jobs']} jobs ({cost['attempts']} with all retries)"
        yield (
            f"core hours: at most {cost['core_hours']:.4g} if every job takes the whole time it may "
            f"({cost['core_hours_retried']:.4g} with all retries)"
        )
    if budget["core_hours"] is not None:
        yield f"core hours: the budget stops it at {budget['core_hours']:g}"
    if budget["wall_s"] is not None:
        yield f"wall time: the budget stops it after {duration(budget['wall_s'])}"


def _disk(disk: Mapping[str, Any]) -> Iterator[str]:
    free = f"{disk['free_bytes'] / 1e9:.1f} GB are free"
    if disk["bytes_per_point"] is None:
        yield (
            f"disk: {_size(disk['bundle_bytes'])} for the source; what a point leaves is known after a first "
            f"run here; {free}"
        )
        return
    each = f"{_size(disk['bytes_per_point'])} for each point, by the run that is here"
    if disk["needed_bytes"] is None:
        yield f"disk: {each}; {free}"
        return
    short = " - NOT ENOUGH" if disk["needed_bytes"] > disk["free_bytes"] else ""
    yield f"disk: at most {_size(disk['needed_bytes'])} ({each}); {free}{short}"


def _size(size: float) -> str:
    """Bytes as people say them.

    >>> _size(812), _size(2.5e6)
    ('812 B', '2.5 MB')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.3g} B"
