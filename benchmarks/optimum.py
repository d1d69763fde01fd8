"""Optima at equal evaluations: our default learner beside Optuna (TPE, GP), scikit-optimize and SMAC3, on 34 tasks.

    python -m benchmarks.optimum --quick
    OMP_NUM_THREADS=1 python -m benchmarks.optimum --seeds 10 --record runs.jsonl --json

20 functions (two to eight parameters, noise, outliers, choices, conditions) and 14 tuning tasks of scikit-learn. Of a
run counts the true value at the point with the best observed one after N evaluations, ten of which are every
method's own first design; methods are ranked for each task and seed, ties sharing their mean rank. Peers that are not
installed are named. `--record` keeps every run in a file and goes on from there.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.optimum_functions import FUNCTIONS, Task
from benchmarks.optimum_peers import PEERS
from benchmarks.optimum_tuning import TUNING
from benchmarks.script import finish, parser, start, tell
from idds_core.history import derive_seed

TASKS = {task.name: task for task in (*FUNCTIONS, *TUNING)}
QUICK = ("branin", "hartmann6", "ackley5 with noise", "mixed", "conditional", "SVC on digits", "tree on cancer")
Run = dict[str, Any]


def study(task: Task, method: str, seed: int, batch: int, evaluations: int) -> Run:
    """One run: the true value at the best observed point after each evaluation."""
    rng = np.random.default_rng(derive_seed(seed, "noise", task.name))
    best: list[tuple[float, float]] = []

    def measure(point: Mapping[str, Any]) -> float:
        true = task.value(point)
        seen = true + task.noise * float(rng.normal())
        best.append((seen, true) if not best or seen < best[-1][0] else best[-1])
        return seen

    began = time.process_time()
    PEERS[method][1](task, seed, batch, evaluations, measure)
    return {"task": task.name, "method": method, "seed": seed, "batch": batch, "evaluations": evaluations,
            "final": best[:evaluations][-1][1], "curve": [round(b, 9) for _, b in best[:evaluations]],
            "cpu_s": round(time.process_time() - began, 3)}  # fmt: skip


def _key(run: Run) -> tuple[Any, ...]:
    return run["task"], run["method"], run["seed"], run["batch"], run["evaluations"]


def ranks(runs: Sequence[Run]) -> dict[str, list[float]]:
    """Method -> its rank in each group of runs of the same task, seed and batch; ties share the mean rank."""
    from scipy.stats import rankdata

    groups: dict[tuple[Any, ...], dict[str, float]] = {}
    for run in runs:
        groups.setdefault((run["task"], run["seed"], run["batch"]), {})[run["method"]] = run["final"]
    methods = sorted({run["method"] for run in runs})
    found: dict[str, list[float]] = {m: [] for m in methods}
    for group in groups.values():
        if len(group) == len(methods):
            for method, rank in zip(methods, rankdata([group[m] for m in methods]), strict=True):
                found[method].append(float(rank))
    return found


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """Mean ranks by batch and kind of task, the quartiles of ranks, and CPU seconds of an evaluation."""
    found: dict[str, Any] = {}
    for batch in sorted({r["batch"] for r in runs}):
        here = [r for r in runs if r["batch"] == batch]
        parts = {"all": here, **{k: [r for r in here if TASKS[r["task"]].kind == k] for k in ("function", "tuning")}}
        told = {part: ranks(group) for part, group in parts.items() if group}
        found[str(batch)] = {
            method: {
                "mean_rank": round(statistics.fmean(told["all"][method]), 3) if told["all"][method] else None,
                "standard_error": _error(told["all"][method]),
                **{f"mean_rank_{part}": round(statistics.fmean(told[part][method]), 3)
                   for part in ("function", "tuning") if told.get(part, {}).get(method)},
                "runs": len(told["all"][method]),
                "cpu_s": round(statistics.median(r["cpu_s"] for r in here if r["method"] == method), 2),
            }
            for method in told["all"]
        }  # fmt: skip
    return found


def _error(values: Sequence[float]) -> float | None:
    return round(statistics.stdev(values) / len(values) ** 0.5, 3) if len(values) > 1 else None


def recorded(
    names: Sequence[str], methods: Sequence[str], seeds: int, batches: Sequence[int], evaluations: int,
    record: Path | None,
) -> list[Run]:  # fmt: skip
    """All runs; those that the file of records has are read from there, and new ones are written to it."""
    lines = record.read_text().splitlines() if record and record.exists() else []
    known = {_key(run): run for run in map(json.loads, lines)}
    runs: list[Run] = []
    for seed in range(1, seeds + 1):
        for batch in batches:
            for name in names:
                for method in methods:
                    run = known.get((name, method, seed, batch, evaluations))
                    if run is None:
                        run = study(TASKS[name], method, seed, batch, evaluations)
                        if record:
                            with record.open("a") as file:
                                file.write(json.dumps(run) + "\n")
                    runs.append(run)
            tell(f"seed {seed}, batch {batch} is done")
    return runs


def show(figures: Mapping[str, Any]) -> None:
    """A few lines of text."""
    print(f"{figures['tasks']} tasks, {figures['seeds']} seeds, {figures['evaluations']} evaluations")
    for batch, methods in figures["batches"].items():
        print(f"batch {batch}: mean rank (functions, tuning), CPU seconds of a run")
        for method, row in sorted(methods.items(), key=lambda item: item[1]["mean_rank"] or 99):
            rank, error = row["mean_rank"], row["standard_error"]
            print(f"  {method:14s} {rank} +- {error} ({row.get('mean_rank_function')}, "
                  f"{row.get('mean_rank_tuning')})  {row['cpu_s']} s  {row['runs']} groups")  # fmt: skip


def main() -> int:
    """Measure and print."""
    made = parser(__doc__, seeds=10, quick=f"30 evaluations of {', '.join(QUICK)}")
    made.add_argument("--evaluations", type=int, help="default: 50")
    made.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    made.add_argument("--tasks", nargs="+", choices=list(TASKS), default=None, metavar="TASK")
    made.add_argument("--methods", nargs="+", choices=list(PEERS), default=list(PEERS), metavar="METHOD")
    made.add_argument("--record", type=Path, default=None, help="a file that runs are kept in, and read from")
    options = made.parse_args()
    figures = start(options, {m: PEERS[m][0] for m in options.methods})
    methods = [m for m in options.methods if m not in figures["not_installed"]]
    names = options.tasks or (QUICK if options.quick else list(TASKS))
    evaluations = options.evaluations or (30 if options.quick else 50)
    runs = recorded(names, methods, options.seeds, options.batches, evaluations, options.record)
    figures |= {"tasks": len(names), "evaluations": evaluations, "batches": summary(runs)}
    return finish(options, figures, show)


if __name__ == "__main__":
    sys.exit(main())
