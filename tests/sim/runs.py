"""Which schedule a seed plays: one of three is of agents apart."""

from __future__ import annotations

from tests.sim.apart import Apart
from tests.sim.fate import Report
from tests.sim.schedule import Schedule
from tests.sim.workloads import WORKLOADS

__all__ = ["run"]


def run(seed: int, name: str | None = None, *, fenced: bool = True, apart: bool | None = None) -> Report:
    """Play the schedule of a seed.

    name : its workload, apart : whether its agents are; both follow from the seed otherwise.
    fenced : whether anything keeps embedded engines from each other's work but compare-and-set.
    """
    if apart is None:
        apart = fenced and seed // len(WORKLOADS) % 3 == 2
    return (Apart(seed, name) if apart else Schedule(seed, name, fenced=fenced)).play()
