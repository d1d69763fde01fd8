"""``plan``: what a run would do, without doing it: steps, first points, providers, bounds of cost and disk."""

from __future__ import annotations

import dataclasses
import itertools
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from idds_agents.budget import budget_of, cost_of
from idds_agents.cli.assignments import assignments
from idds_agents.cli.plan_text import plan_lines
from idds_agents.cli.problems import FINE
from idds_agents.cli.text import print_json, say
from idds_agents.engine import check_routes
from idds_agents.learner_host import LearnerHost
from idds_core.binding import placeholders
from idds_core.definition import Definition
from idds_core.history import History
from idds_core.loading import load, make_bundle, source_folder
from idds_core.model import Loop, Step
from idds_core.ports import Capabilities
from idds_core.routing import route
from idds_core.settings import Settings, read_settings

__all__ = ["Options", "plan"]

_MOST_FILES = 50_000


@dataclass(frozen=True)
class Options:
    """What ``plan`` was asked for."""

    file: Path
    given: Sequence[str] = ()
    seed: int = 0
    slots: int | None = None
    config: Path | None = None
    workdir: Path | None = None
    json: bool = False


def plan(options: Options) -> int:
    """Say what a run would do; a definition that it would refuse is refused after that."""
    settings = read_settings(options.config)
    if options.slots is not None:
        settings = settings.model_copy(update={"slots": options.slots})
    definition = load(options.file, assignments(options.given))
    can = {"local": Capabilities(slots=settings.slots or os.cpu_count() or 1)}
    document = _planned(definition, options, settings, can)
    if options.json:
        print_json(document)
    else:
        for line in plan_lines(document):
            say(line)
    check_routes(definition, can)
    return FINE


def _planned(
    definition: Definition, options: Options, settings: Settings, can: Mapping[str, Capabilities]
) -> dict[str, Any]:
    source = source_folder(options.file)
    workdir = (options.workdir or Path(f"{definition.name}-run")).resolve()
    with tempfile.TemporaryDirectory(prefix="idds-plan-") as place:
        _, bundle = make_bundle(source, Path(place), workdir)
        size = sum(f.stat().st_size for f in bundle.rglob("*") if f.is_file())
        host = LearnerHost(Path(place) / "learner.log", settings.learner_seconds, settings.learner_memory)
        try:
            loops = [_loop(loop, document, host, bundle, options.seed, can) for loop, document in definition.loops()]
        finally:
            host.close()
    outside = [step for step in definition.workflow.body if isinstance(step, Step)]
    points = [loop["budget"]["points"] for loop in loops]
    most = None if None in points else sum(points)
    disk = _disk(workdir, definition.name, size, most)
    return {"file": str(options.file), "name": definition.name, "seed": options.seed, "loops": loops, "disk": disk,
            "steps": [_step(step, (), can) for step in outside]}  # fmt: skip


def _loop(
    loop: Loop,
    document: Mapping[str, Any],
    host: LearnerHost,
    bundle: Path,
    seed: int,
    can: Mapping[str, Capabilities],
) -> dict[str, Any]:
    history = History(loop.space, seed, loop.targets)
    answer = host.think(document, history.to_json(), str(bundle), lambda: None).result()
    budget = budget_of(document)
    return {
        "loop": loop.name,
        "space": document["space"],
        "targets": list(loop.targets),
        "learner": document["learner"],
        "until": document["until"],
        "steps": [
            _step(step, loop.targets if step is loop.body[-1] else (), can)
            for step in loop.body
            if isinstance(step, Step)
        ],
        "first_points": answer["points"],
        "batch": loop.batch,
        "budget": asdict(budget),
        "cost": asdict(cost_of(loop, budget.points)),
    }


# ---------------------------------------------------------------------- steps
def _step(step: Step, targets: Sequence[str], can: Mapping[str, Capabilities]) -> dict[str, Any]:
    takes = placeholders(step) if step.run is not None else [*step.arguments, *step.optional]
    return {
        "step": step.name,
        "kind": "function" if step.run is None else "command",
        "runs": step.function or " ".join(step.run or ()),
        "takes": list(dict.fromkeys(takes)),
        "gives": _gives(step, targets),
        "requires": dataclasses.asdict(step.requires),
        "attempts": step.retry.attempts,
        "providers": [
            {"name": r.name, "slots": can[r.name].slots, "ok": r.ok, "reason": r.reason} for r in route(step, can)
        ],
    }


def _gives(step: Step, targets: Sequence[str]) -> list[str]:
    """Named outputs; what a function returns is known of the last step only, which gives the targets."""
    files = [*step.outputs, *(["output"] if step.returns_file else [])]
    return [*files, *(targets or ([step.result] if step.result else []))]


# ---------------------------------------------------------------------- disk
def _disk(workdir: Path, name: str, bundle: int, points: int | None) -> dict[str, Any]:
    """What is known of the disk: the source's copy, and what points of an earlier run in this folder have left."""
    each = _measured(workdir, name)
    near = next(p for p in (workdir, *workdir.parents) if p.is_dir())
    needed = None if each is None or points is None else bundle + int(each * points)
    free = shutil.disk_usage(near).free
    return {"bundle_bytes": bundle, "bytes_per_point": each, "needed_bytes": needed, "free_bytes": free}


def _measured(workdir: Path, name: str) -> float | None:
    """Bytes that a point has left on average, by an earlier run; None without one."""
    runs = [workdir / name, *workdir.glob(f"{name}~*")]
    count = sum(1 for run in runs for _ in run.glob("*/it/*/p/*"))
    files = itertools.islice((f for run in runs for f in run.glob("*/it/**/*")), _MOST_FILES)
    total = sum(f.lstat().st_size for f in files if f.is_file() and not f.is_symlink())
    return total / count if count else None
