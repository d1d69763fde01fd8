"""The embedded engine: one process that turns the circle of the three agents until a workflow has ended."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import platform
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from idds_agents.blinding import close_left_open
from idds_agents.carrier import Carrier
from idds_agents.catalog import Catalog
from idds_agents.cleaning import clean, expired
from idds_agents.conductor import Conductor
from idds_agents.keeper import Keeper
from idds_agents.learner_host import LearnerHost
from idds_agents.postman import Postman
from idds_agents.reuser import Reuser
from idds_agents.revising import Draft, goes_on, refused_rerun
from idds_agents.targets import read_targets
from idds_agents.transformer import Thinker, Transformer
from idds_agents.trouble import hold_when_full
from idds_agents.wakeup import Waker
from idds_agents.workspace import Workspace
from idds_core.definition import Definition, validate
from idds_core.errors import DefinitionError, IddsError, Problem
from idds_core.model import Loop, Workflow
from idds_core.ports import Capabilities, Provider
from idds_core.routing import route
from idds_core.settings import Settings
from idds_core.states import TERMINAL, LoopState, Wish
from idds_core.store import LoopRecord, Store, WorkflowRecord

if TYPE_CHECKING:
    from idds_agents.result import Result

__all__ = ["EXIT_CODES", "Engine", "enter", "exit_code", "run_loop", "running"]

EXIT_CODES = {
    LoopState.CONVERGED: 0,
    LoopState.EXHAUSTED: 2,
    LoopState.STALLED: 2,
    LoopState.NOTHING_FEASIBLE: 2,
}
_DISK_PERIOD_S = 5.0
_TELL_S = 10.0
#: events that a busy engine leaves unsealed; then it seals them in a transaction that it makes anyway
_UNSEALED = 1000


def exit_code(state: LoopState) -> int:
    """0 converged, 2 budget spent, 3 not concluded."""
    return EXIT_CODES.get(state, 3)


class Engine:
    """Three agents on one store, with one provider; moves of one turn share one commit.

    Parameters
    ----------
    store, provider, thinker, waker : given, not made here.
    workflow_id : the workflow to work on.

    """

    def __init__(
        self,
        store: Store,
        provider: Provider,
        thinker: Thinker,
        waker: Waker,
        workdir: Path,
        settings: Settings,
        workflow_id: int,
        postman: Postman | None = None,
    ) -> None:
        self.store = store
        self._waker = waker
        self._workdir = workdir
        self._settings = settings
        self._workflow_id = workflow_id
        self._catalog = catalog = Catalog(store, workdir, workflow_id)
        owner = f"engine-{os.getpid()}-{secrets.token_hex(4)}"
        self.carrier = Carrier(store, provider, catalog, workdir, settings, owner)
        self.conductor = Conductor(store, catalog, postman)
        self.transformer = Transformer(store, catalog, thinker, waker.wake)
        self.keeper = Keeper(store, catalog, workdir, workflow_id)
        self.reuser = Reuser(store, catalog, store.workflows.by_id(workflow_id))
        self._stop = threading.Event()
        self._disk_checked = float("-inf")
        self._sealed = store.now()
        self._conducted = float("-inf")
        self._again = True
        self._drain_at = self._leave_at = float("inf")
        self.handed_over = False

    def stop(self) -> None:
        """End `run` after the present turn; what runs is found again by the next engine."""
        self._stop.set()
        self._waker.wake()

    def hand_over(self, margin: float) -> None:
        """Start nothing new, and end `run` when nothing runs any more, at the latest after `margin` seconds.

        What then still runs is adopted by the next engine, or runs again.
        """
        now = self.store.now()
        self._drain_at = min(self._drain_at, now)
        self._leave_at = min(self._leave_at, now + margin)
        self._waker.wake()

    def limit(self, wall: float, margin: float) -> None:
        """Hand over `margin` seconds before `wall` seconds from now are over."""
        self._leave_at = self.store.now() + wall
        self._drain_at = self._leave_at - min(margin, wall)

    def _hands_over(self) -> bool:
        """Whether it is time to leave; nothing new starts from the time to drain on."""
        now = self.store.now()
        if now < self._drain_at:
            return False
        still = True
        if self.carrier.draining:
            still = bool(self.carrier.active or self.carrier.ended_unwritten)
        else:
            self.carrier.drain()
        self.handed_over = now >= self._leave_at or not still
        return self.handed_over

    def turn(self) -> bool:
        """One round: look at the provider, write all moves in one commit, then act on what is durable.

        What the provider took is written down with whatever comes next, at the latest at the next sweep: a commit of
        its own would only delay the next result, and a crash finds it by its key.

        Returns
        -------
        bool
            Whether there is more to do at once; otherwise somebody will wake us.

        """
        self.carrier.poll()
        nudged, self._waker.nudged = self._waker.nudged, False
        due = self.store.now() - self._conducted > self._settings.sweep_seconds
        with self.store.transaction():
            ended = self.carrier.collect()
            if ended or self._again or nudged or due:  # nothing else makes work for the conductor
                self._conducted = self.store.now()
                self.conductor.step()
            decided = self.transformer.step()
            reused = self.reuser.step()
            claimed = self.carrier.claim()
            if self.store.unsealed >= _UNSEALED:
                self.store.audit.seal()
        self.store.check_owner()
        self.carrier.dispatch()
        self.conductor.deliver()
        if not self.carrier.draining:
            self.transformer.start()
        # without a barrier more may have ended while the learner was thinking: the conductor must look again
        self._again = nudged or self.carrier.ended_unwritten or reused > 0
        self._again |= decided > 0 and (not claimed or self._steady())
        return self._again

    def run(self, watch: Callable[[LoopRecord], None] = lambda _: None) -> LoopRecord:
        """Turn until the workflow has ended, the engine was stopped, or only a person can help.

        Parameters
        ----------
        watch : called after each turn with the loop as it stands.

        """
        self.carrier.recover()
        self.carrier.reap()
        while True:
            self._check_disk()
            again = self.turn()
            loop = self._loop()
            watch(loop)
            if self._stop.is_set() or self._over(loop) or self._hands_over():
                break
            if not again:
                self._sweep()
                self._waker.wait(self._pause())
        self.carrier.collect()
        self.carrier.close_sealed()
        self.keeper.step()
        self.store.audit.seal_all()
        self.tell()
        return self.store.workflows.loops(self._workflow_id)[0]

    def tell(self) -> None:
        """Deliver what is in the outbox while there is time; the rest is for the next engine."""
        if self.conductor.postman is not None:
            self.conductor.postman.finish(max(0.0, min(_TELL_S, self._leave_at - self.store.now())))

    def _loop(self) -> LoopRecord:
        """The loop that is not inside another; it ends with the workflow."""
        live = [loop for loop in self._catalog.live_loops() if loop.parent_point is None]
        return live[0] if live else self.store.workflows.loops(self._workflow_id)[0]

    def _steady(self) -> bool:
        return any(self._catalog.plan(loop.id).loop.mode == "steady" for loop in self._catalog.live_loops())

    def _over(self, loop: LoopRecord) -> bool:
        """Whether the workflow has ended, or only a person can help."""
        if loop.state in TERMINAL["loop"]:
            return True
        live = self._catalog.live_loops()
        held = any(each.state is LoopState.HELD and each.reason.startswith("E-") for each in live)
        if not held or loop.wish is Wish.CANCEL or self.carrier.in_flight or self.carrier.ended_unwritten:
            return False
        active = [each.id for each in live if each.state is LoopState.ACTIVE]
        return not active or not (self.transformer.busy or self._again or self._due(active))

    def _due(self, loops: list[int]) -> bool:
        """Whether a job of these loops may start, now or later."""
        return self.store.jobs.next_ready_at(loops) is not None

    def _sweep(self) -> None:
        """Housekeeping while nothing moves."""
        if self.store.now() - self._sealed > self._settings.sweep_seconds:
            self.keeper.step()
            self.store.check_owner()
            self.carrier.reap()  # who stalled for long may have submitted what somebody else has done meanwhile
            self.store.audit.seal()
            self._sealed = self.store.now()

    def _pause(self) -> float:
        """Seconds to wait when nobody wakes us: the sweep, or the earliest retry."""
        due = self.store.jobs.next_ready_at([loop.id for loop in self._catalog.live_loops()])
        wait = self._settings.sweep_seconds
        if due is not None and due > self.store.now():
            wait = min(wait, due - self.store.now())
        limit = self._leave_at if self.carrier.draining else self._drain_at
        return max(min(wait, limit - self.store.now()), 0.001)

    def _check_disk(self) -> None:
        """Hold the loop while there is still room to say why."""
        now = self.store.now()
        if now - self._disk_checked < _DISK_PERIOD_S:
            return
        self._disk_checked = now
        space, least = self.free_space(), self._settings.min_free_bytes
        hold_when_full(self.store, self._catalog, *space, least)

    def free_space(self) -> tuple[Path, int]:
        """Of the folders of the outputs and of the store the one with fewer free bytes, and how many."""
        folders = (self._workdir, self.store.path.parent)
        free, folder = min((shutil.disk_usage(folder).free, folder) for folder in folders)
        return folder, free


# ---------------------------------------------------------------------- entering a workflow
def enter(
    store: Store, definition: Definition, bundle: str, seed: int, *, fresh: bool = False, reuse: bool = False
) -> WorkflowRecord:
    """The stored workflow of a definition: found again when it is the same, else made.

    Raises
    ------
    DefinitionError
        When a workflow of that name has another definition, source or seed.

    """
    known = store.workflows.latest(definition.name)
    if known is None:
        return store.workflows.add(definition, bundle, seed)
    if fresh:
        if known.state not in TERMINAL["workflow"]:
            raise DefinitionError.of(
                "E-RUN-002",
                f"{known.path} has not ended",
                f"it is {known.state}",
                known.path,
                f"'idds-core cancel {known.path}' first.",
            )
        return store.workflows.add(definition, bundle, seed, known.revision + 1, reuse=int(reuse))
    draft = Draft(known, definition, bundle, store.path.parent / "bundles")
    if known.seed == seed and goes_on(store, draft):
        return known
    raise refused_rerun(draft, seed)


def check_routes(definition: Definition, providers: Mapping[str, Capabilities]) -> None:
    """Refuse a definition with a step that no provider can run, before anything is stored.

    Raises
    ------
    DefinitionError
        With a line for each such step.

    """
    problems = []
    for place, step in definition.workflow.steps():
        routes = route(step, providers)
        if not any(r.ok for r in routes):
            problems.append(
                Problem(
                    "E-ROUTE-001",
                    f"no provider can run step {step.name}",
                    "; ".join(f"{r.name}: {r.reason}" for r in routes),
                    place,
                    "Ask for less, name another provider, or give more --slots.",
                )
            )
    if problems:
        raise DefinitionError.all(problems)


@contextlib.contextmanager
def running(
    workspace: Workspace,
    definition: Definition,
    source: Path | None,
    seed: int,
    *,
    fresh: bool = False,
    reuse: bool = False,
) -> Iterator[tuple[Engine, WorkflowRecord]]:
    """An engine that owns a work folder, for one definition; everything it started ends with it.

    source : the folder that is bundled; None is the newest revision on record, as it stands.
    """
    from idds_core.loading import make_bundle
    from idds_core.providers.local import LocalProvider

    settings = workspace.settings
    targets = read_targets(settings.notify)
    workspace.make()
    workspace.own()
    with contextlib.ExitStack() as stack:
        stack.callback(workspace.lock.release)
        host = LearnerHost(workspace.folder / "learner.log", settings.learner_seconds, settings.learner_memory)
        stack.callback(host.close)
        host.warm()
        store = workspace.open()
        stack.callback(store.close)
        if settings.keep_attempts_days is not None:
            clean(store, workspace.folder, expired(store, settings.keep_attempts_days), "engine",
                  logs=not settings.keep_logs)  # fmt: skip
        waker = Waker(workspace.socket)
        stack.callback(waker.close)
        provider = LocalProvider(
            workspace.state_folder / "local", slots=settings.slots, store_id=store.id, wake=waker.wake
        )
        stack.callback(provider.close)
        can = provider.capabilities
        check_routes(definition, {provider.name: can})
        if source is None:
            found = store.workflows.latest(definition.name)
            assert found is not None
            workflow = found
        else:
            bundle, _ = make_bundle(source, workspace.bundles, workspace.folder)
            workflow = enter(store, definition, bundle, seed, fresh=fresh, reuse=reuse)
        close_left_open(store, workspace.folder, workflow.id)
        providers = {provider.name: dataclasses.asdict(can)}
        workspace.publish({"pid": os.getpid(), "host": platform.node(), "since": store.now(), "providers": providers})
        postman = Postman(store, targets, waker.wake)
        yield Engine(store, provider, host, waker, workspace.folder, settings, workflow.id, postman), workflow


def run_loop(loop: Loop | Workflow, workdir: str | Path | None = None, seed: int = 0) -> Result:
    """Run a definition on this machine; what :meth:`idds_core.Loop.run` does."""
    from idds_agents.notebook import attended
    from idds_agents.result import open_result

    definition = validate(loop)
    name = definition.name
    workspace = Workspace(workdir or f"{name}-run", Settings())
    with running(workspace, definition, _source(loop), seed) as (engine, workflow):
        attended(engine, workspace, engine.store.workflows.loops(workflow.id)[0].id)
        path = workflow.path
    return open_result(workspace.folder, path)


def _source(given: Loop | Workflow) -> Path:
    """The folder of the module in which the steps are defined."""
    import sys

    steps = [step for _, step in Workflow.of(given).steps()]
    for step in steps:
        module = sys.modules.get((step.function or "").partition(":")[0])
        file = getattr(module, "__file__", None)
        if file:
            return Path(file).resolve().parent
    if any(step.function for step in steps):
        raise IddsError.of("E-RUN-003", "the source of the steps cannot be found", "", "", "Use 'idds-core run FILE'.")
    return Path.cwd()
