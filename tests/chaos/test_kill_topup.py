"""``kill -9`` while points are topped up: the record is that of a run that nobody killed, and each chunk is there once.

``IDDS_CHAOS=full`` kills many more times.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.chaos.chaos_kit import FULL, SCANS, done, idds, jobs, killed_at, physics, reading, replayed, violations

SCAN = SCANS / "topup_scan.py"
EDGES = [("inside", 1), ("submit", 1)]
if FULL:
    EDGES += [("before", 1), ("after", 2), ("inside", 3), ("submitted", 2), ("after", 5)] * 3


def commands(workdir: Path) -> list[list[str]]:
    """A scan, two top-ups of what it has measured, and the run that measures them."""
    run = idds("run", SCAN, "--workdir", workdir, "--seed", "5", "--quiet")
    more = idds("top-up", "topup/topup/p/5", "--set", "events=700", "--workdir", workdir)
    replicate = idds("top-up", "topup/topup/p/2", "--workdir", workdir)
    return [run, more, replicate, idds("run", "topup", "--workdir", workdir, "--quiet")]


def test_top_ups_whose_engine_and_commands_are_killed_end_the_same(tmp_path: Path) -> None:
    plain, often = tmp_path / "plain", tmp_path / "often"
    for command in commands(plain):
        done(command, 0, 2)
    hits = 0
    for command in commands(often):
        hits += sum(killed_at(edge, count, command) for edge, count in EDGES)
        done(command, 0, 2)
    assert hits >= 4
    assert physics(often) == physics(plain)
    assert jobs(often) == jobs(plain)
    assert violations(often) == {}
    assert replayed(often) > 1
    with reading(often) as raw:
        added = [json.loads(adds)["to"] for (adds,) in raw.execute("SELECT adds FROM point WHERE adds NOTNULL")]
        burnt = "SELECT count(*) FROM job WHERE user_failures > 0 OR state <> 'DONE'"
        assert raw.execute(burnt).fetchone() == (0,)
    assert added == [5, 2]
