from __future__ import annotations

import errno
import json
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from idds_core.runner import processes
from idds_core.runner.context import File
from idds_core.runner.failures import failure, normalised
from idds_core.runner.folder import Folder, OutputError, read_json, write_json
from idds_core.runner.frames import FrameReader, pack
from idds_core.runner.function_job import Functions, answer_of


# ---------------------------------------------------------------------- failures
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("bad value 3.5e-2 in /a/b-1/c.dat", "bad value 1 in /tmp/x"),
        ("object at 0x7f00aa", "object at 0xdeadbeef"),
        ("event 17 of 20", "event 3 of 20000"),
        ("run 3fa9c0e1d2 died", "run 00ffaa1234567 died"),
    ],
)
def test_equal_errors_have_equal_signatures(one: str, other: str) -> None:
    assert failure("USER", "E", "m", 3, one)["signature"] == failure("USER", "E", "n", 3, other)["signature"]


def test_different_errors_have_different_signatures() -> None:
    signatures = {failure("USER", code, "", exit_code, line)["signature"] for code, exit_code, line in
        [("E-A", 1, "x"), ("E-B", 1, "x"), ("E-A", 2, "x"), ("E-A", 1, "y")]}  # fmt: skip
    assert len(signatures) == 4


def test_a_signature_is_short_and_quick_for_any_line() -> None:
    assert len(normalised("a/" * 100_000)) <= 200
    assert len(normalised("0" * 100_000)) <= 200
    assert "\n" not in failure("USER", "E", "two\nlines")["message"]


# ---------------------------------------------------------------------- frames
def test_frames_come_out_whole_however_they_arrive() -> None:
    sent = [{"a": 1}, [1, 2], "ä" * 1000, {}]
    data = b"".join(pack(json.dumps(value)) for value in sent)
    for size in (1, 3, 5, 1000, len(data)):
        reader = FrameReader(1 << 20)
        assert [v for i in range(0, len(data), size) for v in reader.feed(data[i : i + size])] == sent


def test_a_frame_that_is_too_long_or_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="frame of 1000001 bytes"):
        FrameReader(1_000_000).feed(struct.pack(">I", 1_000_001))
    with pytest.raises(ValueError, match="Expecting value"):
        FrameReader(100).feed(struct.pack(">I", 4) + b"gar!")


# ---------------------------------------------------------------------- processes
def test_an_identity_is_alive_only_as_long_as_its_process() -> None:
    process = subprocess.Popen(["sleep", "1000"])
    who = processes.identity(process.pid)
    assert processes.alive(who)
    assert not processes.alive({**who, "start": who["start"] + 1})
    assert not processes.alive({**who, "host": "elsewhere"})
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not processes.alive(who)  # a zombie does not live
    process.wait()
    assert not processes.alive(who)


@pytest.mark.parametrize("who", [None, [], {}, {"pid": "1"}, {"pid": -1, "start": 1}, {"pid": True, "start": 1},
    {"pid": 2**40, "start": 5}])  # fmt: skip
def test_garbage_is_not_alive(who: object) -> None:
    assert not processes.alive(who)


def test_the_name_of_a_process_may_hold_anything(tmp_path: Path) -> None:
    odd = tmp_path / ") Z 1 (x"
    odd.symlink_to("/bin/sh")
    argv = [str(odd), "-c", "echo go; read x"]
    with subprocess.Popen(argv, start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"go\n"
        assert processes.start_time(process.pid)
        session = processes.sessions({process.pid})[process.pid]
        assert session.pids == [process.pid]
        assert session.rss > 0


def test_a_session_is_ended_to_the_last_process() -> None:
    script = "set -m; trap '' TERM; sleep 1000 & sleep 1000 & echo go; wait"
    process = subprocess.Popen(["sh", "-c", script], start_new_session=True, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"go\n"
    assert len(processes.sessions({process.pid})[process.pid].pids) == 3
    assert processes.end_session(process.pid)
    process.wait()
    process.stdout.close()


def test_a_mark_in_the_environment_finds_processes() -> None:
    mark = f"IDDS_KEY=test-{os.getpid()}"
    name, _, value = mark.partition("=")
    process = subprocess.Popen(["sleep", "1000"], env={**os.environ, name: value})
    assert processes.end_marked(mark)
    assert process.wait(30) == -9
    assert processes.marked(mark) == []


# ---------------------------------------------------------------------- the folder
def test_only_one_wins_the_claim(tmp_path: Path) -> None:
    assert Folder(str(tmp_path)).claim()
    assert not Folder(str(tmp_path)).claim()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    write_json(str(tmp_path), "a.json", {"x": 1})
    with pytest.raises(TypeError):
        write_json(str(tmp_path), "a.json", object())
    assert read_json(str(tmp_path / "a.json"), 100) == {"x": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    with pytest.raises(ValueError, match="8 bytes, 7 are allowed"):
        read_json(str(tmp_path / "a.json"), 7)


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../x", ".", ""])
def test_an_output_outside_of_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(OutputError, match="outside"):
        Folder(str(tmp_path)).inside(path)


# ---------------------------------------------------------------------- what a bare worker needs
def test_the_runner_needs_nothing_but_the_standard_library() -> None:
    code = (
        "import sys, runpy; sys.argv = ['x']; sys.path.insert(0, sys.argv0)\n"
        "try: runpy.run_path(sys.argv0, run_name='__main__')\n"
        "except SystemExit: pass\n"
        "ours = [n for n in sys.modules if n.startswith('idds')]\n"
        "assert 'idds_core.runner.command' in ours, ours\n"
        "assert all(n in ('idds_core', 'idds_core.runner') or n.startswith('idds_core.runner.') for n in ours)\n"
        "assert not any('site-packages' in str(getattr(m, '__file__', '')) for m in sys.modules.values())\n"
        "assert 'pathlib' not in sys.modules and 'subprocess' not in sys.modules, 'a slow start'\n"
    )
    folder = str(Path(processes.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code.replace("sys.argv0", repr(folder))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_an_output_is_durable_before_anybody_hears_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is in a result that is acknowledged, and what wrote it did not wait for the disk."""
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append(os.fstat(file).st_ino))
    output = tmp_path / "events.root"
    output.write_bytes(b"x" * 10)
    assert Folder(str(tmp_path)).outputs({"events": "events.root"})["events"]["bytes"] == 10
    assert synced == [output.stat().st_ino]


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, "E-JOB-DISK"), (errno.EIO, "E-JOB-RUNNER")])
def test_an_output_that_cannot_be_made_durable_burns_no_retry_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: str
) -> None:
    def fail(_file: int) -> None:
        raise OSError(number, os.strerror(number))

    (tmp_path / "out").touch()
    monkeypatch.setattr(os, "fsync", fail)
    functions = Functions(complain=lambda _: None)
    monkeypatch.setattr(functions, "get", lambda *_: lambda: {"out": File("out")})
    job = {"key": "k", "bundle": "", "reference": "", "arguments": {}, "context": False, "folder": str(tmp_path)}
    answer = json.loads(answer_of(functions, job, lambda: False) + "}")
    assert (answer["failure"]["class"], answer["failure"]["code"]) == ("INFRA", code)
