"""``kill -9`` of engine, workers and whole groups at random moments: nothing is lost, doubled or changed.

Twenty kills in CI, two hundred with ``IDDS_CHAOS=full``; the figures are printed (``pytest -s``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.chaos_kit import (
    CI_KILLS,
    FULL,
    TARGETS,
    WORKLOADS,
    Workload,
    digests,
    disturbed,
    facts,
    jobs,
    lost,
    physics,
    reading,
    replayed,
    violations,
)

KILLS = 10 if FULL else CI_KILLS
SEEDS = range(6 if FULL else 1)  # a fast machine is through before the last kills of some


@dataclass(frozen=True)
class Calm:
    """A workload, and the folder of a run of it that nobody killed."""

    name: str
    workload: Workload
    workdir: Path


@pytest.fixture(scope="module", params=list(WORKLOADS))
def calm(request: pytest.FixtureRequest, calm_run: Callable[[str], Path]) -> Calm:
    return Calm(request.param, WORKLOADS[request.param], calm_run(request.param))


def test_a_workload_has_all_that_it_is_to_be_killed_in(calm: Calm) -> None:
    found = {row[0] for row in physics(calm.workdir)}
    dead = sum(row[-1] for row in jobs(calm.workdir) if row[3] == "FAILED")
    assert len(found) == (7 if calm.name == "nested" else 2 if calm.name == "campaign" else 1)  # loops, the hidden one
    assert (dead > 5) is (calm.name == "campaign")
    assert lost(calm.workdir) == []
    assert facts(calm.workdir) > 30


@pytest.mark.parametrize("seed", SEEDS)
def test_a_workload_that_is_killed_loses_nothing_and_ends_the_same(tmp_path: Path, calm: Calm, seed: int) -> None:
    workdir = tmp_path / "killed"
    hit = disturbed(calm.workload, workdir, facts(calm.workdir), KILLS, seed)
    kills = sum(hit.values())
    assert kills > KILLS // 2  # a fast machine may be through before the last ones
    assert set(hit) == set(TARGETS)
    assert lost(workdir) == []
    assert violations(workdir) == {}
    if calm.name != "campaign":  # there jobs die of themselves, and which others are then cancelled is a matter of time
        assert jobs(workdir) == jobs(calm.workdir)
    if calm.workload.ends_the_same:
        assert digests(workdir) == digests(calm.workdir)
        assert physics(workdir) == physics(calm.workdir)
    else:
        assert_whole(workdir, len(physics(calm.workdir)))
    shown = ", ".join(f"{n} of {target}" for target, n in sorted(hit.items()))
    print(f"\n{calm.name}: {kills} kills ({shown}), {facts(workdir)} results and points, 0 lost, 0 violations")


def assert_whole(workdir: Path, count: int) -> None:
    """Without a barrier: each point measured and ingested once, and every answer of the learner is given again."""
    with reading(workdir) as raw:
        assert raw.execute("SELECT state, count(*) FROM point GROUP BY state").fetchall() == [("MEASURED", count)]
        ingested = [n for (n,) in raw.execute("SELECT ingest_no FROM point ORDER BY ingest_no")]
    assert ingested == list(range(1, count + 1))
    assert replayed(workdir) > 5  # the more ends while an engine is away, the fewer questions
