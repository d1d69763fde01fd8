"""The engine is killed with kill -9: commands go on and are found again, function jobs and workers are gone."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from idds_core.model import Requirements
from idds_core.ports import Command, Function, ReportState
from idds_core.providers.local import LocalProvider
from idds_core.runner import processes
from tests.core.providers.kit import BUNDLE, News, Specs, gone

MakeWhistle = Callable[[str], Any]

_ENGINE = """
import json, sys, threading
from pathlib import Path
from idds_core.providers.local import LocalProvider
from idds_core.ports import Command, Function, JobSpec
from idds_core.model import Requirements
root, jobs = json.load(sys.stdin)
provider = LocalProvider(Path(root), slots=4, store_id="store1")
for job in jobs:
    kind = Command if job["kind"] == "command" else Function
    provider.submit([JobSpec(job["key"], job["folder"], kind(**job["payload"]), Requirements(), 1, job["digest"], {})])
threading.Event().wait()
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*jobs: dict[str, Any]) -> subprocess.Popen[str]:
        # A file, not a pipe: what the engine starts must not hold anything of ours.
        wish = tmp_path / "wish.json"
        wish.write_text(json.dumps([str(tmp_path / "local"), jobs]))
        with wish.open() as source:
            started.append(subprocess.Popen([sys.executable, "-c", _ENGINE], stdin=source, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def job(specs: Specs, payload: Command | Function) -> dict[str, Any]:
    spec = specs.command("x") if isinstance(payload, Command) else specs.function("x")
    fields: dict[str, Any] = {name: getattr(payload, name) for name in payload.__dataclass_fields__}
    kind = "command" if isinstance(payload, Command) else "function"
    return {"kind": kind, "key": spec.key, "folder": spec.folder, "digest": spec.digest, "payload": fields}


def kill(engine: subprocess.Popen[str]) -> None:
    os.kill(engine.pid, signal.SIGKILL)
    engine.wait()


def test_a_command_outlives_the_engine_and_is_adopted(
    tmp_path: Path, news: News, specs: Specs, engine: Callable[..., subprocess.Popen[str]], whistle: MakeWhistle
) -> None:
    heard, gate = whistle("w"), whistle("gate")
    script = f"echo $$ > {heard.path}; read x < {gate.path}; echo '{{\"a\": 2}}' > r"
    wish = job(specs, Command(("sh", "-c", script), {}, "r"))
    first = engine(wish)
    heard.heard()
    kill(first)
    with LocalProvider(tmp_path / "local", slots=2, store_id="store1", wake=news) as second:
        assert second.running_keys() == [wish["key"]]
        assert second.find([wish["key"]]) == {wish["key"]: wish["key"]}
        assert second.poll([wish["key"]])[wish["key"]].state is ReportState.RUNNING
        Path(gate.path).write_text("go\n")
        report = news.ends(second, [wish["key"]])[wish["key"]]
        assert report.result is not None
        assert report.result["values"] == {"a": 2}
        assert report.result["digest"] == wish["digest"]


def test_an_adopted_command_takes_its_slot_and_can_be_cancelled(
    tmp_path: Path, news: News, specs: Specs, engine: Callable[..., subprocess.Popen[str]], whistle: MakeWhistle
) -> None:
    heard = whistle("w")
    wish = job(specs, Command(("sh", "-c", f"echo $$ > {heard.path}; sleep 1000; true")))
    first = engine(wish)
    pid = int(heard.heard())
    kill(first)
    with LocalProvider(tmp_path / "local", slots=1, store_id="store1", wake=news) as second:
        assert second.poll([wish["key"]])[wish["key"]].state is ReportState.RUNNING
        waiting = specs.function("number")
        second.submit([waiting])
        second.cancel([wish["key"]])
        reports = news.ends(second, [wish["key"], waiting.key])
        assert reports[wish["key"]].state is ReportState.CANCELLED
        assert reports[waiting.key].state is ReportState.SUCCEEDED
    assert gone(pid)


def test_a_command_that_ended_while_there_was_no_engine_is_found(
    tmp_path: Path, news: News, specs: Specs, engine: Callable[..., subprocess.Popen[str]], whistle: MakeWhistle
) -> None:
    heard, gate = whistle("w"), whistle("gate")
    wish = job(specs, Command(("sh", "-c", f"echo $$ > {heard.path}; read x < {gate.path}")))
    first = engine(wish)
    heard.heard()
    kill(first)
    runner = json.loads(Path(wish["folder"], "claim", "runner.json").read_text())["pid"]
    Path(gate.path).write_text("go\n")
    assert gone(runner)
    with LocalProvider(tmp_path / "local", slots=2, store_id="store1", wake=news) as second:
        assert second.running_keys() == []
        assert second.poll([wish["key"]])[wish["key"]].state is ReportState.SUCCEEDED


@pytest.mark.parametrize("name", ["waits", "computes_in_c", "ignores_signals"])
def test_workers_die_with_the_engine_even_in_a_computation_in_c(
    tmp_path: Path, specs: Specs, engine: Callable[..., subprocess.Popen[str]], whistle: MakeWhistle, name: str
) -> None:
    heard = whistle("w")
    wish = job(specs, Function(f"toys:{name}", BUNDLE, {"path": heard.path}))
    first = engine(wish)
    pids = [int(pid) for pid in heard.heard().split()]
    kill(first)
    assert all(gone(pid) for pid in pids)
    with LocalProvider(tmp_path / "local", slots=2, store_id="store1") as second:
        assert second.find([wish["key"]]) == {}
        assert second.poll([wish["key"]]) == {}
    assert list((tmp_path / "local" / "workers").iterdir()) == []


@pytest.fixture
def stranger() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["sleep", "1000"], start_new_session=True)
    yield process
    process.kill()
    process.wait()


def _note(tmp_path: Path, worker: dict[str, Any], engine: dict[str, Any], store: str = "store1") -> Path:
    folder = tmp_path / "local" / "workers"
    folder.mkdir(parents=True)
    note = folder / "1-1.json"
    note.write_text(json.dumps({"store": store, "worker": worker, "engine": engine}))
    return note


def test_a_worker_that_survived_its_engine_is_ended(tmp_path: Path, stranger: subprocess.Popen[bytes]) -> None:
    dead = {**processes.identity(os.getpid()), "start": 1}
    note = _note(tmp_path, processes.identity(stranger.pid), dead)
    with LocalProvider(tmp_path / "local", slots=1, store_id="store1"):
        assert stranger.wait(30) == -signal.SIGKILL
        assert not note.exists()


@pytest.mark.parametrize("case", ["other store", "engine lives", "number used again"])
def test_processes_of_others_are_never_touched(tmp_path: Path, stranger: subprocess.Popen[bytes], case: str) -> None:
    worker, living = processes.identity(stranger.pid), processes.identity(os.getpid())
    dead = {**living, "start": 1}
    if case == "other store":
        _note(tmp_path, worker, dead, "store2")
    elif case == "engine lives":
        _note(tmp_path, worker, living)
    else:
        _note(tmp_path, {**worker, "start": worker["start"] - 1}, dead)
    with LocalProvider(tmp_path / "local", slots=1, store_id="store1"):
        assert stranger.poll() is None


def test_a_closed_provider_leaves_commands_running(
    tmp_path: Path, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    heard, gate = whistle("w"), whistle("gate")
    spec = specs.shell(f"echo a > {heard.path}; read x < {gate.path}", requires=Requirements(cores=8))
    with LocalProvider(tmp_path / "local", slots=2, store_id="store1") as first:
        first.submit([spec])
        heard.heard()
    with LocalProvider(tmp_path / "local", slots=2, store_id="store1", wake=news) as second:
        assert second.poll([spec.key])[spec.key].state is ReportState.RUNNING
        Path(gate.path).write_text("go\n")
        assert news.ends(second, [spec.key])[spec.key].state is ReportState.SUCCEEDED
