"""What holds a loop until a person helps: a disk without space, a learner that fails; and the person."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from idds_agents.transformer import Answer
from idds_core.errors import IddsError

if TYPE_CHECKING:
    from tests.sim.schedule import Schedule

__all__ = ["Trouble", "spoilt"]

_LONGEST_S, _PATIENCE_S, _AGAIN_S = 120.0, 30.0, 10.0
#: the files that the engine itself writes, in the one workload in which it does
_FILES = [f"nested/nested/it/{n}/p/{n}/inner/result.new" for n in (1, 2)]
_ERRORS = {"raises": ("E-LEARNER-003", "the learner failed"), "takes too long": ("E-LEARNER-004", "it took too long")}


def spoilt(answer: Answer, fault: str, history: Mapping[str, Any]) -> Answer | IddsError:
    """What a learner says that fails in one of the ways there are."""
    if fault in _ERRORS:
        code, what = _ERRORS[fault]
        return IddsError.of(code, what, "simulated", "", "Mend it, then 'resume'.")
    (name,) = history["space"]["parameters"]
    points = [dict(p) for p in answer["points"]]
    known = [p["parameters"] for p in history["points"]] or points[1:] or [{name: 2.0}]
    bad: dict[str, Any] = {
        "out of bounds": {name: 1.5},
        "nan": {name: float("nan")},
        "known": known[0],
        "no point": "here",
        "too many": {name: 0.5},
    }
    more = [bad[fault]] * (answer["asked"] + 1 if fault == "too many" else 1)
    return Answer({**answer, "points": [*points[1:], *more]})


class Trouble:
    """Where space runs out for a while, and who mends what a loop is held for."""

    def __init__(self, world: Schedule) -> None:
        self._world = world
        self._what: str | None = None
        self._until = 0.0
        self._mend_at: float | None = None

    @property
    def free_bytes(self) -> int:
        """What an engine is told."""
        return 10**6 if self._what in ("full", "low") else 10**12

    @property
    def no_outputs(self) -> bool:
        """Whether jobs cannot write."""
        return self._what in ("full", "outputs")

    def step(self) -> None:
        """Space runs out, or is there again; somebody looks why nothing happens."""
        world = self._world
        if self._what is not None and world.clock() >= self._until:
            self.end()
        elif self._what is None and (fault := world.fate.fault("disk")) is not None:
            self._begin(fault)
        if world.helped and not world.disk.full:
            self._help()

    def _begin(self, what: str) -> None:
        self._what, self._until = what, self._world.clock() + self._world.fate.uniform(1, _LONGEST_S)
        self._world.disk.full = what == "full"
        if self.no_outputs:
            for file in self._files():
                file.parent.mkdir(parents=True, exist_ok=True)
                file.symlink_to("/dev/full")

    def end(self) -> None:
        """There is space again."""
        self._what, self._world.disk.full = None, False
        for file in self._files():
            file.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return [self._world.folder / name for name in _FILES]

    def _help(self) -> None:
        """A person who reads what a loop is held for mends it and resumes, after a while."""
        world = self._world
        held = world.disk.one("SELECT reason FROM loop WHERE state = 'held' AND reason LIKE 'E-%'")
        if held is None:
            self._mend_at = None
        elif self._mend_at is None:
            if "\n" in held[0] or "'resume'" not in held[0]:
                world.violation(f"a loop is held without a word that helps: {held[0]}")
            self._mend_at = max(world.clock(), self._until) + world.fate.uniform(1, _PATIENCE_S)
        elif world.clock() >= self._mend_at:
            self._mend_at = None
            world.ask("resume")

    def wait(self) -> bool:
        """While no engine is there: let time pass until somebody begins one again; whether there was something."""
        world, now = self._world, self._world.clock()
        if self.no_outputs:
            world.clock.advance(min(_AGAIN_S, self._until - now) + 0.001)
        elif self._mend_at is not None and self._mend_at > now:
            world.clock.advance(self._mend_at - now + 0.001)
        else:
            return False
        return True
