"""Processes that stop and wake up: an engine that was followed changes nothing, workers and runners go on."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Collection, Iterable
from functools import partial
from pathlib import Path

import pytest

from tests.agents.cli_kit import until
from tests.chaos.chaos_kit import (
    FULL,
    WORKLOADS,
    descendants,
    digests,
    done,
    facts,
    idds,
    jobs,
    lost,
    physics,
    reading,
    state_of,
    stopped_at,
    violations,
)

WORKLOAD = WORKLOADS["batch"]
#: where an engine is when it stops: edge, how often it has been there before
EDGES = [("after", 14), ("submit", 3)]
MORE = [("before", 9), ("submitted", 4), ("before", 20), ("after", 6), ("after", 25), ("submit", 6), ("submitted", 1)]
NETWORK = {"IDDS_FILE_SYSTEM": "network"}


@pytest.fixture
def calm(calm_run: Callable[[str], Path]) -> Path:
    return calm_run("batch")


def plain(workdir: Path) -> list[str]:
    """The command that runs the workload, and tells nobody."""
    return idds(*WORKLOAD.run(workdir)[3:])


def woken(process: subprocess.Popen[str]) -> tuple[int, str]:
    """How it ends after it was woken up: exit code and what it says."""
    process.send_signal(signal.SIGCONT)
    out, err = process.communicate(timeout=120)
    return process.returncode, out + err


def elsewhere() -> list[str]:
    """The start of a command that runs as on another machine that sees the same folders."""
    command = ["unshare", "--uts", "sh", "-c", 'hostname other && exec "$@"', "sh"]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"], capture_output=True).returncode:
        if os.environ.get("CI"):
            pytest.fail("no other machine can be played")
        pytest.skip("needs unshare, and the right to give this machine another name")
    return command


def long_unheard(workdir: Path) -> None:
    """The last heartbeat was long ago."""
    (lease,) = (workdir / ".idds").glob("engine.lease.*")
    then = lease.stat().st_mtime - 3600
    os.utime(lease, (then, then))


def contents(workdir: Path) -> tuple[list[str], dict[str, bytes]]:
    """Every row of the store, and every file of every attempt."""
    files = {str(path): path.read_bytes() for path in (workdir / "chaos").rglob("*") if path.is_file()}
    with reading(workdir) as raw:
        return list(raw.iterdump()), files


def states_of(workdir: Path, files: Collection[str]) -> set[str]:
    """States of the attempts whose folders these files are in.

    A job that waited for a slot in the provider of the engine that was stopped starts when it wakes up: a stray of an
    attempt that is lost, in its own folder.
    """
    with reading(workdir) as raw:
        states = dict(raw.execute("SELECT path, state FROM attempt"))
    return {state for path, state in states.items() for file in files if file.startswith(f"{workdir}/{path}/")}


@pytest.mark.parametrize(("edge", "count"), EDGES + (MORE if FULL else []))
def test_an_engine_that_was_followed_while_it_was_stopped_changes_nothing(
    tmp_path: Path, calm: Path, edge: str, count: int
) -> None:
    other = elsewhere()
    with stopped_at(edge, count, plain(tmp_path / "work"), **NETWORK) as process:
        assert process is not None
        refused = subprocess.run([*other, *WORKLOAD.run(tmp_path / "work")], capture_output=True, text=True,
                                 env={**os.environ, **NETWORK})  # fmt: skip
        assert refused.returncode == 3
        assert "E-ENGINE-001 another engine works in this folder" in refused.stderr
        long_unheard(tmp_path / "work")
        done([*other, *WORKLOAD.run(tmp_path / "work")], 2, **NETWORK)
        before = contents(tmp_path / "work")
        code, said = woken(process)
    assert code == 3
    (line,) = [each for each in said.splitlines() if not each.startswith("W-WORKDIR-001")]
    assert line.startswith("E-ENGINE-003 another engine has taken over this folder")
    rows, files = contents(tmp_path / "work")
    assert (rows, {path: files.get(path) for path in before[1]}) == before
    assert states_of(tmp_path / "work", files.keys() - before[1].keys()) <= {"LOST"}
    assert lost(tmp_path / "work") == []
    assert violations(tmp_path / "work") == {}
    assert digests(tmp_path / "work") == digests(calm)
    assert physics(tmp_path / "work") == physics(calm)


@pytest.mark.parametrize(("edge", "count"), [("inside", 12)])
def test_nobody_follows_an_engine_that_was_stopped_on_a_local_disk(
    tmp_path: Path, calm: Path, edge: str, count: int
) -> None:
    """The kernel knows that it lives; and it goes on when it is woken up."""
    with stopped_at(edge, count, plain(tmp_path / "work")) as process:
        assert process is not None
        refused = done(WORKLOAD.run(tmp_path / "work"), 3)
        assert f"E-ENGINE-001 another engine works in this folder: process {process.pid}" in refused.stderr
        code, said = woken(process)
    assert (code, "E-" in said) == (2, False)
    assert violations(tmp_path / "work") == {}
    assert digests(tmp_path / "work") == digests(calm)


@pytest.mark.parametrize("followed", [True, False] if FULL else [True])
def test_workers_runners_and_learners_that_stop_and_go_on_change_nothing(
    tmp_path: Path, calm: Path, followed: bool
) -> None:
    rng, workdir = random.Random(4), tmp_path / "work"
    err = (tmp_path / "err").open("wb")
    process = subprocess.Popen(WORKLOAD.run(workdir), start_new_session=True, stderr=err)
    rest: list[int] = []
    for moment in range(3, facts(calm) - 5, 25):
        until(partial(_has, workdir, moment, process), f"fact {moment}")
        found = until(partial(descendants, process.pid), "a process")
        some = rng.sample(found, -(-len(found) // 2))
        signalled(some, signal.SIGSTOP)
        with contextlib.suppress(subprocess.TimeoutExpired):  # the others go on, or wait for these
            process.wait(timeout=rng.uniform(0.0, 0.3))
        assert process.poll() is None
        if followed and moment > facts(calm) / 2 and not rest:
            process.kill()
            process.wait()
            process = subprocess.Popen(WORKLOAD.run(workdir), start_new_session=True, stderr=err)
            until(partial(descendants, process.pid), "a process")
            rest = some
        signalled(some, signal.SIGCONT)
    assert process.wait(timeout=120) == 2, (tmp_path / "err").read_text()
    err.close()
    until(lambda: not any(state_of(pid) in "RSDT" for pid in rest), "nobody of the engine that was followed is left")
    assert violations(workdir) == {}
    assert jobs(workdir) == jobs(calm)
    assert digests(workdir) == digests(calm)


def _has(workdir: Path, moment: int, process: subprocess.Popen[bytes]) -> bool:
    return facts(workdir) >= moment or process.poll() is not None


def signalled(pids: Iterable[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
