"""``run`` and what can be asked of a run while it goes on: real processes, gates instead of sleeps."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.agents.cli_kit import Cli, Process, Runs, until


def _json(cli: Cli, *arguments: object) -> Any:
    done = cli(*arguments, "--json")
    return done.json if done.code == 0 else None


def _waits_at_the_gate(cli: Cli, workdir: Path) -> str:
    """The path of the attempt that waits at the gate."""

    def look() -> str | None:
        if not (workdir / "idds.db").exists():
            return None
        found = _json(cli, "why", "gated", "--workdir", workdir)
        running = [j for j in (found or {"jobs": []})["jobs"] if j["state"] == "running" and "/measure/" in j["path"]]
        live = [a["path"] for j in running for a in j["attempts"] if a["state"] == "submitted"]
        return live[0] if live else None

    return str(until(look, "an attempt that is submitted"))


# ---------------------------------------------------------------------- how runs end
def test_a_run_that_converges_exits_0_and_says_where_things_are(cli: Cli, runs: Runs) -> None:
    done = runs.run("curve", "--slots", "2").wait()
    assert (done.code, done.err) == (0, "")
    first, *_, summary, report, reason = done.out.splitlines()
    assert report == "report: report.html in that folder"
    assert re.match(r"iteration 1: 5 points, so far 5 MEASURED; emv .*; go on: ", first)
    assert re.match(r"curve/curve: CONVERGED, \d+ evaluations in \d+ iterations, [\d.]+ s, .*/curve-run/", summary)
    assert reason.startswith("reason: expected misclassified share")
    workdir = runs.folder / "curve-run"
    again = runs.run("curve").wait()  # a concluded one: its result, the same exit code
    assert again.code == 0
    assert again.out.splitlines() == [summary, report, reason]
    assert cli("verify", "--deep", "--workdir", workdir).code == 0
    assert cli("plot", "curve", "--workdir", workdir, "-o", "c.svg").code == 0
    drawn = Path("c.svg").read_text(encoding="utf-8")
    assert "level 1" in drawn
    assert "CONVERGED" in drawn
    crossings = cli("export", "curve", "--workdir", workdir).out.splitlines()
    assert crossings[0] == "target,curve,segment,g"
    assert float(crossings[1].split(",")[3]) == pytest.approx(10 ** (-1 / 3), rel=0.05)
    (workdir / json.loads(cli("show", "curve/p/1/count", "--workdir", workdir, "--json").out)["attempts"][0]["path"]
     / "n.txt").write_text("tampered", encoding="utf-8")  # fmt: skip
    tampered = cli("verify", "--workdir", workdir)
    assert tampered.code == 3
    assert tampered.out.endswith("violated\n")


def test_a_plane_leaves_its_contour_as_files(finished: Path) -> None:
    assert (finished / "contour.png").read_bytes().startswith(b"\x89PNG\r\n")
    svg = (finished / "contour.svg").read_text(encoding="utf-8")
    for word in ("m_zp [GeV]", "m_a [GeV]", "obs = 0.05", "exp = 0.05", "EXHAUSTED", "infeasible (", "failed (",
                 "not m_zp &gt; m_a + 125"):  # fmt: skip
        assert word in svg
    assert (finished / "contour.csv").read_text(encoding="utf-8").startswith("target,curve,segment,m_zp,m_a\n")
    assert json.loads((finished / "contour.json").read_text(encoding="utf-8"))["state"] == "EXHAUSTED"
    assert not list(finished.glob(".contour*"))


def test_with_json_stdout_is_the_document_of_show(cli: Cli, runs: Runs) -> None:
    done = runs.run("cube", "--json", "--seed", "3", "--workdir", "here").wait()
    assert done.code == 2
    (line,) = done.out.splitlines()
    shown = json.loads(line)
    assert (shown["state"], shown["seed"], shown["evaluations"]) == ("EXHAUSTED", 3, 6)
    assert "iteration 1: 6 points" in done.err
    workdir = runs.folder / "here"
    assert cli("show", "--workdir", workdir, "--json").json == shown
    assert not list(workdir.glob("contour.*"))
    plotted = cli("plot", "--workdir", workdir)
    assert (plotted.code, plotted.err) == (0, "")
    assert (runs.folder / "cube.png").is_file()
    other = runs.run("cube", "--seed", "4", "--workdir", "here").wait()
    assert (other.code, len(other.lines)) == (4, 1)
    assert other.err.startswith("E-RUN-001")
    fresh = runs.run("cube", "--seed", "4", "--workdir", "here", "--fresh", "--quiet").wait()
    assert fresh.code == 2
    assert fresh.out.startswith("cube~2/cube: EXHAUSTED")
    assert cli("show", "cube", "--workdir", workdir, "--json").json["path"] == "cube~2/cube"
    assert cli("show", "cube/cube", "--workdir", workdir, "--json").json["seed"] == 3


def test_a_loop_held_by_the_engine_says_why_and_how_to_go_on(cli: Cli, runs: Runs) -> None:
    done = runs.run("broken", "--slots", "1").wait()
    assert done.code == 3
    assert "failed: broken/broken/it/1/p/1/measure/job/0/a/1 USER E-JOB-RAISED RuntimeError" in done.out
    reason, how = done.lines
    assert reason.startswith("E-LOOP-001 2 jobs of step measure failed alike")
    assert "the licence server is away" in reason
    assert "idds-core resume broken" in how
    workdir = runs.folder / "broken-run"
    why = cli("why", "--workdir", workdir).out
    assert "it is held: E-LOOP-001" in why
    assert "no engine is at work on this folder" in why
    assert cli("show", "--workdir", workdir, "--json").json["failures"]["USER"] >= 2
    assert runs.run("broken").wait().code == 3  # still held
    resumed = cli("resume", "broken", "--workdir", workdir)
    assert (resumed.code, resumed.out) == (
        0,
        "broken/broken: resume: done, it is active (no engine is at work here: written directly)\n",
    )


# ---------------------------------------------------------------------- bad input
@pytest.mark.parametrize(
    ("text", "arguments", "says"),
    [
        (None, (), "no such file"),
        ("def (:\n", (), "scan.py:1"),
        ("import nowhere_to_be_found\n", (), "nowhere_to_be_found"),
        ("def define(n: int = 1):\n    raise ValueError('odd')\n", (), "odd"),
        ("def define(max_points: int = 1): ...\n", ("--set", "max_point=2"), "max_point"),
        ("def define(max_points: int = 1): ...\n", ("--set", "max_points=some"), "max_points=some"),
        ("def define(max_points: int = 1): ...\n", ("--set", "max_points"), "NAME=VALUE"),
        ("x = 1\n", ("--config", "nowhere.toml"), "nowhere.toml"),
    ],
)
def test_bad_input_is_a_line_and_exit_4(
    cli: Cli, tmp_path: Path, text: str | None, arguments: tuple[str, ...], says: str
) -> None:
    file = tmp_path / "scan.py"
    if text is not None:
        file.write_text(text, encoding="utf-8")
    with contextlib.suppress(KeyError):
        del sys.modules["scan"]
    done = cli("run", file, *arguments)
    assert (done.code, len(done.lines)) == (4, 1)
    assert says in done.err
    assert not list(tmp_path.glob("*-run"))


def test_every_mistake_of_a_definition_has_a_line(cli: Cli, runs: Runs, tmp_path: Path) -> None:
    file = tmp_path / "wrong.py"
    text = runs.scan("cube").read_text(encoding="utf-8")
    file.write_text(text.replace("first=6", "first=0").replace("z=Real(0, 1)", "z=Real(1, 0)"), encoding="utf-8")
    done = cli("run", file)
    assert done.code == 4
    assert len(done.lines) >= 2
    assert all(line.startswith("E-") for line in done.lines)


def test_a_work_folder_that_cannot_be_made_is_one_line(cli: Cli, runs: Runs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    done = cli("run", runs.scan("cube"), "--workdir", tmp_path / "file" / "run")
    assert (done.code, len(done.lines)) == (3, 1)
    assert done.err.startswith("E-WORKDIR-001")


# ---------------------------------------------------------------------- from other terminals
def test_another_terminal_sees_holds_resumes_and_cancels_a_run(cli: Cli, runs: Runs) -> None:
    runs.shut_gate()
    run = runs.run("gated", "--set", f"gate={runs.gate}", "--slots", "1")
    workdir = runs.folder / "gated-run"
    first = _waits_at_the_gate(cli, workdir)

    second = cli("run", runs.scan("gated"), "--set", f"gate={runs.gate}", "--workdir", workdir)
    assert (second.code, len(second.lines)) == (3, 1)
    assert second.err.startswith("E-ENGINE-001 another engine works in this folder")

    why = cli("why", "gated", "--workdir", workdir, "--json").json
    assert why["engine"]["pid"] == run.process.pid
    assert {r["step"]: r["providers"][0]["name"] for r in why["routing"]} == {"measure": "local", "double": "local"}
    becauses = " / ".join(j["because"] for j in why["jobs"])
    assert "attempt 1 is submitted on local" in becauses
    assert "it needs what step measure of this point makes" in becauses
    assert cli("doctor", "--workdir", workdir, "--json").json[-1]["found"] == f"process {run.process.pid} is at work"

    follower = runs.call("logs", "-f", first, "--workdir", workdir)
    until(lambda: "started" in follower.out, "the log of a running function")
    held = cli("hold", "gated", "--workdir", workdir)
    assert (held.code, held.out) == (0, "gated/gated: hold: done, it is held\n")
    runs.let_one_pass()
    assert follower.wait().out == "started\nreleased\n"

    resumed = cli("resume", "gated", "--workdir", workdir, "--json").json
    assert (resumed["by"], resumed["state"]) == ("engine", "active")
    assert _waits_at_the_gate(cli, workdir) != first
    cancelled = cli("cancel", "gated", "--workdir", workdir)
    assert cancelled.code == 0
    assert cancelled.out.startswith("gated/gated: cancel: done, it is ")
    done = run.wait()
    assert done.code == 3
    assert "gated/gated: held, by the user; 'idds-core resume' lets it go on" in done.out
    assert "gated/gated: CANCELLED" in done.out
    assert cli("show", "--workdir", workdir, "--json").json["state"] == "CANCELLED"
    assert cli("verify", "--workdir", workdir).code == 0
    part = cli("cancel", "gated/p/1", "--workdir", workdir)
    assert (part.code, part.err.split()[0]) == (4, "E-PATH-009")
    late = cli("hold", "gated", "--workdir", workdir)
    assert "nothing to do" in late.out


def test_ctrl_c_stops_cleanly_and_the_same_command_goes_on(cli: Cli, runs: Runs) -> None:
    runs.shut_gate()
    arguments = ("--set", f"gate={runs.gate}")
    run = runs.run("gated", *arguments)
    workdir = runs.folder / "gated-run"
    _waits_at_the_gate(cli, workdir)
    run.process.send_signal(signal.SIGINT)
    stopped = run.wait()
    assert (stopped.code, stopped.err) == (3, "")
    assert stopped.out.splitlines()[-1] == "stopped: the same command goes on where it was."
    held = cli("hold", "gated", "--workdir", workdir)
    assert "it is held (no engine is at work here" in held.out
    assert cli("resume", "--workdir", workdir).code == 0
    runs.open_gate()
    done = runs.run("gated", *arguments).wait()
    assert (done.code, done.err) == (2, "")
    shown = cli("show", "--workdir", workdir, "--json").json
    assert (shown["evaluations"], shown["failures_by_code"].keys()) == (6, {"E-JOB-LOST"})
    assert cli("verify", "--workdir", workdir).code == 0


def test_a_cancel_without_an_engine_is_finished_by_the_next_one(cli: Cli, runs: Runs) -> None:
    runs.shut_gate()
    run = runs.run("gated", "--set", f"gate={runs.gate}")
    workdir = runs.folder / "gated-run"
    _waits_at_the_gate(cli, workdir)
    run.process.terminate()  # hands over
    run.process.terminate()  # at once
    done = run.wait()
    assert done.code in (3, 5)
    assert done.out.endswith(": the same command goes on where it was.\n")
    done = cli("cancel", "gated", "--workdir", workdir)
    assert done.code == 0
    assert "not ended yet; 'run' ends them" in done.out
    assert runs.run("gated", "--set", f"gate={runs.gate}").wait().code == 3
    assert cli("show", "--workdir", workdir, "--json").json["state"] == "CANCELLED"


# ---------------------------------------------------------------------- on a terminal
def _on_a_terminal(*arguments: object, cwd: Path, rows: int = 45, columns: int = 80) -> tuple[int, str]:
    """Exit code and everything that was written to a terminal of that size."""
    import fcntl
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    for name in ("NO_COLOR", "COLUMNS", "LINES"):
        env.pop(name, None)
    process = subprocess.Popen(
        [sys.executable, "-m", "idds_agents", *map(str, arguments)],
        cwd=cwd,
        env=env,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    seen = bytearray()
    with contextlib.suppress(OSError):  # how a terminal says that everybody has left
        while data := os.read(ours, 65536):
            seen += data
    os.close(ours)
    return process.wait(), seen.decode("utf-8", "replace")


def test_on_a_terminal_there_are_a_table_and_a_map(runs: Runs) -> None:
    code, seen = _on_a_terminal("run", runs.scan("plane"), cwd=runs.folder)
    assert code == 2
    last = seen[seen.rindex("points  ") :]
    assert "\N{UPPER HALF BLOCK}" in last
    assert "\x1b[38;2;" in last  # true colours
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen).replace("\r", "")
    table = ("MEASURED", "iterations", "emv ", "elapsed", "last failure", "E-JOB-RAISED ValueError: no luck")
    for words in (*table, "excluded", "not allowed", "obs after iteration 3: m_a [GeV] against m_zp [GeV]"):
        assert words in plain
    assert "\x1b[31m" not in seen  # the failure's own colour is not let through
    assert "plane/plane: EXHAUSTED" in plain.splitlines()[-4]
    code, seen = _on_a_terminal("logs", "plane", "--workdir", runs.folder / "plane-run", cwd=runs.folder)
    assert "a red word" in seen
    assert "\x1b" not in seen


def test_a_small_terminal_has_the_table_only(runs: Runs) -> None:
    _, seen = _on_a_terminal("run", runs.scan("cube"), cwd=runs.folder, rows=12, columns=40)
    assert "points" in seen
    assert "\N{UPPER HALF BLOCK}" not in seen


def test_a_display_whose_reader_goes_away_does_not_end_the_run(runs: Runs) -> None:
    command = f"{sys.executable} -m idds_agents run '{runs.scan('cube')}' | true"
    bash = ["bash", "-o", "pipefail", "-c", command]
    done = subprocess.run(bash, cwd=runs.folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (2, "")
    assert Process(runs.folder, "after", ("show", "--json")).wait().json["state"] == "EXHAUSTED"
