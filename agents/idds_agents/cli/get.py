"""``get``: output files and results of what a path names, copied into a folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from idds_agents.catalog import Catalog
from idds_agents.cli.problems import FINE, NOT_CONCLUDED, InputError
from idds_agents.cli.text import print_json, say, warn
from idds_agents.cli.where import Target, looking, resolve
from idds_agents.report.reading import seal_of
from idds_core.errors import IddsError
from idds_core.store import Job, place_of

__all__ = ["get"]

_SHOWN = 20


def get(path: str, workdir: Path | None, *, out: Path | None, as_json: bool) -> int:
    """Copy what jobs at or below a path left behind; 3 when something promised could not be copied, or nothing was."""
    from idds_agents.report.fetch import fetch

    with looking(workdir, path) as (workspace, store):
        target = resolve(store, path)
        if target.attempt is not None:
            raise InputError.of("E-GET-002", f"{path} is an attempt", "a job has one result, whichever attempt gave it",
                                target.loop_path, f"Give {path.rsplit('/a/', 1)[0]}.")  # fmt: skip
        jobs = target.jobs(store)
        base = _base(target, jobs)
        folder = out or Path(base.partition("/")[2].replace("/", "-"))
        if folder.exists() and not folder.is_dir():
            raise InputError.of("E-GET-003", f"{folder} is no folder", "", str(folder), "Give a folder with -o.")
        plan = Catalog(store, workspace.folder).plan(target.loop.id)
        seal = seal_of(plan, target.loop, workspace.folder)
        results = store.outputs.results(target.home(store), target.point, seal)
        try:
            found = fetch(plan, base, jobs, results, workspace.folder, folder)
        except IddsError as error:
            raise InputError(*error.problems) if error.code == "E-GET-001" else error from error
    if as_json:
        print_json({"protocol": 1, "path": base, "folder": str(folder.resolve()), **found.to_json()})
    else:
        for taken in found.taken:
            say(taken.file)
        if not jobs:
            warn(f"{base} has no job yet: there is nothing to get.")
        for gap in found.missing[:_SHOWN]:
            warn(f"missing: {gap.path} {gap.name}: {gap.why}")
        if len(found.missing) > _SHOWN:
            warn(f"missing: {len(found.missing) - _SHOWN} more; --json lists them all")
    return FINE if found.whole else NOT_CONCLUDED


def _base(target: Target, jobs: Sequence[Job]) -> str:
    """The path as it stands in the paths of jobs, so that what is beyond it can be told."""
    words = [target.loop_path]
    iteration = jobs[0].iteration if target.point is not None and jobs else target.iteration
    for name, value in (("it", iteration), ("p", target.point)) if target.loop.name else ():
        words += [name, str(value)] if value is not None else []
    words += [target.step] if target.step else []
    words += ["job", place_of(target.variant, target.chunk)] if target.chunk is not None else []
    return "/".join(words)
