"""What jobs of this machine say on their way, how they are ended with notice, and the folder of all their attempts."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idds_core.ports import Heard, ReportState
from idds_core.providers import local_pool
from idds_core.providers.local import LocalProvider
from idds_core.providers.local_reports import of_line
from tests.core.providers.kit import PATIENCE, News, Specs, Whistle


@pytest.fixture
def specs(tmp_path: Path) -> Specs:
    return Specs(tmp_path)


class Ears:
    """Collects what is heard."""

    def __init__(self, provider: LocalProvider, news: News) -> None:
        self.provider, self.news = provider, news
        self.all: list[Heard] = []

    def reports(self) -> list[tuple[int, float]]:
        self.all += self.provider.heard()
        return [report for heard in self.all for report in heard.reports]

    def progress(self) -> list[tuple[float, str]]:
        self.all += self.provider.heard()
        return [heard.progress for heard in self.all if heard.progress is not None]

    def until(self, condition: Callable[[], Any]) -> None:
        tick = threading.Event()
        for _ in range(int(PATIENCE / 0.02)):
            if condition():
                return
            tick.wait(0.02)
        raise AssertionError("this never came")


@pytest.fixture
def local(tmp_path: Path) -> Any:
    made: list[LocalProvider] = []

    def make() -> tuple[LocalProvider, News, Ears]:
        news = News()
        provider = LocalProvider(tmp_path / "local", slots=2, store_id="store1", wake=news)
        made.append(provider)
        return provider, news, Ears(provider, news)

    yield make
    for provider in made:
        provider.close()


def test_a_function_tells_before_it_ends(local: Any, specs: Specs) -> None:
    provider, news, ears = local()
    report = news.end(provider, specs.function("telling", {"values": [0.5, 0.25]}, ctx=True))
    assert report.state is ReportState.SUCCEEDED
    assert ears.reports() == [(0, 0.5), (1, 0.25)]
    assert ears.progress() == [(0.0, "begun"), (1.0, "ended")]


@pytest.mark.parametrize(
    ("value", "why"),
    [(float("nan"), "the report of step 0 is nan"), ("much", "could not convert"), (None, "float() argument")],
)
def test_only_finite_numbers_can_be_reported(local: Any, specs: Specs, value: Any, why: str) -> None:
    provider, news, _ = local()
    report = news.end(provider, specs.function("telling", {"values": [value]}, ctx=True))
    assert report.state is ReportState.FAILED
    assert why in report.failure.message


def test_a_child_and_a_thread_that_lives_on_are_not_heard(local: Any, specs: Specs) -> None:
    provider, news, ears = local()
    assert news.end(provider, specs.function("tells_from_elsewhere", ctx=True)).state is ReportState.SUCCEEDED
    assert news.end(provider, specs.function("telling", {"values": [0.5]}, ctx=True)).state is ReportState.SUCCEEDED
    assert ears.reports() == [(0, 0.5)]


def test_a_function_that_is_to_be_pruned_sees_it_at_its_next_report(local: Any, specs: Specs, tmp_path: Path) -> None:
    provider, news, ears = local()
    spec = specs.function("goes_on", {"cleaned": str(tmp_path / "cleaned")}, ctx=True)
    provider.submit([spec])
    ears.until(ears.reports)
    provider.prune({spec.key: "worse than others"})
    report = news.ends(provider, [spec.key])[spec.key]
    assert report.state is ReportState.PRUNED
    assert (report.failure.code, report.failure.message) == ("E-JOB-PRUNED", "worse than others")
    assert (tmp_path / "cleaned").read_text(encoding="utf-8") == "worse than others"
    # the worker lives, and the next job is not asked
    assert news.end(provider, specs.function("telling", {"values": [1.0]}, ctx=True)).state is ReportState.SUCCEEDED


def test_a_function_that_reports_no_more_is_ended(
    local: Any, specs: Specs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_pool, "PRUNE_GRACE", 0.05)
    provider, news, ears = local()
    whistle = Whistle(tmp_path / "whistle")
    spec = specs.function("reports_once", {"whistle": whistle.path}, ctx=True)
    provider.submit([spec])
    whistle.heard()
    ears.until(ears.reports)
    provider.prune({spec.key: "enough"})
    assert news.ends(provider, [spec.key])[spec.key].state is ReportState.CANCELLED
    whistle.close()


def test_a_command_tells_in_lines_and_is_pruned_by_a_signal(local: Any, specs: Specs) -> None:
    provider, news, ears = local()
    script = """
        echo '{"step": 0, "value": 2.5}' >> "$IDDS_REPORT"
        echo 'no JSON' >> "$IDDS_REPORT"
        echo '{"progress": 0.5, "text": "half"}' >> "$IDDS_REPORT"
        printf '{"step": 1, "va' >> "$IDDS_REPORT"
        sleep 1000
    """
    spec = specs.shell(script)
    provider.submit([spec])
    ears.until(lambda: ears.reports() and ears.progress())
    assert (ears.reports(), ears.progress()) == ([(0, 2.5)], [(0.5, "half")])
    provider.prune({spec.key: "enough"})
    assert news.ends(provider, [spec.key])[spec.key].state is ReportState.CANCELLED


def test_what_a_command_says_last_is_heard_with_its_end(local: Any, specs: Specs) -> None:
    provider, news, ears = local()
    news.end(provider, specs.shell("""echo '{"step": 7, "value": 1}' >> "$IDDS_REPORT" """))
    assert ears.reports() == [(7, 1.0)]
    assert ears.reports() == [(7, 1.0)]  # once


@pytest.mark.parametrize(
    "line",
    [b"", b"[1]", b'{"step": true, "value": 1}', b'{"step": -1, "value": 1}', b'{"step": 1.5, "value": 1}',
     b'{"step": 1, "value": NaN}', b'{"step": 1, "value": "1"}', b'{"step": 1, "value": 1e999}', b"[" * 100_000,
     b'{"progress": null}', b'{"step": 1, "value": ' + b"9" * 400 + b"}", b"\xff\xfe"],
)  # fmt: skip
def test_a_line_that_says_nothing_is_left_alone(line: bytes) -> None:
    assert of_line(line) == (None, None)


def test_attempts_of_a_job_share_a_folder(local: Any, specs: Specs, tmp_path: Path) -> None:
    provider, news, _ = local()
    shared = str(tmp_path / "job" / "checkpoint")
    for count in (1, 2):
        report = news.end(provider, specs.function("counts", ctx=True, checkpoint=shared))
        assert report.result["values"] == {"count": count}
    report = news.end(provider, specs.shell('cp "$IDDS_CHECKPOINT/count" c.json', result="c.json", checkpoint=shared))
    assert report.failure.code == "E-JOB-RESULT"  # "2" is no object: but it was there
    assert "holds no JSON object but a int" in report.failure.message


@pytest.mark.parametrize("name", ["", "../x", "a/b", "/x", ".hidden"])
def test_a_saved_file_stays_in_the_checkpoint(tmp_path: Path, name: str) -> None:
    from idds_core import Context

    with pytest.raises(ValueError, match="is no file name"):
        Context(tmp_path, 1).save(name, b"x")


def test_a_save_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from idds_core import Context

    ctx = Context(tmp_path, 1)
    ctx.save("state", b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        ctx.save("state", b"new")
    assert ctx.load("state") == b"old"
    assert [p.name for p in ctx.checkpoint.iterdir()] == ["state"]


def test_a_queue_that_is_drained_starts_nothing_more(local: Any, specs: Specs, tmp_path: Path) -> None:
    provider, news, _ = local()
    whistle = Whistle(tmp_path / "whistle")
    running = [specs.function("reports_once", {"whistle": whistle.path}, ctx=True) for _ in range(2)]
    waiting = [specs.function("telling", {"values": []}, ctx=True), specs.shell("true")]
    provider.submit([*running, *waiting])
    whistle.heard(), whistle.heard()
    provider.drain()
    provider.cancel([spec.key for spec in running])
    news.ends(provider, [spec.key for spec in running])
    states = {r.state for r in provider.poll([spec.key for spec in waiting]).values()}
    assert states == {ReportState.QUEUED}
    whistle.close()
