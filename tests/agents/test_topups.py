"""A measured point is topped up: another replicate, or more events, as a new point that says what it adds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idds_agents.catalog import Catalog
from idds_agents.replay import replay
from idds_core.definition import Definition
from idds_core.history import History, Point, derive_seed
from idds_core.model import chain
from idds_core.ports import JobReport, JobSpec
from idds_core.states import LoopState, PointState
from idds_core.testing.fakes import ScriptedProvider, arguments, failure, success
from idds_learners import LevelSet, MaxPoints
from tests.agents.test_campaign import cut, step_of
from tests.agents.test_revisions import ask, follow
from tests.world import InlineThinker, World, function, toy

Script = Callable[[JobSpec], JobReport | None]


def campaign(points: int = 4, events: int = 2500, accept: float = 1.0, **changes: Any) -> Definition:
    """Generate and reconstruct in chunks of 1000 events, merge, analyse."""
    body = chain(
        cut("generate", "x", "events", "first_events", split="1000 events", accept=accept),
        cut("reconstruct", "n", split="1000 events"),
        cut("merge", "m", merge=True),
        cut("analyse", "total"),
    )
    loop = {"points": points, "batch": 2, "body": body, "parameters": {"events": events}, **changes}
    return toy(**loop)


def number_of(spec: JobSpec) -> int:
    """Number of the point that a job is of."""
    return int(spec.folder.split("/p/")[1].split("/")[0])


class Farm:
    """What the jobs of a campaign do, and a note of those that ran: (point, step, chunk)."""

    def __init__(self, dead: Callable[[int, str, int], bool] = lambda *_: False) -> None:
        self.dead = dead
        self.ran: Counter[tuple[int, str, int]] = Counter()
        self.seeds: dict[tuple[int, str, int], int] = {}

    def __call__(self, spec: JobSpec) -> JobReport:
        step, given, number = step_of(spec), arguments(spec), number_of(spec)
        chunk = int(spec.parameters.get("chunk", 0))
        self.ran[number, step, chunk] += 1
        self.seeds[number, step, chunk] = spec.seed
        if self.dead(number, step, chunk):
            return failure(f"dead chunk {spec.key}")
        if step == "generate":
            return success(spec, {"n": given["events"]})
        if step == "reconstruct":
            return success(spec, {"m": given["n"]})
        if step == "merge":
            return success(spec, {"total": sum(given["m"])})
        return success(spec, {"z": float(given["total"]), "z_sigma": float(given["total"]) ** -0.5})

    def of(self, number: int) -> dict[str, list[int]]:
        """Step -> chunks that ran at a point."""
        found: dict[str, list[int]] = {}
        for point, step, chunk in sorted(self.ran):
            if point == number:
                found.setdefault(step, []).append(chunk)
        return found


def world_of(folder: Path, definition: Definition, script: Script, slots: int = 100) -> World:
    folder.mkdir(exist_ok=True)
    return World(folder, ScriptedProvider(script, slots), definition)


def top_up(world: World, point: int, **given: Any) -> str:
    """The answer; the world goes on with the revision, when there is one."""
    answer = ask(world, "top-up", loop="toy", point=point, **given)
    follow(world, world.store.workflows.latest("toy"), world.definition)
    return answer


def z_of(point: Point) -> float | None:
    return point.observation.values["z"] if point.observation else None


def again(world: World) -> tuple[Any, ...]:
    """Differences that a replay finds."""
    plan = Catalog(world.store, world.folder).plan(world.loop.id)
    return replay(world.store, plan, world.loop.id, InlineThinker()).differences


# ---------------------------------------------------------------------- more events
def test_more_events_take_over_the_whole_chunks_and_run_the_others(tmp_path: Path) -> None:
    farm = Farm()
    world = world_of(tmp_path, campaign(), farm)
    world.run()
    assert top_up(world, 3, values={"events": "5000"}).startswith(
        "top-up: p/3 gets 2500 events more (5000 in all) in the next iteration of toy~2, which continues toy"
    )
    assert world.run().state is LoopState.EXHAUSTED
    old, new = world.history.points[2], world.history.points[4]
    assert (z_of(old), z_of(new)) == (2500.0, 5000.0)
    assert new.adds == {"to": 3, "more": {"events": 2500}}
    assert new.parameters == old.parameters
    # the third chunk had only 500 events: it runs again at its new size
    assert farm.of(5) == {"generate": [2, 3, 4], "reconstruct": [2, 3, 4], "merge": [0], "analyse": [0]}
    assert [p.number for p in world.history.measured] == [1, 2, 4, 5]
    assert world.violations() == {}
    assert again(world) == ()
