"""Errors say what is wrong, why, where, and how to mend it."""

import pickle
from typing import Any

import pytest

from idds_core.errors import DefinitionError, IddsError, Problem, ProviderError, did_you_mean


def test_a_problem_is_one_line_with_code_what_why_where_and_fix() -> None:
    problem = Problem("E-X-001", "it broke", "two\nlines   of reason", "scan.py:3", "Mend it.")
    assert str(problem) == "E-X-001 it broke: two lines of reason (scan.py:3). Mend it."


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (Problem("E-X-001", "it broke"), "E-X-001 it broke."),
        (Problem("E-X-001", "it broke."), "E-X-001 it broke."),
        (Problem("E-X-001", "it broke", why="so"), "E-X-001 it broke: so."),
        (Problem("E-X-001", "it broke", where="here"), "E-X-001 it broke (here)."),
        (Problem("E-X-001", "it broke", fix="Mend it."), "E-X-001 it broke. Mend it."),
    ],
)
def test_parts_that_are_not_given_leave_no_trace(given: Any, text: Any) -> None:
    assert str(given) == text


def test_an_error_prints_all_its_problems_and_has_the_code_of_the_first() -> None:
    error = DefinitionError.all([Problem("E-A-001", "one"), Problem("E-B-002", "two")])
    assert str(error) == "E-A-001 one.\nE-B-002 two."
    assert error.code == "E-A-001"
    assert isinstance(error, IddsError)


def test_an_error_without_a_problem_is_unknown() -> None:
    assert IddsError().code == "E-UNKNOWN"


def test_an_error_made_from_words_is_of_the_class_it_was_asked_of() -> None:
    error = DefinitionError.of("E-A-001", "one", "why", "where", "Fix.")
    assert type(error) is DefinitionError
    assert error.problems == (Problem("E-A-001", "one", "why", "where", "Fix."),)


def test_a_provider_error_says_whether_waiting_may_help() -> None:
    assert ProviderError(Problem("E-P-001", "down")).transient
    assert not ProviderError(Problem("E-P-002", "account expired"), transient=False).transient


def test_errors_cross_processes() -> None:
    error = DefinitionError.of("E-A-001", "one", "why")
    assert pickle.loads(pickle.dumps(error)).problems == error.problems


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("m_zq", ["m_zp", "m_a"], "Did you mean 'm_zp'?"),
        ("max_point", {"max_points": 1}, "Did you mean 'max_points'?"),
        ("tan_beta", ["m_zp", "m_a"], ""),
        ("x", [], ""),
    ],
)
def test_the_nearest_name_is_asked_after_when_one_is_near(name: Any, known: Any, hint: Any) -> None:
    assert did_you_mean(name, known) == hint


def test_a_problem_is_a_line_that_any_terminal_can_show() -> None:
    """A name may hold what no encoding has: half of a surrogate pair, as names of files do that are not UTF-8."""
    line = str(Problem("E-DEF-001", "no proper name", "'\udcff'\nis odd", "body.\ud800scan"))
    assert line == r"E-DEF-001 no proper name: '\udcff' is odd (body.\ud800scan)."
    line.encode()
