"""From one revision of a workflow to the next: what may change, what runs again, what is taken over."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from idds_core.binding import BindingError, asks, observe
from idds_core.definition import Definition, normal_document
from idds_core.difference import Change, differences
from idds_core.errors import DefinitionError, Problem
from idds_core.history import strict_json
from idds_core.model import Loop, Step
from idds_core.sources import NOT_RESULT, Bundle, step_digest
from idds_core.states import TERMINAL, JobState, PointState
from idds_core.store import NewPoint, OldPoint, Store, WorkflowRecord

__all__ = ["Draft", "amend", "extend", "goes_on", "refused_rerun"]

_BUDGET = ("until", "batch", "first", "hold_after")
_SHOWN = 12


@dataclass(frozen=True)
class Draft:
    """A definition beside the newest revision of its workflow.

    bundles : folder of all bundles. bundle : name of the new one.
    """

    old: WorkflowRecord
    definition: Definition
    bundle: str
    bundles: Path

    @cached_property
    def before(self) -> Definition:
        """The definition that the old revision has."""
        return Definition(normal_document(json.loads(self.old.definition)))

    @cached_property
    def changes(self) -> list[Change]:
        """What differs in the definitions."""
        return differences(self.before.document, self.definition.document)

    @cached_property
    def same(self) -> bool:
        """Whether there is nothing to change."""
        return not self.changes and self.bundle == self.old.bundle

    @cached_property
    def unaffected(self) -> bool:
        """Whether nothing that matters changes: at most files that no step, learner or condition depends on."""
        if self.changes:
            return False
        here = [spec for loop in self.definition.workflow.loops for spec in (loop.learner, loop.until)]
        return self.same or not (_own_plugin(here) or any(self.changed_steps(*pair) for pair in self.pairs()))

    def pairs(self) -> Iterator[tuple[Loop, Loop]]:
        """Old and new loops of the same name."""
        old = {loop.name: loop for loop in self.before.workflow.loops}
        for loop in self.definition.workflow.loops:
            if loop.name in old:
                yield old[loop.name], loop

    @cached_property
    def _sources(self) -> tuple[Bundle, Bundle]:
        return Bundle(self.bundles / self.old.bundle), Bundle(self.bundles / self.bundle)

    def changed_steps(self, old: Loop, new: Loop) -> list[str]:
        """Steps that give something else than before, at the same point and from the same inputs.

        A step that takes a parameter which the space did not have before counts as the same: that parameter's default
        says where it was before.
        """
        before, after = self._sources
        known = {step.name: step for step in _steps(old)}
        added = set(new.space.names) - set(old.space.names)
        found = []
        for step in _steps(new):
            was = known.get(step.name)
            if was is not None and asks(step) & added:
                continue
            if was is None or step_digest(was, before, old.parameters) != step_digest(step, after, new.parameters):
                found.append(step.name)
        return found

    @cached_property
    def told(self) -> list[str]:
        """The difference in lines for people."""
        lines = [str(change) for change in self.changes]
        if self.bundle != self.old.bundle:
            before, after = (b.files for b in self._sources)
            names = sorted(n for n in {*before, *after} if before.get(n) != after.get(n))
            steps = [name for pair in self.pairs() for name in self.changed_steps(*pair)]
            meant = f"steps {', '.join(steps)} give something else" if steps else "no step gives anything else"
            lines.append(f"source: {', '.join(names[:_SHOWN])} changed; {meant}")
        return lines


def _steps(loop: Loop) -> list[Step]:
    return [element for element in loop.body if isinstance(element, Step)]


def _own_plugin(spec: Any) -> bool:
    """Whether a learner or condition is code of the user's (``module:Class``), which may be in the bundle."""
    if isinstance(spec, Mapping):
        return ":" in str(spec.get("type", "")) or any(_own_plugin(v) for v in spec.values())
    return isinstance(spec, (list, tuple)) and any(_own_plugin(v) for v in spec)


def goes_on(store: Store, draft: Draft) -> bool:
    """Whether running this definition means going on with the newest revision.

    It does when nothing differs that could make a difference, and when the revision was made of this very definition by
    another budget alone, given by hand: then the scan file is as it was.
    """
    if draft.unaffected:
        return True
    if not all(change.field in _BUDGET for change in draft.changes):
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


def _ended(draft: Draft) -> None:
    if draft.old.state not in TERMINAL["workflow"]:
        raise DefinitionError.of("E-REVISE-001", f"{draft.old.path} cannot be continued now", "it goes on",
                                 draft.old.path, f"Wait for its end, or 'cancel {draft.old.path}'.")  # fmt: skip
    if draft.same:
        raise DefinitionError.of("E-REVISE-002", f"nothing changes in {draft.old.path}",
                                 "definition and source are what they were", draft.old.path,
                                 "Change the file, or give --until.")  # fmt: skip
    for old, new in draft.pairs():
        if old.blind != new.blind:
            raise DefinitionError.of("E-REVISE-004", "the blind targets are others",
                                     f"{', '.join(old.blind)} -> {', '.join(new.blind)}",
                                     f"body.{new.name}.blind", "Keep them; 'unblind' shows them.")  # fmt: skip


def _refuse(problems: Sequence[Problem]) -> None:
    if problems:
        raise DefinitionError.all(problems)


def _where(change: Change) -> str:
    return change.where if change.where.startswith("body.") else ""


# ---------------------------------------------------------------------- extend
def extend(store: Store, draft: Draft, actor: str) -> WorkflowRecord:
    """The next revision, with another budget or tolerance; every point goes on as it is.

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
        if not _harmless(change)
    ]  # fmt: skip
    problems += [
        Problem("E-REVISE-003", "extend changes only the budget and the tolerance", f"step {name} gives something else",
                f"body.{new.name}.body.{name}", "Use 'idds-core amend', or run with --fresh.")
        for old, new in draft.pairs()
        for name in draft.changed_steps(old, new)
    ]  # fmt: skip
    _refuse(list(dict.fromkeys(problems)))
    reason = "extended: " + "; ".join(draft.told)
    return store.revisions.make(draft.old, draft.definition, draft.bundle, None, actor=actor, reason=reason[:2000])


def _harmless(change: Change) -> bool:
    """Whether it leaves results as they are; parameters that a step sees are found by the step's digest."""
    words = change.field.split(".")
    in_step = len(words) >= 3 and words[0] == "body" and words[2] in NOT_RESULT
    return words[0] in (*_BUDGET, "parameters") or in_step


# ---------------------------------------------------------------------- amend
def amend(
    store: Store, draft: Draft, actor: str, folder: Path, *, dry: bool = False
) -> tuple[WorkflowRecord | None, dict[str, Any]]:
    """The next revision, with another definition; of the old points only what changed runs again.

    Returns
    -------
    The revision (None when `dry`), and what becomes of the old points: how many stay, and by step how many jobs run
    again and how many results are taken over.

    Raises
    ------
    DefinitionError
        With all that cannot be amended, or when the workflow has not ended.

    """
    _ended(draft)
    loops = {loop.name: loop.id for loop in store.workflows.loops(draft.old.id)}
    names = [loop.name for loop in draft.definition.workflow.loops]
    if draft.definition.workflow.root is not None:
        names.append("")
    if sorted(names) != sorted(loops):
        raise DefinitionError.of("E-REVISE-004", "the loops are others", f"{', '.join(loops)} -> {', '.join(names)}",
                                 "body", "Keep their names, or run with --fresh.")  # fmt: skip
    problems: list[Problem] = []
    points: dict[str, list[NewPoint]] = {}
    for old, new in draft.pairs():
        known = store.revisions.points(loops[new.name])
        problems += _space_problems(old, new, known)
        if not problems:
            points[new.name] = _Redo(draft, old, new, folder).points(known, problems)
    _refuse(problems)
    told = _told(draft, points)
    if dry:
        return None, told
    reason = "amended: " + "; ".join(draft.told)
    made = store.revisions.make(draft.old, draft.definition, draft.bundle, points, actor=actor, reason=reason[:2000])
    return made, told


def _space_problems(old: Loop, new: Loop, points: Sequence[OldPoint]) -> Iterator[Problem]:
    where = f"body.{new.name}.space"
    fresh = "Keep it, or run with --fresh."
    for name in old.space.names:
        if name not in new.space.parameters:
            yield Problem("E-REVISE-005", f"parameter {name} is gone", "old points have a value of it",
                          f"{where}.{name}", fresh)  # fmt: skip
            continue
        parameter = new.space.parameters[name]
        if parameter.kind != old.space.parameters[name].kind:
            kinds = f"{old.space.parameters[name].kind} -> {parameter.kind}"
            yield Problem("E-REVISE-005", f"parameter {name} is of another kind", kinds, f"{where}.{name}", fresh)
        outside = [p.number for p in points if not parameter.holds(p.parameters[name])]
        if outside:
            yield Problem("E-REVISE-006", f"{len(outside)} old points are outside the range of {name}",
                          f"point {outside[0]} is the first", f"{where}.{name}",
                          "Ranges may only be widened; or run with --fresh.")  # fmt: skip
    for name in new.space.names:
        if name not in old.space.parameters and new.space.parameters[name].default is None:
            yield Problem("E-REVISE-007", f"parameter {name} has no default", "old points need a value of it",
                          f"{where}.{name}", "Say where they were measured: Real(..., default=...).")  # fmt: skip
    if new.mode != old.mode:
        yield Problem(
            "E-REVISE-004", "the mode is another", f"{old.mode} -> {new.mode}", f"body.{new.name}.mode", fresh
        )


class _Redo:
    """What becomes of the old points of a loop."""

    def __init__(self, draft: Draft, old: Loop, new: Loop, folder: Path) -> None:
        self._old, self._new, self._folder = old, new, folder
        changed = set(draft.changed_steps(old, new))
        before = [step.name for step in old.body]
        moved = (i for i, s in enumerate(new.body) if s.name in changed or before[i : i + 1] != [s.name])
        self._first = next(moved, len(new.body))
        self._added = {n: p.default for n, p in new.space.parameters.items() if n not in old.space.parameters}
        self._observe = new.targets != old.targets or len(old.body) > len(new.body) == self._first

    def points(self, known: Sequence[OldPoint], problems: list[Problem]) -> list[NewPoint]:
        """One for each; what cannot be is added to `problems`."""
        return [self._point(p, problems) for p in known]

    def _point(self, point: OldPoint, problems: list[Problem]) -> NewPoint:
        parameters = {**point.parameters, **self._added}
        ended = [j.step for j in point.jobs if j.state in (JobState.DONE, JobState.FAILED)]
        order = [step.name for step in self._old.body]
        reached = max((order.index(name) for name in ended if name in order), default=-1)
        if point.state == PointState.DROPPED or reached < self._first:
            return NewPoint(point, parameters, None, self._observed(point, problems))
        return NewPoint(point, parameters, self._lowest(point, self._first))

    def _lowest(self, point: OldPoint, first: int) -> int:
        """The first step that must run: an earlier one where files that are needed again were removed."""
        steps = self._new.body
        for i in reversed(range(first)):
            needed = _asks_files(_steps(self._new)[first:], steps[i].name, i == first - 1)
            gone = [
                name
                for job in point.jobs
                if job.step == steps[i].name and job.result
                for name, file in json.loads(job.result).get("files", {}).items()
                if needed(name) and not self._there(file)
            ]
            if gone:
                first = i
        return first

    def _there(self, file: Mapping[str, Any]) -> bool:
        path = Path(file["path"])
        return path.is_file() and path.stat().st_size == file["bytes"]

    def _observed(self, point: OldPoint, problems: list[Problem]) -> str | None:
        """The observation seen anew, when other targets are wanted than before."""
        if not self._observe or point.state != PointState.MEASURED:
            return None
        last = [j for j in point.jobs if j.step == self._new.body[-1].name and j.result] if self._new.body else []
        try:
            if not last:
                raise BindingError("it was brought by a person")
            values = json.loads(last[-1].result or "")["values"]
            return strict_json(observe(values, self._new.targets).to_json())
        except BindingError as error:
            problems.append(
                Problem("E-REVISE-008", f"point {point.number} has not all the targets", str(error),
                        f"body.{self._new.name}.targets", "Keep the targets, or change the step that gives them.")
            )  # fmt: skip
            return None


def _asks_files(steps: Sequence[Step], name: str, before: bool) -> Any:
    """Whether steps that run again may ask for an output of an earlier one."""
    asked = {word for step in steps for word in asks(step)}
    leftover = before and bool(steps) and steps[0].function is not None
    return lambda output: leftover or bool({output, name, f"{name}.{output}"} & asked)


def _told(draft: Draft, points: Mapping[str, Sequence[NewPoint]]) -> dict[str, Any]:
    run: Counter[str] = Counter()
    taken: Counter[str] = Counter()
    for loop in draft.definition.workflow.loops:
        for point in points[loop.name]:
            if point.redo is not None:
                run.update(step.name for step in loop.body[point.redo :])
                above = {step.name for step in loop.body[: point.redo]}
                taken.update(job.step for job in point.old.jobs if job.step in above and job.result)
    everything = [p for found in points.values() for p in found]
    kept = sum(p.redo is None for p in everything)
    return {"changes": draft.told, "points": len(everything), "kept": kept, "measured_again": len(everything) - kept,
            "jobs": dict(run), "reused": dict(taken)}  # fmt: skip
