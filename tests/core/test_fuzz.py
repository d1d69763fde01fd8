"""Whatever comes in, of definitions, expressions and logs: an answer or one coded error, in bounded time and memory."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from idds_agents.cli.text import clean
from idds_core.errors import DefinitionError
from idds_core.expressions import Expression, ExpressionError
from idds_core.loading import load
from idds_core.runner.capped_log import CappedLog, last_line
from idds_core.runner.failures import normalised
from idds_core.runner.frames import FrameReader, pack
from idds_core.yaml.loading import load_text
from tests.core.fuzz_kit import ANY_TEXT, bounded, mangled, quick

YAML = """
name: scan
space:
  mass: {low: 200, high: 2000, unit: GeV}
  kind: [a, b]
constraints: ["mass > 250"]
parameters: {events: 1000}
steps:
  simulate: {run: "./simulate.sh {mass} {kind} {seed}", outputs: {events: events.txt}, result: limits.json}
learner: {type: sobol}
targets: [cls]
until: MaxPoints(20) | Wall(7200)
batch: 4
"""
YAML_PIECES = [
    "&a [*a, *a]", "&a", "*a", "<<: *a", "!!python/object/apply:os.system [ls]", "[" * 60, "{a: " * 60, "? ", "- ",
    "\t",
    "|\n", ">-\n", "%YAML 1.1\n---\n", "---\n", "1e999999999", "0x" + "f" * 400, "9" * 6000, "1_0", ".inf", ".nan", "~",
    '"\\ud800"', "\x00", "\ufeff", "\u2028", "MaxPoints(", ") | (", "9**9**9", "{m" * 40, "#", "''",
]  # fmt: skip
PYTHON = """
from idds_core import Categorical, Loop, Real, Space, chain, step
from idds_learners import MaxPoints, Sobol

@step
def measure(mass, kind):
    return {"cls": 0.1}

def define(points: int = 5):
    space = Space(mass=Real(200, 2000, unit="GeV"), kind=Categorical(["a", "b"]), constraints=["mass > 250"])
    return Loop("scan", space=space, body=chain(measure), learner=Sobol(["cls"]), until=MaxPoints(points), batch=4)
"""
PYTHON_PIECES = [
    "None", "float('nan')", "1e999", "-1", "'\\ud800'", "[]", "{}", "lambda: 1", "1/0", "raise SystemExit(3)", "yield",
    "\x00", "    ", "(" * 90, "=", "*", "# coding: klingon\n", "'''", "\\", "define", "scan = 5\n", "10**4000",
]  # fmt: skip
_WORDS = """x y kind 'a' 1 1e308 0 1e-320 True None + - * / % ** // < <= == != and or not ( ) , min( max( hypot( log(
exp( sqrt( abs( . [ ] if else lambda : @ in is f'{x}' __class__ ; = := `"""
TOKENS = st.sampled_from([*_WORDS.split(), "9" * 400, "\\\n", "\x00", "\ud800"])


# ---------------------------------------------------------------------- expressions
@given(st.lists(TOKENS, max_size=14).map(" ".join))
@settings(quick, max_examples=600)
def test_tokens_in_any_order_are_an_expression_or_are_refused_in_a_line(text: str) -> None:
    with bounded():
        try:
            expression = Expression(text, ["x", "y", "kind"])
            expression({"x": 2.0, "y": -3.0, "kind": "a"})
            expression({"x": np.ones(5), "y": np.zeros(5), "kind": np.array(["a"] * 5)})
        except ExpressionError as error:
            assert len(str(error).splitlines()) == 1  # noqa: PT017 - most inputs are refused


@pytest.mark.parametrize(
    "unit", ["(", "-", "not ", "x+", "x**", "x<", "x and ", "min(x,", "1", "[", "{", "'", '"""', "\\"]
)
@pytest.mark.parametrize("count", [100, 499, 100_000])
def test_an_expression_of_one_thing_again_and_again_is_answered_at_once(unit: str, count: int) -> None:
    with bounded(cpu_seconds=2), contextlib.suppress(ExpressionError):
        Expression(unit * count, ["x"])({"x": 1.0})


# ---------------------------------------------------------------------- definitions
@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Leave neither modules nor paths behind."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield
    sys.modules.pop("fuzzed_scan", None)


def told(error: DefinitionError) -> None:
    """Each problem is one line with its code, that any terminal and any file can take."""
    assert error.problems
    for problem in error.problems:
        line = str(problem)
        assert line.startswith("E-")
        assert len(line.splitlines()) == 1, line
        line.encode()


@pytest.mark.usefixtures("modules")
def test_the_texts_to_be_mangled_are_right(tmp_path: Path) -> None:
    """Else only the first lines of the loaders would be tried."""
    file = tmp_path / "fuzzed_scan.py"
    file.write_text(PYTHON, encoding="utf-8")
    assert load(file).name == load_text(YAML, Path("/nowhere/scan.yaml")).name == "scan"


@given(mangled(YAML, YAML_PIECES))
@settings(quick, max_examples=400)
def test_a_yaml_file_that_is_nearly_right_is_a_definition_or_is_refused_in_lines(text: str) -> None:
    with bounded():
        try:
            load_text(text, Path("/nowhere/scan.yaml"))
        except DefinitionError as error:
            told(error)


def test_aliases_that_multiply_and_depth_without_end_are_refused_at_once() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 30)
    )
    for text in (bomb, "[" * 200_000, "a: " * 5000, "- " * 200_000, "{" * 100_000, "&a " * 1000, "x" * 2_000_000):
        with bounded(cpu_seconds=20), pytest.raises(DefinitionError) as caught:
            load_text(text, Path("/nowhere/scan.yaml"))
        told(caught.value)


@example(PYTHON.replace('"scan"', '"\\ud800scan"'))
@given(mangled(PYTHON, PYTHON_PIECES))
@settings(quick, max_examples=150)
@pytest.mark.usefixtures("modules")
def test_a_python_file_that_is_nearly_right_is_a_definition_or_is_refused_in_lines(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    file = tmp_path_factory.mktemp("fuzz") / "fuzzed_scan.py"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with bounded():
        try:
            load(file)
        except DefinitionError as error:
            told(error)


# ---------------------------------------------------------------------- what jobs print
LOG = st.lists(
    st.one_of(
        ANY_TEXT,
        st.sampled_from(
            ["\x1b[", "\x1b]0;title", "\x07", "\x1b\\", "\x9b31m", "\x1bP", "\x1b", "\r", "\n", "\x08" * 9, "m"]
        ),
    ),
    max_size=20,
).map("".join)


def steers(text: str) -> bool:
    return any((ord(c) < 32 and c not in "\t\n") or 127 <= ord(c) < 160 for c in text)


@given(LOG)
@settings(quick, max_examples=500)
def test_nothing_that_a_job_prints_can_steer_a_terminal(text: str) -> None:
    assert not steers(clean(text))
    assert clean(clean(text)) == clean(text)
    shown = last_line(text.encode("utf-8", "surrogatepass"))
    assert not steers(shown)
    assert len(shown) <= 500
    assert len(normalised(text)) <= 200


@pytest.mark.parametrize(
    "unit", ["\x1b[", "\x1b]", "\x1bP", "\x1b", "\x1b[0;", "/a", "0x", "1e", "1.", "a ", "\x1b]\x1b\\", "\n"]
)
def test_a_log_of_one_thing_without_end_is_cleaned_in_bounded_time(unit: str) -> None:
    text = unit * 200_000
    with bounded(cpu_seconds=5):
        assert not steers(clean(text))
        last_line(text.encode())
        normalised(text)


@given(st.lists(st.binary(max_size=400), max_size=12), st.integers(0, 900))
@settings(quick, max_examples=150)
def test_a_log_never_takes_more_room_than_it_may(
    tmp_path_factory: pytest.TempPathFactory, chunks: list[bytes], limit: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    log = CappedLog(str(path), limit)
    for chunk in chunks:
        log.write(chunk)
    log.close()
    whole, kept = b"".join(chunks), path.read_bytes()
    assert len(kept) <= log.limit
    assert kept == whole or (b"bytes left out" in kept and whole.startswith(kept[: log.head]))


# ---------------------------------------------------------------------- what workers answer
@given(st.lists(st.one_of(st.binary(max_size=30), st.just(pack('{"a": 1}')), st.just(pack("[" * 5000))), max_size=6))
@settings(quick, max_examples=300)
def test_bytes_of_a_worker_are_values_or_an_error_that_ends_that_worker(chunks: list[bytes]) -> None:
    reader = FrameReader(10_000)
    with bounded():
        try:
            for chunk in chunks:
                reader.feed(chunk)
        except (ValueError, RecursionError):  # what the pool takes as the end of a worker
            return
