"""What a point that tops up another takes over from it: the results that would come out the same, with their files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from idds_agents.catalog import LoopPlan
from idds_core.binding import asks
from idds_core.model import Loop, Step
from idds_core.partition import Part, goes_on, parts, split_of, standing
from idds_core.sources import Bundle
from idds_core.store import Place, Store, Taken, TopUp, Waiting

__all__ = ["taken_over", "top_ups"]


def top_ups(store: Store, plan: LoopPlan, loop_id: int, waiting: Sequence[Waiting], first: int) -> dict[int, TopUp]:
    """What the points that enter now add to others, by their numbers, which begin with `first`."""
    found = {}
    for number, point in enumerate(waiting, first):
        if point.adds is None:
            continue
        taken: dict[Place, Taken] = {}
        if point.adds.get("more"):
            to = int(point.adds["to"])
            before = {**plan.values, **point.parameters, **store.top_ups.given(loop_id, to)}
            after = {**plan.values, **point.parameters, **point.given}
            taken = taken_over(plan, before, after, store.top_ups.made_of(loop_id, to))
        found[number] = TopUp(point.adds, point.given, taken)
    return found


def taken_over(
    plan: LoopPlan, before: Mapping[str, Any], after: Mapping[str, Any], known: Mapping[Place, Taken]
) -> dict[Place, Taken]:
    """The results at a point that would be the same with other values of some parameters of the definition.

    A chunk of the same quanta is the same chunk; so is a step that asks for nothing that has changed, and sees only
    what has not. A result whose files are gone is made again when a step that runs needs them, and all that follows
    from it: its seed is another one.

    Parameters
    ----------
    before, after : all parameters, as the old and the new point see them.
    known : the results of the old point.

    """
    body = plan.loop.body
    changed = {name for name in after if before.get(name) != after[name]}
    bundle = Bundle(plan.bundle)
    same = {e.name for e in body if isinstance(e, Step) and not _sees(e, changed, bundle)}
    old = {part.place: part for part in parts(body, before)}
    new = parts(body, after)
    usable = {p.place for p in new if p.step in same and p.place in known and _span(p) == _span(old.get(p.place))}
    while True:
        kept = standing(body, new, usable)
        lost = {p.place for p in _needed(body, new, kept, known) if not _whole(known[p.place])}
        if not lost:
            return {place: known[place] for place in known if place in kept}
        usable -= lost


def _span(part: Part | None) -> tuple[int, int] | None:
    return None if part is None else (part.first, part.quanta)


def _sees(step: Step, changed: set[str], bundle: Bundle) -> bool:
    """Whether a step may look at what has changed; a chunk's own part of a split parameter has not."""
    asked, unit = asks(step), split_of(step)[1]
    others = changed - {unit}
    seen = {"shares", *others, *(["chunks"] if unit in changed else [])}
    if asked & seen or any(name.endswith(".share") for name in asked):
        return True
    return bool(others) and bundle.source(step).parameters


def _needed(
    body: Sequence[Step | Loop], new: Sequence[Part], kept: set[Place], known: Mapping[Place, Taken]
) -> list[Part]:
    """Jobs of what is kept that have files which something that runs again may ask for."""
    again = [part for part in new if part.place not in kept]
    steps, chunks = {p.step_no for p in again}, {(p.step_no, p.chunk) for p in again}

    def runs(part: Part, no: int) -> bool:
        if isinstance(body[no], Loop):
            return True
        return (no, part.chunk) in chunks if goes_on(body[part.step_no], body[no]) else no in steps

    found = []
    for part in new:
        files = json.loads(known[part.place].result).get("files", {}) if part.place in kept else {}
        later = range(part.step_no + 1, len(body))
        if files and any(runs(part, no) and _asks_files(body, no, part, files) for no in later):
            found.append(part)
    return found


def _asks_files(body: Sequence[Step | Loop], no: int, part: Part, files: Mapping[str, Any]) -> bool:
    """Whether a later step may ask for one of the files, by name or as what is left over from the step before."""
    step = body[no]
    if isinstance(step, Loop) or (no == part.step_no + 1 and step.function is not None):
        return True
    names = {part.step, *files, *(f"{part.step}.{name}" for name in files)}
    return bool(names & asks(step))


def _whole(taken: Taken) -> bool:
    """Whether its files are still what they were, by their sizes."""
    files = json.loads(taken.result).get("files", {}).values()
    return all(Path(f["path"]).is_file() and Path(f["path"]).stat().st_size == f["bytes"] for f in files)
