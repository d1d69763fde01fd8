"""From one revision of a workflow to the next: what may change, what runs again, what is taken over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from idds_agents.draft import BUDGET, Draft
from idds_agents.revision_plan import Planner
from idds_core.definition import Definition
from idds_core.difference import Change
from idds_core.errors import DefinitionError, IddsError, Problem
from idds_core.model import Loop, Step
from idds_core.partition import parts
from idds_core.states import TERMINAL
from idds_core.store import How, LoopRecord, NewLoop, NewPoint, Store, WorkflowRecord

__all__ = ["Draft", "amend", "extend", "goes_on", "refused_rerun", "reopen"]

_SHOWN = 12


def goes_on(store: Store, draft: Draft) -> bool:
    """Whether running this definition means going on with the newest revision.

    It does when nothing differs that could make a difference, and when the revision was made of this very definition by
    another budget alone, given by hand: then the scan file is as it was.
    """
    if draft.unaffected:
        return True
    if not all(draft.words(change)[1][0] in BUDGET for change in draft.changes):
        return False
    known = {w.id: w for w in store.workflows.all()}
    here = draft.old
    while here.continues is not None and known[here.continues].bundle == draft.old.bundle:
        here = known[here.continues]
        if replace(draft, old=here).unaffected:
            return True
    return False


def refused_rerun(draft: Draft, seed: int) -> DefinitionError:
    """A definition that is not the one on record: the difference, and what can be done about it."""
    told = list(draft.told)
    if seed != draft.old.seed:
        told.append(f"seed: {draft.old.seed} -> {seed}")
    path, name = draft.old.path, draft.old.name
    ended = draft.old.state in TERMINAL["workflow"]
    first = "" if ended else f"'idds-core cancel {name}' first, then: "
    return DefinitionError.of(
        "E-RUN-001",
        f"{path} was started differently",
        "; ".join(told[:_SHOWN]),
        path,
        f"Run it as it was, or: {first}'idds-core extend FILE' for another budget, 'idds-core amend FILE' for other "
        "data, steps or space (what did not change is not run again), 'run FILE --fresh' to begin anew, or another "
        "--workdir.",
    )


# ---------------------------------------------------------------------- what has no meaning
def _ended(draft: Draft) -> None:
    if draft.old.state not in TERMINAL["workflow"]:
        raise DefinitionError.of("E-REVISE-001", f"{draft.old.path} cannot be continued now", "it goes on",
                                 draft.old.path, f"Wait for its end, or 'cancel {draft.old.path}'.")  # fmt: skip
    if draft.same:
        raise DefinitionError.of("E-REVISE-002", f"nothing changes in {draft.old.path}",
                                 "definition and source are what they were", draft.old.path,
                                 "Change the file, or give --until.")  # fmt: skip
    _refuse(list(_other_loops(draft)))


def _other_loops(draft: Draft) -> Iterator[Problem]:
    """Loops that cannot be told to be the same ones."""
    before, after = _places(draft.before), _places(draft.definition)
    gone, come = [p for p in before if p not in after], [p for p in after if p not in before]
    if gone and come:
        yield Problem("E-REVISE-004", "the loops are others", f"{', '.join(gone)} -> {', '.join(come)}", "body",
                      "Keep their names and places; take loops away and add others in two revisions.")  # fmt: skip
    if (draft.before.workflow.root is None) != (draft.definition.workflow.root is None):
        yield Problem("E-REVISE-004", "a loop alone, and one with something beside it, are different workflows",
                      "all seeds would be others", "body", "Run it with --fresh --reuse.")  # fmt: skip
    for pair in draft.pairs:
        old, new = ([e.name for e in x.body if isinstance(e, Loop)] for x in (pair.old, pair.new))
        if [n for n in old if n in new] != [n for n in new if n in old]:
            yield Problem("E-REVISE-004", "the loops are in another order", f"{', '.join(old)} -> {', '.join(new)}",
                          f"{pair.where}.body".lstrip("."), "Keep their order, or run with --fresh.")  # fmt: skip
        if pair.old.blind != pair.new.blind:
            yield Problem("E-REVISE-004", "the blind targets are others",
                          f"{', '.join(pair.old.blind)} -> {', '.join(pair.new.blind)}",
                          f"{pair.where}.blind", "Keep them; 'unblind' shows them.")  # fmt: skip


def _places(definition: Definition) -> list[str]:
    return [place for place, e in definition.workflow.elements() if isinstance(e, Loop)]


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise DefinitionError.all(problems)


def _where(change: Change) -> str:
    return change.where if change.where.startswith("body.") else ""


# ---------------------------------------------------------------------- extend
def extend(store: Store, draft: Draft, actor: str) -> WorkflowRecord:
    """The next revision, with another budget or tolerance: the loop that has it goes on, and what follows runs again.

    Raises
    ------
    DefinitionError
        When more than that changes, or the workflow has not ended.

    """
    _ended(draft)
    problems = [
        Problem("E-REVISE-003", "extend changes only the budget and the tolerance", str(change), _where(change),
                "Use 'idds-core amend', or run with --fresh.")
        for change in draft.changes
        if not draft.harmless(change)
    ]  # fmt: skip
    problems += [
        Problem("E-REVISE-003", "extend changes only the budget and the tolerance", f"step {name} gives something else",
                f"{pair.where}.body.{name}".lstrip("."), "Use 'idds-core amend', or run with --fresh.")
        for pair in draft.pairs
        for name in draft.changed_steps(pair)
    ]  # fmt: skip
    _refuse(list(dict.fromkeys(problems)))
    reason = "extended: " + "; ".join(draft.told)
    top = _planned(Planner(store, draft))
    return store.revisions.make(draft.old, draft.definition, draft.bundle, top, actor=actor, reason=reason[:2000])


def reopen(store: Store, draft: Draft, loop: str, actor: str, reason: str) -> tuple[WorkflowRecord, str]:
    """The next revision with the same definition, in which a loop goes on for what people bring.

    Parameters
    ----------
    loop : its name in the older revision; "" for whatever has not been done.

    Returns
    -------
    The revision, and the loop's name in it: the points around a loop inside another have all come to one iteration.

    Raises
    ------
    IddsError
        When the point around the loop is not carried on.

    """
    top = _planned(Planner(store, draft, loop))
    if loop and not any(found.old is not None and found.old.name == loop for found in _open_loops(top)):
        raise IddsError.of("E-POINT-002", f"{loop} has ended", "the point around it was dropped", draft.old.path,
                           "Bring points to the loop around it.")  # fmt: skip
    made = store.revisions.make(draft.old, draft.definition, draft.bundle, top, actor=actor, reason=reason)
    words = loop.split("/")
    return made, "/".join(str(min(int(word), 1)) if i % 5 == 2 else word for i, word in enumerate(words))


def _open_loops(loop: NewLoop) -> Iterator[NewLoop]:
    """It, and all loops at any depth inside it that do not stay as they are."""
    if loop.how is not How.STAYS:
        yield loop
    for point in loop.points:
        for inside in point.loops.values() if point.again is not None else ():
            yield from _open_loops(inside)


def _planned(planner: Planner) -> NewLoop:
    top = planner.top()
    first: dict[tuple[str, str], Problem] = {}
    for problem in planner.problems:  # one for all the loops that a definition's loop has become
        first.setdefault((problem.code, problem.where), problem)
    _refuse(list(first.values()))
    return top


# ---------------------------------------------------------------------- amend
def amend(store: Store, draft: Draft, actor: str, *, dry: bool = False) -> tuple[WorkflowRecord | None, dict[str, Any]]:
    """The next revision, with another definition; of the old points only what changed runs again.

    Returns
    -------
    The revision (None when `dry`), and what becomes of the old points: how many stay, by step how many jobs run
    again and how many results are taken over, and by loop what becomes of it.

    Raises
    ------
    DefinitionError
        With all that cannot be amended, or when the workflow has not ended.

    """
    _ended(draft)
    top = _planned(Planner(store, draft))
    told = _Told(store, draft).of(top)
    if dry:
        return None, told
    reason = "amended: " + "; ".join(draft.told)
    made = store.revisions.make(draft.old, draft.definition, draft.bundle, top, actor=actor, reason=reason[:2000])
    return made, told


class _Told:
    """Counts what becomes of all points, jobs and loops. What a loop that goes on will ask for nobody knows."""

    def __init__(self, store: Store, draft: Draft) -> None:
        self._store = store
        self._draft = draft
        self._records = store.workflows.loops(draft.old.id)
        self._run: Counter[str] = Counter()
        self._taken: Counter[str] = Counter()
        self._loops: dict[str, Counter[str]] = {}
        self._kept = self._again = 0

    def of(self, top: NewLoop) -> dict[str, Any]:
        """The document that is told."""
        definition = self._draft.definition
        root = definition.workflow.root
        if root is None:
            loop = definition.workflow.loops[0]
            self._loop(loop.name, loop, definition.workflow.parameters, top)
        else:
            self._point(root, definition.workflow.parameters, "", top.points[0])
        steps = dict.fromkeys(step.name for _, step in definition.workflow.steps())
        run, taken = ({name: found[name] for name in steps if found[name]} for found in (self._run, self._taken))
        loops = {name: dict(found) for name, found in self._loops.items()}
        return {"changes": self._draft.told, "points": self._kept + self._again, "kept": self._kept,
                "measured_again": self._again, "jobs": run, "reused": taken, "loops": loops}  # fmt: skip

    def _loop(self, name: str, loop: Loop, around: Mapping[str, Any], plan: NewLoop) -> None:
        self._loops.setdefault(name, Counter())[str(plan.how)] += 1
        if plan.how is not How.AGAIN:
            if plan.old is not None and plan.how is not How.ANEW:
                self._kept += self._points_in([plan.old])
            return
        for point in plan.points:
            if point.again is None:
                self._kept += 1 + self._points_in(list(point.old.loops.values()) if point.old else [])
            else:
                self._again += 1
                self._point(loop, {**around, **loop.parameters}, name, point)

    def _point(self, loop: Loop, values: Mapping[str, Any], name: str, point: NewPoint) -> None:
        assert point.again is not None
        values = {**values, **point.parameters, **point.own(values)}
        self._run.update(part.step for part in parts(loop.body, values) if part.step_no in point.again)
        kept = {e.name for no, e in enumerate(loop.body) if isinstance(e, Step) and no not in point.again}
        jobs = point.old.jobs if point.old else ()
        self._taken.update(job.step for job in jobs if job.step in kept and job.result)
        for element in loop.body:
            if isinstance(element, Loop):
                self._loop(f"{name}/{element.name}".lstrip("/"), element, values, point.loops[element.name])

    def _points_in(self, loops: Sequence[LoopRecord]) -> int:
        """Number of the points of loops and of all loops inside them."""
        inside = tuple(f"{loop.name}/it/" for loop in loops)
        names = {loop.name for loop in loops}
        found = [r for r in self._records if r.name in names or (inside and r.name.startswith(inside))]
        return sum(self._store.counters(r.id).get("points", 0) for r in found)
