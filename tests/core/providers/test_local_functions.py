from __future__ import annotations

import math
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idds_core.model import Requirements
from idds_core.ports import JobReport, JobSpec, ReportState
from idds_core.providers.local import LocalProvider
from idds_core.states import FailureClass
from tests.core.providers.kit import News, Specs

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


# ---------------------------------------------------------------------- results
def test_a_dictionary_is_a_result_with_key_and_digest(local: LocalProvider, news: News, specs: Specs) -> None:
    spec = specs.function("double", {"x": 1.5})
    report = news.end(local, spec)
    assert report.result == {"key": spec.key, "digest": spec.digest, "values": {"y": 3.0}, "files": {}}
    assert report.failure is None
    assert report.usage.wall_s > 0
    assert report.usage.max_rss > 1e6
    assert report.node


def test_scalars_of_numpy_become_numbers(local: LocalProvider, news: News, specs: Specs) -> None:
    found = values(news.end(local, specs.function("everything")))
    assert found == {"float": 1.5, "int": 3, "bool": True, "text": "ä", "none": None, "zero": 2.5, "list": [1, 0.5]}
    assert type(found["int"]) is int
    assert found["bool"] is True


def test_a_single_number_is_called_output_and_none_is_nothing(local: LocalProvider, news: News, specs: Specs) -> None:
    assert values(news.end(local, specs.function("number"))) == {"output": 4.25}
    assert values(news.end(local, specs.function("nothing"))) == {}


def test_nan_and_infinity_arrive_for_the_carrier_to_reject(local: LocalProvider, news: News, specs: Specs) -> None:
    found = values(news.end(local, specs.function("not_finite")))
    assert math.isnan(found["a"])
    assert (found["b"], found["c"]) == (math.inf, -math.inf)


@pytest.mark.parametrize("kind", ["object", "array", "key"])
def test_a_value_that_is_not_json_fails(local: LocalProvider, news: News, specs: Specs, kind: str) -> None:
    message = failed(news.end(local, specs.function("not_json", {"kind": kind})), "USER", "E-JOB-RESULT")
    assert "bad" in message or "1" in message


def test_a_circular_value_fails(local: LocalProvider, news: News, specs: Specs) -> None:
    assert "bad" in failed(news.end(local, specs.function("circular")), "USER", "E-JOB-RESULT")


def test_a_result_of_100_mb_does_not_travel(local: LocalProvider, news: News, specs: Specs) -> None:
    message = failed(news.end(local, specs.function("huge")), "USER", "E-JOB-RESULT")
    assert re.search(r"100000\d\d\d bytes, 1000000 are allowed", message)


def test_a_file_is_described(local: LocalProvider, news: News, specs: Specs) -> None:
    spec = specs.function("one_file", {"text": "hello"}, ctx=True)
    report = news.end(local, spec)
    assert values(report) == {}
    assert report.result is not None
    described = report.result["files"]["output"]
    assert described == {
        "path": f"{spec.folder}/made.txt",
        "bytes": 5,
        "sha256": "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    }


def test_a_relative_file_lies_in_the_folder(local: LocalProvider, news: News, specs: Specs) -> None:
    spec = specs.function("relative_file", ctx=True)
    report = news.end(local, spec)
    assert values(report) == {"n": 1}
    assert report.result is not None
    assert report.result["files"]["made"]["path"] == f"{spec.folder}/here.txt"


def test_a_file_that_was_never_made_fails(local: LocalProvider, news: News, specs: Specs) -> None:
    assert "never.txt" in failed(news.end(local, specs.function("missing_file", ctx=True)), "USER", "E-JOB-OUTPUT")


def test_files_are_arguments(local: LocalProvider, news: News, specs: Specs, tmp_path: Path) -> None:
    (tmp_path / "in.txt").write_text("content")
    source = {"$file": str(tmp_path / "in.txt")}
    spec = specs.function("read_file", {"source": source, "more": [source]})
    assert values(news.end(local, spec)) == {"text": "content", "more": ["in.txt"]}


def test_the_context_has_folder_seed_and_parameters(local: LocalProvider, news: News, specs: Specs) -> None:
    spec = specs.function("about", ctx=True)
    assert values(news.end(local, spec)) == {"folder": spec.folder, "cwd": spec.folder, "seed": 7, "m": 5.5}


def test_a_silent_function_without_context_makes_no_folder(local: LocalProvider, news: News, specs: Specs) -> None:
    news.end(local, specs.function("about", ctx=True))  # the next one is not left in this folder
    spec = specs.function("surroundings")
    found = values(news.end(local, spec))
    assert not Path(spec.folder).exists()
    assert found["cwd"] == str(local.root / "workers")
    assert found["threads"] == "1"


# ---------------------------------------------------------------------- failures
def test_infeasible_is_no_failure(local: LocalProvider, news: News, specs: Specs) -> None:
    report = news.end(local, specs.function("infeasible"))
    assert report.state is ReportState.INFEASIBLE
    assert report.failure is not None
    assert (report.failure.code, report.failure.message) == ("E-JOB-INFEASIBLE", "m_a is above m_zp")


def test_an_exception_tells_type_and_text_and_equal_errors_are_told(
    local: LocalProvider, news: News, specs: Specs
) -> None:
    one, two = (specs.function("raises", {"x": x}) for x in (1.5, 2.5))
    first, second = news.end(local, one), news.end(local, two)
    assert failed(first, "USER", "E-JOB-RAISED") == "ValueError: bad value 1.5"
    assert first.failure is not None
    assert second.failure is not None
    assert first.failure.signature == second.failure.signature
    assert re.search(r"ValueError\|toys.py:\d+$", first.failure.signature)
    assert "Traceback" in log_of(one)
    other = news.end(local, specs.function("system_exit"))
    assert other.failure is not None
    assert other.failure.signature != first.failure.signature


@pytest.mark.parametrize(
    ("name", "text"),
    [("system_exit", "SystemExit: 3"), ("interrupted", "KeyboardInterrupt"), ("raises_unprintable", "Odd: ")],
)
def test_whatever_is_raised_is_a_failure(local: LocalProvider, news: News, specs: Specs, name: str, text: str) -> None:
    assert failed(news.end(local, specs.function(name)), "USER", "E-JOB-RAISED").startswith(text)


def test_an_interrupt_of_its_own_process_is_a_failure(local: LocalProvider, news: News, specs: Specs) -> None:
    report = news.end(local, specs.function("dies", {"number": int(signal.SIGINT)}))
    assert failed(report, "USER", "E-JOB-RAISED") == "KeyboardInterrupt"


@pytest.mark.parametrize(
    "reference",
    [
        "no_such_module:f",
        "toys:no_such_function",
        "toys:not_a_function",
        "leaves:f",
        "toys:",
        ":double",
        "toys:double.x",
    ],
)
def test_what_cannot_be_imported_is_fatal(local: LocalProvider, news: News, specs: Specs, reference: str) -> None:
    assert failed(news.end(local, specs.function(reference)), "FATAL", "E-JOB-IMPORT")


def test_wrong_arguments_are_a_failure(local: LocalProvider, news: News, specs: Specs) -> None:
    assert "TypeError" in failed(news.end(local, specs.function("double", {"z": 1})), "USER", "E-JOB-RAISED")


# ---------------------------------------------------------------------- what is printed
def test_what_is_printed_goes_to_the_log_of_its_own_job(local: LocalProvider, news: News, specs: Specs) -> None:
    one, two, three = (
        specs.function("prints", {"text": "héllo"}),
        specs.function("double", {"x": 1}),
        specs.function("prints", {"text": "b"}),
    )
    for spec in (one, two, three):
        values(news.end(local, spec))
    assert log_of(one) == "héllo\nand an error\nraw\n"
    assert not Path(two.folder).exists()
    assert log_of(three) == "b\nand an error\nraw\n"
    assert local.tail(one.key).text == log_of(one)


def test_a_long_log_keeps_head_and_tail(local: LocalProvider, news: News, specs: Specs) -> None:
    spec = specs.function("prints_a_lot", {"lines": 20_000}, log_limit=2000)
    values(news.end(local, spec))
    text = log_of(spec)
    assert len(text) <= 2000
    assert text.startswith("line 0\nline 1\n")
    assert text.endswith("line 19999\n")
    assert "bytes left out" in text


def test_an_endless_log_is_cut_while_it_is_written(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    heard = whistle("w")
    spec = specs.function(
        "prints_for_ever", {"path": heard.path}, log_limit=10_000, requires=Requirements(walltime=0.7)
    )
    failed(news.end(local, spec), "USER", "E-JOB-WALLTIME")
    assert Path(spec.folder, "log").stat().st_size <= 10_000
    assert "bytes left out" in log_of(spec)


def test_a_log_that_is_cut_while_it_is_written_keeps_its_tail_and_a_small_one_is_not_cut(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    heard, text = whistle("w"), "few words " * 10_000
    small = specs.function("prints_then_waits", {"path": heard.path, "text": text}, log_limit=2000)
    large = specs.function("prints_until_cut", {"lines": 200_000}, log_limit=2000)
    local.submit([small])
    heard.heard()
    values(news.end(local, large))
    assert log_of(large).startswith("line 0\nline 1\n")
    assert log_of(large).endswith("line 199998\nline 199999\n")
    assert Path(large.folder, "log").stat().st_size <= 2000
    assert local.tail(small.key).text == text + "\n"  # what is no danger can be followed as long as the job runs
    local.cancel([small.key])
    news.ends(local, [small.key])
    assert Path(small.folder, "log").stat().st_size <= 2000


def test_the_log_of_a_running_function_can_be_followed(
    local: LocalProvider, news: News, specs: Specs, whistle: MakeWhistle
) -> None:
    heard = whistle("w")
    spec = specs.function("prints_then_waits", {"path": heard.path, "text": "so far ä"})
    local.submit([spec])
    heard.heard()
    chunk = local.tail(spec.key)
    assert chunk.text == "so far ä\n"
    assert local.tail(spec.key, chunk.offset).text == ""
    assert local.tail(spec.key, 7).text == "ä\n"
    local.cancel([spec.key])
    news.ends(local, [spec.key])
    assert local.tail(spec.key).text == "so far ä\n"
