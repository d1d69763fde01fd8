"""Evaluations until an exclusion contour is right to 1 % and to 0.3 %: LevelSet beside its peers.

    OMP_NUM_THREADS=1 python -m benchmarks.levelset --quick
    OMP_NUM_THREADS=1 python -m benchmarks.levelset --problem fast2D --problem monoH3 --json
    OMP_NUM_THREADS=1 python -m benchmarks.levelset --plot levelset.png

Same problems, seeds and first designs for all; the error of each method is that of its own map, or, where it has none
(scikit-optimize, Optuna, adaptive), of our surrogate fitted to the points that it chose. N(tol) is the first of two
consecutive records at or below tol; a run that never gets there counts as infinite (null in JSON), so medians include
failures. `reached` is the number of runs that got to 1 % and to 0.3 %. `--record` keeps every run in a file and goes on
from there.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.peers import METHODS
from benchmarks.problems import PROBLEMS, Benchmark, grid_needed
from benchmarks.runs import TOLERANCES, Run
from benchmarks.script import finish, parser, start, tell

QUICK = ("monoH2e", "fast2D", "islands2")
NAMES = ("monoH2e", "fast2D", "monoH3", "monoH3proxy", "monoH4", "monoH4proxy", "noisy2", "quad6", "islands2")
#: evaluations to 1 % and 0.3 %, from the design
MARKS: dict[str, tuple[float | None, float | None]] = {
    "monoH2e": (10, 14), "fast2D": (27, 35), "monoH3": (60, 224), "monoH3proxy": (32, 64), "monoH4": (112, None),
    "monoH4proxy": (56, 80), "noisy2": (32, None), "quad6": (128, None), "islands2": (60, None),
}  # fmt: skip


def summary(runs: list[Run]) -> dict[str, Any]:
    """Medians and quartiles of N, with the failures in them, and how many runs reached each tolerance."""
    found: dict[str, Any] = {"quartiles": [], "reached": []}
    for i, name in enumerate(("n_1pct", "n_03pct")):
        counts = sorted(run.n[i] for run in runs)
        quartiles = [_quantile(counts, q) for q in (0.25, 0.5, 0.75)]
        found[name] = _finite(quartiles[1])
        found["quartiles"].append([_finite(q) for q in quartiles])
        found["reached"].append(sum(math.isfinite(c) for c in counts))
    found["runs"] = len(runs)
    found["each"] = [[_finite(n) for n in run.n] for run in runs]
    found["final"] = [run.records[-1][1] for run in runs]
    found["ask_cpu_s"] = max(run.cpu_s for run in runs)
    return found


def _quantile(counts: list[float], q: float) -> float:
    """Of sorted counts, linear between neighbours; infinite next to a run that never got there."""
    low, part = divmod((len(counts) - 1) * q, 1.0)
    below = counts[int(low)]
    return below if part == 0.0 or math.isinf(below) else below + (counts[int(low) + 1] - below) * part


def _finite(value: float) -> float | None:
    return None if math.isinf(value) else value


def recorded(problem: Benchmark, method: str, seeds: int, record: Path | None) -> list[Run]:
    """A run for each seed; those that the file of records has are read from there, and new ones are written to it."""
    lines = record.read_text(encoding="utf-8").splitlines() if record and record.exists() else []
    known = {(row["problem"], row["method"], row["seed"]): row for row in map(json.loads, lines)}
    runs = []
    for seed in range(seeds):
        row = known.get((problem.name, method, seed))
        if row is None:
            run = METHODS[method].run(problem, seed)
            row = {"problem": problem.name, "method": method, "seed": seed, **asdict(run)}
            if record:
                with record.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
        runs.append(Run([(n, error) for n, error in row["records"]], row["cpu_s"]))
    return runs


def measure(problem: Benchmark, methods: list[str], seeds: int, record: Path | None) -> dict[str, Any]:
    """What each method needs, on the same seeds."""
    found: dict[str, Any] = {}
    for name in methods:
        if name == "grid" or not METHODS[name].suits(problem):
            continue
        began = time.monotonic()
        runs = recorded(problem, name, seeds, record)
        found[name] = summary(runs)
        row = found[name]
        tell(
            f"{problem.name:12} {name:12} 1 %: {row['n_1pct']} {row['quartiles'][0]}  0.3 %: {row['n_03pct']} "
            f"{row['quartiles'][1]}  reached {row['reached']} of {seeds}  {time.monotonic() - began:.0f} s"
        )
    if "grid" in methods and not problem.sigma:
        found["grid"] = grid_needed(problem)
        tell(f"{problem.name:12} {'grid':12} {found['grid']}")
    return found


def table(figures: Mapping[str, Any]) -> str:
    """Rows of Markdown: a problem and a method each."""
    rows = ["| problem | method | 1 % (quartiles) | 0.3 % (quartiles) | reached | mark |", "|---|---|---|---|---|---|"]
    for problem, methods in figures["problems"].items():
        for name, row in methods.items():
            mark = figures["marks"][problem] if name == "ours" else ["", ""]
            if name == "grid":
                rows.append(f"| {problem} | grid | {_text(row['n_1pct'])} | {_text(row['n_03pct'])} | | |")
                continue
            cells = [f"{_text(row[key])} ({_text(q[0])}-{_text(q[2])})"
                     for key, q in zip(("n_1pct", "n_03pct"), row["quartiles"], strict=True)]  # fmt: skip
            reached = " / ".join(map(str, row["reached"]))
            wanted = " / ".join(_text(m) if m is not None else "-" for m in mark)
            rows.append(f"| {problem} | {name} | {cells[0]} | {cells[1]} | {reached} of {row['runs']} | {wanted} |")
    return "\n".join(rows)


def _text(value: Any) -> str:
    return "never" if value is None else f"{value:g}" if isinstance(value, (int, float)) else str(value)


def plot(figures: Mapping[str, Any], path: Path) -> None:
    """Median evaluations to 1 %, a group of bars for each problem; a bar that is missing never got there."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    problems = figures["problems"]
    methods = list(dict.fromkeys(name for rows in problems.values() for name in rows))
    fig, ax = plt.subplots(figsize=(1.4 * len(problems) + 3, 4))
    for i, name in enumerate(methods):
        at = [k + 0.8 * i / len(methods) for k in range(len(problems))]
        ax.bar(
            at, [rows.get(name, {}).get("n_1pct") or 0 for rows in problems.values()], 0.8 / len(methods), label=name
        )
    ax.set_yscale("log")
    ax.set_xticks([k + 0.4 for k in range(len(problems))], list(problems), rotation=30, ha="right")
    ax.set_ylabel("evaluations to 1 %, median")
    ax.legend(fontsize="small")
    fig.tight_layout()
    fig.savefig(path, dpi=150)


def main() -> int:
    """Measure and print."""
    made = parser(__doc__, seeds=10, quick=", ".join(QUICK))
    made.add_argument("--problem", action="append", choices=list(PROBLEMS), help="may be given again; default: all")
    made.add_argument("--method", action="append", choices=[*METHODS, "grid"], help="may be given again")
    made.add_argument("--record", type=Path, help="a file that runs are kept in, and read from")
    made.add_argument("--plot", type=Path, help="write a figure")
    options = made.parse_args()
    wanted = options.method or [*METHODS, "grid"]
    needs = {name: METHODS[name].package for name in wanted if name in METHODS}
    figures = start(options, {name: package for name, package in needs.items() if package})
    methods = [m for m in wanted if m not in figures["not_installed"]]
    names = options.problem or (QUICK if options.quick else NAMES)
    figures |= {
        "tolerances": TOLERANCES, "marks": {name: MARKS.get(name, (None, None)) for name in names},
        "problems": {name: measure(PROBLEMS[name], methods, options.seeds, options.record) for name in names},
    }  # fmt: skip
    if options.plot:
        plot(figures, options.plot)
    return finish(options, figures, lambda found: print(table(found)))


if __name__ == "__main__":
    sys.exit(main())
