"""Clocks that are days off, and others after a restart: the same physics, no wait for the right time to come.

``libfaketime`` shifts the clock of a process. Its monotonic clock stays what it is, as when somebody sets a machine's
clock; and so do the times of files, as on a server of files that has the right time.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.agents.cli_kit import until
from tests.chaos.chaos_kit import (
    FULL,
    SCANS,
    WORKLOADS,
    Workload,
    digests,
    document,
    done,
    facts,
    jobs,
    lost,
    reading,
    replayed,
    violations,
)

Shifted = Callable[..., dict[str, str]]
WORKLOAD = WORKLOADS["batch"]
WALLED = Workload("chaos_scan.py", ("wall=1d",))
SHIFTS = [("-2d", "+2d", ""), ("+2d", "-2d", "")]
MORE = [
    ("-2d", "+0d", "-2d"),
    ("+2d", "+0d", "+2d"),
    ("+0d", "-300d", ""),
    ("-2d", "+2d", "-2d"),
    ("+2d", "-2d", "+2d"),
]


@pytest.fixture(scope="module")
def shifted(tmp_path_factory: pytest.TempPathFactory) -> Shifted:
    """Makes an environment in which the engine has one clock, and what it starts another."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found or shutil.which("gcc") is None:
        if os.environ.get("CI"):
            pytest.fail("libfaketime or gcc is missing")
        pytest.skip("needs libfaketime and gcc (apt-get install libfaketime gcc libc6-dev)")
    sleep = tmp_path_factory.mktemp("sleep") / "real_sleep.so"
    done(["gcc", "-shared", "-fPIC", "-o", str(sleep), str(SCANS / "real_sleep.c")])
    fixed = {"LD_PRELOAD": f"{sleep}:{found[0]}", "FAKETIME_DONT_FAKE_MONOTONIC": "1", "NO_FAKE_STAT": "1"}
    return lambda engine, children="": {**fixed, "FAKETIME": engine, "CHILDREN_FAKETIME": children or engine}


@pytest.fixture
def calm(calm_run: Callable[[str], Path]) -> Path:
    return calm_run("batch")


def killed_halfway(workload: Workload, workdir: Path, half: int, **environment: str) -> None:
    process = subprocess.Popen(workload.run(workdir), start_new_session=True, env={**os.environ, **environment})
    try:
        until(lambda: facts(workdir) >= half, "half of it")
        assert process.poll() is None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def elapsed(workdir: Path) -> list[float]:
    with reading(workdir) as raw:
        return [s for (s,) in raw.execute("SELECT elapsed_s FROM iteration WHERE elapsed_s NOTNULL ORDER BY number")]


def test_a_shifted_clock_is_what_a_process_sees(shifted: Shifted) -> None:
    """Else the tests below would prove nothing."""
    code = "import time, os; print(time.time() - os.stat('/proc/self').st_mtime, time.monotonic()); time.sleep(0.001)"
    right = float(done([sys.executable, "-c", code]).stdout.split()[1])
    for shift, wanted in (("-2d", -2 * 86400), ("+2d", 2 * 86400)):
        off, passed = map(float, done([sys.executable, "-c", code], **shifted(shift)).stdout.split())
        assert off == pytest.approx(wanted, abs=600)
        assert passed == pytest.approx(right, abs=600)


@pytest.mark.parametrize(("first", "then", "children"), SHIFTS + (MORE if FULL else []))
def test_a_run_that_is_restarted_with_another_clock_ends_the_same(
    tmp_path: Path, calm: Path, shifted: Shifted, first: str, then: str, children: str
) -> None:
    """Without `children`, workers have the clock of the other engine. One that is set back does not end a wall."""
    workdir, workload = tmp_path / "work", WALLED if first == "+2d" else WORKLOAD
    killed_halfway(workload, workdir, facts(calm) // 2, **shifted(first, children or then))
    done(workload.run(workdir), 2, **shifted(then, children or first))
    assert lost(workdir) == []
    assert violations(workdir) == {}
    assert digests(workdir) == digests(calm)
    assert jobs(workdir) == jobs(calm)
    assert sorted(elapsed(workdir)) == elapsed(workdir)
    assert elapsed(workdir)[0] > 0.0


def test_a_wall_ends_a_loop_by_the_time_on_record_which_replay_reads_again(
    tmp_path: Path, calm: Path, shifted: Shifted
) -> None:
    workdir = tmp_path / "work"
    killed_halfway(WALLED, workdir, facts(calm) // 3, **shifted("-2d"))
    done(WALLED.run(workdir), 2, **shifted("+2d"))
    assert elapsed(workdir)[-1] > 3 * 86400
    assert "of 86400 s" in document("show", "--workdir", workdir)["reason"]
    assert facts(workdir) < facts(calm)
    assert violations(workdir) == {}
    assert replayed(workdir) > 1
