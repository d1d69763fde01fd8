"""``kill -9`` of the command that makes a revision, and of the engine right after: the end is the same.

``IDDS_CHAOS=full`` kills many more times.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

SCAN = Path(__file__).parent / "scan" / "revision_scan.py"
FULL = os.environ.get("IDDS_CHAOS") == "full"
KILLS = 60 if FULL else 6
CHANGES = {"extend campaign": "points=16", "amend campaign": "factor=1.5",
           "extend nested": "inner=5", "amend nested": "factor=1.5"}  # fmt: skip


def idds(verb: str, kind: str, workdir: Path, change: str = "", *more: str) -> list[str]:
    given = [word for text in (f"kind={kind}", change) if text for word in ("--set", text)]
    return [sys.executable, "-m", "idds_agents", verb, str(SCAN), "--workdir", str(workdir), *given, *more]


def run(kind: str, workdir: Path, change: str = "") -> list[str]:
    return idds("run", kind, workdir, change, "--seed", "5", "--quiet")


def done(command: Sequence[str], code: int) -> float:
    """Run it to the end; seconds that it took."""
    began = time.monotonic()
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ran.returncode == code, ran.stdout + ran.stderr
    return time.monotonic() - began


@contextlib.contextmanager
def reading(workdir: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(workdir / "idds.db")) as raw:
        yield raw


def physics(workdir: Path) -> list[tuple[Any, ...]]:
    """All points of the newest revision, whatever iteration a point around their loop is in."""
    query = """SELECT l.name, p.number, p.parameters, p.state, p.failure_class, p.observation
        FROM point p JOIN loop l ON l.id = p.loop_id
        WHERE l.workflow_id = (SELECT max(id) FROM workflow) AND l.name <> ''"""
    with reading(workdir) as raw:
        return sorted((re.sub(r"/it/\d+/", "/", name), *rest) for name, *rest in raw.execute(query))


def counted(workdir: Path) -> tuple[Any, ...]:
    """How much there is of everything that a revision writes."""
    names = ("workflow", "loop", "iteration", "point", "job", "result")
    with reading(workdir) as raw:
        return tuple(raw.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names)


def killed(command: Sequence[str], after: float) -> bool:
    """Kill it, and all that it started, after so many seconds; False when it had ended before."""
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        process.wait(timeout=after)
        return False
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        return True
    finally:
        process.communicate(timeout=60)


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
    took = done(idds(verb, kind, plain, change), 0)
    made = counted(plain)
    ran = done(run(kind, plain, change), 2)

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
        verify = [sys.executable, "-m", "idds_agents", "verify", "--workdir", str(folder)]
        done(verify, 0)
        with reading(folder) as raw:
            assert raw.execute("SELECT count(*) FROM workflow").fetchone() == (2,)
            assert raw.execute("SELECT count(*) FROM job WHERE state <> 'DONE'").fetchone() == (0,)
