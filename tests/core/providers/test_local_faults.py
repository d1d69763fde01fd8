from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idds_core.model import Requirements
from idds_core.ports import JobReport, JobSpec, ReportState
from idds_core.providers.local import LocalProvider, _whole
from idds_core.providers.local_commands import Registry
from idds_core.runner import processes
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


# ---------------------------------------------------------------------- the site's faults
def owner(spec: JobSpec) -> int:
    return int(json.loads(Path(spec.folder, "claim", "runner.json").read_text())["pid"])


def test_a_runner_that_is_killed_is_lost_and_its_payload_ended(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    heard = whistle("w")
    spec = specs.shell(f"echo $$ > {heard.path}; sleep 1000; true")
    local.submit([spec])
    pid = int(heard.heard())
    os.kill(owner(spec), signal.SIGKILL)
    report = news.ends(local, [spec.key])[spec.key]
    failed(report, "INFRA", "E-JOB-LOST")
    assert report.state is ReportState.LOST
    assert gone(pid)


def test_a_runner_that_the_site_terminates_is_lost_not_cancelled(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    heard = whistle("w")
    spec = specs.shell(f"echo $$ > {heard.path}; sleep 1000; true")
    local.submit([spec])
    heard.heard()
    os.kill(owner(spec), signal.SIGTERM)
    report = news.ends(local, [spec.key])[spec.key]
    failed(report, "INFRA", "E-JOB-LOST")
    assert report.state is ReportState.LOST


def _restarted(tmp_path: Path, news: News) -> LocalProvider:
    return LocalProvider(tmp_path / "local", slots=2, store_id="store1", wake=news)


def _good(specs: Specs, tmp_path: Path, news: News) -> JobSpec:
    spec = specs.shell("echo '{\"a\": 1}' > r", result="r")
    with _restarted(tmp_path, news) as provider:
        succeeded(news.end(provider, spec))
    return spec


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("DONE.json", b""),
        ("DONE.json", b'{"protocol": 1, "key": "sto'),
        ("DONE.json", b"[1]"),
        ("DONE.json", b"{}"),
        ("DONE.json", b"\xff" * 100),
        ("DONE.json", b"[" * 100_000),
        ("DONE.json", b" " * 2_000_000),
        ("result.json", b'{"key": 1}'),
        ("result.json", b""),
    ],
)
def test_garbage_is_a_failure_of_the_site_never_a_traceback(
    tmp_path: Path, news: News, specs: Specs, name: str, content: bytes
) -> None:
    spec = _good(specs, tmp_path, news)
    Path(spec.folder, name).write_bytes(content)
    with _restarted(tmp_path, news) as provider:
        failed(provider.poll([spec.key])[spec.key], "INFRA", "E-JOB-DONE")


@pytest.mark.parametrize("change", [{"key": "other"}, {"digest": "other"}, {"state": "great"}, {"protocol": 99},
    {"usage": None}, {"state": "failed", "failure": {"class": "X"}}])  # fmt: skip
def test_an_end_that_makes_no_sense_is_a_failure_of_the_site(
    tmp_path: Path, news: News, specs: Specs, change: dict[str, Any]
) -> None:
    spec = _good(specs, tmp_path, news)
    done = Path(spec.folder, "DONE.json")
    done.write_text(json.dumps({**json.loads(done.read_text()), **change}))
    with _restarted(tmp_path, news) as provider:
        failed(provider.poll([spec.key])[spec.key], "INFRA", "E-JOB-DONE")


# ---------------------------------------------------------------------- restarts
def test_an_end_is_found_after_a_restart_until_it_is_forgotten(tmp_path: Path, news: News, specs: Specs) -> None:
    spec = _good(specs, tmp_path, news)
    with _restarted(tmp_path, news) as provider:
        assert provider.find([spec.key, "store1-none"]) == {spec.key: spec.key}
        assert succeeded(provider.poll([spec.key])[spec.key])["values"] == {"a": 1}
        assert provider.running_keys() == []
        provider.forget([spec.key])
        assert provider.find([spec.key]) == {}
    with _restarted(tmp_path, news) as provider:
        assert provider.find([spec.key]) == {}
        assert provider.poll([spec.key]) == {}


def test_a_second_submission_of_what_has_succeeded_does_not_run_it_again(
    tmp_path: Path, news: News, specs: Specs
) -> None:
    spec = specs.shell("echo ran >> count; echo {} > r", result="r")
    for _ in range(2):
        with _restarted(tmp_path, news) as provider:
            succeeded(news.end(provider, spec))
            succeeded(news.end(provider, spec))
    assert Path(spec.folder, "count").read_text() == "ran\n"


def test_what_was_registered_and_never_started_is_not_found(tmp_path: Path, news: News, specs: Specs) -> None:
    spec = specs.shell("echo {} > r", result="r")
    Path(spec.folder).mkdir(parents=True)
    (tmp_path / "local" / "commands").mkdir(parents=True)
    Registry(tmp_path / "local" / "commands").add(spec.key, spec.folder)
    with _restarted(tmp_path, news) as provider:
        assert provider.find([spec.key]) == {}
        runner = [sys.executable, "-I", "-S", str(Path(processes.__file__).parent), spec.folder]
        assert subprocess.run(runner, check=False).returncode == 75  # whoever is late finds the claim taken
        succeeded(news.end(provider, spec))  # and the same key can be submitted again


def test_a_claim_without_a_runner_is_lost(tmp_path: Path, news: News, specs: Specs) -> None:
    spec = _good(specs, tmp_path, news)
    for name in ("DONE.json", "claim/runner.json"):
        Path(spec.folder, name).unlink()
    with _restarted(tmp_path, news) as provider:
        assert provider.find([spec.key]) == {spec.key: spec.key}
        failed(news.ends(provider, [spec.key])[spec.key], "INFRA", "E-JOB-LOST")


def test_a_runner_of_another_boot_is_dead(tmp_path: Path, news: News, specs: Specs) -> None:
    spec = _good(specs, tmp_path, news)
    Path(spec.folder, "DONE.json").unlink()
    note = {**processes.identity(os.getpid()), "boot": "another"}
    Path(spec.folder, "claim", "runner.json").write_text(json.dumps(note))
    with _restarted(tmp_path, news) as provider:
        assert provider.find([spec.key]) == {spec.key: spec.key}
        failed(news.ends(provider, [spec.key])[spec.key], "INFRA", "E-JOB-LOST")


def test_a_folder_that_is_gone_is_not_found(tmp_path: Path, news: News) -> None:
    (tmp_path / "local" / "commands").mkdir(parents=True)
    Registry(tmp_path / "local" / "commands").add("store1-9", str(tmp_path / "nowhere"))
    with _restarted(tmp_path, news) as provider:
        assert provider.find(["store1-9", "../../etc", "UPPER"]) == {}


def test_a_duplicate_runner_leaves_the_first_one_alone(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    heard, gate = whistle("w"), whistle("gate")
    spec = specs.shell(f"echo $$ > {heard.path}; read x < {gate.path}; echo '{{}}' > r", result="r")
    local.submit([spec])
    heard.heard()
    runner = [sys.executable, "-I", "-S", str(Path(processes.__file__).parent), spec.folder]
    assert subprocess.run(runner, check=False).returncode == 75
    Path(gate.path).write_text("go\n")
    succeeded(news.ends(local, [spec.key])[spec.key])


def test_a_provider_whose_runner_is_the_duplicate_waits_for_the_winner(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, gate = whistle("w"), whistle("gate")
    spec = specs.shell(f"echo $$ > {heard.path}; read x < {gate.path}; echo '{{}}' > r", result="r")
    commands = local._loop.commands
    start = commands._spawn

    def raced(folder: str) -> int:
        winner = start(folder)
        heard.heard()
        assert winner > 0
        return start(folder)

    monkeypatch.setattr(commands, "_spawn", raced)
    local.submit([spec])
    Path(gate.path).write_text("go\n")
    succeeded(news.ends(local, [spec.key])[spec.key])


# ---------------------------------------------------------------------- disk full
@pytest.fixture
def small_disk(tmp_path: Path) -> Any:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        if os.environ.get("CI"):
            pytest.fail("a small tmpfs cannot be mounted")
        pytest.skip("needs root and the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize(
    "script",
    [
        "head -c 1000000 /dev/zero > big",
        "head -c 1000000 /dev/zero",
        "head -c 1000000 /dev/zero > big; echo '{}' > r || true; true",
        "cat /dev/zero > big; cat /dev/zero | head -c 10000000",
    ],
)
def test_a_full_disk_is_one_clear_failure(small_disk: Path, tmp_path: Path, news: News, script: str) -> None:
    specs = Specs(small_disk)
    with _restarted(tmp_path, news) as provider:
        report = news.end(provider, specs.shell(script, outputs={"big": "big"}))
        assert "no space left" in failed(report, "INFRA", "E-JOB-DISK")
        provider.forget(["store1-1"])


def test_a_disk_that_is_full_from_the_start_is_a_failure(small_disk: Path, tmp_path: Path, news: News) -> None:
    subprocess.run(["sh", "-c", f"cat /dev/zero > {small_disk}/filler"], check=False, capture_output=True)
    with _restarted(tmp_path, news) as provider:
        report = news.end(provider, Specs(small_disk).shell("true"))
        assert report.failure is not None
        assert report.failure.class_ is FailureClass.INFRA


def test_a_copy_of_a_store_with_the_same_keys_is_left_alone(tmp_path: Path, news: News, whistle: MakeWhistle) -> None:
    heard, gate = whistle("w"), whistle("gate")
    one, two = Specs(tmp_path / "one"), Specs(tmp_path / "two")
    killed = one.shell(f"echo $$ > {heard.path}; sleep 1000; true", key="store1-same")
    living = two.shell(f"echo $$ > {heard.path}; read x < {gate.path}", key="store1-same")
    with (
        LocalProvider(tmp_path / "one", slots=1, store_id="store1", wake=news) as first,
        LocalProvider(tmp_path / "two", slots=1, store_id="store1", wake=news) as second,
    ):
        for provider, spec in ((first, killed), (second, living)):
            provider.submit([spec])
            heard.heard()
        os.kill(owner(killed), signal.SIGKILL)
        assert news.ends(first, [killed.key])[killed.key].state is ReportState.LOST
        Path(gate.path).write_text("go\n")
        assert news.ends(second, [living.key])[living.key].state is ReportState.SUCCEEDED


def test_a_runner_that_does_not_obey_is_killed_with_its_payload(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idds_core.providers.local_commands._OBEY", 0.1)
    heard = whistle("w")
    spec = specs.shell(f"echo $$ > {heard.path}; sleep 1000; true")
    local.submit([spec])
    pid = int(heard.heard())
    os.kill(owner(spec), signal.SIGSTOP)
    local.cancel([spec.key])
    assert news.ends(local, [spec.key])[spec.key].state is ReportState.CANCELLED
    assert gone(pid)


def test_a_runner_that_was_stopped_does_not_keep_its_job_for_ever(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("idds_core.providers.local_commands._OVERDUE", -30.0)  # long before the runner would end it
    heard = whistle("w")
    spec = specs.shell(f"echo $$ > {heard.path}; sleep 1000; true", requires=Requirements(walltime=31.0))
    local.submit([spec])
    pid = int(heard.heard())
    os.kill(owner(spec), signal.SIGSTOP)
    report = news.ends(local, [spec.key])[spec.key]
    failed(report, "INFRA", "E-JOB-LOST")
    assert report.state is ReportState.LOST
    assert gone(pid)


@pytest.mark.parametrize("text", ["", "plain", "ä", "a€", "😀b😀"])
def test_a_tail_never_cuts_a_character(text: str) -> None:
    data = text.encode()
    for end in range(len(data) + 1):
        whole = _whole(data[:end])
        assert text.startswith(whole.decode())
        assert end - len(whole) < 4
    assert _whole(b"\xff\xfe") in (b"\xff\xfe", b"\xff", b"")
    assert _whole(b"\x80" * 10) == b"\x80" * 10
