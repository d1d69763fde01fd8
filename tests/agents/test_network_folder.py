"""Runs in a work folder that several machines see (as far as one machine can tell), and stores that are elsewhere."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from idds_agents.workspace import Workspace
from idds_core.errors import IddsError
from idds_core.settings import Settings
from idds_core.store import HeartbeatLock, OwnerLock
from tests.agents.cli_kit import Cli, Runs, until


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IDDS_FILE_SYSTEM", "network")


def journal(file: Path) -> str:
    with contextlib.closing(sqlite3.connect(file)) as raw:
        return str(raw.execute("PRAGMA journal_mode").fetchone()[0])


@pytest.mark.usefixtures("network")
def test_a_run_says_in_a_line_what_is_promised_and_keeps_a_rollback_journal(cli: Cli, runs: Runs) -> None:
    done = runs.run("cube").wait()
    assert done.code == 2
    (line,) = done.lines
    assert line.startswith("W-WORKDIR-001 ")
    for words in ("is on a network file system", "rollback journal", "heartbeat", "60 s", "--database"):
        assert words in line
    workdir = runs.folder / "cube-run"
    assert journal(workdir / "idds.db") == "delete"
    assert not list(workdir.glob("idds.db-*"))
    assert cli("verify", "--workdir", workdir).code == 0


def test_a_folder_that_was_once_shared_stays_so(tmp_path: Path) -> None:
    Workspace(tmp_path, Settings(file_system="network")).make()
    later = Workspace(tmp_path, Settings(file_system="auto"))  # from the server itself it looks local
    assert isinstance(later.lock, HeartbeatLock)
    assert later.journal == "delete"
    local = Workspace(tmp_path / "other", Settings())
    local.make()
    assert isinstance(local.lock, OwnerLock)
    assert (local.journal, local.warnings()) == ("wal", [])


@pytest.mark.usefixtures("network")
def test_a_second_engine_is_refused_and_told_of_the_first(cli: Cli, runs: Runs) -> None:
    runs.shut_gate()
    arguments = ("--set", f"gate={runs.gate}", "--slots", "1", "--workdir", runs.folder / "work")
    run = runs.run("gated", *arguments)
    workdir = runs.folder / "work"
    until(lambda: (workdir / "idds.db").exists() and cli("why", "--workdir", workdir, "--json").code == 0, "a store")
    until(lambda: cli("why", "--workdir", workdir, "--json").json["engine"], "an engine")
    second = cli("run", runs.scan("gated"), *arguments)
    assert second.code == 3
    refused = second.lines[-1]
    assert refused.startswith("E-ENGINE-001 another engine works in this folder")
    assert f"process {run.process.pid} on " in refused
    assert "last heard" in refused
    held = cli("hold", "gated", "--workdir", workdir)
    assert (held.code, held.out) == (0, "gated/gated: hold: done, it is held\n")
    run.process.kill()
    run.process.wait()
    resumed = cli("resume", "gated", "--workdir", workdir)  # its process is seen to be dead: nobody waits
    assert "no engine is at work here" in resumed.out
    runs.open_gate()
    assert runs.run("gated", *arguments).wait().code == 2
    assert cli("verify", "--workdir", workdir).code == 0


@pytest.mark.usefixtures("network")
def test_a_run_that_is_killed_again_and_again_ends_the_same(tmp_path: Path) -> None:
    scan = Path(__file__).parents[1] / "chaos" / "scan" / "chaos_scan.py"
    idds = [sys.executable, "-m", "idds_agents"]
    digests = []
    rng = random.Random(11)
    for name, kills in (("calm", 0), ("killed", 5)):
        call = [*idds, "run", str(scan), "--workdir", str(tmp_path / name), "--seed", "5", "--quiet"]
        hit = 0
        for _ in range(kills):
            process = subprocess.Popen(call, start_new_session=True, stderr=subprocess.PIPE)
            try:
                process.wait(timeout=rng.uniform(0.8, 2.2))
                break
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                hit += 1
            finally:
                process.communicate(timeout=60)
        assert hit >= kills // 2
        assert subprocess.run(call, capture_output=True, timeout=120).returncode == 2
        shown = subprocess.run([*idds, "show", "--workdir", tmp_path / name, "--json"], capture_output=True, text=True)
        digests.append(shown.stdout.split('"digest": "')[1].split('"')[0])
        assert subprocess.run([*idds, "verify", "--workdir", tmp_path / name], capture_output=True).returncode == 0
    assert digests[0] == digests[1]


# ---------------------------------------------------------------------- a store that is elsewhere
def test_the_store_may_be_elsewhere_and_every_verb_finds_it(cli: Cli, runs: Runs) -> None:
    file = runs.folder / "local disk" / "scan.db"
    assert runs.run("cube", "--database", file).wait().code == 2
    workdir = runs.folder / "cube-run"
    assert file.exists()
    assert not (workdir / "idds.db").exists()
    shown = cli("show", "--json").json  # found by itself
    assert (shown["workdir"], shown["evaluations"]) == (str(workdir), 6)
    assert cli("verify", "--deep", "--workdir", workdir).code == 0
    assert runs.run("cube").wait().code == 2  # noted once, known for ever
    other = runs.run("cube", "--database", "other.db").wait()
    assert (other.code, other.err.split()[0]) == (4, "E-WORKDIR-004")


def test_a_run_whose_store_is_in_the_folder_does_not_move(cli: Cli, runs: Runs) -> None:
    assert runs.run("cube").wait().code == 2
    moved = runs.run("cube", "--database", "elsewhere.db").wait()
    assert (moved.code, moved.err.split()[0]) == (4, "E-WORKDIR-004")
    assert not (runs.folder / "elsewhere.db").exists()
    assert runs.run("cube", "--database", runs.folder / "cube-run" / "idds.db").wait().code == 2


def test_a_store_on_another_machine_is_not_made_anew(tmp_path: Path) -> None:
    here = Workspace(tmp_path / "work", Settings(database=str(tmp_path / "gone" / "scan.db")))
    here.make()
    note = tmp_path / "work" / ".idds" / "database"
    again = Workspace(tmp_path / "work", Settings())
    again.make()  # the same machine: it had not been made yet
    text = note.read_text(encoding="utf-8")
    host = text.split('"host": "')[1].split('"')[0]
    note.write_text(text.replace(host, "login2"), encoding="utf-8")
    with pytest.raises(IddsError, match="E-WORKDIR-005 the database of this folder is on another machine"):
        Workspace(tmp_path / "work", Settings()).make()


def test_a_network_folder_with_a_local_store_keeps_its_log_ahead(tmp_path: Path) -> None:
    space = Workspace(tmp_path / "work", Settings(file_system="auto", database=str(tmp_path / "scan.db")))
    space.make()
    (tmp_path / "work" / ".idds" / "network").touch()
    again = Workspace(tmp_path / "work", Settings())
    assert (again.journal, type(again.lock).__name__) == ("wal", "HeartbeatLock")
    assert "the database is elsewhere" in again.warnings()[0]
