"""The result in Python: what it tells, what it writes, and that it only reads."""

from __future__ import annotations

import csv
import dataclasses
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import idds_agents
from idds_agents.result import Result
from idds_core import Loop, Real, Space
from idds_core.errors import IddsError
from idds_core.states import LoopState, PointState
from tests.agents.cli_kit import SCANS, Cli, Runs, until

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def result(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    monkeypatch.setattr(sys, "path", list(sys.path))
    return idds_agents.open(finished)


def test_a_past_run_is_opened_for_reading(result: Result, finished: Path, cli: Cli) -> None:
    shown = cli("show", "--workdir", finished, "--json").json
    assert (result.state, result.exit_code, result.path) == (LoopState.EXHAUSTED, 2, "plane/plane")
    assert result.reason == shown["reason"]
    assert len(result.points) == 26
    assert len(result.observations) == shown["evaluations"]
    assert result.history.digest == shown["digest"]
    assert (
        repr(result)
        == f"<plane/plane: EXHAUSTED, {shown['evaluations']} evaluations in {shown['iterations']} iterations>"
    )
    assert result.refresh().history.digest == shown["digest"]
    with pytest.raises(IddsError, match="E-WORKDIR-002"):
        idds_agents.open()


def test_the_best_is_nearest_to_the_level_or_what_the_learner_is_after(result: Result) -> None:
    values = {p.number: p.observation.values for p in result.points if p.observation}
    nearest = min(values, key=lambda n: abs(values[n]["obs"] - 0.05))
    assert result.best is not None
    assert result.best.number == nearest
    largest = result.best_of("exp", "max")
    assert largest is not None
    assert largest.number == max(values, key=lambda n: values[n]["exp"])
    plan = result.view.plan
    goal = dataclasses.replace(plan, document={**plan.document, "learner": {**plan.document["learner"], "goal": "min"}})
    after = Result(result.workdir, dataclasses.replace(result.view, plan=goal))
    after.__dict__["_levels"] = {}  # no learner of today has both
    lowest = after.best
    assert lowest is not None
    assert lowest.number == min(values, key=lambda n: values[n]["obs"])
    nothing = dataclasses.replace(result.view, history=dataclasses.replace(result.history, points=()))
    assert Result(result.workdir, nothing).best is None
    with pytest.raises(IddsError, match=r"E-RESULT-001 .*Did you mean 'obs'"):
        result.best_of("obz")
    with pytest.raises(IddsError, match="E-RESULT-002"):
        result.best_of("obs", "median")


def test_the_frame_has_types_and_units(result: Result, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = result.frame()
    assert list(frame["number"]) == list(range(1, 27))
    assert str(frame["m_zp"].dtype) == "float64"
    assert frame.attrs["units"] == {"m_zp": "GeV", "m_a": "GeV"}
    measured = frame[frame["state"] == str(PointState.MEASURED)]
    assert len(measured) == len(result.observations)
    assert measured["obs"].notna().all()
    assert frame[frame["state"] != str(PointState.MEASURED)]["obs"].isna().all()
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(IddsError, match=r"E-EXTRA-001 pandas is not there.*idds-core\[data\]"):
        result.frame()


def test_a_contour_is_that_of_the_command_line(result: Result, finished: Path, cli: Cli, tmp_path: Path) -> None:
    rows = list(csv.reader(cli("export", "--workdir", finished).out.splitlines()))
    contour = result.contour("exp")
    contour.to_csv(tmp_path / "exp.csv")
    written = list(csv.reader((tmp_path / "exp.csv").read_text(encoding="utf-8").splitlines()))
    assert written == [rows[0], *(r for r in rows[1:] if r[0] == "exp")]
    assert contour.to_csv() == (tmp_path / "exp.csv").read_text(encoding="utf-8")
    assert len(contour.frame()) == len(written) - 1
    assert (contour.target, contour.level) == ("exp", 0.05)
    assert result.contour().target == "obs"
    assert sum(len(line) for line in contour.lines("plus")) == sum(r[1] == "plus" for r in written)
    with pytest.raises(IddsError, match="E-RESULT-003"):
        contour.lines("upper")
    with pytest.raises(IddsError, match=r"E-FILE-020 .*cannot be written"):
        contour.to_csv(tmp_path / "no" / "where.csv")


def test_exports_by_ending_by_folder_and_by_format(
    result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert result.export("a.json", "points") == [Path("a.json")]
    assert Path("hepdata/submission.yaml") in result.export("hepdata/")
    assert Path("s/surrogate.npz") in result.export("s", kind="surrogate")
    (tmp_path / "w").mkdir()
    assert Result(tmp_path / "w", result.view).export("csv", "points") == [tmp_path / "w" / "plane-points.csv"]
    assert result.plot("c.svg") == Path("c.svg")
    assert "m_zp" in Path("c.svg").read_text(encoding="utf-8")
    with pytest.raises(IddsError, match=r"E-EXPORT-001 the format of somewhere is not clear"):
        result.export("somewhere")


def test_results_and_loops_are_shown_as_html_and_nothing_in_them_is_markup(result: Result) -> None:
    bundle = result._repr_mimebundle_()
    assert bundle["text/plain"] == repr(result)
    assert "data:image/png;base64," in bundle["text/html"]
    assert "26 of 26 points" in bundle["text/html"]
    record = dataclasses.replace(result.loop, reason="<script>alert(1)</script>")
    flat = dataclasses.replace(result.view, record=record, iterations=())
    html = Result(result.workdir, flat)._repr_mimebundle_()["text/html"]
    assert "<script>" not in html
    shown = Loop("a<b", Space(x=Real(0, 1, unit="<i>")), (), None, None)._repr_html_()
    assert "a&lt;b" in shown
    assert "<i>" not in shown


# ---------------------------------------------------------------------- runs of a script
def _script(folder: Path, name: str, text: str) -> subprocess.Popen[str]:
    (folder / f"{name}.py").write_text(SCANS[name], encoding="utf-8")
    (folder / "use.py").write_text(text, encoding="utf-8")
    return subprocess.Popen([sys.executable, "-W", "error", "use.py"], cwd=folder, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE)  # fmt: skip


def test_the_documented_lines_of_python_run_twice(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "exports.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```py\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    (scan,) = re.findall(
        r"^```python\n# scan.py\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "scan.py").write_text(scan, encoding="utf-8")
    (tmp_path / "use.py").write_text("import sys; sys.path.insert(0, 'source')\n" + code, encoding="utf-8")
    for _ in range(2):
        done = subprocess.run([sys.executable, "use.py"], cwd=tmp_path, capture_output=True, text=True, timeout=200)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("CONVERGED {")
    names = {p.name for p in tmp_path.iterdir()}
    assert {"contour.csv", "contour.pdf", "points.json", "hepdata", "quick-run"} <= names


def test_ctrl_c_in_a_script_keeps_the_state_and_ends_the_script(
    runs: Runs, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDDS_SLOTS", "4")  # one more than there are points: the second step is not kept waiting
    runs.shut_gate()
    use = (
        "import dataclasses, gated\n"
        f"scan = dataclasses.replace(gated.define(None), parameters={{'gate': '{runs.gate}'}})\n"
        "scan.run('work')\nprint('never')\n"
    )
    source = tmp_path / "source"
    source.mkdir()
    process = _script(source, "gated", use)
    work = source / "work"
    until(lambda: (work / "idds.db").exists() and cli("ls", "gated/it/1", "--workdir", work).code == 0, "a run")
    running = idds_agents.open(work)  # a run that goes on
    assert (running.state, running.best, running.exit_code) == (LoopState.ACTIVE, None, 3)
    runs.let_one_pass()
    until(lambda: running.refresh().observations or None, "an observation")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert "never" not in out
    assert f"What is measured is on record in {work}; the same call goes on" in out
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert process.returncode in (1, 130, -signal.SIGINT)
    before = idds_agents.open(work).observations
    runs.open_gate()
    done = _script(source, "gated", use)
    out, err = done.communicate(timeout=60)
    assert (done.returncode, out) == (0, "never\n"), err
    after = idds_agents.open(work)
    assert after.state is LoopState.EXHAUSTED
    assert {n: after.observations[n] for n in before} == before


def test_a_step_of_the_main_script_is_told_not_to_be_there(tmp_path: Path) -> None:
    text = SCANS["cube"] + "\nloop.run('work')\n"
    (tmp_path / "main.py").write_text(text, encoding="utf-8")
    environment: dict[str, Any] = {**os.environ}
    done = subprocess.run([sys.executable, "main.py"], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 1
    assert "__main__" in done.stderr
    assert not (tmp_path / "work").exists()
