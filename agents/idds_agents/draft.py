"""A definition beside the newest revision of its workflow: what differs, loop by loop."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from idds_core.binding import asks
from idds_core.definition import Definition, normal_document
from idds_core.difference import Change, differences
from idds_core.model import Loop, Step, Workflow
from idds_core.partition import split_of
from idds_core.sources import NOT_RESULT, Bundle, step_digest
from idds_core.space import Space
from idds_core.store import WorkflowRecord

__all__ = ["BUDGET", "Draft", "Pair", "own_plugin", "steps_of"]

BUDGET = ("until", "batch", "first", "hold_after")
_SHOWN = 12


@dataclass(frozen=True)
class Pair:
    """A loop as it was and as it is to be; that around all of a workflow has no name and the place "".

    where : as errors name it: ``body.outer.body.inner``.
    before, after : parameters of the definition that its steps see.
    given : names of all parameters that they see. added : those of its space, and of those around it, that are new.
    """

    old: Loop
    new: Loop
    where: str
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    given: frozenset[str]
    added: frozenset[str]

    @property
    def same_places(self) -> bool:
        """Whether its body has the same elements in the same order."""
        return [e.name for e in self.old.body] == [e.name for e in self.new.body]

    def inside(self) -> Iterator[Pair]:
        """The loops inside it that were there before."""
        known = {e.name: e for e in self.old.body if isinstance(e, Loop)}
        for new in self.new.body:
            if isinstance(new, Loop) and new.name in known:
                yield self._below(known[new.name], new)

    def _below(self, old: Loop, new: Loop) -> Pair:
        before, after = {**self.before, **old.parameters}, {**self.after, **new.parameters}
        given = self.given | set(new.space.names) | set(new.parameters)
        added = self.added | (set(new.space.names) - set(old.space.names))
        return Pair(old, new, f"{self.where}.body.{new.name}".lstrip("."), before, after, given, added)

    def all(self) -> Iterator[Pair]:
        """It, and all loops inside it at any depth."""
        yield self
        for pair in self.inside():
            yield from pair.all()


def _around(workflow: Workflow) -> Loop:
    return Loop("", Space(), workflow.body, None, None, parameters=workflow.parameters)


def steps_of(element: Step | Loop) -> Iterator[Step]:
    """A step, or all steps of a loop at any depth."""
    if isinstance(element, Step):
        yield element
        return
    for inside in element.body:
        yield from steps_of(inside)


def own_plugin(spec: Any) -> bool:
    """Whether a learner or condition is code of the user's (``module:Class``), which may be in the bundle."""
    if isinstance(spec, Mapping):
        return ":" in str(spec.get("type", "")) or any(own_plugin(v) for v in spec.values())
    return isinstance(spec, (list, tuple)) and any(own_plugin(v) for v in spec)


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
        return self.same or not any(self.changed_steps(pair) or self.own_changed(pair) for pair in self.pairs)

    @cached_property
    def around(self) -> Pair:
        """What is around all of the workflow."""
        old, new = _around(self.before.workflow), _around(self.definition.workflow)
        return Pair(old, new, "", old.parameters, new.parameters, frozenset(new.parameters), frozenset())

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """What is around all of the workflow, and the loops that are in both definitions, at any depth."""
        return tuple(self.around.all())

    def own_changed(self, pair: Pair) -> bool:
        """Whether the loop has a learner or condition of the user's, whose code may be another."""
        return self.bundle != self.old.bundle and own_plugin((pair.new.learner, pair.new.until))

    def words(self, change: Change) -> tuple[Pair, list[str]]:
        """The loop that a change belongs to, and what of it: ``until``, ``space.m_a``, ``body.measure.run``."""
        found = self.around
        for pair in self.pairs:
            if change.where.startswith(f"{pair.where}.") and len(pair.where) > len(found.where):
                found = pair
        return found, change.where[len(found.where) :].lstrip(".").split(".")

    def fields(self, pair: Pair) -> set[str]:
        """Fields of a loop that have another value and may matter; what is in its body is told by its steps."""
        found = {words[0] for here, words in map(self.words, self.changes) if here.where == pair.where}
        return found - {"body", "parameters"}

    def harmless(self, change: Change) -> bool:
        """Whether it leaves results as they are; parameters that a step sees are found by the step's digest."""
        _, words = self.words(change)
        in_step = len(words) >= 3 and words[0] == "body" and words[2] in NOT_RESULT
        return words[0] in (*BUDGET, "parameters") or in_step

    @cached_property
    def _sources(self) -> tuple[Bundle, Bundle]:
        return Bundle(self.bundles / self.old.bundle), Bundle(self.bundles / self.bundle)

    @cached_property
    def _changed(self) -> dict[str, tuple[str, ...]]:
        return {}

    def changed_steps(self, pair: Pair) -> Sequence[str]:
        """Steps of a loop that give something else than before, at the same point and from the same inputs.

        A step that takes a parameter which the space did not have before counts as the same: that parameter's default
        says where it was before.
        """
        if pair.where not in self._changed:
            known = {e.name: e for e in pair.old.body if isinstance(e, Step)}
            steps = [e for e in pair.new.body if isinstance(e, Step)]
            found = [s.name for s in steps if self._differs(pair, known.get(s.name), s)]
            self._changed[pair.where] = tuple(found)
        return self._changed[pair.where]

    def _differs(self, pair: Pair, old: Step | None, new: Step) -> bool:
        if old is None:
            return True
        if asks(new) & pair.added:
            return False
        unit = split_of(new)[1]
        if unit and pair.before.get(unit) != pair.after.get(unit):  # other chunks
            return True
        before, after = self._sources
        return step_digest(old, before, pair.before) != step_digest(new, after, pair.after)

    @cached_property
    def told(self) -> list[str]:
        """The difference in lines for people."""
        lines = [str(change) for change in self.changes]
        if self.bundle != self.old.bundle:
            before, after = (b.files for b in self._sources)
            names = sorted(n for n in {*before, *after} if before.get(n) != after.get(n))
            steps = [name for pair in self.pairs for name in self.changed_steps(pair)]
            meant = f"steps {', '.join(steps)} give something else" if steps else "no step gives anything else"
            lines.append(f"source: {', '.join(names[:_SHOWN])} changed; {meant}")
        return lines
