from __future__ import annotations

import contextlib
import json
import os
import random
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idds_core.model import Requirements
from idds_core.ports import JobReport, JobSpec, ReportState, SubmissionStatus
from idds_core.providers.local import LocalProvider
from idds_core.states import FailureClass
from tests.core.providers.kit import BUNDLE, News, Specs, gone

MakeWhistle = Callable[[str], Any]


def values(report: JobReport) -> dict[str, Any]:
    assert report.state is ReportState.SUCCEEDED, report
    assert report.result is not None
    return dict(report.result["values"])


def failed(report: JobReport, class_: str, code: str) -> str:
    assert report.failure is not None, report
    assert (report.failure.class_, report.failure.code) == (FailureClass(class_), code), report
    return report.failure.message


def log_of(spec: JobSpec) -> str:
    return Path(spec.folder, "log").read_text(errors="replace")


# ---------------------------------------------------------------------- ends of processes
def test_a_function_that_exits_is_to_blame(local: LocalProvider, news: News, specs: Specs) -> None:
    spec = specs.function("exits", {"code": 3})
    assert failed(news.end(local, spec), "USER", "E-JOB-EXIT").endswith("exit code 3: last words")
    assert log_of(spec) == "last words\n"
    assert values(news.end(local, specs.function("number"))) == {"output": 4.25}


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL])
def test_a_crash_is_the_functions_fault(local: LocalProvider, news: News, specs: Specs, number: signal.Signals) -> None:
    report = news.end(local, specs.function("dies", {"number": int(number)}))
    assert number.name in failed(report, "USER", "E-JOB-SIGNAL")
    assert report.state is ReportState.FAILED


def test_a_null_pointer_is_the_functions_fault(local: LocalProvider, news: News, specs: Specs) -> None:
    failed(news.end(local, specs.function("null_pointer")), "USER", "E-JOB-SIGNAL")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_a_worker_that_is_killed_is_lost(
    local: LocalProvider, news: News, specs: Specs, number: signal.Signals
) -> None:
    report = news.end(local, specs.function("dies", {"number": int(number)}))
    failed(report, "INFRA", "E-JOB-LOST")
    assert report.state is ReportState.LOST


def test_jobs_behind_one_that_exits_go_to_another_worker(local: LocalProvider, news: News, specs: Specs) -> None:
    warm = [specs.function("exits_if", {"x": 0, "every": 1000}) for _ in range(40)]
    local.submit(warm)
    news.ends(local, [spec.key for spec in warm])
    jobs = [specs.function("exits_if", {"x": x, "every": 50}) for x in range(200)]
    local.submit(jobs)
    reports = news.ends(local, [spec.key for spec in jobs])
    for x, spec in enumerate(jobs):
        if x % 50 == 3:
            failed(reports[spec.key], "USER", "E-JOB-EXIT")
        else:
            assert values(reports[spec.key]) == {"y": x}


@pytest.mark.parametrize("how", ["returns", "raises", "exits"])
def test_a_forked_child_never_answers(local: LocalProvider, news: News, specs: Specs, how: str) -> None:
    jobs = [specs.function("forks", {"how": how}) for _ in range(6)]
    local.submit(jobs)
    for report in news.ends(local, [spec.key for spec in jobs]).values():
        assert values(report) == {"who": "parent"}


@pytest.mark.parametrize("twice", [False, True])
def test_processes_that_a_job_leaves_behind_are_ended(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle, twice: bool
) -> None:
    heard = whistle("w")
    assert values(news.end(local, specs.function("leaves_a_child", {"path": heard.path, "twice": twice}))) == {"y": 1.0}
    news_after = values(news.end(local, specs.function("number")))
    assert news_after == {"output": 4.25}
    # The child may be ended before it gets to speak; when it does speak it does not live on.
    child = _child_if_it_spoke(heard.path)
    assert child is None or gone(child)


def _child_if_it_spoke(path: str) -> int | None:
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return int(os.read(fd, 100) or 0) or None
    except BlockingIOError:
        return None
    finally:
        os.close(fd)


def test_closed_streams_are_mended(local: LocalProvider, news: News, specs: Specs) -> None:
    assert values(news.end(local, specs.function("closes_streams"))) == {"y": 1.0}
    spec = specs.function("closes_streams_and_raises")
    failed(news.end(local, spec), "USER", "E-JOB-RAISED")
    assert "after the end of stderr" in log_of(spec)
    spec = specs.function("opens_a_file", ctx=True)
    news.end(local, spec)
    assert Path(spec.folder, "data").read_text() == "only this"
    assert log_of(spec) == "printed\n"


@pytest.mark.parametrize("name", ["closes_everything", "writes_to_every_descriptor"])
def test_a_function_that_breaks_the_connection_is_to_blame(
    local: LocalProvider, news: News, specs: Specs, name: str
) -> None:
    failed(news.end(local, specs.function(name)), "USER", "E-JOB-EXIT")
    assert values(news.end(local, specs.function("number"))) == {"output": 4.25}


# ---------------------------------------------------------------------- limits and wishes
def test_walltime_ends_the_job_with_all_it_started(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    heard = whistle("w")
    spec = specs.function("spawns_and_waits", {"path": heard.path}, requires=Requirements(walltime=0.4))
    assert "0.4 s" in failed(news.end(local, spec), "USER", "E-JOB-WALLTIME")
    assert gone(int(heard.heard()))


def test_memory_ends_the_job(local: LocalProvider, news: News, specs: Specs) -> None:
    spec = specs.function("grows", {"size": 300_000_000}, requires=Requirements(memory=200_000_000))
    assert "asked for 0.2 GB" in failed(news.end(local, spec), "USER", "E-JOB-OOM")


def test_cancel_ends_what_runs_and_drops_what_waits(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    heard = whistle("w")
    jobs = [specs.function("ignores_signals", {"path": heard.path}) for _ in range(4)]
    local.submit(jobs)
    pids = [int(heard.heard()) for _ in range(2)]
    states = {report.state for report in local.poll([spec.key for spec in jobs]).values()}
    assert states == {ReportState.RUNNING, ReportState.QUEUED}
    local.cancel([spec.key for spec in jobs])
    reports = news.ends(local, [spec.key for spec in jobs])
    assert {report.state for report in reports.values()} == {ReportState.CANCELLED}
    assert all(gone(pid) for pid in pids)


def test_cancel_of_a_job_inside_a_batch_leaves_the_others(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    heard, gate = whistle("w"), whistle("gate")
    arguments = {"path": heard.path, "gate": gate.path}
    warm = [specs.function("maybe_waits", {"x": 1, **arguments}) for _ in range(40)]
    local.submit(warm)
    news.ends(local, [spec.key for spec in warm])
    jobs = [specs.function("maybe_waits", {"x": x, **arguments}) for x in range(40)]
    local.submit(jobs)
    heard.heard()
    local.cancel([jobs[0].key, jobs[1].key])
    reports = news.ends(local, [spec.key for spec in jobs])
    assert reports[jobs[0].key].state is ReportState.CANCELLED
    assert reports[jobs[1].key].state in (ReportState.CANCELLED, ReportState.SUCCEEDED)
    assert all(reports[spec.key].state is ReportState.SUCCEEDED for spec in jobs[2:])


def test_fast_jobs_behind_a_slow_one_go_elsewhere(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    heard, gate = whistle("w"), whistle("gate")
    arguments = {"path": heard.path, "gate": gate.path}
    warm = [specs.function("maybe_waits", {"x": 1, **arguments}) for _ in range(40)]
    local.submit(warm)
    news.ends(local, [spec.key for spec in warm])
    assert local.capabilities.queue == 128
    jobs = [specs.function("maybe_waits", {"x": x, **arguments}) for x in range(60)]
    local.submit(jobs)
    heard.heard()
    reports = news.ends(local, [spec.key for spec in jobs[1:]])  # while the first one waits
    assert all(report.state is ReportState.SUCCEEDED for report in reports.values())
    assert local.poll([jobs[0].key])[jobs[0].key].state is ReportState.RUNNING
    Path(gate.path).write_text("go\n")
    assert values(news.ends(local, [jobs[0].key])[jobs[0].key]) == {"told": "go"}


def test_only_slow_jobs_are_not_asked_for_ahead(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    assert local.capabilities.slots == 2
    assert local.capabilities.queue == 2
    news.end(local, specs.function("huge"))
    assert local.capabilities.queue == 2


def test_a_job_of_many_cores_has_the_machine_to_itself(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    heard, gate = whistle("w"), whistle("gate")
    arguments = {"path": heard.path, "gate": gate.path}
    wide = specs.function("waits_for", arguments, requires=Requirements(cores=4))
    narrow = specs.function("waits_for", arguments)
    local.submit([wide, narrow])
    heard.heard()
    reports = local.poll([wide.key, narrow.key])
    assert reports[wide.key].state is ReportState.RUNNING
    assert reports[narrow.key].state is ReportState.QUEUED
    for spec in (wide, narrow):
        Path(gate.path).write_text("go\n")
        assert values(news.ends(local, [spec.key])[spec.key]) == {"told": "go"}


# ---------------------------------------------------------------------- bundles, engines
def test_bundles_do_not_mix(local: LocalProvider, news: News, specs: Specs, tmp_path: Path) -> None:
    second = tmp_path / "second"
    second.mkdir()
    (second / "toys.py").write_text(Path(BUNDLE, "toys.py").read_text())
    (second / "helper.py").write_text('NAME = "second"\n')
    jobs = [specs.function("says_which", bundle=bundle) for bundle in (BUNDLE, str(second)) * 6]
    local.submit(jobs)
    reports = news.ends(local, [spec.key for spec in jobs])
    assert [values(reports[spec.key])["bundle"] for spec in jobs] == ["first", "second"] * 6


def test_a_refused_job_says_why(local: LocalProvider, specs: Specs) -> None:
    wrong = [
        specs.function("double", key="Upper_Case"),
        specs.function("double", bundle="relative"),
        specs.function("double", {"x": object()}),
        specs.command(),
        specs.command("true", env={"A": 1}),  # type: ignore[dict-item]
        specs.function("double", key="x" * 64),
    ]
    for answer in local.submit(wrong):
        assert answer.status is SubmissionStatus.REFUSED
        assert answer.reason
    assert local.find([spec.key for spec in wrong]) == {}


def test_a_closed_provider_asks_to_come_later(tmp_path: Path, specs: Specs) -> None:
    provider = LocalProvider(tmp_path / "closed", slots=1, store_id="store1")
    provider.close()
    provider.close()
    assert provider.submit([specs.function("double")])[0].status is SubmissionStatus.LATER


def test_workers_that_do_not_start_are_not_started_for_ever(
    local: LocalProvider, news: News, specs: Specs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    report = news.end(local, specs.function("double", {"x": 1}))
    assert "workers do not start" in failed(report, "INFRA", "E-JOB-LOST")
    assert local._loop.pool._count <= 6
    monkeypatch.undo()
    assert values(news.end(local, specs.function("double", {"x": 1}))) == {"y": 2}


def test_an_old_note_of_a_worker_harms_nobody(tmp_path: Path, local: LocalProvider) -> None:
    folder = tmp_path / "other" / "workers"
    folder.mkdir(parents=True)
    (folder / "garbage.json").write_text("{")
    (folder / "list.json").write_text("[]")
    own = {"pid": os.getpid(), "start": 1, "boot": "x", "host": "y"}
    (folder / "old.json").write_text(json.dumps({"store": "store1", "worker": own, "engine": own}))
    LocalProvider(tmp_path / "other", slots=1, store_id="store1").close()
    assert not (folder / "old.json").exists()


# ---------------------------------------------------------------------- chaos
def test_every_job_ends_once_while_workers_are_killed(local: LocalProvider, news: News, specs: Specs) -> None:
    dice = random.Random(1)
    warm = [specs.function("double", {"x": 0.5}) for _ in range(30)]
    local.submit(warm)
    news.ends(local, [spec.key for spec in warm])
    jobs = [specs.function("double", {"x": float(x)}) for x in range(1500)]
    lost = 0
    for begin in range(0, 1500, 100):
        part = jobs[begin : begin + 100]
        local.submit(part)
        workers = list(local._loop.pool.workers)
        if workers:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(dice.choice(workers).pidfd, signal.SIGKILL)
        reports = news.ends(local, [spec.key for spec in part])
        for x, spec in enumerate(part, begin):
            report = reports[spec.key]
            if report.state is ReportState.LOST:
                lost += 1
            else:
                assert values(report) == {"y": 2.0 * x}
    assert lost <= 15  # at most one job for each worker that was killed


def test_a_machine_without_processes_left_gives_up_job_by_job(
    local: LocalProvider, news: News, specs: Specs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_args: object, **_named: object) -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("idds_core.providers.local_worker.spawn", refuse)
    report = news.end(local, specs.function("double", {"x": 1}))
    assert "temporarily unavailable" in failed(report, "INFRA", "E-JOB-LOST")
    monkeypatch.undo()
    assert values(news.end(local, specs.function("double", {"x": 1}))) == {"y": 2}


def test_a_full_disk_in_a_function_is_the_sites_fault(local: LocalProvider, news: News, specs: Specs) -> None:
    failed(news.end(local, specs.function("finds_the_disk_full")), "INFRA", "E-JOB-DISK")
