from __future__ import annotations

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idds_core.model import Requirements
from idds_core.ports import JobReport, JobSpec, ReportState
from idds_core.providers.local import LocalProvider
from idds_core.states import FailureClass
from tests.core.providers.kit import News, Specs, gone

MakeWhistle = Callable[[str], Any]


def failed(report: JobReport, class_: str, code: str) -> str:
    assert report.failure is not None, report
    assert (report.failure.class_, report.failure.code) == (FailureClass(class_), code), report
    return report.failure.message


def succeeded(report: JobReport) -> dict[str, Any]:
    assert report.state is ReportState.SUCCEEDED, report
    assert report.result is not None
    return dict(report.result)


def log_of(spec: JobSpec) -> str:
    return Path(spec.folder, "log").read_text(errors="replace")


# ---------------------------------------------------------------------- results
def test_a_command_leaves_values_and_files(local: LocalProvider, news: News, specs: Specs) -> None:
    script = (
        """echo said; printf '{"mu": 1.5}' > r.json; printf hello > out.txt; cat params.json; echo $EXTRA $IDDS_SEED"""
    )
    spec = specs.shell(script, result="r.json", outputs={"events": "out.txt"}, env={"EXTRA": "more"})
    report = news.end(local, spec)
    assert succeeded(report) == {
        "key": spec.key,
        "digest": spec.digest,
        "values": {"mu": 1.5},
        "files": {
            "events": {
                "path": f"{spec.folder}/out.txt",
                "bytes": 5,
                "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            }
        },
    }
    assert log_of(spec) == 'said\n{"m": 5.5}more 7\n'
    assert local.tail(spec.key, 5).text == '{"m": 5.5}more 7\n'
    assert report.usage.wall_s > 0
    assert report.usage.max_rss > 0


def test_nan_arrives_for_the_carrier_to_reject(local: LocalProvider, news: News, specs: Specs) -> None:
    spec = specs.shell("""echo '{"a": NaN, "b": 1e999}' > r""", result="r")
    found = succeeded(news.end(local, spec))["values"]
    assert math.isnan(found["a"])
    assert found["b"] == math.inf


def test_a_command_says_infeasible(local: LocalProvider, news: News, specs: Specs) -> None:
    report = news.end(local, specs.shell("""echo '{"infeasible": "too heavy"}' > r""", result="r"))
    assert report.state is ReportState.INFEASIBLE
    assert report.failure is not None
    assert (report.failure.code, report.failure.message) == ("E-JOB-INFEASIBLE", "too heavy")


def test_a_runner_that_cannot_be_started_is_the_sites_fault(local: LocalProvider, news: News, specs: Specs) -> None:
    spec = specs.shell("true")
    folder = Path(spec.folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.write_text("a file is in its place", encoding="utf-8")
    report = news.end(local, spec)
    assert report.failure is not None
    assert (report.failure.code, str(report.failure.class_)) == ("E-JOB-SUBMIT", "INFRA")


@pytest.mark.parametrize(
    ("script", "code", "text"),
    [
        ("true", "E-JOB-OUTPUT", "r: No such file"),
        ("echo '[1, 2]' > r", "E-JOB-RESULT", "a list"),
        ("echo '{\"a\": ' > r", "E-JOB-RESULT", "not a usable JSON file"),
        ("head -c 5000 /dev/urandom > r", "E-JOB-RESULT", "5000 bytes, 1000 are allowed"),
        ("head -c 900 /dev/urandom > r", "E-JOB-RESULT", "not a usable JSON file"),
        ("head -c 900 /dev/zero | tr '\\0' '[' > r", "E-JOB-RESULT", "not a usable JSON file"),
        ("mkfifo r", "E-JOB-RESULT", "not a regular file"),
        ("mkdir r", "E-JOB-RESULT", "not a regular file"),
        ("ln -s /etc/hostname r", "E-JOB-OUTPUT", "outside"),
    ],
)
def test_a_bad_result_fails(local: LocalProvider, news: News, specs: Specs, script: str, code: str, text: str) -> None:
    report = news.end(local, specs.shell(script, result="r", output_limit=1000))
    assert text in failed(report, "USER", code)


@pytest.mark.parametrize(
    ("script", "path", "text"),
    [
        ("true", "out", "out: No such file"),
        ("mkdir out", "out", "not a regular file"),
        ("mkfifo out", "out", "not a regular file"),
        ("ln -s /etc/hostname out", "out", "outside"),
        ("true", "../../../etc/hostname", "outside"),
        ("true", "/etc/hostname", "outside"),
    ],
)
def test_a_bad_output_fails(local: LocalProvider, news: News, specs: Specs, script: str, path: str, text: str) -> None:
    report = news.end(local, specs.shell(script, outputs={"o": path}))
    assert text in failed(report, "USER", "E-JOB-OUTPUT")


def test_an_output_that_was_not_declared_is_left_alone(local: LocalProvider, news: News, specs: Specs) -> None:
    assert succeeded(news.end(local, specs.shell("echo > extra")))["files"] == {}


def test_a_large_output_is_described_not_carried(local: LocalProvider, news: News, specs: Specs) -> None:
    spec = specs.shell("head -c 100000000 /dev/zero > big", outputs={"big": "big"})
    assert succeeded(news.end(local, spec))["files"]["big"]["bytes"] == 100_000_000


# ---------------------------------------------------------------------- failures
def test_an_exit_code_is_the_users_and_equal_errors_are_told(local: LocalProvider, news: News, specs: Specs) -> None:
    reports = [
        news.end(local, specs.shell(f"echo 'bad value {x} in /tmp/run{x}/card.dat at 0x7f{x}'; exit 3")) for x in (1, 2)
    ]
    assert "exit code 3: bad value 1 in /tmp/run1/card.dat" in failed(reports[0], "USER", "E-JOB-EXIT")
    signatures = {report.failure.signature for report in reports if report.failure}
    assert signatures == {"E-JOB-EXIT|3|bad value N in <path> at <hex>"}


def test_a_signal_is_the_users(local: LocalProvider, news: News, specs: Specs) -> None:
    assert "SIGSEGV" in failed(news.end(local, specs.shell("kill -SEGV $$")), "USER", "E-JOB-SIGNAL")


@pytest.mark.parametrize("argv", [("no-such-program",), ("/etc/hostname",), ("./nowhere",), ("tr\0ue",)])
def test_what_cannot_be_started_is_fatal(local: LocalProvider, news: News, specs: Specs, argv: tuple[str, ...]) -> None:
    spec = specs.command(*argv)
    assert failed(news.end(local, spec), "FATAL", "E-JOB-START")
    assert log_of(spec)


def test_a_binary_log_is_harmless(local: LocalProvider, news: News, specs: Specs) -> None:
    spec = specs.shell("head -c 100000 /dev/urandom; exit 1", log_limit=1000)
    failed(news.end(local, spec), "USER", "E-JOB-EXIT")
    assert Path(spec.folder, "log").stat().st_size <= 1000
    assert local.tail(spec.key).offset <= 1000


def test_walltime_ends_an_endless_log_and_its_grandchildren(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    heard = whistle("w")
    script = f"sleep 1000 & echo $! > {heard.path}; (trap '' TERM; setsid -f true; yes endless) & yes"
    spec = specs.shell(script, requires=Requirements(walltime=0.5), log_limit=10_000)
    assert "0.5 s" in failed(news.end(local, spec), "USER", "E-JOB-WALLTIME")
    assert gone(int(heard.heard()))
    assert Path(spec.folder, "log").stat().st_size <= 10_000


def test_memory_of_all_its_processes_ends_a_command(local: LocalProvider, news: News, specs: Specs) -> None:
    grow = f"{sys.executable} -c 'x = bytearray(120_000_000); x[::4096] = x[::4096]; input()'"
    script = f"mkfifo wait; {grow} <> wait & {grow} <> wait & wait"
    report = news.end(local, specs.shell(script, requires=Requirements(memory=200_000_000)))
    assert "asked for 0.2 GB" in failed(report, "USER", "E-JOB-OOM")


def test_what_a_command_leaves_behind_is_ended(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    heard = whistle("w")
    succeeded(news.end(local, specs.shell(f"set -m; sleep 1000 & echo $! > {heard.path}")))
    assert gone(int(heard.heard()))


def test_cancel_ends_a_command_with_all_it_started(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    heard = whistle("w")
    spec = specs.shell(f"sleep 1000 & echo $! > {heard.path}; wait")
    local.submit([spec])
    pid = int(heard.heard())
    local.cancel([spec.key])
    assert news.ends(local, [spec.key])[spec.key].state is ReportState.CANCELLED
    assert gone(pid)


def test_cancel_before_the_start_is_a_cancel(local: LocalProvider, news: News, specs: Specs) -> None:
    jobs = [specs.command("sleep", "1000") for _ in range(5)]
    local.submit(jobs)
    local.cancel([spec.key for spec in jobs])
    assert {r.state for r in news.ends(local, [spec.key for spec in jobs]).values()} == {ReportState.CANCELLED}


def test_commands_share_the_slots_with_functions(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    heard, gate = whistle("w"), whistle("gate")
    wide = specs.shell(f"echo a > {heard.path}; read x < {gate.path}", requires=Requirements(cores=2))
    function = specs.function("double", {"x": 1})
    local.submit([wide, function])
    heard.heard()
    assert local.poll([function.key])[function.key].state is ReportState.QUEUED
    Path(gate.path).write_text("go\n")
    news.ends(local, [wide.key, function.key])
