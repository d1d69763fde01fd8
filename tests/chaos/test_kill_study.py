"""``kill -9`` of a whole study: split points, sealed targets, a loop inside a loop, steps outside of loops."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCAN = Path(__file__).parent / "scan" / "study_scan.py"
FULL = os.environ.get("IDDS_CHAOS") == "full"
KILLS = 100 if FULL else 12


def idds(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "idds_agents", *map(str, arguments)]


def run(workdir: Path) -> list[str]:
    return idds("run", SCAN, "--workdir", workdir, "--seed", "5", "--quiet")


def physics(workdir: Path) -> list[tuple[Any, ...]]:
    """All points of all loops by name; of the observation what is not sealed, for a seal differs each time."""
    query = """SELECT l.name, p.number, p.parameters, p.state, p.failure_class, p.observation
        FROM point p JOIN loop l ON l.id = p.loop_id ORDER BY l.name, p.number"""
    with contextlib.closing(sqlite3.connect(workdir / "idds.db")) as raw:
        rows = raw.execute(query).fetchall()
    found = []
    for *head, text in rows:
        seen = json.loads(text) if text else {}
        found.append((*head, bool(seen.pop("sealed", None)), json.dumps(seen, sort_keys=True)))
    return found


def states(workdir: Path) -> dict[str, str]:
    with contextlib.closing(sqlite3.connect(workdir / "idds.db")) as raw:
        return dict(raw.execute("SELECT name, state FROM loop"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a run that nobody killed."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    ran = subprocess.run(run(workdir), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 2, ran.stdout + ran.stderr
    return workdir


def test_the_study_has_all_that_can_go_wrong(undisturbed: Path) -> None:
    found = physics(undisturbed)
    assert {state for _, _, _, state, *_ in found} >= {"MEASURED"}
    assert len(states(undisturbed)) == 8  # the hidden one, scan, outer, five inner ones
    with contextlib.closing(sqlite3.connect(undisturbed / "idds.db")) as raw:
        (dead,) = raw.execute("SELECT count(*) FROM job WHERE state = 'FAILED'").fetchone()
    assert dead > 5


def test_a_study_whose_whole_process_group_is_killed_ends_the_same(tmp_path: Path, undisturbed: Path) -> None:
    rng, hit = random.Random(3), 0
    for _ in range(KILLS):
        process = subprocess.Popen(run(tmp_path), start_new_session=True, stderr=subprocess.PIPE)
        try:
            process.wait(timeout=rng.uniform(0.3, 1.6))
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            hit += 1
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=60)
    ran = subprocess.run(run(tmp_path), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 2, ran.stdout + ran.stderr
    assert hit >= 3
    assert physics(tmp_path) == physics(undisturbed)
    assert states(tmp_path) == states(undisturbed)
    verified = subprocess.run(idds("verify", "--workdir", tmp_path, "--json"), capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout
    with contextlib.closing(sqlite3.connect(tmp_path / "idds.db")) as raw:
        assert raw.execute("SELECT job_id FROM result GROUP BY job_id HAVING count(*) > 1").fetchall() == []
        double = """SELECT point_id, step, variant, chunk FROM job
            GROUP BY point_id, step, variant, chunk HAVING count(*) > 1"""
        assert raw.execute(double).fetchall() == []
