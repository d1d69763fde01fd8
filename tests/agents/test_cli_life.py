"""Runs that outlive their terminal, are watched from another one, and hand over: real processes, real signals."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from idds_agents.engine import Engine
from idds_core.ports import JobReport, JobSpec
from idds_core.states import LoopState
from idds_core.store import OwnerLock
from idds_core.testing.fakes import ManualClock, ScriptedProvider, arguments, success
from tests.agents.cli_kit import Cli, Runs, until
from tests.world import InlineThinker, World, toy


def gated(runs: Runs, *more: object) -> tuple[object, ...]:
    return ("run", runs.scan("gated"), "--set", f"gate={runs.gate}", "--slots", "1", *more)


def waits_at_the_gate(cli: Cli, workdir: Path) -> None:
    def look() -> bool:
        if not (workdir / "idds.db").exists():
            return False
        done = cli("why", "gated", "--workdir", workdir, "--json")
        return done.code == 0 and any(
            a["state"] == "submitted" for j in done.json["jobs"] if j["state"] == "running" for a in j["attempts"]
        )

    until(look, "an attempt that is submitted")


@pytest.fixture
def detached() -> Any:
    """Process ids of detached runs; none is left when the test ends."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def on_a_terminal_that_closes(runs: Runs, *arguments: object) -> Any:
    """The document of a call that was made on a terminal; the terminal is gone when this returns."""
    ours, theirs = pty.openpty()
    out = runs.folder / "detached.json"
    with out.open("wb") as file:
        call = [sys.executable, "-m", "idds_agents", *map(str, arguments)]
        process = subprocess.Popen(
            call, cwd=runs.folder, stdin=theirs, stdout=file, stderr=theirs, start_new_session=True
        )
        os.close(theirs)
        assert process.wait(timeout=60) == 0
    os.close(ours)
    return json.loads(out.read_text())


def test_a_detached_run_survives_its_terminal_and_kills(cli: Cli, runs: Runs, detached: list[int]) -> None:
    runs.shut_gate()
    workdir = runs.folder / "gated-run"
    first = on_a_terminal_that_closes(runs, *gated(runs, "--detach", "--json"))
    detached.append(first["pid"])
    assert first["workdir"] == str(workdir)
    waits_at_the_gate(cli, workdir)
    os.kill(first["pid"], signal.SIGHUP)
    assert os.getsid(first["pid"]) == first["pid"]
    second = cli(*gated(runs, "--workdir", workdir, "--detach"))
    assert second.code == 3
    assert second.err.startswith("E-ENGINE-001 another engine works in this folder")

    view = runs.call("attach", workdir)
    until(lambda: cli("why", "--workdir", workdir, "--json").json["engine"]["pid"] == first["pid"], "the engine")
    threads = Path(f"/proc/{view.process.pid}/task")
    until(lambda: len(list(threads.iterdir())) > 1, "a view")
    view.process.send_signal(signal.SIGINT)
    left = view.wait()
    assert left.code == 0
    assert "left the view; the run goes on" in left.out
    assert cli("why", "--workdir", workdir, "--json").json["engine"]["pid"] == first["pid"]

    os.kill(first["pid"], signal.SIGKILL)
    until(lambda: cli("why", "--workdir", workdir, "--json").json["engine"] is None, "the end of the engine")
    gone = cli("attach", workdir)
    assert gone.code == 3
    assert "no engine is at work here" in gone.out

    again = cli(*gated(runs, "--workdir", workdir, "--detach"))
    assert again.code == 0
    assert "goes on without this terminal" in again.out
    assert f"idds-core attach {workdir}" in again.out
    detached.append(int(again.out.split()[1]))
    watched = runs.call("attach", workdir, "--json")
    runs.open_gate()
    seen = watched.wait()
    assert seen.code == 2, seen.err
    assert (seen.json["state"], seen.json["evaluations"]) == ("EXHAUSTED", 6)
    assert cli("verify", "--workdir", workdir).code == 0
    assert "gated/gated: EXHAUSTED, 6 evaluations" in until(
        lambda: (log := (workdir / "run.log").read_text()) and "reason:" in log and log, "the end in the log"
    )


def test_a_mistake_of_a_detached_run_is_told_at_once(cli: Cli, runs: Runs) -> None:
    first = cli("run", runs.scan("cube"), "--detach", "--workdir", "here")
    assert first.code in (0, 2)
    until(lambda: cli("attach", "here").code == 2, "the end")
    lock = OwnerLock(runs.folder / "here" / ".idds" / "engine.lock")
    until(lambda: not lock.taken(), "the end of its engine")
    until(lambda: "reason:" in (runs.folder / "here" / "run.log").read_text(), "its last words")
    other = cli("run", runs.scan("cube"), "--detach", "--workdir", "here", "--seed", "9")
    assert (other.code, other.err.split()[0]) == (4, "E-RUN-001")
    again = cli("run", runs.scan("cube"), "--detach", "--workdir", "here")
    assert again.code == 2
    assert "EXHAUSTED" in again.out


def test_sigterm_lets_what_runs_end_and_starts_nothing_more(
    cli: Cli, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDDS_HAND_OVER_SECONDS", "50")
    runs.shut_gate()
    run = runs.call(*gated(runs))
    workdir = runs.folder / "gated-run"
    waits_at_the_gate(cli, workdir)
    run.process.terminate()
    runs.let_one_pass()
    done = run.wait()
    assert (done.code, done.err) == (5, "")
    assert done.out.endswith("handed over: the same command goes on where it was.\n")
    jobs = cli("ls", "gated/p/1", "--workdir", workdir, "--json").json
    assert next(j["state"] for j in jobs) == "DONE"
    assert all(j["attempts"] <= 1 for j in jobs)
    runs.open_gate()
    assert runs.call(*gated(runs)).wait().code == 2
    assert cli("verify", "--workdir", workdir).code == 0


def test_max_wall_leaves_what_does_not_end(cli: Cli, runs: Runs) -> None:
    runs.shut_gate()
    run = runs.call(*gated(runs, "--max-wall", "6s", "--margin", "1s", "--json"))
    done = run.wait()
    assert done.code == 5
    assert done.json["state"] == "active"
    runs.open_gate()
    assert runs.call(*gated(runs, "--max-wall", "10min")).wait().code == 2
    assert cli("show", "--workdir", runs.folder / "gated-run", "--json").json["evaluations"] == 6


@pytest.mark.parametrize("given", [("--max-wall", "soon"), ("--max-wall", "0"), ("--margin", "5s"),
                                   ("--max-wall", "2h", "--margin", "x")])  # fmt: skip
def test_a_limit_that_cannot_be_read_is_refused(cli: Cli, runs: Runs, given: tuple[str, ...]) -> None:
    done = cli("run", runs.scan("cube"), *given)
    assert (done.code, len(done.lines), done.err.split()[0]) == (4, 1, "E-USAGE-006")


# ---------------------------------------------------------------------- with a clock that is set
class Sleepless:
    """A waker that lets the time pass instead of waiting."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.nudged = False

    def wake(self) -> None:
        pass

    def wait(self, seconds: float) -> None:
        self._clock.advance(max(seconds, 0.5))


def test_before_the_limit_nothing_starts_and_what_can_ends(tmp_path: Path) -> None:
    """Jobs of 30 s in a limit of 100 s with a margin of 40 s: none starts after 60 s, all that started end."""
    begun: dict[str, float] = {}

    def script(spec: JobSpec) -> JobReport | None:
        start = begun.setdefault(spec.key, world.clock())
        if world.clock() - start < 30:
            return None
        given = arguments(spec)
        return success(spec, {"events": given["x"] * given["y"]} if "x" in given else {"z": given["events"]})

    world = World(tmp_path, ScriptedProvider(script, slots=4), toy(points=40, batch=10))
    start = world.clock()

    def engine() -> Engine:
        return Engine(world.store, world.provider, InlineThinker(), Sleepless(world.clock), tmp_path,  # type: ignore[arg-type]
                      world.settings, world.workflow.id)  # fmt: skip

    first = engine()
    first.limit(100, 40)
    assert first.run().state is LoopState.ACTIVE
    assert first.handed_over
    assert max(begun.values()) - start < 61
    assert world.clock() - start < 95
    assert world.store.jobs.live_count(world.loop.id) == 0
    assert world.violations() == {}
    second = engine()
    assert second.run().state is LoopState.EXHAUSTED
    assert not second.handed_over
    assert len(world.provider.submissions) == len(set(world.provider.submissions)) == 80


def test_what_does_not_end_within_the_margin_is_left_and_adopted(tmp_path: Path) -> None:
    slow = True

    def script(spec: JobSpec) -> JobReport | None:
        given = arguments(spec)
        done = success(spec, {"events": given["x"] * given["y"]} if "x" in given else {"z": given["events"]})
        return None if slow else done

    world = World(tmp_path, ScriptedProvider(script), toy(points=8, batch=4))
    start = world.clock()

    def engine() -> Engine:
        return Engine(world.store, world.provider, InlineThinker(), Sleepless(world.clock), tmp_path,  # type: ignore[arg-type]
                      world.settings, world.workflow.id)  # fmt: skip

    first = engine()
    first.limit(100, 40)
    first.run()
    assert first.handed_over
    assert 100 <= world.clock() - start < 103
    assert world.store.jobs.live_count(world.loop.id) == 4
    slow = False
    assert engine().run().state is LoopState.EXHAUSTED
    assert len(world.provider.submissions) == 16  # nothing twice
    assert world.violations() == {}


def test_a_detached_run_that_takes_long_to_begin_is_named(
    cli: Cli, runs: Runs, monkeypatch: pytest.MonkeyPatch, detached: list[int]
) -> None:
    monkeypatch.setattr("idds_agents.cli.detach._PATIENCE_S", 0.0)
    done = cli("run", runs.scan("cube"), "--detach", "--workdir", "here")
    assert done.err.startswith("E-RUN-004")
    detached.append(int(done.err.split("Process ")[1].split()[0]))
