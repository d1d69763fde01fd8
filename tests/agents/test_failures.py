"""Each kind of failure is told in plain words, with what happens next, and the page of operations has them all."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from idds_agents.cli.show import _failures
from idds_agents.report.failure_kinds import KINDS, THEN
from idds_core.catalogue import catalogue
from idds_core.ports import JobReport, JobSpec
from idds_core.states import FailureClass, LoopState, PointState
from idds_core.testing.fakes import ScriptedProvider, failure
from tests.world import World, honest, toy

ROOT = Path(__file__).parents[2]
#: ends of a point that are no failures
_NO_FAILURES = {"E-JOB-INFEASIBLE", "E-JOB-PRUNED"}


@pytest.fixture
def section() -> list[list[str]]:
    """The rows of the table of failures."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    text = page.partition("## What failed, and what happens next\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return rows[2:]


def first_fails(folder: Path, code: str, message: str) -> World:
    """The first attempt of the first job fails as the site says, all others are right."""
    bad: list[str] = []

    def script(spec: JobSpec) -> JobReport:
        bad[:] = bad or [spec.key]
        return failure(message, FailureClass.INFRA, code) if spec.key == bad[0] else honest(spec)

    return World(folder, ScriptedProvider(script), toy(4, 4))


def until_ended(world: World) -> World:
    for _ in range(30):
        world.run(20)
        world.clock.advance(61)
    return world


def test_a_preempted_job_runs_again_and_burns_no_retry(tmp_path: Path) -> None:
    world = until_ended(first_fails(tmp_path, "E-JOB-PREEMPTED", "preempted by a job of more weight"))
    assert {p.state for p in world.history.points} == {PointState.MEASURED}
    (failed,) = world.store.jobs.failed_attempts(world.loop.id)
    assert (failed.failure_class, failed.failure_code) == ("INFRA", "E-JOB-PREEMPTED")
    assert world.violations() == {}


@pytest.mark.parametrize(
    ("code", "message", "reason", "fix"),
    [
        ("E-JOB-CREDENTIALS", "the proxy has expired", "E-SITE-001 the proxy has expired", "Renew the credentials"),
        ("E-JOB-QUOTA", "no core hours are left", "E-SITE-002 no core hours are left", "Ask for more or wait"),
        ("E-JOB-DISK", "no space left", "E-DISK-002 no space left", "Free some space"),
    ],
)
def test_what_only_a_person_can_mend_holds_the_loop_and_burns_nothing(
    tmp_path: Path, code: str, message: str, reason: str, fix: str
) -> None:
    world = first_fails(tmp_path, code, message)
    world.run()
    assert world.loop.state is LoopState.HELD
    assert world.loop.reason.startswith(reason)
    assert f". {fix}" in world.loop.reason
    with world.store.reading() as connection:
        burnt = connection.exec_driver_sql("SELECT sum(user_failures), sum(infra_failures) FROM job").one()
    assert tuple(burnt) == (0, 0)
    world.store.workflows.command(world.workflow.id, "resume", "user ann")
    assert world.run().state is LoopState.EXHAUSTED
    assert {p.state for p in world.history.points} == {PointState.MEASURED}
    assert world.violations() == {}


def attempt(code: str, class_: str, path: str = "s/l/it/1/p/1/m/job/0/a/1") -> dict[str, Any]:
    return {"class": class_, "code": code, "message": "so it was", "path": path}


@pytest.mark.parametrize("code", KINDS)
def test_show_says_what_a_failure_means_what_happens_next_and_where_its_log_is(code: str) -> None:
    kind = KINDS[code]
    lines = _failures([attempt(code, kind.class_), attempt(code, kind.class_, "s/l/it/1/p/2/m/job/0/a/1")])
    (said,) = [line for line in lines if line.startswith(f"{code}: ")]
    assert said.startswith(f"{code}: {kind.words}; {kind.then or THEN[kind.class_]}; 'idds-core logs s/")


def test_a_failure_of_a_provider_that_has_words_of_its_own_is_explained_by_its_class() -> None:
    assert _failures([attempt("OURS-7", "FATAL")])[-1].startswith(f"OURS-7: {THEN['FATAL']}; 'idds-core logs ")


def test_each_class_and_code_is_known_and_on_the_page_with_a_test_that_exists(section: list[list[str]]) -> None:
    jobs = {code for code in catalogue() if code.startswith("E-JOB-")}
    assert set(KINDS) == jobs - _NO_FAILURES
    assert set(THEN) == set(FailureClass) == {kind.class_ for kind in KINDS.values()}
    rows = {row[1].strip("`"): row for row in section}
    assert jobs <= rows.keys()
    for code, kind in KINDS.items():
        assert rows[code][0].endswith(f", {kind.class_}"), code
        assert rows[code][2] == kind.words
    tests = "\n".join(file.read_text(encoding="utf-8") for file in (ROOT / "tests").rglob("test_*.py"))
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+)`", page)
    assert len(named) >= len(section)
    assert [name for name in named if f"def {name}(" not in tests] == []
