"""Ask every question of a loop again, and compare the answers with the record.

A question is a history as it was (`History.as_asked`): the points that had been ingested, those that were pending, the
answers before, the frozen time and core hours. Nothing else goes into an answer, so it must come out the same.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from idds_agents.catalog import LoopPlan
from idds_agents.earlier import earlier_of
from idds_agents.transformer import Answer, Thinker, verdict_of
from idds_core.history import History, canonical_json
from idds_core.store import Iteration, Store

__all__ = ["Difference", "Replay", "difference_of", "replay"]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where an answer is not the recorded one.

    iteration : of whose row it is; a proposal is of the iteration that it began.
    what : proposal, diagnostics, state or verdict.
    text : the first difference in words, with its size.
    """

    iteration: int
    what: str
    text: str


@dataclass(frozen=True, slots=True)
class Replay:
    """What came of asking again: how many questions, and every difference, in order.

    versions : name -> those that gave the answers on record, where another one has answered now.
    """

    questions: int
    differences: tuple[Difference, ...]
    versions: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def replay(store: Store, plan: LoopPlan, loop_id: int, thinker: Thinker) -> Replay:
    """Ask all questions of a loop that have an answer on record; the record is only read.

    Raises
    ------
    IddsError
        When learner or conditions cannot answer at all.

    """
    with store.reading():
        rows = store.iterations.all(loop_id)
        history = store.iterations.history(loop_id, plan.loop, plan.seed)
        history = replace(history, earlier=earlier_of(store, plan, loop_id))
        brought = store.queue.brought(loop_id)
        carried = store.revisions.carried(loop_id) - {0}
    found: list[Difference] = []
    others: dict[str, set[str]] = {}
    questions = 0
    for number in range(len(rows) + 1 if rows else 0):
        if number and not rows[number - 1].verdict:  # still open, or never answered
            continue
        if number < max(carried, default=0):  # asked of the revision before, where replay finds it
            continue
        found.extend(_ask(history, rows, number, brought, plan, thinker, others))
        questions += 1
    return Replay(questions, tuple(found), {name: tuple(sorted(seen)) for name, seen in sorted(others.items())})


def _ask(
    history: History,
    rows: Sequence[Iteration],
    number: int,
    brought: set[int],
    plan: LoopPlan,
    thinker: Thinker,
    others: dict[str, set[str]],
) -> Iterator[Difference]:
    """The differences in the answer that was given when iteration `number` had closed (0: the first).

    Versions on record that are others now go to `others`.
    """
    asked = _known_then(history.as_asked(number), history, number)
    answer = thinker.think(plan.document, asked.to_json(), str(plan.bundle), lambda: None).result()
    entered = {p.number for p in history.points if p.iteration == number + 1} & brought
    for name, version in (rows[number - 1].versions if number else {}).items():
        if answer.get("versions", {}).get(name, version) != version:
            others.setdefault(name, set()).add(version)
    if number:
        yield from _decided(rows[number - 1], answer, asked, came_first=bool(entered))
    if number < len(rows):
        yield from _proposed(rows[number], answer, history, entered)


def _known_then(asked: History, history: History, number: int) -> History:
    """Without what people brought from elsewhere after the question: it has the numbers of its time."""
    later = min((p.number for p in history.points if p.iteration == number + 1), default=None)
    if later is None:
        return asked
    return replace(asked, points=tuple(p for p in asked.points if p.iteration > 0 or p.number < later))


def _decided(row: Iteration, answer: Answer, asked: History, *, came_first: bool) -> Iterator[Difference]:
    for what, recorded in (("diagnostics", row.diagnostics), ("state", row.learner_state)):
        text = difference_of(recorded, answer[what])
        if text:
            digests = f"digest {_digest(recorded)}, replayed {_digest(answer[what])}"
            yield Difference(row.number, what, f"{text} ({digests})")
    verdict = verdict_of(answer, asked)
    if came_first and verdict.stop:  # points that people asked for are measured before a loop stops
        return
    recorded = {"kind": row.verdict, "reason": row.verdict_reason}
    text = difference_of(recorded, {"kind": str(verdict.kind), "reason": verdict.reason})
    if text:
        yield Difference(row.number, "verdict", text)


def _proposed(row: Iteration, answer: Answer, history: History, entered: set[int]) -> Iterator[Difference]:
    here = [p for p in history.points if p.iteration == row.number]
    asked_for = [dict(p.parameters) for p in here if p.number in entered]
    points = [p for p in here if p.number not in entered]
    recorded = {f"point {p.number}": dict(p.parameters) for p in points}
    first = min((p.number for p in points), default=1)
    proposed = [dict(p) for p in answer["points"] if dict(p) not in asked_for]
    given = {f"point {n}": p for n, p in enumerate(proposed, first)}
    text = difference_of({"asked for": row.asked, **recorded}, {"asked for": answer["asked"], **given})
    if text:
        yield Difference(row.number, "proposal", text)


def _digest(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def difference_of(recorded: Any, replayed: Any, where: str = "") -> str:
    """The first difference of two JSON values in words; empty when there is none.

    >>> difference_of({"point 3": {"x": 0.5}}, {"point 3": {"x": 0.75}})
    'point 3, x: 0.5 on record, 0.75 replayed (by 0.25)'
    >>> difference_of([1, 2], [1])
    '2: 2 on record, nothing replayed'
    """
    if isinstance(recorded, Mapping) and isinstance(replayed, Mapping):
        names = [*recorded, *(name for name in replayed if name not in recorded)]
        return _first((_join(where, n), recorded.get(n, _NOTHING), replayed.get(n, _NOTHING)) for n in names)
    if isinstance(recorded, (list, tuple)) and isinstance(replayed, (list, tuple)):
        n = max(len(recorded), len(replayed))
        padded = [[*values, *[_NOTHING] * (n - len(values))] for values in (recorded, replayed)]
        return _first((_join(where, i), a, b) for i, (a, b) in enumerate(zip(*padded, strict=True), 1))
    if type(recorded) is type(replayed) and recorded == replayed:
        return ""
    return f"{where}: {_said(recorded)} on record, {_said(replayed)} replayed{_by(recorded, replayed)}"


_NOTHING = object()


def _first(triples: Iterator[tuple[str, Any, Any]]) -> str:
    return next((text for where, a, b in triples if (text := difference_of(a, b, where))), "")


def _join(where: str, name: object) -> str:
    return f"{where}, {name}" if where else str(name)


def _said(value: Any) -> str:
    return "nothing" if value is _NOTHING else str(value)[:200]


def _by(a: Any, b: Any) -> str:
    """How far two numbers are apart."""
    if any(isinstance(v, bool) or not isinstance(v, (int, float)) for v in (a, b)):
        return ""
    return f" (by {math.fabs(b - a):.3g})"
