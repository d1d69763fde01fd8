"""From what a person types to what is meant: the work folder, and the object at a path."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from idds_agents.cli.problems import InputError, did_you_mean
from idds_agents.workspace import Workspace, is_workdir
from idds_core.settings import read_settings
from idds_core.store import IMPORTED, Attempt, Job, LoopRecord, Store, WorkflowRecord

__all__ = ["Target", "find_workspace", "looking", "resolve", "resolve_loop"]


def find_workspace(workdir: Path | None, path: str | None = None) -> Workspace:
    """The work folder given; else the current folder if it is one, else the only ``*-run`` folder in it.

    path : of an object; among several folders it means the one that 'run' makes for its workflow.
    """
    if workdir is not None:
        return Workspace(workdir, read_settings())
    here = Path.cwd()
    if is_workdir(here):
        return Workspace(here, read_settings())
    found = sorted(p for p in here.glob("*-run") if is_workdir(p))
    if len(found) > 1 and path:
        named = f"{path.partition('/')[0].partition('~')[0]}-run"
        found = [p for p in found if p.name == named] or found
    if len(found) == 1:
        return Workspace(found[0], read_settings())
    if not found:
        raise InputError.of("E-WORKDIR-002", "there is no work folder here", "no *-run folder with an idds.db",
                            str(here), "Go where 'run' was called, or give --workdir DIR.")  # fmt: skip
    names = ", ".join(p.name for p in found[:10])
    raise InputError.of("E-WORKDIR-003", f"there are {len(found)} work folders here", names, str(here),
                        "Give one of them with --workdir, or a path that begins with the name of one.")  # fmt: skip


@contextmanager
def looking(workdir: Path | None, path: str | None = None) -> Iterator[tuple[Workspace, Store]]:
    """The work folder and its store, open for reading only."""
    workspace = find_workspace(workdir, path)
    store = workspace.look()
    try:
        yield workspace, store
    finally:
        store.close()


@dataclass(frozen=True)
class Target:
    """What a path names: a workflow's loop, and as far as it goes an iteration, a point, a step, a job, an attempt."""

    workflow: WorkflowRecord
    loop: LoopRecord
    iteration: int | None = None
    point: int | None = None
    step: str | None = None
    chunk: int | None = None
    attempt: int | None = None
    variant: str = ""

    @property
    def loop_path(self) -> str:
        """``workflow[~n]/loop``."""
        return f"{self.workflow.path}/{self.loop.name}".rstrip("/")

    def home(self, store: Store) -> int:
        """Id of the loop that has its jobs: a point that a revision has carried on was measured in an older one."""
        return self.loop.id if self.point is None else store.revisions.origin(self.loop.id, self.point)

    def jobs(self, store: Store) -> list[Job]:
        """The jobs at or below it."""
        home = self.home(store)
        found = store.jobs.all(home, point=self.point)
        if home != self.loop.id:
            here = {p.number: p.iteration for p in store.iterations.points(self.loop.id)}
            found = [replace(j, iteration=here[j.point]) for j in found]
        return [
            j
            for j in found
            if self.iteration in (None, j.iteration)
            and self.step in (None, j.step)
            and (self.chunk is None or (self.variant, self.chunk) == (j.variant, j.chunk))
        ]

    def attempts(self, store: Store, jobs: Sequence[Job]) -> list[Attempt]:
        """The attempts at or below it."""
        found = store.jobs.attempts([j.id for j in jobs])
        return [a for a in found if self.attempt in (None, a.number)]


def resolve(store: Store, path: str | None) -> Target:
    """What `path` names; None is the newest workflow when there is only one name.

    Raises
    ------
    InputError
        When nothing is there, with the nearest name there is.

    """
    words = [w for w in (path or "").split("/") if w]
    if words and words[-1] == "log":
        words.pop()
    # A bare name is the newest revision; a longer path means what it says, as it was printed.
    workflow = _workflow(store, words[0] if words else None, exact=len(words) > 1)
    words = words[1:]
    loop = _loop(store, workflow, words)
    target = Target(workflow, loop, **_numbers(words, path or "", hidden=not loop.name))
    _check(store, target)
    return target


def resolve_loop(store: Store, path: str | None) -> Target:
    """The loop that `path` names; what is below one is refused, since the whole loop would be meant by nobody."""
    target = resolve(store, path)
    if target.iteration is not None or target.point is not None:
        raise InputError.of("E-PATH-009", f"{path} is no loop", "it is a part of one", target.loop_path,
                            f"For the whole loop give {target.loop_path}.")  # fmt: skip
    if not target.loop.name:  # a workflow of steps and loops: its one loop is meant
        inside = [loop for loop in store.workflows.loops(target.workflow.id) if loop.name]
        if len(inside) == 1:
            return Target(target.workflow, inside[0])
    return target


def _workflow(store: Store, name: str | None, *, exact: bool) -> WorkflowRecord:
    known = store.workflows.all()
    if not known:
        raise InputError.of("E-PATH-001", "the store has no workflow yet", where=str(store.path), fix="Run one.")
    if name is None:
        names = {w.name for w in known}
        if len(names) == 1:
            return known[-1]
        raise InputError.of("E-PATH-002", "which workflow is meant", f"there are {len(names)}", str(store.path),
                            f"Name one of {', '.join(sorted(names))}.")  # fmt: skip
    for workflow in reversed(known):
        if name in (workflow.path, f"{workflow.name}~{workflow.revision}") or (name == workflow.name and not exact):
            return workflow
    raise InputError.of("E-PATH-003", f"there is no workflow {name}", where=str(store.path),
                        fix=did_you_mean(name, [w.path for w in known]))  # fmt: skip


def _loop(store: Store, workflow: WorkflowRecord, words: list[str]) -> LoopRecord:
    """The loop that the words name; its word is taken off. Its name may be left out when there is only one."""
    loops = {loop.name: loop for loop in store.workflows.loops(workflow.id)}
    for n in range(len(words), 0, -1):  # a loop inside another is named by its whole path
        name = "/".join(words[:n])
        if name in loops:
            del words[:n]
            return loops[name]
    if "" in loops and (not words or words[0] in {j.step for j in store.jobs.all(loops[""].id)}):
        return loops[""]
    if (not words or words[0] in ("it", "p")) and (len(loops) == 1 or workflow.name in loops):
        return loops.get(workflow.name) or next(iter(loops.values()))
    given = words[0] if words else ""
    raise InputError.of("E-PATH-004", f"workflow {workflow.path} has no loop {given}".rstrip(), where=str(store.path),
                        fix=did_you_mean(given, [*loops, "it", "p"]))  # fmt: skip


_JOB = re.compile(r"(?:([A-Za-z][A-Za-z0-9_-]*)\.)?([0-9]+)")


def _numbers(words: list[str], path: str, *, hidden: bool) -> dict[str, Any]:
    """What the words after the loop name: ``it/<k>/p/<N>/<step>/job/<c>/a/<M>``, or ``p/<N>/...``.

    hidden : the workflow's own steps, whose one point paths leave out.
    """
    found: dict[str, Any] = {"point": 1} if hidden and words else {}
    rest = list(words)
    for word, field in (("it", "iteration"), ("p", "point"), ("", "step"), ("job", "chunk"), ("a", "attempt")):
        if not rest or (word and rest[0] != word):
            continue
        if not word:
            if "point" in found:
                found[field] = rest.pop(0)
            continue
        rest.pop(0)
        job = _JOB.fullmatch(rest[0]) if rest and word == "job" else None
        if job and job[1]:
            found["variant"] = job[1]
            rest[0] = job[2]
        if not rest or not rest[0].isdecimal():
            raise InputError.of("E-PATH-005", f"the path {path} breaks off", f"a number belongs after {word}/", "",
                                "A full path is workflow/loop/it/1/p/1/step/job/0/a/1.")  # fmt: skip
        found[field] = int(rest.pop(0))
    if rest:
        raise InputError.of("E-PATH-006", f"the path {path} cannot be read", f"{rest[0]!r} is not expected there", "",
                            "A full path is workflow/loop/it/1/p/1/step/job/0/a/1.")  # fmt: skip
    return found


def _check(store: Store, target: Target) -> None:
    """Everything named is there."""
    path = target.loop_path
    asked = target.point is not None or target.iteration == IMPORTED
    points = store.iterations.points(target.loop.id) if asked else ()
    if target.iteration is not None:
        numbers = [i.number for i in store.iterations.all(target.loop.id)]
        numbers += [IMPORTED] if any(p.iteration == IMPORTED for p in points) else []
        _among("iteration", target.iteration, numbers, path)
    if target.point is not None:
        here = [p.number for p in points if target.iteration in (None, p.iteration)]
        _among("point", target.point, here, path if target.iteration is None else f"{path}/it/{target.iteration}")
    if target.step is None:
        return
    jobs = Target(target.workflow, target.loop, target.iteration, target.point).jobs(store)
    steps = list(dict.fromkeys(j.step for j in jobs))
    if target.step not in steps:
        raise InputError.of("E-PATH-008", f"the loop has no step {target.step}", where=path,
                            fix=did_you_mean(target.step, steps))  # fmt: skip
    of_step = [j for j in jobs if j.step == target.step]
    if target.chunk is not None:
        here = [j.chunk for j in of_step if j.variant == target.variant]
        _among("job", target.chunk, here, f"{path}/p/{target.point}/{target.step}")
    if target.attempt is not None:
        numbers = [a.number for a in store.jobs.attempts([j.id for j in target.jobs(store)])]
        _among("attempt", target.attempt, numbers, f"{path}/p/{target.point}/{target.step}/job/{target.chunk or 0}")


def _among(what: str, number: int, known: Sequence[int], where: str) -> None:
    if number in known:
        return
    span = f"there are {min(known)} to {max(known)}" if known else "there is none yet"
    raise InputError.of("E-PATH-007", f"there is no {what} {number}", span, where, "Use 'ls' to see what there is.")
