"""The embedded engine on this machine: real processes, real files, real time-outs."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

import pytest

from idds_agents import engine as engine_module
from idds_agents.engine import exit_code, running
from idds_agents.result import Result, open_result
from idds_agents.workspace import Workspace
from idds_core.errors import DefinitionError, IddsError, StoreError
from idds_core.loading import load, source_folder
from idds_core.settings import Settings
from idds_core.states import LoopState, PointState

FAULTY = """
    import os, signal, time
    from idds_core import Context, Loop, Real, Requirements, Retry, Space, chain, step
    from idds_learners import BoundaryConverged, LevelSet, MaxPoints
    from pathlib import Path

    @step(requires=Requirements(walltime="1s"), retry=Retry(attempts=2))
    def work(ctx: Context, x: float, y: float, folder: str) -> dict[str, float]:
        number = int(ctx.folder.parts[ctx.folder.parts.index("p") + 1])
        print("point", number)
        if number == 5:
            time.sleep(3600)
        if number % 20 == 3:
            raise ValueError("no convergence")
        if number % 20 == 7:
            return {"cls": float("nan")}
        if number % 20 == 11:
            os.kill(os.getpid(), signal.SIGSEGV)
        r2 = (x - 0.5) ** 2 + (y - 0.5) ** 2
        return {"cls": 0.5 * min(1.0, 0.1 + r2 / 0.9)}

    def define(folder: str = "") -> Loop:
        return Loop("faulty", space=Space(x=Real(0, 1), y=Real(0, 1)), body=chain(work),
            learner=LevelSet(("cls",), level=0.1, transform="probit"),
            until=BoundaryConverged(0.02) | MaxPoints(100))
"""
SIMPLE = """
    from idds_core import Loop, Real, Space, chain, step
    from idds_learners import MaxPoints, Sobol

    @step
    def work(x: float) -> dict[str, float]:
        {line}

    def define(points: int = 6) -> Loop:
        return Loop("simple", space=Space(x=Real(0, 1)), body=chain(work), learner=Sobol(), targets=("y",),
            until=MaxPoints(points))
"""


def write(folder: Path, text: str, **fields: str) -> Path:
    folder.mkdir(exist_ok=True)
    file = folder / "engine_scan.py"
    file.write_text(textwrap.dedent(text).format(**fields) if fields else textwrap.dedent(text), encoding="utf-8")
    return file


def run(file: Path, workdir: Path, *, seed: int = 1, fresh: bool = False, settings: Settings | None = None) -> Result:
    definition = load(file)
    workspace = Workspace(workdir, settings or Settings(slots=2))
    with running(workspace, definition, source_folder(file), seed, fresh=fresh) as (engine, workflow):
        engine.run()
        assert engine.store.audit.seal() == 0, "what has ended is sealed"
        assert {k: v for k, v in engine.store.audit.verify().items() if v} == {}
    return open_result(workdir, workflow.path)


def test_a_scan_with_every_kind_of_failure_converges_and_lists_them(tmp_path: Path) -> None:
    result = run(write(tmp_path / "src", FAULTY), tmp_path / "work")
    assert result.state is LoopState.CONVERGED
    assert result.exit_code == 0
    store = Workspace(tmp_path / "work", Settings()).look()
    attempts = store.jobs.failed_attempts(result.loop.id)
    store.close()
    codes = {a.failure_code for a in attempts}
    assert codes == {"E-JOB-WALLTIME", "E-JOB-RAISED", "E-JOB-RESULT", "E-JOB-SIGNAL"}
    assert {a.failure_class for a in attempts} == {"USER"}
    failed = [p for p in result.history.points if p.state is PointState.FAILED]
    assert len(attempts) == 2 * len(failed)
    for attempt in attempts:
        assert "point" in (tmp_path / "work" / attempt.path / "log").read_text()


def test_a_step_that_always_fails_holds_the_loop_and_resume_goes_on(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    text = SIMPLE.replace("{line}", f"return {{'y': float(open({str(gate)!r}).read())}}")
    file = write(tmp_path / "src", text)
    held = run(file, tmp_path / "work")
    assert held.state is LoopState.HELD
    assert held.exit_code == 3
    assert held.loop.reason.startswith("E-LOOP-001")
    assert "FileNotFoundError" in held.loop.reason
    gate.write_text("1.0")
    workspace = Workspace(tmp_path / "work", Settings())
    store = workspace.open()
    store.workflows.command(held.workflow.id, "resume", "me")
    store.close()
    assert run(file, tmp_path / "work").state is LoopState.EXHAUSTED


def test_the_same_command_again_prints_the_same_result(tmp_path: Path) -> None:
    file = write(tmp_path / "src", SIMPLE, line="return {'y': x}")
    first = run(file, tmp_path / "work")
    again = run(file, tmp_path / "work")
    assert first.history.digest == again.history.digest
    assert again.exit_code == 2


def test_a_changed_run_is_refused_and_fresh_begins_anew(tmp_path: Path) -> None:
    file = write(tmp_path / "src", SIMPLE, line="return {'y': x}")
    run(file, tmp_path / "work")
    with pytest.raises(DefinitionError, match=r"E-RUN-001 .*seed: 1 -> 2"):
        run(file, tmp_path / "work", seed=2)
    write(tmp_path / "src", SIMPLE, line="return {'y': 2 * x}")
    with pytest.raises(DefinitionError, match=r"E-RUN-001 .*source: engine_scan.py changed; steps work give"):
        run(file, tmp_path / "work")
    fresh = run(file, tmp_path / "work", fresh=True)
    assert fresh.workflow.path == "simple~2"
    assert fresh.history.values("y").tolist() == [2 * p.parameters["x"] for p in fresh.history.measured]


def test_a_second_engine_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path / "src", SIMPLE, line="return {'y': x}")
    definition = load(file)
    workspace = Workspace(tmp_path / "work", Settings(slots=1))
    with running(workspace, definition, file.parent, 1), pytest.raises(IddsError, match="E-ENGINE-001 another engine"):
        run(file, tmp_path / "work")
    assert run(file, tmp_path / "work").exit_code == 2


def test_a_step_that_no_provider_can_run_is_refused_before_anything_is_stored(tmp_path: Path) -> None:
    text = SIMPLE.replace("{line}", "return {'y': x}").replace("@step", "@step(requires=Requirements(cores=64))")
    file = write(tmp_path / "src", text.replace("import Loop", "import Requirements, Loop"))
    with pytest.raises(DefinitionError, match="E-ROUTE-001 no provider can run step work: local: it needs 64 cores"):
        run(file, tmp_path / "work")
    store = Workspace(tmp_path / "work", Settings()).look()
    assert store.workflows.all() == []
    store.close()


def test_a_disk_that_fills_up_holds_the_loop_with_its_reason(tmp_path: Path) -> None:
    file = write(tmp_path / "src", SIMPLE, line="return {'y': x}")
    held = run(file, tmp_path / "work", settings=Settings(slots=1, min_free_bytes=10**18))
    assert held.state is LoopState.HELD
    assert held.loop.reason.startswith("E-DISK-001 only")


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    file = write(tmp_path / "src", SIMPLE, line="return {'y': x}")
    with pytest.raises(StoreError, match=r"^E-WORKDIR-001 .*cannot be written") as error:
        run(file, tmp_path / "file")
    assert len(str(error.value).splitlines()) == 1


def test_a_stop_leaves_everything_to_be_resumed(tmp_path: Path) -> None:
    file = write(tmp_path / "src", SIMPLE, line="return {'y': x}")
    definition = load(file)
    with running(Workspace(tmp_path / "work", Settings(slots=1)), definition, file.parent, 1) as (engine, _):
        engine.stop()
        assert engine.run().state is LoopState.ACTIVE
    assert run(file, tmp_path / "work").exit_code == 2


def test_the_python_way_runs_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write(tmp_path / "src", SIMPLE, line="return {'y': x}")
    by_file = run(file, tmp_path / "work")
    monkeypatch.syspath_prepend(str(file.parent))
    import engine_scan  # type: ignore[import-not-found]

    result = engine_scan.define().run(tmp_path / "python", seed=1)
    assert result.history.digest == by_file.history.digest
    assert json.loads(result.workflow.definition)["name"] == "simple"


def test_every_end_of_a_loop_has_its_exit_code() -> None:
    codes = {state: exit_code(state) for state in LoopState}
    assert codes[LoopState.CONVERGED] == 0
    assert {codes[s] for s in (LoopState.EXHAUSTED, LoopState.STALLED, LoopState.NOTHING_FEASIBLE)} == {2}
    assert {codes[s] for s in (LoopState.HELD, LoopState.FAILED, LoopState.CANCELLED, LoopState.ACTIVE)} == {3}
    assert engine_module.EXIT_CODES.keys() < set(LoopState)
