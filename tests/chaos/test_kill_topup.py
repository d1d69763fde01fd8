"""``kill -9`` while points are topped up: the record is that of a run that nobody killed, and each chunk is there once.

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
from pathlib import Path
from typing import Any

from tests.chaos.test_kill import FULL, idds

SCAN = Path(__file__).parent / "scan" / "topup_scan.py"
KILLS = 60 if FULL else 4


def commands(workdir: Path) -> list[list[str]]:
    """A scan, two top-ups of what it has measured, and the run that measures them."""
    run = idds("run", SCAN, "--workdir", workdir, "--seed", "5", "--quiet")
    more = idds("top-up", "topup/topup/p/5", "--set", "events=700", "--workdir", workdir)
    replicate = idds("top-up", "topup/topup/p/2", "--workdir", workdir)
    return [run, more, replicate, idds("run", "topup", "--workdir", workdir, "--quiet")]


def killed(command: list[str], rng: random.Random) -> bool:
    """Give the command, and kill it and all it has started after a random time; whether that came in time."""
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(timeout=rng.uniform(0.2, 1.6))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def physics(workdir: Path) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(workdir / "idds.db")) as raw:
        query = ("SELECT w.revision, p.number, p.parameters, p.state, p.observation, p.adds, p.given FROM point p "
                 "JOIN loop l ON l.id = p.loop_id JOIN workflow w ON w.id = l.workflow_id ORDER BY 1, 2")  # fmt: skip
        return raw.execute(query).fetchall()


def test_top_ups_whose_engine_and_commands_are_killed_end_the_same(tmp_path: Path) -> None:
    for command in commands(tmp_path / "plain"):
        assert subprocess.run(command, capture_output=True).returncode in (0, 2)
    rng, hits = random.Random(11), 0
    for command in commands(tmp_path / "often"):
        hits += sum(killed(command, rng) for _ in range(KILLS))
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert ended.returncode in (0, 2), ended.stderr
    assert hits >= 3
    found = physics(tmp_path / "often")
    assert found == physics(tmp_path / "plain")
    assert [json.loads(row[5])["to"] for row in found if row[5]] == [5, 2]
    for verb in ("verify", "replay"):
        checked = subprocess.run(idds(verb, "--workdir", tmp_path / "often", "--json"), capture_output=True, text=True)
        assert checked.returncode == 0, checked.stdout
    with contextlib.closing(sqlite3.connect(tmp_path / "often" / "idds.db")) as raw:
        burnt = "SELECT count(*) FROM job WHERE user_failures > 0 OR state <> 'DONE'"
        assert raw.execute(burnt).fetchone() == (0,)
