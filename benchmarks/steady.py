"""Steady against batch mode where jobs take very different times: wall time and evaluations to the same error.

    python -m benchmarks.steady
    python -m benchmarks.steady --problems fast2D --seeds 5 --top-up 1 2 4 --json

Real engine, store and learner on a simulated clock: a provider with 8 slots whose jobs take log-normal times (sigma 1),
by point number and seed, the same in both modes; asking the learner takes no time. Deterministic: no real time goes in.

The error is the misclassified share of the allowed space, by the surrogate of all points measured so far, looked at
whenever a point has ended, in both modes. T and N are the simulated time, and the number of points measured, from
which on it stays at or below the tolerance for 8 points in a row.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.problems import PROBLEMS, Benchmark
from benchmarks.script import finish, parser, start, tell
from idds_agents.engine import Engine
from idds_agents.learner_child import answer
from idds_agents.transformer import Answer
from idds_agents.wakeup import Waker
from idds_core.definition import validate
from idds_core.history import derive_seed
from idds_core.model import Loop, Step
from idds_core.ports import JobReport, JobSpec, Submission
from idds_core.settings import Settings
from idds_core.states import TERMINAL
from idds_core.store import open_store
from idds_core.testing.fakes import ManualClock, ScriptedProvider, success
from idds_learners import BoundaryConverged, LevelSet, MaxPoints

SLOTS = 8
TOLERANCES = (0.02, 0.01)
STAYS = 8
#: points come by eights: a first design of ten, as LevelSet has by itself for a batch
FIRST = 10
NAMES, QUICK = ("fast2D", "monoH2", "monoH3"), ("monoH2e",)


class Cluster(ScriptedProvider):
    """A few slots; each job ends when its time has come."""

    def __init__(self, clock: ManualClock, problem: Benchmark, seed: int) -> None:
        super().__init__(self._look, SLOTS)
        self._clock, self._problem, self._seed = clock, problem, seed
        self._ends: dict[str, float] = {}

    def submit(self, specs: Sequence[JobSpec]) -> Sequence[Submission]:
        """All are taken, and their time begins."""
        for spec in specs:
            number = int(spec.folder.split("/p/")[1].split("/")[0])
            rng = np.random.default_rng(derive_seed(self._seed, "duration", number))
            self._ends[spec.key] = self._clock() + float(rng.lognormal(0.0, 1.0))
        return super().submit(specs)

    def forget(self, handles: Sequence[str]) -> None:
        """They are gone."""
        super().forget(handles)
        for handle in handles:
            self._ends.pop(handle, None)

    def _look(self, spec: JobSpec) -> JobReport | None:
        if self._clock() < self._ends[spec.key]:
            return None
        value = self._problem.at(spec.parameters)
        return success(spec, {"f": math.exp(value) if self._problem.transform == "log" else value})

    def next_end(self) -> float:
        """When the next job ends."""
        return min(self._ends.values())


class Inline:
    """The learner's process without the process."""

    def think(
        self, document: Mapping[str, Any], history: Mapping[str, Any], bundle: str, wake: Callable[[], None]
    ) -> Future[Answer]:
        """The answer, at once."""
        future: Future[Answer] = Future()
        future.set_result(Answer(answer({"loop": document, "history": history, "bundle": bundle})))
        wake()
        return future


@dataclass(frozen=True)
class Mode:
    """How the loop is run."""

    mode: str
    top_up: int = 1

    @property
    def name(self) -> str:
        """For tables."""
        return self.mode if self.mode == "batch" else f"steady, top_up={self.top_up}"


def definition(problem: Benchmark, mode: Mode, until: Any) -> Any:
    """A loop of one step."""
    level = 1.0 if problem.transform == "log" else 0.0
    body = (Step(name="measure", function="nowhere:measure", arguments=problem.space.names),)
    loop = Loop(problem.name.lower(), problem.space, body,
                LevelSet(("f",), level=level, transform=problem.transform, first=max(problem.first, FIRST)), until,
                batch=SLOTS, first=max(problem.first, FIRST), mode=mode.mode, top_up=mode.top_up)  # type: ignore[arg-type]  # fmt: skip
    return validate(loop)


@dataclass(frozen=True)
class Record:
    """What was known when a point had ended: simulated time, points measured, points begun, misclassified share."""

    time: float
    measured: int
    begun: int
    error: float


@dataclass(frozen=True)
class Run:
    """A whole run."""

    records: list[Record]
    verdict: str
    time: float
    measured: int


def run(problem: Benchmark, mode: Mode, seed: int, until: Any, *, tol: float = 0.0) -> Run:
    """Run to the end, or until the error has stayed at or below `tol`."""
    given = definition(problem, mode, until)
    plan = given.workflow.loops[0]
    learner = LevelSet(**{k: v for k, v in plan.learner.items() if k != "type"})
    u, excluded = problem.truth()
    clock = ManualClock(0.0)
    cluster = Cluster(clock, problem, seed)
    records: list[Record] = []
    with tempfile.TemporaryDirectory() as home:
        folder = Path(home)
        store = open_store(folder / "idds.db", "write", clock, "normal")
        workflow = store.workflows.add(given, "none", seed)
        waker = Waker()
        engine = Engine(store, cluster, Inline(), waker, folder, Settings(slots=SLOTS), workflow.id)
        loop = store.workflows.loops(workflow.id)[0]
        while True:
            _settle(engine, cluster)
            loop = store.workflows.loop(loop.id)
            history = store.iterations.history(loop.id, plan, seed)
            maps = learner.surrogate(history)
            if maps is not None and len(history.measured) > (records[-1].measured if records else 0):
                error = float(np.mean((maps.predict_unit(u)["f"].p_excluded > 0.5) != excluded))
                records.append(Record(clock(), len(history.measured), len(cluster.submissions), error))
            if loop.state in TERMINAL["loop"] or reached(records, tol) is not None:
                break
            clock.advance(cluster.next_end() - clock())
        waker.close()
        store.close()
    return Run(records, str(loop.state), clock(), len(history.measured))


def _settle(engine: Engine, cluster: Cluster) -> None:
    """Turn until nothing moves any more: then only time can bring something new."""
    quiet = 0
    while quiet < 2:
        before = (engine.store.commits, len(cluster.submissions))
        again = engine.turn()
        quiet = 0 if again or before != (engine.store.commits, len(cluster.submissions)) else quiet + 1


def reached(records: Sequence[Record], tol: float) -> Record | None:
    """The first record from which on the error stays at or below tol."""
    for i in range(len(records) - STAYS + 1):
        if all(r.error <= tol for r in records[i : i + STAYS]):
            return records[i]
    return None


def study(problem: Benchmark, modes: Sequence[Mode], seeds: Sequence[int]) -> dict[str, Any]:
    """Medians over the seeds of T and N for each mode and tolerance, and their ratios to batch mode."""
    found: dict[str, Any] = {}
    for mode in modes:
        runs = [run(problem, mode, seed, MaxPoints(problem.budget + 80), tol=TOLERANCES[-1]) for seed in seeds]
        never = Record(math.inf, 10**9, 10**9, 1.0)
        for tol in TOLERANCES:
            at = [reached(r.records, tol) or never for r in runs]
            found.setdefault(f"{tol:.1%}", {})[mode.name] = {
                "T": statistics.median(r.time for r in at), "N": statistics.median(r.measured for r in at),
                "begun": statistics.median(r.begun for r in at), "T_all": [round(r.time, 2) for r in at],
                "N_all": [r.measured for r in at],
            }  # fmt: skip
    for by_mode in found.values():
        batch = by_mode[modes[0].name]
        for row in by_mode.values():
            row["T_ratio"], row["N_ratio"] = row["T"] / batch["T"], row["N"] / batch["N"]
    return found


def conclusions(problem: Benchmark, modes: Sequence[Mode], seeds: Sequence[int], tol: float) -> dict[str, Any]:
    """When the loop itself says that it has converged, and what the error is then."""
    found = {}
    for mode in modes:
        runs = [run(problem, mode, seed, BoundaryConverged(tol) | MaxPoints(250), tol=-1.0) for seed in seeds]
        found[mode.name] = {
            "T": statistics.median(r.time for r in runs), "N": statistics.median(r.measured for r in runs),
            "converged": sum(r.verdict == "CONVERGED" for r in runs),
            "error": [round(r.records[-1].error, 4) for r in runs],
        }  # fmt: skip
    return found


def show(figures: Mapping[str, Any]) -> None:
    """A line of text for each problem, tolerance and mode."""
    for name, found in figures["problems"].items():
        for title, by_mode in found.items():
            for mode, row in by_mode.items():
                print(f"{name:8} {title:9} {mode:18} {row}")


def main() -> int:
    """Measure and print."""
    made = parser(__doc__, seeds=5, quick=", ".join(QUICK))
    made.add_argument("--problems", nargs="+", choices=sorted(PROBLEMS), help=f"default: {', '.join(NAMES)}")
    made.add_argument("--first-seed", type=int, default=1)
    made.add_argument("--top-up", type=int, nargs="+", default=[1])
    made.add_argument("--conclude", action="store_true", help="also run each to BoundaryConverged(0.02)")
    options = made.parse_args()
    figures = start(options) | {"problems": {}}
    modes = [Mode("batch"), *(Mode("steady", k) for k in options.top_up)]
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    for name in options.problems or (QUICK if options.quick else NAMES):
        problem = replace(PROBLEMS[name], batch=SLOTS)
        found = study(problem, modes, seeds)
        if options.conclude:
            found["concluded"] = conclusions(problem, modes, seeds, 0.02)
        figures["problems"][name] = found
        tell(f"{name} is done")
    return finish(options, figures, show)


if __name__ == "__main__":
    sys.exit(main())
