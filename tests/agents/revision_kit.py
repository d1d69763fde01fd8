"""Revisions as tests make and follow them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from idds_agents.revising import Draft, amend, extend
from idds_core.definition import Definition
from idds_core.ports import JobSpec
from idds_core.store import WorkflowRecord
from idds_core.testing.fakes import success
from tests.world import World


def measured(spec: JobSpec) -> Any:
    """Both steps of the toy, in one."""
    return success(spec, {"events": sum(v for v in spec.parameters.values()), "z": spec.parameters["x"]})


def draft(world: World, definition: Definition, bundle: str = "bundle") -> Draft:
    """A definition beside the newest revision."""
    newest = world.store.workflows.latest(world.definition.name)
    assert newest is not None
    return Draft(newest, definition, bundle, world.folder / "bundles")


def follow(world: World, made: WorkflowRecord | None, definition: Definition) -> None:
    """The world turns with another revision from now on."""
    assert made is not None
    world.workflow, world.definition = made, definition
    world._agents()


def extended(world: World, definition: Definition) -> None:
    """Extend, and follow."""
    follow(world, extend(world.store, draft(world, definition), "user ann"), definition)


def amended(world: World, definition: Definition, bundle: str = "bundle") -> dict[str, Any]:
    """Amend, and follow; what was told."""
    made, told = amend(world.store, draft(world, definition, bundle), "user ann")
    follow(world, made, definition)
    return told


def ask(world: World, verb: str, **given: Any) -> str:
    """The answer to a request."""
    command = world.store.workflows.command(world.workflow.id, verb, "user ann", given)
    world.conductor.step()
    return world.store.workflows.command_answer(command) or ""


def jobs(world: World) -> dict[str, int]:
    """Attempts of the revision, by step."""
    found: dict[str, int] = {}
    for job in [j for loop in world.loops().values() for j in world.store.jobs.all(loop.id)]:
        if job.attempts:
            found[job.step] = found.get(job.step, 0) + job.attempts
    return found


def rows(n: int) -> list[Mapping[str, Any]]:
    """Measurements from elsewhere."""
    return [{"parameters": {"x": i / 20, "y": 0.5}, "values": {"z": 1.0 + i, "z_sigma": 0.1}} for i in range(n)]


def digests(world: World) -> dict[str, str]:
    """Loop -> digest of its history; whatever iteration a point around it is in."""
    found = world.loops().items()
    return {re.sub(r"/it/\d+/", "/", name): world.history_of(loop).digest for name, loop in found if name}


def becomes(world: World) -> dict[str, str]:
    """Loop -> its state."""
    return {name: str(loop.state) for name, loop in world.loops().items()}
