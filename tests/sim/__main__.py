"""``python -m tests.sim``: tell one schedule's story, or run many and count."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from tests.sim.edges import EDGES
from tests.sim.fate import Report
from tests.sim.mutants import MUTANTS
from tests.sim.runs import run
from tests.sim.schedule import fault_free
from tests.sim.workloads import WORKLOADS

_FAILED = Path(__file__).parent / "failed_seeds.json"


class Figures:
    """What many schedules came to."""

    def __init__(self) -> None:
        self.schedules = self.longest = 0
        self.faults: Counter[str] = Counter()
        self.deaths: Counter[str] = Counter()
        self.figures: Counter[str] = Counter()
        self.digests: defaultdict[str, set[str]] = defaultdict(set)
        self.violations: dict[int, list[str]] = {}

    def add(self, report: Report) -> None:
        """One more."""
        self.schedules += 1
        self.faults += report.faults
        self.deaths += report.deaths
        self.figures += report.figures
        self.longest = max(self.longest, report.figures["seconds"])
        if report.digest:
            self.digests[report.workload].add(report.digest)
        if report.violations:
            self.violations[report.seed] = report.violations

    @property
    def unvisited(self) -> list[str]:
        """Crash points at which no process was cut."""
        return [edge for edge in EDGES if not self.deaths[edge]]

    def costs(self) -> dict[str, float]:
        """Duplicate executions and calls of the provider per attempt, commits per point, seconds per schedule."""
        figures = self.figures
        return {
            "duplicates": figures["duplicates"] / max(figures["attempts"], 1),
            "calls": figures["calls"] / max(figures["attempts"], 1),
            "commits": figures["commits"] / max(figures["points"], 1),
            "seconds": figures["seconds"] / max(self.schedules, 1),
        }

    def line(self) -> str:
        """All of it in one line."""
        digests = ", ".join(f"{name} {len(self.digests[name])}" for name in WORKLOADS if name in self.digests)
        costs = self.costs()
        return (
            f"{self.schedules} schedules, {self.faults.total()} faults, crash points visited "
            f"{len(EDGES) - len(self.unvisited)} of {len(EDGES)}, distinct digests: {digests}; "
            f"{1000 * costs['duplicates']:.0f} duplicate executions per 1000 attempts, "
            f"{costs['calls']:.1f} calls of the provider per attempt, {costs['commits']:.1f} commits per point, "
            f"simulated time {costs['seconds']:.0f} s on average, {self.longest} s at most; "
            f"{len(self.violations)} with violations"
        )


def _broken(name: str | None, patch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Break the engine; how the mutant's schedules are played."""
    if name is None:
        return {}
    mutant = MUTANTS[name]
    for workload in WORKLOADS:
        fault_free(workload)  # before anything is broken
    mutant.apply(patch)
    return {"fenced": mutant.fenced, "apart": mutant.apart, **({"name": mutant.workload} if mutant.workload else {})}


def _tell(report: Report, *, verbose: bool) -> None:
    if verbose:
        print(f"seed {report.seed}, {report.workload}", *report.story, sep="\n")
    for found in report.violations:
        print(f"seed {report.seed}: VIOLATION {found}")


def main() -> int:
    """The exit code: 1 when anything was violated."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--schedules", type=int, default=1)
    parser.add_argument("--workload", choices=WORKLOADS, help="of all schedules; else it follows from the seed")
    parser.add_argument("--mutant", choices=MUTANTS, help="break the engine like that")
    parser.add_argument("--keep", default=_FAILED, type=Path, help="the file that keeps failing seeds")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell the story")
    given = parser.parse_args()
    figures, begun = Figures(), time.process_time()
    logging.disable(logging.WARNING)
    with pytest.MonkeyPatch.context() as patch:
        options = _broken(given.mutant, patch)
        for seed in range(given.seed, given.seed + given.schedules):
            report = run(seed, **{"name": given.workload, **options})
            figures.add(report)
            _tell(report, verbose=given.verbose)
    if figures.violations and (given.keep != _FAILED or given.mutant is None):
        kept = json.loads(given.keep.read_text()) if given.keep.exists() else []
        given.keep.write_text(json.dumps(sorted({*kept, *figures.violations})) + "\n")
    print("faults:", ", ".join(f"{name} {n}" for name, n in sorted(figures.faults.items())) or "none")
    if figures.unvisited:
        print("not visited:", ", ".join(figures.unvisited))
    print(f"{figures.line()}; {time.process_time() - begun:.1f} s CPU")
    return bool(figures.violations)


if __name__ == "__main__":
    sys.exit(main())
