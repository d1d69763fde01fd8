"""The embedded engine beside ProcessPoolExecutor and Optuna, in one run: read the ratios.

``python -m benchmarks.engine [--quick] [--seeds N] [--json]``. With several seeds, each figure is the median.
Every number of the engine is for durable jobs: SQLite, ``synchronous=FULL``, one commit acknowledged before anything
depends on it.
"""

from __future__ import annotations

import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.script import finish, parser, start, tell
from idds_agents.engine import Engine, running
from idds_agents.transformer import Answer
from idds_agents.workspace import Workspace
from idds_core.loading import load
from idds_core.settings import Settings
from idds_core.states import AttemptState, JobState, PointState
from idds_core.store import Outcome, Store, open_store

HERE = Path(__file__).resolve().parent
SLOTS = 2
MARKS = {
    "vs_optuna_sqlite": ">= 20",
    "cpu_vs_processpool": "<= 5",
    "turn_around_vs_mark": "<= 1 (3 fsyncs + 3 ms)",
    "claim_with_finished_vs_empty": "<= 1.2",
}


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in usage)


def measured(run: Callable[[int], float], small: int, large: int) -> dict[str, float]:
    """Tasks a second of a large run, and CPU of a task beyond what starting up costs (slope from small to large)."""
    start = cpu_seconds()
    run(small)
    middle = cpu_seconds()
    seconds = run(large)
    end = cpu_seconds()
    slope = ((end - middle) - (middle - start)) / (large - small)
    return {"tasks_per_s": large / seconds, "cpu_us": 1e6 * slope, "cpu_us_with_start": 1e6 * (end - middle) / large}


# ---------------------------------------------------------------------- the engine
def engine_run(
    folder: Path, points: int, batch: int, seed: int, wrap: Callable[[Engine], None] = lambda _: None
) -> dict[str, Any]:
    """Run no-op jobs to the end; seconds from the first turn to the last, commits, and the points."""
    definition = load(HERE / "noop_scan.py", {"points": str(points), "batch": str(batch)})
    with tempfile.TemporaryDirectory(dir=folder) as workdir:
        workspace = Workspace(workdir, Settings(slots=SLOTS))
        with running(workspace, definition, HERE, seed) as (engine, _):
            wrap(engine)
            commits, begin = engine.store.commits, time.perf_counter()
            record = engine.run()
            seconds = time.perf_counter() - begin
            history = engine.store.iterations.history(record.id, definition.workflow.loops[0], seed)
            assert len(history.measured) == points, record
            return {"seconds": seconds, "commits": engine.store.commits - commits, "history": history}


class _TimedThinker:
    """Passes questions on, and keeps how long each answer took."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.seconds: list[float] = []

    def think(
        self, document: Mapping[str, Any], history: Mapping[str, Any], bundle: str, wake: Callable[[], None]
    ) -> Future[Answer]:
        """The inner thinker's answer, timed."""
        begin = time.perf_counter()

        def done() -> None:
            self.seconds.append(time.perf_counter() - begin)
            wake()

        future: Future[Answer] = self.inner.think(document, history, bundle, done)
        return future


def turn_around(folder: Path, iterations: int, seed: int) -> dict[str, float]:
    """Last result of a batch to the first start of the next, the learner's own time taken off; milliseconds."""
    timers: list[_TimedThinker] = []

    def wrap(engine: Engine) -> None:
        timers.append(_TimedThinker(engine.transformer.thinker))
        engine.transformer.thinker = timers[0]

    ran = engine_run(folder, SLOTS * iterations, SLOTS, seed, wrap)
    starts: dict[int, float] = {}
    ends: dict[int, float] = {}
    for point in ran["history"].measured:
        extras, number = point.observation.extras, point.iteration
        starts[number] = min(starts.get(number, float("inf")), extras["start"])
        ends[number] = max(ends.get(number, 0.0), extras["end"])
    gaps = [starts[n + 1] - ends[n] - timers[0].seconds[n] for n in range(2, iterations)]
    return {
        "turn_around_ms": 1e3 * statistics.median(gaps),
        "fsync_ms": 1e3 * fsync_seconds(folder),
        "commits_per_iteration": ran["commits"] / iterations,
    }


def fsync_seconds(folder: Path, times: int = 50) -> float:
    """Median time of an append and fsync on the same disk."""
    taken = []
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        for _ in range(times):
            begin = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            taken.append(time.perf_counter() - begin)
    return statistics.median(taken)


# ---------------------------------------------------------------------- the peers
def _nothing(x: float) -> dict[str, float]:
    return {"y": x}


def pool_run(points: int, chunk: int = 1) -> float:
    """The floor: the same jobs in a ProcessPoolExecutor, nothing durable."""
    begin = time.perf_counter()
    with ProcessPoolExecutor(SLOTS) as pool:
        if chunk == 1:
            for future in [pool.submit(_nothing, i / points) for i in range(points)]:
                future.result()
        else:
            list(pool.map(_nothing, [i / points for i in range(points)], chunksize=chunk))
    return time.perf_counter() - begin


def optuna_run(folder: Path, points: int, seed: int) -> float:
    """Optuna's random sampler on its SQLite storage."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory(dir=folder) as home:
        study = optuna.create_study(
            storage=f"sqlite:///{home}/optuna.db", sampler=optuna.samplers.RandomSampler(seed=seed)
        )
        begin = time.perf_counter()
        study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=points)
        return time.perf_counter() - begin


# ---------------------------------------------------------------------- a store with a past
def _fill(store: Store, finished: int, chunk: int = 5000) -> dict[int, str]:
    definition = load(HERE / "noop_scan.py", {})
    workflow = store.workflows.add(definition, "none", 0)
    loop = store.workflows.loops(workflow.id)[0]
    plan = definition.workflow.loops[0]
    for number, first in enumerate(range(0, finished, chunk), start=1):
        points = [{"x": i / (finished + 1)} for i in range(first, min(first + chunk, finished))]
        store.iterations.add(loop.id, plan, number, points, len(points), first + 1)
        claims = store.jobs.claim({loop.id: "noop/noop"}, chunk, "local", "me", 60, lambda j, n: f"{j}-{n}")
        store.jobs.finish(
            [Outcome(c, AttemptState.LOST, JobState.FAILED, PointState.FAILED, reason="filled") for c in claims],
            "me",
        )
    last = finished // chunk + 2
    store.iterations.add(loop.id, plan, last, [{"x": i / 1e6} for i in range(2000)], 2000, finished + 1)
    return {loop.id: "noop/noop"}


def claim_cost(folder: Path, finished: int, batch: int = 50, times: int = 30) -> float:
    """Median CPU of a claim in a store with so many finished jobs, microseconds for a job."""
    with tempfile.TemporaryDirectory(dir=folder) as home:
        store = open_store(Path(home) / "idds.db")
        loops = _fill(store, finished)
        taken = []
        for _ in range(times):
            begin = time.process_time()
            claims = store.jobs.claim(loops, batch, "local", "me", 60, lambda j, n: f"{j}-{n}")
            taken.append((time.process_time() - begin) / len(claims))
        store.close()
    return 1e6 * statistics.median(taken)


def measure(folder: Path, seed: int, *, quick: bool, optuna: bool) -> dict[str, Any]:
    """All figures of one run."""
    small, large = (500, 2500) if quick else (1000, 10000)
    figures: dict[str, Any] = {"slots": SLOTS, "points": large}
    figures["engine"] = measured(lambda n: float(engine_run(folder, n, max(n // 4, 1), seed)["seconds"]), small, large)
    figures["commits_per_job"] = engine_run(folder, large, large // 4, seed)["commits"] / large
    figures["processpool"] = measured(pool_run, small, large)
    figures["processpool_chunked"] = measured(lambda n: pool_run(n, 64), small, large)
    if optuna:
        trials, cpu = 40 if quick else 150, cpu_seconds()
        seconds = optuna_run(folder, trials, seed)
        figures["optuna_sqlite"] = {"tasks_per_s": trials / seconds, "cpu_us": 1e6 * (cpu_seconds() - cpu) / trials}
    figures["turn_around"] = turn_around(folder, 15 if quick else 40, seed)
    empty, full = claim_cost(folder, 0), claim_cost(folder, 20_000 if quick else 100_000)
    figures["claim_us"] = {"empty": empty, "with_finished": full}
    return figures | {"ratios": ratios(figures)}


def ratios(figures: Mapping[str, Any]) -> dict[str, float]:
    """What is to be read: the engine to its peers and to its marks."""
    engine, turn, claim = figures["engine"], figures["turn_around"], figures["claim_us"]
    found = {
        "cpu_vs_processpool": engine["cpu_us"] / figures["processpool"]["cpu_us"],
        "cpu_vs_processpool_chunked": engine["cpu_us"] / figures["processpool_chunked"]["cpu_us"],
        "turn_around_vs_mark": turn["turn_around_ms"] / (3 * turn["fsync_ms"] + 3),
        "claim_with_finished_vs_empty": claim["with_finished"] / claim["empty"],
    }
    if "optuna_sqlite" in figures:
        found["vs_optuna_sqlite"] = engine["tasks_per_s"] / figures["optuna_sqlite"]["tasks_per_s"]
        found["cpu_vs_optuna_sqlite"] = engine["cpu_us"] / figures["optuna_sqlite"]["cpu_us"]
    return found


def medians(runs: list[Any]) -> Any:
    """Of each figure, over runs of the same shape."""
    if isinstance(runs[0], dict):
        return {key: medians([run[key] for run in runs]) for key in runs[0]}
    return statistics.median(runs)


def show(figures: Mapping[str, Any]) -> None:
    """A few lines of text."""
    for name in ("engine", "processpool", "processpool_chunked", "optuna_sqlite"):
        if row := figures.get(name):
            print(f"{name:22} {row['tasks_per_s']:9.0f} tasks/s {row['cpu_us']:8.0f} us CPU a task")
    print(f"commits a job {figures['commits_per_job']:.4f}; turn-around {figures['turn_around']}")
    for name, value in figures["ratios"].items():
        print(f"{name:32} {value:8.2f}   mark {figures['marks'].get(name, '-')}")


def main() -> int:
    """Measure and print."""
    made = parser(__doc__, seeds=1, quick="fewer jobs, rougher ratios")
    made.add_argument("--dir", default=tempfile.gettempdir(), help="where the databases go: a real disk")
    options = made.parse_args()
    figures, runs = start(options, {"optuna_sqlite": "optuna"}), []
    for seed in range(options.seeds):
        optuna = not figures["not_installed"]
        runs.append(measure(Path(options.dir), seed, quick=options.quick, optuna=optuna))
        tell(f"seed {seed} is done")
    return finish(options, figures | {"marks": MARKS} | medians(runs), show)


if __name__ == "__main__":
    sys.exit(main())
