"""``kill -9`` at random moments of a real scan: the same command goes on, and nothing is lost, doubled or changed.

``IDDS_CHAOS=full`` kills many more times.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SCAN = Path(__file__).parent / "scan" / "chaos_scan.py"
FULL = os.environ.get("IDDS_CHAOS") == "full"
KILLS = 200 if FULL else 20
OTHERS = 60 if FULL else 8


def idds(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "idds_agents", *map(str, arguments)]


def run(workdir: Path, mode: str = "batch") -> list[str]:
    return idds("run", SCAN, "--workdir", workdir, "--seed", "5", "--quiet", "--set", f"mode={mode}")


def shown(workdir: Path) -> dict[str, Any]:
    ran = subprocess.run(idds("show", "chaos", "--workdir", workdir, "--json"), capture_output=True, check=True)
    found: dict[str, Any] = json.loads(ran.stdout)
    return found


def physics(workdir: Path) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(workdir / "idds.db")) as raw:
        query = "SELECT number, parameters, state, observation FROM point ORDER BY number"
        return raw.execute(query).fetchall()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a run that nobody killed."""
    workdir = tmp_path_factory.mktemp("undisturbed")
    ran = subprocess.run(run(workdir), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 2, ran.stderr
    return workdir


def assert_same(workdir: Path, undisturbed: Path) -> None:
    assert physics(workdir) == physics(undisturbed)
    assert shown(workdir)["digest"] == shown(undisturbed)["digest"]
    verified = subprocess.run(idds("verify", "--workdir", workdir, "--json"), capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout
    with contextlib.closing(sqlite3.connect(workdir / "idds.db")) as raw:
        assert raw.execute("SELECT job_id FROM result GROUP BY job_id HAVING count(*) > 1").fetchall() == []
        burnt = "SELECT count(*) FROM job WHERE user_failures > 0 OR state <> 'DONE'"
        assert raw.execute(burnt).fetchone() == (0,)


def disturb(
    workdir: Path, kills: int, seed: int, kill: Callable[[subprocess.Popen[bytes]], None], mode: str = "batch"
) -> int:
    """Run, kill after a random time, and again, until the scan has ended by itself; how many kills hit."""
    rng = random.Random(seed)
    hit = 0
    for _ in range(kills):
        process = subprocess.Popen(run(workdir, mode), start_new_session=True, stderr=subprocess.PIPE)
        try:
            process.wait(timeout=rng.uniform(0.1, 1.6))
            break
        except subprocess.TimeoutExpired:
            kill(process)
            hit += 1
        finally:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=60)
    ran = subprocess.run(run(workdir, mode), capture_output=True, text=True, timeout=120)
    assert ran.returncode == 2, ran.stderr
    return hit


def whole_group(process: subprocess.Popen[bytes]) -> None:
    """The engine and all that shares its process group."""
    os.killpg(process.pid, signal.SIGKILL)


def only_the_engine(process: subprocess.Popen[bytes]) -> None:
    process.kill()


@pytest.mark.parametrize("seed", range(3 if FULL else 1))
def test_a_scan_whose_whole_process_group_is_killed_ends_the_same(tmp_path: Path, undisturbed: Path, seed: int) -> None:
    assert disturb(tmp_path, KILLS, seed, whole_group) >= 5
    assert_same(tmp_path, undisturbed)


def test_a_scan_whose_engine_alone_is_killed_ends_the_same(tmp_path: Path, undisturbed: Path) -> None:
    assert disturb(tmp_path, OTHERS, 77, only_the_engine) >= 4
    assert_same(tmp_path, undisturbed)


def test_a_scan_whose_workers_alone_are_killed_ends_the_same(tmp_path: Path, undisturbed: Path) -> None:
    """Workers and command runners are killed while one engine lives on."""
    rng = random.Random(99)
    process = subprocess.Popen(run(tmp_path), start_new_session=True, stderr=subprocess.PIPE)
    killed = 0
    while process.poll() is None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=rng.uniform(0.2, 1.0))  # the learner alone needs half a second to start
        victims = descendants(process.pid)
        if victims and killed < OTHERS:
            with contextlib.suppress(ProcessLookupError):
                os.kill(rng.choice(victims), signal.SIGKILL)
                killed += 1
    assert process.wait() == 2
    process.communicate()
    assert killed >= 4
    assert_same_physics(tmp_path, undisturbed)


def assert_same_physics(workdir: Path, undisturbed: Path) -> None:
    assert physics(workdir) == physics(undisturbed)
    verified = subprocess.run(idds("verify", "--workdir", workdir, "--json"), capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout


def descendants(pid: int) -> list[int]:
    """All processes below one: workers, runners, payloads, the learner's child."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found: list[int] = []
    front = [pid]
    while front:
        front = [child for child, parent in parents.items() if parent in front]
        found.extend(front)
    return found


# ---------------------------------------------------------------------- without a barrier
def assert_whole(workdir: Path) -> None:
    """Nothing lost, nothing doubled, and every answer of the learner is given again."""
    verified = subprocess.run(idds("verify", "--workdir", workdir, "--json"), capture_output=True, text=True)
    assert verified.returncode == 0, verified.stdout
    with contextlib.closing(sqlite3.connect(workdir / "idds.db")) as raw:
        assert raw.execute("SELECT state, count(*) FROM point GROUP BY state").fetchall() == [("MEASURED", 34)]
        assert raw.execute("SELECT job_id FROM result GROUP BY job_id HAVING count(*) > 1").fetchall() == []
        ingested = [n for (n,) in raw.execute("SELECT ingest_no FROM point ORDER BY ingest_no")]
        assert ingested == list(range(1, 35))
        burnt = "SELECT count(*) FROM job WHERE user_failures > 0 OR state <> 'DONE'"
        assert raw.execute(burnt).fetchone() == (0,)
    replayed = subprocess.run(idds("replay", "--workdir", workdir, "--json"), capture_output=True, text=True)
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    found = json.loads(replayed.stdout)
    assert found["mode"] == "steady"
    assert found["questions"] > 10


@pytest.mark.parametrize("seed", range(3 if FULL else 1))
def test_a_steady_scan_whose_whole_process_group_is_killed_is_whole(tmp_path: Path, seed: int) -> None:
    assert disturb(tmp_path, KILLS, 300 + seed, whole_group, "steady") >= 5
    assert_whole(tmp_path)


def test_a_steady_scan_whose_engine_alone_is_killed_is_whole(tmp_path: Path) -> None:
    assert disturb(tmp_path, OTHERS, 377, only_the_engine, "steady") >= 4
    assert_whole(tmp_path)
