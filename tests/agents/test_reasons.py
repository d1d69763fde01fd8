"""Why nothing moves: each situation is made for real, and ``why`` and ``doctor`` name it first, with its fix."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from idds_agents import requests
from idds_core.store import database, open_store
from idds_core.store import store as store_module
from tests.agents.cli_kit import Cli, Process, Runs, until

ASKING = """
from dataclasses import dataclass
from idds_core import Loop, Real, Space, chain, step
from idds_core.ports import Proposal
from idds_learners import MaxPoints

@dataclass(frozen=True)
class Waits:
    gate: str
    targets: tuple[str, ...] = ("y",)

    def ask(self, history, n):
        if history.points:
            with open(self.gate) as file:
                file.read()
        return Proposal([{"x": (len(history.points) + i + 1) / 100} for i in range(n)])

@step
def measure(x: float) -> dict:
    return {"y": x}

def define(gate: str):
    return Loop("asking", space=Space(x=Real(0, 1)), body=chain(measure), learner=Waits(gate), first=2, batch=2,
                until=MaxPoints(6))
"""
FAILING = """
from idds_core import Loop, Real, Requirements, Retry, Space, chain, step
from idds_learners import MaxPoints, Sobol

@step(retry=Retry(attempts=5, wait=3600), requires=Requirements(cores=2))
def measure(x: float) -> dict:
    raise RuntimeError("the licence server is away")

loop = Loop("failing", space=Space(x=Real(0, 1)), body=chain(measure), learner=Sobol(["y"]), until=MaxPoints(2),
            first=2, batch=2)
"""


def scan(runs: Runs, name: str, text: str) -> Path:
    file = runs.folder / "scans" / name / f"{name}.py"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    return file


def why(cli: Cli, workdir: Path, *path: str) -> list[dict[str, str]]:
    """The reasons; none while there is no store yet."""
    done = cli("why", *path, "--workdir", workdir, "--json")
    return done.json["reasons"] if done.code == 0 else []


def kinds(cli: Cli, workdir: Path, *path: str) -> list[str]:
    return [reason["reason"] for reason in why(cli, workdir, *path)]


def doctor(cli: Cli, workdir: Path) -> list[dict[str, str]]:
    return list(cli("doctor", "--workdir", workdir, "--json").json)


def running(cli: Cli, workdir: Path) -> bool:
    """Whether a job runs and its attempt is with the provider."""
    done = cli("why", "--workdir", workdir, "--json")
    return done.code == 0 and any(
        a["state"] == "submitted" for job in done.json["jobs"] for a in job["attempts"] if job["state"] == "running"
    )


@pytest.fixture
def gated(cli: Cli, runs: Runs) -> Iterator[tuple[Path, Process]]:
    """An engine whose one slot is taken by a job that waits at the gate."""
    runs.shut_gate()
    process = runs.run("gated", "--set", f"gate={runs.gate}", "--slots", "1")
    workdir = runs.folder / "gated-run"
    until(lambda: running(cli, workdir), "a running job")
    yield workdir, process
    with contextlib.suppress(ProcessLookupError):
        os.kill(process.process.pid, signal.SIGCONT)


# ---------------------------------------------------------------------- the engine
def test_all_slots_are_taken_and_later_steps_wait(cli: Cli, gated: tuple[Path, Process]) -> None:
    workdir, _ = gated
    slots, jobs = why(cli, workdir)
    assert slots["reason"] == "slots"
    assert slots["what"].startswith("all 1 slots are taken by ")
    assert "--slots" in slots["fix"]
    assert jobs["reason"] == "jobs"
    assert jobs["what"].endswith("3 jobs waiting for earlier steps of their points")
    assert why(cli, workdir, "gated/p/3")[-1]["what"].endswith("1 job waiting for earlier steps of their point")
    assert {f["level"] for f in doctor(cli, workdir) if f["check"] == "loop gated/gated"} == {"ok"}


def test_no_engine_runs_and_the_last_one_is_named(cli: Cli, gated: tuple[Path, Process]) -> None:
    workdir, process = gated
    process.process.kill()
    process.process.wait()
    first = why(cli, workdir)[0]
    assert first["reason"] == "no-engine"
    assert f"the last one was process {process.process.pid} on " in first["what"]
    assert first["fix"] == "'idds-core run' with the same file goes on"
    assert (workdir / ".idds" / "engine.lock").read_text(encoding="ascii") == str(process.process.pid)  # stale, free
    told = [f for f in doctor(cli, workdir) if f["check"] == "loop gated/gated"]
    assert told[0]["level"] == "warning"
    assert "no engine is at work" in told[0]["found"]
    assert kinds(cli, workdir, "gated/p/1/measure")[0] == "no-engine"


def test_an_engine_that_is_stopped_takes_no_command(
    cli: Cli, gated: tuple[Path, Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    workdir, process = gated
    process.process.send_signal(signal.SIGSTOP)
    until(lambda: "stopped" in kinds(cli, workdir), "the engine to stop")
    monkeypatch.setattr(requests, "PATIENCE_S", 0.2)
    asked = cli("hold", "--workdir", workdir)
    assert asked.code == 3
    assert asked.err.startswith("E-ENGINE-002 the engine has not answered within 0.2 s")
    stopped, commands, *_ = why(cli, workdir)
    assert stopped["what"] == f"its engine, process {process.process.pid}, is stopped, as by Ctrl-Z"
    assert f"kill -CONT {process.process.pid}" in stopped["fix"]
    assert commands["reason"] == "commands"
    assert commands["what"].startswith("1 commands are not taken yet: 'hold' by user ")
    process.process.send_signal(signal.SIGCONT)
    until(lambda: "held" in kinds(cli, workdir), "the hold to be taken")
    assert "commands" not in kinds(cli, workdir)


def test_commands_that_an_engine_left_are_taken_by_the_next_one(cli: Cli, gated: tuple[Path, Process]) -> None:
    workdir, process = gated
    process.process.kill()
    process.process.wait()
    store = open_store(workdir / "idds.db")
    store.workflows.command(1, "hold", "user me")  # who asked died before it could take it itself
    store.close()
    (commands,) = [r for r in why(cli, workdir) if r["reason"] == "commands"]
    assert commands["fix"] == "the next engine takes them"


def test_an_engine_on_another_machine_is_named(cli: Cli, runs: Runs) -> None:
    """A machine of another name, as far as the engine can see."""
    try:
        done = subprocess.run(["unshare", "--uts", "hostname", "login07"], capture_output=True, check=False)
    except FileNotFoundError:
        done = None
    if done is None or done.returncode:
        if os.environ.get("CI"):
            pytest.fail("unshare --uts does not work here")
        pytest.skip("needs root and unshare")
    runs.shut_gate()
    workdir = runs.folder / "gated-run"
    words = ["-m", "idds_agents", "run", str(runs.scan("gated")), "--set", f"gate={runs.gate}", "--slots", "1"]
    engine = subprocess.Popen(
        ["unshare", "--uts", "sh", "-c", 'hostname login07; exec "$@"', "sh", sys.executable, *words],
        cwd=runs.folder, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until(lambda: running(cli, workdir), "a running job")
        first = why(cli, workdir)[0]
        assert first["reason"] == "elsewhere"
        assert first["what"].endswith("on login07, not on this machine")
    finally:
        engine.kill()
        engine.wait()


def test_a_lock_held_by_a_process_that_is_not_here_is_told(cli: Cli, gated: tuple[Path, Process]) -> None:
    """As in another container: the lock is shared, the process numbers are not."""
    workdir, process = gated
    process.process.kill()
    process.process.wait()
    holder = subprocess.Popen(["flock", str(workdir / ".idds" / "engine.lock"), "cat"], stdin=subprocess.PIPE)
    try:
        until(lambda: "elsewhere" in kinds(cli, workdir), "the lock to be taken")
        first = why(cli, workdir)[0]
        assert f"the folder is locked, and process {process.process.pid} is not on this machine" in first["what"]
    finally:
        holder.communicate()


# ---------------------------------------------------------------------- wishes
def test_held_and_cancelling_come_first(cli: Cli, gated: tuple[Path, Process]) -> None:
    workdir, process = gated
    assert cli("hold", "--workdir", workdir).code == 0
    held = why(cli, workdir)[0]
    assert (held["what"], held["fix"]) == ("it is held: by the user", "'idds-core resume gated' lets it go on")
    process.process.kill()
    process.process.wait()
    held, engine, *_ = why(cli, workdir)
    assert held["fix"].endswith(", then 'run' with the same file")
    assert engine["reason"] == "no-engine"
    assert cli("cancel", "--workdir", workdir).code == 0
    cancelling = why(cli, workdir)[0]
    assert cancelling["reason"] == "cancelling"
    assert "not ended yet" in cancelling["what"]
    assert cancelling["fix"] == "'idds-core run' with the same file ends them"


def test_what_has_concluded_has_no_other_reason(cli: Cli, finished: Path) -> None:
    assert kinds(cli, finished) == ["concluded"]
    assert not [f for f in doctor(cli, finished) if f["check"].startswith("loop ")]


# ---------------------------------------------------------------------- the learner
def test_the_learner_is_at_work_then_takes_too_long(cli: Cli, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.shut_gate()
    file, workdir = scan(runs, "asking", ASKING), runs.folder / "asking-run"
    process = runs.call("run", file, "--set", f"gate={runs.gate}")
    until(lambda: any("iteration 1 closed" in r["what"] for r in why(cli, workdir)), "a question to the learner")
    (learner,) = why(cli, workdir)
    assert learner["reason"] == "learner"
    assert learner["what"].startswith("the learner is at work: iteration 1 closed ")
    assert learner["fix"] == "it may take 5 min 0 s; its log is learner.log"
    process.process.kill()
    process.process.wait()
    engine, learner = why(cli, workdir)
    assert engine["reason"] == "no-engine"
    assert learner["what"].endswith("ago, and nobody asks the learner")
    monkeypatch.setenv("IDDS_LEARNER_SECONDS", "0.3")
    assert runs.call("run", file, "--set", f"gate={runs.gate}").wait().code == 3
    held = why(cli, workdir)[0]
    assert held["what"].startswith("it is held: E-LEARNER-004 the learner took too long: no answer within 0.3 s")
    assert held["fix"].startswith("'idds-core resume asking'")


# ---------------------------------------------------------------------- jobs
def test_jobs_in_back_off_and_jobs_that_fit_nowhere(cli: Cli, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    file, workdir = scan(runs, "failing", FAILING), runs.folder / "failing-run"
    process = runs.call("run", file, "--slots", "2")
    until(lambda: "back-off" in kinds(cli, workdir), "all jobs to wait")
    back_off, jobs, failure = why(cli, workdir)
    assert back_off["what"].startswith("all 2 ready jobs wait after a failure; the first may start again in 59 min")
    assert jobs["what"] == "2 jobs ready"
    assert failure["what"].startswith("last failure: E-JOB-RAISED RuntimeError: the licence server is away")
    assert "idds-core logs failing/failing/it/1/p/" in failure["fix"]
    assert [f["level"] for f in doctor(cli, workdir) if "ready jobs wait" in f["found"]] == ["warning"]
    process.process.terminate()
    process.wait()
    monkeypatch.setenv("IDDS_SLOTS", "1")
    found = {r["reason"]: r for r in why(cli, workdir)}
    assert found["no-provider"]["what"] == "no provider fits step measure: local: it needs 2 cores, there are 1"
    assert "--slots" in found["no-provider"]["fix"]


# ---------------------------------------------------------------------- disk and store
def test_a_disk_that_is_nearly_full(cli: Cli, gated: tuple[Path, Process], monkeypatch: pytest.MonkeyPatch) -> None:
    workdir, _ = gated
    monkeypatch.setenv("IDDS_MIN_FREE_BYTES", str(10**17))
    disk = why(cli, workdir)[0]
    assert disk["reason"] == "disk"
    assert "clean --older-than 0d --dry-run" in disk["fix"]
    assert [f["level"] for f in doctor(cli, workdir) if f["check"] == "free disk"] == ["error"]


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


def test_a_store_that_somebody_else_has_locked(cli: Cli, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(sqlite3.connect(copied / "idds.db", isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        found = {f["check"]: f for f in doctor(cli, copied)}
        assert found["store is writable"]["found"].startswith("E-STORE-005 ")
        assert found["store is writable"]["fix"] == "End the program that has it open."
        assert cli("why", "--workdir", copied).code == 0
        monkeypatch.setattr(database, "_BUSY_MS", 50)
        refused = cli("hold", "--workdir", copied)
        assert refused.code == 3
        assert refused.err.startswith("E-STORE-005 the database is locked by another program")
        raw.execute("ROLLBACK")
    assert {f["check"]: f for f in doctor(cli, copied)}["store is writable"]["level"] == "ok"


def test_a_store_of_an_older_schema_asks_for_the_upgrade(
    cli: Cli, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_module, "HEAD", "9001")
    done = cli("why", "--workdir", copied)
    assert (done.code, len(done.lines)) == (3, 1)
    assert done.err.startswith("E-STORE-007 the store has an older schema")
    (store,) = [f for f in doctor(cli, copied) if f["check"] == "store"]
    assert store["level"] == "error"
    assert "idds-core db upgrade" in store["fix"]


def test_a_damaged_store_is_told_by_both(cli: Cli, copied: Path) -> None:
    (copied / "idds.db").write_bytes(b"this is no database, " * 500)
    done = cli("why", "--workdir", copied)
    assert (done.code, len(done.lines)) == (3, 1)
    assert done.err.startswith("E-STORE-003 the database is damaged")
    assert "db restore" in done.err


def test_a_variable_that_is_nearly_a_setting_is_told(cli: Cli, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDDS_SLOT", "4")
    (found,) = [f for f in doctor(cli, copied) if f["check"] == "settings"]
    assert (found["level"], found["fix"]) == ("warning", "Did you mean 'IDDS_SLOTS'?")
    assert found["found"].startswith("W-CONFIG-004")


def test_the_document_of_why_has_a_stable_shape(cli: Cli, gated: tuple[Path, Process]) -> None:
    shown: Any = cli("why", "--workdir", gated[0], "--json").json
    assert list(shown) == ["path", "state", "wish", "engine", "chosen", "because", "reasons", "routing", "jobs"]
    assert {tuple(reason) for reason in shown["reasons"]} == {("reason", "what", "fix")}
    assert set(shown["engine"]) >= {"pid", "host", "since", "providers"}
    assert {tuple(f) for f in doctor(cli, gated[0])} == {("check", "level", "found", "fix")}
