"""Whatever a job or a site answers: a result, or a failure on record; the engine goes on, and the record is whole."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from idds_core.model import chain
from idds_core.ports import Failure, JobReport, JobSpec, ReportState, Usage
from idds_core.providers.attempt_folder import read_end
from idds_core.states import TERMINAL, FailureClass
from idds_core.testing.fakes import ScriptedProvider, success
from tests.core.fuzz_kit import ANY_TEXT, JSON, bounded, quick
from tests.world import World, function, toy

DONE = {
    "protocol": 1, "key": "k", "digest": "d", "state": "succeeded", "node": "n", "failure": None, "result_sha256": "",
    "usage": {"wall_s": 1.0, "cpu_s": 1.0, "max_rss": 1},
}  # fmt: skip
RESULT = {
    "protocol": 1, "key": "k", "digest": "d", "values": {"z": 1.0},
    "files": {"f": {"path": "f", "bytes": 1, "sha256": "0"}}
}  # fmt: skip
FAILURE = {"class": "USER", "code": "E-JOB-EXIT", "message": "m", "signature": "s"}


def places(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    inner = value.items() if isinstance(value, Mapping) else ()
    return [path, *(found for key, each in inner for found in places(each, (*path, key)))]


def changed(value: Any, path: tuple[str, ...], new: Any) -> Any:
    return {**value, path[0]: changed(value[path[0]], path[1:], new)} if path else new


def read(folder: Path, done: bytes, result: bytes) -> JobReport | None:
    (folder / "DONE.json").write_bytes(done)
    (folder / "result.json").write_bytes(result)
    with bounded():
        return read_end(str(folder), "k", "d", 10_000)


def sound(report: JobReport | None) -> None:
    """An end there is, and it is one that the engine can judge."""
    assert report is not None
    assert isinstance(report.state, ReportState)
    assert isinstance(report.usage.max_rss, int)


@given(st.sampled_from(places(DONE)), JSON, st.booleans())
@settings(quick, max_examples=400)
def test_an_end_that_makes_no_sense_is_a_failure_of_the_site(
    tmp_path_factory: pytest.TempPathFactory, path: tuple[str, ...], odd: Any, failed: bool
) -> None:
    folder = tmp_path_factory.mktemp("attempt")
    result = json.dumps(RESULT).encode()
    done: Any = {**DONE, "result_sha256": hashlib.sha256(result).hexdigest()}
    done = {**done, "state": "failed", "failure": FAILURE} if failed else done
    sound(read(folder, json.dumps(changed(done, path, odd)).encode(), result))


@given(st.sampled_from(places(RESULT)), JSON)
@settings(quick, max_examples=300)
def test_a_result_that_makes_no_sense_is_a_failure_of_the_site(
    tmp_path_factory: pytest.TempPathFactory, path: tuple[str, ...], odd: Any
) -> None:
    result = json.dumps(changed(RESULT, path, odd)).encode()
    done = {**DONE, "result_sha256": hashlib.sha256(result).hexdigest()}
    sound(read(tmp_path_factory.mktemp("attempt"), json.dumps(done).encode(), result))


@given(st.binary(max_size=80), st.binary(max_size=80))
@settings(quick, max_examples=200)
@example(b"[" * 90_000, b"{}")
@example(b'{"a":' * 9_000, b"")
@example(b"9" * 90_000, b"")
def test_bytes_that_are_no_json_are_a_failure_of_the_site(
    tmp_path_factory: pytest.TempPathFactory, done: bytes, result: bytes
) -> None:
    sound(read(tmp_path_factory.mktemp("attempt"), done, result))


# ---------------------------------------------------------------------- all the way into the record
def ends(folder: Path, answer: Any) -> None:
    """A workflow of one point whose job is answered like that ends, and its record is whole."""

    def script(spec: JobSpec) -> JobReport:
        return answer(spec) if callable(answer) else answer  # type: ignore[no-any-return]

    body = chain(function("measure", "x", "y", attempts=1))
    world = World(folder, ScriptedProvider(script), toy(1, batch=1, body=body))
    try:
        with bounded():
            for _ in range(30):
                world.clock.advance(120.0)  # what failed by the site's fault waits before it is tried again
                if world.run().state in TERMINAL["loop"]:
                    break
        assert world.loop.state in TERMINAL["loop"]
        assert world.violations() == {}
    finally:
        world.store.close()


@given(JSON, JSON)
@settings(quick, max_examples=100)
@example({"z": 1.0}, {"f": 5})
@example({"z": 1.0, "\ud800": 2.0}, {})
@example({"z": 10**400}, {})
def test_any_values_and_files_are_an_observation_or_a_failure_on_record(
    tmp_path_factory: pytest.TempPathFactory, values: Any, files: Any
) -> None:
    def answer(spec: JobSpec) -> JobReport:
        result = {"key": spec.key, "digest": spec.digest, "values": values, "files": files}
        return JobReport(ReportState.SUCCEEDED, result, usage=Usage(1.0, 1.0, 1000))

    ends(tmp_path_factory.mktemp("world"), answer)


def test_a_result_that_is_nested_as_deep_as_json_can_be_is_a_failure_on_record(tmp_path: Path) -> None:
    deep = json.loads("[" * 900 + "]" * 900)
    ends(tmp_path, lambda spec: success(spec, {"z": 1.0, "deep": deep}))


@pytest.mark.parametrize("odd", [math.inf, math.nan, -5.0, 1e300, 2**70])
def test_a_usage_that_nobody_can_have_used_counts_nothing(tmp_path: Path, odd: float) -> None:
    def answer(spec: JobSpec) -> JobReport:
        return replace(success(spec, {"z": 1.0}), usage=Usage(odd, odd, int(odd) if math.isfinite(odd) else 1))

    ends(tmp_path, answer)


@given(ANY_TEXT, ANY_TEXT, ANY_TEXT, st.sampled_from(sorted(FailureClass)))
@settings(quick, max_examples=40)
@example("cannot read \udcff.root", "\ud800", "node\x00", FailureClass.USER)
def test_a_failure_in_any_words_is_on_record(
    tmp_path_factory: pytest.TempPathFactory, message: str, signature: str, node: str, class_: FailureClass
) -> None:
    """Names of files need not be UTF-8, and messages name them."""
    failure = Failure(class_, "E-JOB-EXIT", message, signature)
    ends(tmp_path_factory.mktemp("world"), JobReport(ReportState.FAILED, failure=failure, node=node))
