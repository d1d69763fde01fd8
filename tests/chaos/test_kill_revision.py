"""``kill -9`` of the command that makes a revision, and of the engine right after: the end is the same.

``IDDS_CHAOS=full`` kills many more times.
"""

from __future__ import annotations

import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import chaos_kit
from tests.chaos.chaos_kit import FULL, SCANS, done, killed, physics, reading, violations

SCAN = SCANS / "revision_scan.py"
KILLS = 60 if FULL else 3
CHANGES = {"extend campaign": "points=16", "amend campaign": "factor=1.5",
           "extend nested": "inner=5", "amend nested": "factor=1.5"}  # fmt: skip


def idds(verb: str, kind: str, workdir: Path, change: str = "", *more: str) -> list[str]:
    given = [word for text in (f"kind={kind}", change) if text for word in ("--set", text)]
    return chaos_kit.idds(verb, SCAN, "--workdir", workdir, *given, *more)


def run(kind: str, workdir: Path, change: str = "") -> list[str]:
    return idds("run", kind, workdir, change, "--seed", "5", "--quiet")


def timed(command: Sequence[str], code: int) -> float:
    """Run it to the end; seconds that it took."""
    began = time.monotonic()
    done(command, code)
    return time.monotonic() - began


def counted(workdir: Path) -> tuple[Any, ...]:
    """How much there is of everything that a revision writes."""
    names = ("workflow", "loop", "iteration", "point", "job", "result")
    with reading(workdir) as raw:
        return tuple(raw.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names)


@pytest.fixture(scope="module", params=["campaign", "nested"])
def ended(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A workflow that has ended; and the folder in which it has."""
    workdir = tmp_path_factory.mktemp(request.param)
    done(run(request.param, workdir), 2)
    return request.param, workdir


@pytest.mark.parametrize("verb", ["extend", "amend"])
def test_a_revision_whose_command_and_engine_are_killed_ends_the_same(
    tmp_path: Path, ended: tuple[str, Path], verb: str
) -> None:
    kind, first = ended
    change = CHANGES[f"{verb} {kind}"]
    plain, often = tmp_path / "plain", tmp_path / "often"
    for folder in (plain, often):
        shutil.copytree(first, folder)
    before = counted(plain)
    took = timed(idds(verb, kind, plain, change), 0)
    made = counted(plain)
    ran = timed(run(kind, plain, change), 2)

    rng, hits = random.Random(11), 0
    # most of its time goes into its start: the later ones are those that matter; and once it has ended, none is a hit
    for share in sorted(rng.uniform(0.4, 1.0) for _ in range(KILLS)):
        hits += killed(idds(verb, kind, often, change), took * share)
        assert counted(often) in (before, made)
    assert hits >= 1
    done(idds(verb, kind, often, change), 0)
    assert counted(often) == made
    shares = sorted(rng.uniform(0.2, 0.9) for _ in range(KILLS))
    hits = sum(killed(run(kind, often, change), ran * share) for share in shares)
    assert hits >= 1
    done(run(kind, often, change), 2)

    assert physics(often) == physics(plain)
    for folder in (plain, often):
        assert violations(folder) == {}
        with reading(folder) as raw:
            assert raw.execute("SELECT count(*) FROM workflow").fetchone() == (2,)
            assert raw.execute("SELECT count(*) FROM job WHERE state <> 'DONE'").fetchone() == (0,)
