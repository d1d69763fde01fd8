"""A step at a point is a group of jobs: one for each variant and chunk. Pure functions: which, and what may start.

A *wide* body has a step with more than one job, or a loop; everything else goes the short way: one job a step.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from idds_core.model import Loop, Step
from idds_core.states import TERMINAL, JobState, LoopState

__all__ = [
    "MOST_CHUNKS",
    "Advance",
    "Element",
    "Part",
    "advance",
    "chunk_values",
    "goes_on",
    "is_wide",
    "parts",
    "shares",
    "split_of",
    "standing",
]

_QUANTA = re.compile(r"\s*([0-9]+)\s+([A-Za-z_][A-Za-z0-9_]*)\s*")
MOST_CHUNKS = 100_000
#: A share is met when it is met but for rounding.
_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Part:
    """One job of a step at a point.

    variant : "" when the step has none. chunk : of `chunks`, from 0. quanta : how many it processes, from `first` on.
    """

    step: str
    step_no: int
    variant: str = ""
    chunk: int = 0
    chunks: int = 1
    quanta: int = 1
    first: int = 0

    @property
    def place(self) -> tuple[str, str, int]:
        """What names it at its point."""
        return self.step, self.variant, self.chunk


@dataclass(frozen=True, slots=True)
class Element:
    """A job of a point, or a loop inside it, as it stands."""

    id: int
    step_no: int
    variant: str
    chunk: int
    quanta: int
    state: str


@dataclass(frozen=True, slots=True)
class Advance:
    """What may be moved at a point.

    release, cancel : ids of jobs. loops : ids of loops that may start.
    lost : why the point cannot be measured any more, or "". over : whether all of it has ended.
    """

    release: tuple[int, ...] = ()
    cancel: tuple[int, ...] = ()
    loops: tuple[int, ...] = ()
    lost: str = ""
    over: bool = False


def is_wide(body: Sequence[Step | Loop]) -> bool:
    """Whether a point of that body has more than one job a step, or a loop."""
    return any(isinstance(e, Loop) or e.split != 1 or e.foreach or e.merge for e in body)


def split_of(step: Step) -> tuple[int, str]:
    """(n, "") for n chunks, (size, unit) for chunks of a size.

    >>> split_of(Step("s", split="10000 events")), split_of(Step("s", split=4))
    ((10000, 'events'), (4, ''))
    """
    if isinstance(step.split, int):
        return step.split, ""
    match = _QUANTA.fullmatch(step.split)
    if match is None:
        raise ValueError(f"{step.split!r} is neither a number of chunks nor text like '10000 events'")
    return int(match[1]), match[2]


def parts(body: Sequence[Step | Loop], values: Mapping[str, Any]) -> list[Part]:
    """The jobs of a point, in the order of steps, variants and chunks.

    Parameters
    ----------
    values : parameters of the definition and of the point; those that a split names are whole numbers.

    """
    found: list[Part] = []
    variants: tuple[str, ...] = ()
    for no, step in enumerate(body):
        if isinstance(step, Loop):
            variants = ()
            continue
        variants = step.foreach or (variants if step.merge else ())
        spans = _spans(step, values)
        found += [
            Part(step.name, no, variant, chunk, len(spans), quanta, first)
            for variant in variants or ("",)
            for chunk, (first, quanta) in enumerate(spans)
        ]
    return found


def _spans(step: Step, values: Mapping[str, Any]) -> list[tuple[int, int]]:
    """(first quantum, number of quanta) of each chunk."""
    size, unit = split_of(step)
    if not unit:
        return [(i, 1) for i in range(size)]
    total = max(1, int(values[unit]))
    if total / size > MOST_CHUNKS:
        raise ValueError(f"{total} {unit} are more than {MOST_CHUNKS} chunks of {size}")
    return [(first, min(size, total - first)) for first in range(0, total, size)]


def chunk_values(step: Step, values: Mapping[str, Any], variant: str, chunk: int) -> dict[str, Any]:
    """What a job sees of its place, beside the parameters."""
    own: dict[str, Any] = {"variant": variant} if variant else {}
    size, unit = split_of(step)
    if unit or size > 1:
        spans = _spans(step, values)
        own |= {"chunk": chunk, "chunks": len(spans)}
        if unit:
            own |= {unit: spans[chunk][1], f"first_{unit}": spans[chunk][0]}
    return own


def shares(body: Sequence[Step | Loop], values: Mapping[str, Any], done: Iterable[Any]) -> dict[str, float]:
    """Share of the quanta of each split step that were processed, the smallest of its variants.

    Parameters
    ----------
    done : what has `step`, `variant` and `chunk` of finished jobs.

    """
    have = {(d.step, d.variant, d.chunk) for d in done}
    total: Counter[tuple[str, str]] = Counter()
    made: Counter[tuple[str, str]] = Counter()
    for part in parts(body, values):
        if part.chunks > 1:
            total[part.step, part.variant] += part.quanta
            made[part.step, part.variant] += part.quanta * ((part.step, part.variant, part.chunk) in have)
    found: dict[str, float] = {}
    for (step, variant), n in total.items():
        found[step] = min(found.get(step, 1.0), made[step, variant] / n)
    return found


# ---------------------------------------------------------------------- what may start
_ANY = "*"
_Place = tuple[int, str, object]
_LOOP_DONE = (LoopState.CONVERGED, LoopState.EXHAUSTED, LoopState.STALLED)


def _places(e: Element | Part) -> tuple[_Place, ...]:
    return (
        (e.step_no, e.variant, e.chunk),
        (e.step_no, e.variant, _ANY),
        (e.step_no, _ANY, e.chunk),
        (e.step_no, _ANY, _ANY),
    )


def advance(body: Sequence[Step | Loop], jobs: Sequence[Element], loops: Sequence[Element]) -> Advance:
    """What may be moved at a point, given all its jobs and loops.

    A job starts when all that it sees of earlier steps has ended; it sees its own variant and chunk of steps that are
    cut like its own, and all of others.
    """
    lost = _lost(body, jobs, loops)
    unfinished, dead = _census(jobs, loops)
    named = {e.step_no for e in jobs if e.variant}
    release: list[int] = []
    cancel: list[int] = []
    start: list[int] = []
    over = True
    for element in (*jobs, *loops):
        is_loop = isinstance(body[element.step_no], Loop)
        if element.state in TERMINAL["loop" if is_loop else "job"]:
            continue
        over = False
        if element.state != JobState.WAITING:  # the same word for a loop
            continue
        seen = [_seen(body, element, no, named) for no in range(element.step_no)]
        if any(dead[place] for place in seen if place[2] != _ANY):
            cancel.append(element.id)
        elif not lost and not any(unfinished[place] for place in seen):
            (start if is_loop else release).append(element.id)
    return Advance(tuple(release), tuple(cancel), tuple(start), lost, over)


def _seen(body: Sequence[Step | Loop], element: Element | Part, no: int, named: set[int]) -> _Place:
    """What of an earlier step an element sees."""
    variant = element.variant if element.variant and no in named else _ANY
    return no, variant, element.chunk if goes_on(body[no], body[element.step_no]) else _ANY


def goes_on(before: Step | Loop, step: Step | Loop) -> bool:
    """Whether a step goes on chunk by chunk where one before it stopped."""
    return isinstance(before, Step) and isinstance(step, Step) and before.split == step.split != 1


def _census(jobs: Sequence[Element], loops: Sequence[Element]) -> tuple[Counter[_Place], Counter[_Place]]:
    """How much at each place has not ended, and how much has ended without a result."""
    unfinished: Counter[_Place] = Counter()
    dead: Counter[_Place] = Counter()
    for job in jobs:
        if job.state not in TERMINAL["job"]:
            unfinished.update(_places(job))
        elif job.state != JobState.DONE:
            dead.update(_places(job))
    for loop in loops:
        if loop.state not in TERMINAL["loop"]:
            unfinished.update(_places(loop))
    return unfinished, dead


def _lost(body: Sequence[Step | Loop], jobs: Sequence[Element], loops: Sequence[Element]) -> str:
    """Why the point cannot be measured any more: too many quanta have failed, or a loop in it has."""
    for loop in loops:
        if loop.state in TERMINAL["loop"] and loop.state not in _LOOP_DONE:
            return f"its loop {body[loop.step_no].name} ended {loop.state}"
    total: dict[tuple[int, str], Counter[str]] = defaultdict(Counter)
    for job in jobs:
        total[job.step_no, job.variant][job.state] += job.quanta
    for (no, variant), by_state in total.items():
        step, n = body[no], sum(by_state.values())
        assert isinstance(step, Step)
        name = f"{step.name} {variant}".rstrip()
        failed = by_state[JobState.FAILED]
        if failed > (1.0 - step.accept) * n + _ROUNDING * n:
            share = f"{1 - failed / n:.4g} of {name} can be had, {step.accept:.4g} was asked for"
            return share if n > 1 else f"{name} failed"
        if by_state[JobState.FAILED] + by_state[JobState.CANCELLED] == n:
            return f"nothing of {name} could be done"
    return ""


# ---------------------------------------------------------------------- what stands
def standing(
    body: Sequence[Step | Loop], found: Sequence[Part], known: Collection[tuple[str, str, int]]
) -> set[tuple[str, str, int]]:
    """Places among `known` whose results stand: their jobs see nothing of earlier steps but such places.

    Parameters
    ----------
    found : all jobs of a point (:func:`parts`).
    known : places of those that would be given the same parameters as before.

    """
    named = {p.step_no for p in found if p.variant}
    anew: Counter[_Place] = Counter((no, _ANY, _ANY) for no, e in enumerate(body) if isinstance(e, Loop))
    kept: set[tuple[str, str, int]] = set()
    for no, group in groupby(found, key=lambda p: p.step_no):
        again: list[Part] = []
        for part in group:
            seen = (_seen(body, part, n, named) for n in range(no))
            if part.place in known and not any(anew[place] for place in seen):
                kept.add(part.place)
            else:
                again.append(part)
        for part in again:
            anew.update(_places(part))
    return kept
