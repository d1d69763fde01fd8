"""Thousands of schedules: nothing is violated, and every history is the one of a run in which nothing went wrong."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sim.__main__ import Figures
from tests.sim.fate import KINDS
from tests.sim.mutants import MUTANTS, caught_at
from tests.sim.runs import run

#: 3,000 schedules, in parts that several processes may play at once
_PARTS, _EACH = 6, 500
#: what the one final history of each workload must be, in each part
_DIGESTS = {
    "batch": "9ff94fa87c827f55", "steady": "7b4ed538531ff6f9", "campaign": "f9eff723db2dfcc4",
    "nested": "d5dee71967a5179c",
}  # fmt: skip
#: at the most, over all schedules of a part: what faults may cost
_COSTS = {"duplicates": 0.05, "calls": 7.0, "commits": 8.0, "seconds": 200.0}
#: how many schedules a mutant may survive
_LIMIT = 2000


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Each fault is a warning of the engine."""
    logging.disable(logging.WARNING)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("part", range(_PARTS))
def test_whatever_goes_wrong_the_history_is_the_same_and_no_invariant_is_violated(part: int) -> None:
    figures, begun = Figures(), time.process_time()
    for seed in range(part * _EACH, (part + 1) * _EACH):
        figures.add(run(seed))
    print(f"{figures.line()}; {time.process_time() - begun:.1f} s CPU")
    assert figures.violations == {}, f"python -m tests.sim -v --seed {min(figures.violations)}"
    assert figures.schedules == _EACH
    digests = {name: [hashlib.sha256(d.encode()).hexdigest()[:16] for d in figures.digests[name]] for name in _DIGESTS}
    assert digests == {name: [digest] for name, digest in _DIGESTS.items()}
    assert figures.unvisited == []
    assert KINDS.difference(figures.faults) == set()
    costs = figures.costs()
    assert [f"{name} {costs[name]}" for name, most in _COSTS.items() if costs[name] > most] == []


def test_engines_that_nothing_keeps_apart_violate_nothing_either() -> None:
    """The lock and the fence are off: compare-and-set alone holds."""
    figures = Figures()
    for seed in range(150):
        figures.add(run(seed, fenced=False))
    assert figures.violations == {}


def test_a_seed_tells_the_same_story_again() -> None:
    for seed in (3, 17, 40):
        first, second = run(seed), run(seed)
        assert first.story == second.story
        assert (first.digest, first.figures) == (second.digest, second.figures)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_sabotage_is_seen_by_its_oracle(name: str) -> None:
    found = caught_at(name, _LIMIT)
    assert found is not None, f"{name} survived {_LIMIT} schedules"
    assert any(words in found[1] for words in MUTANTS[name].says)


def test_after_a_mutant_the_engine_is_whole_again() -> None:
    assert caught_at("retry-of-terminal", 10) is not None
    assert run(0).violations == []


def test_the_command_line_tells_the_story_and_counts(tmp_path: Path) -> None:
    kept = tmp_path / "failed.json"
    command = [sys.executable, "-m", "tests.sim", "--seed", "6", "--keep", str(kept)]
    done = subprocess.run([*command, "-v"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "engine 1 starts" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("1 schedules, ")
    assert not kept.exists()
    broken = subprocess.run([*command, "--mutant", "seed-of-the-attempt"], capture_output=True, text=True, check=False)
    assert broken.returncode == 1
    assert "VIOLATION another history" in broken.stdout
    assert kept.read_text() == "[6]\n"
