"""YAML 1.2 as people mean it, with lines, and with bounds."""

from __future__ import annotations

from typing import Any

import pytest

from idds_core.errors import DefinitionError
from idds_core.yaml.nodes import MAX_DEPTH, parse


def value(text: str) -> Any:
    return parse(text, "scan.yaml").plain()


def refused(text: str) -> tuple[str, str]:
    with pytest.raises(DefinitionError) as caught:
        parse(text, "scan.yaml")
    (problem,) = caught.value.problems
    return problem.where, str(problem)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("1e-3", 0.001), ("1E5", 1e5), ("-.5", -0.5), ("5.", 5.0), ("012", 12), ("0o17", 15), ("0x1F", 31), ("-7", -7),
        ("on", "on"), ("off", "off"), ("yes", "yes"), ("y", "y"), ("true", True), ("False", False), ("null", None),
        ("~", None), ("", None), ("1_000", "1_000"), ("12:30", "12:30"), ("2024-01-01", "2024-01-01"), ("4GB", "4GB"),
        ("'1e-3'", "1e-3"), ('"null"', "null"), ("tRUE", "tRUE"), ("|\n  a\n  b\n", "a\nb\n"), ("+12", 12),
        ("./mc.sh {x} {seed}", "./mc.sh {x} {seed}"), ("m_zp > m_a + 125", "m_zp > m_a + 125"),
    ],
)  # fmt: skip
def test_a_plain_word_means_what_people_think(text: str, meant: Any) -> None:
    found = value(f"a: {text}")["a"]
    assert (found, type(found)) == (meant, type(meant))


def test_a_key_is_always_text() -> None:
    assert value("on: 1\nnull: 2\n1e-3: 3\n'': 4\n") == {"on": 1, "null": 2, "1e-3": 3, "": 4}


def test_each_value_knows_its_line() -> None:
    root = parse("a:\n  b: 1\n\n  c:\n    - x\n    - {d: 2}\n# comment\ne: &n [1]\nf: *n\n", "scan.yaml")
    places = dict(root.places(""))
    assert places[".a.b"] == 2
    assert places[".a.c"] == 4
    assert places[".a.c[1]"] == places[".a.c[1].d"] == 6
    assert places[".f"] == 9
    assert root.plain() == {"a": {"b": 1, "c": ["x", {"d": 2}]}, "e": [1], "f": [1]}


@pytest.mark.parametrize(
    ("text", "where", "words"),
    [
        ("a: 1\nb: [1\n", "scan.yaml:3", "flow sequence"),
        ("a: b: c\n", "scan.yaml:1", "mapping values are not allowed here"),
        ("a:\n\tb: 1\n", "scan.yaml:2", "cannot start any token"),
        ("a: 1\n\nb: 2\na: 3\n", "scan.yaml:4", "says 'a' twice: the first is in line 1"),
        ("a: 1\n---\nb: 2\n", "scan.yaml:2", "two documents"),
        ("%YAML 1.1\n---\na: on\n", "scan.yaml", "YAML 1.2"),
        ("a: !!python/object:os.system x\n", "scan.yaml:1", "a kind of its own"),
        ("a: !!str 5\n", "scan.yaml:1", "a kind of its own"),
        ("a: &x [*x]\n", "scan.yaml:1", "contains itself"),
        ("a: *x\n", "scan.yaml:1", "stands for nothing"),
        ("a: {b: 1}\nc: {<<: 5}\n", "scan.yaml:2", "merge key"),
        ("? [a]\n: 1\n", "scan.yaml:1", "a key that is no text"),
        ("a: &k x\n*k : 1\n", "scan.yaml:2", "alias for a key"),
        ("a: '\x01'\n", "scan.yaml", "not allowed"),
        ("", "scan.yaml", "is empty"),
        ("# nothing\n", "scan.yaml", "is empty"),
        ("[" * (MAX_DEPTH + 1), "scan.yaml:1", "nested too deeply"),
        ("[" * 100_000, "scan.yaml:1", "nested too deeply"),
        ("a: " + "x" * 1_000_001, "scan.yaml", "too large: more than 1 MB"),
        ("\n".join([f"a0: &a0 [{', '.join('x' * 30)}]",
                    *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 30)}]" for i in range(1, 9))]), "scan.yaml:3",
         "more than 200000 values"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_one_line_with_its_place(text: str, where: str, words: str) -> None:
    place, line = refused(text)
    assert words in line
    assert place.startswith(where)
    assert "\n" not in line
    assert line.startswith(("E-YAML-001", "E-YAML-002"))
