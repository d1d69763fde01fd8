"""The runner as a process, as any provider starts it."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from idds_core.runner import processes

RUNNER = Path(processes.__file__).parent


def prepare(folder: Path, script: str, **changes: Any) -> Path:
    job = {"protocol": 1, "key": "s-1", "digest": "d", "argv": ["sh", "-c", script], "env": {}, "outputs": {},
        "result": None, "walltime": 60, "memory": None, "log_limit": 10_000, "output_limit": 1000, "seed": 3,
        "parameters": {"m": 1}, **changes}  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "job.json").write_text(json.dumps(job))
    return folder


def start(folder: Path, runner: Path = RUNNER) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-I", "-S", str(runner), str(folder)], start_new_session=True)


def done(folder: Path) -> dict[str, Any]:
    found = json.loads((folder / "DONE.json").read_text())
    assert isinstance(found, dict)
    return found


def run(folder: Path) -> dict[str, Any]:
    assert start(folder).wait(60) == 0
    return done(folder)


def test_the_end_tells_everything(tmp_path: Path) -> None:
    end = run(prepare(tmp_path / "a", "echo '{\"v\": 1}' > r; cat params.json", result="r"))
    assert end["failure"] is None
    assert {name: end[name] for name in ("protocol", "key", "digest", "state", "exit_code", "signal")} == {
        "protocol": 1, "key": "s-1", "digest": "d", "state": "succeeded", "exit_code": 0, "signal": None}  # fmt: skip
    assert set(end["usage"]) == {"wall_s", "cpu_s", "max_rss"}
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "DONE.json", "claim", "job.json", "log", "params.json", "r", "result.json"]  # fmt: skip
    assert [path.name for path in (tmp_path / "a" / "claim").iterdir()] == ["runner.json"]


def test_it_runs_from_a_zip(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "runner.pyz", "w") as archive:
        for path in RUNNER.glob("*.py"):
            archive.write(path, path.name)
    folder = prepare(tmp_path / "a", "true")
    assert start(folder, tmp_path / "runner.pyz").wait(60) == 0
    assert done(folder)["state"] == "succeeded"


def test_only_one_of_many_runners_runs_the_job(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "a", "echo ran >> count")
    assert sorted(process.wait(60) for process in [start(folder) for _ in range(4)]) == [0, 75, 75, 75]
    assert (folder / "count").read_text() == "ran\n"


def test_a_cancel_file_alone_ends_the_payload(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "a", "touch cancel; sleep 1000")
    assert run(folder)["state"] == "cancelled"


def test_who_ignores_sigterm_is_killed_after_the_grace(tmp_path: Path) -> None:
    end = run(prepare(tmp_path / "a", "trap '' TERM; while true; do sleep 1000; done", walltime=0.2, grace=0.2))
    assert end["failure"]["code"] == "E-JOB-WALLTIME"
    assert end["signal"] == signal.SIGKILL


def test_who_minds_sigterm_may_tidy_up(tmp_path: Path) -> None:
    folder = prepare(tmp_path / "a", "trap 'echo tidied > t; exit 0' TERM; sleep 1000 & wait", walltime=0.2, grace=30)
    assert run(folder)["failure"]["code"] == "E-JOB-WALLTIME"
    assert (folder / "t").read_text() == "tidied\n"


def test_a_stopped_payload_is_ended_too(tmp_path: Path) -> None:
    end = run(prepare(tmp_path / "a", "kill -STOP $$", walltime=0.2, grace=30))
    assert end["failure"]["code"] == "E-JOB-WALLTIME"


def test_somebody_who_left_the_session_does_not_keep_us(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    listening = os.open(tmp_path / "pipe", os.O_RDWR | os.O_NONBLOCK)
    script = f"setsid sh -c 'echo $$ > {tmp_path}/pipe; exec sleep 1000' & read x < {tmp_path}/pipe2"
    os.mkfifo(tmp_path / "pipe2")
    process = start(prepare(tmp_path / "a", script))
    assert select.select([listening], [], [], 30)[0]
    pid = int(os.read(listening, 100))
    os.close(listening)
    (tmp_path / "pipe2").write_text("go\n")
    assert process.wait(60) == 0
    assert done(tmp_path / "a")["state"] == "succeeded"
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"protocol": 99, "key": "s-1"}', "\x00" * 10])
def test_a_job_that_cannot_be_read_is_the_sites_failure(tmp_path: Path, content: str) -> None:
    (tmp_path / "job.json").write_text(content)
    end = run(tmp_path)
    assert (end["state"], end["failure"]["class"], end["failure"]["code"]) == ("failed", "INFRA", "E-JOB-RUNNER")


def test_a_folder_that_is_not_there_is_told_by_the_exit_code(tmp_path: Path) -> None:
    assert start(tmp_path / "nowhere").wait(60) == 74


def test_the_payload_has_no_input_and_default_signals(tmp_path: Path) -> None:
    folder = prepare(
        tmp_path / "a", "cat; ls /proc/self/fd | wc -l; yes | head -1 > /dev/null; grep SigIgn /proc/self/status"
    )
    run(folder)
    lines = (folder / "log").read_text().splitlines()
    assert int(lines[0]) <= 4  # 0, 1, 2 and the folder that ls reads
    ignored = int(lines[-1].split()[1], 16)
    assert not ignored & (1 << (signal.SIGPIPE - 1))
