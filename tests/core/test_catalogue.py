"""Every code is explained, nothing is explained that is no code, and each is expected by a test that provokes it."""

from __future__ import annotations

import ast
import functools
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from idds_core import catalogue as module
from idds_core.catalogue import CODE, catalogue, family, markdown

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("idds_core", "learners", "agents")
#: a call that makes an error is no test of one
MAKERS = {"Problem", "Failure", "JobReport", "failure", "of", "lost", "IddsError", "Attempt"}


def texts(file: Path, *, made: bool) -> Iterator[tuple[str, int]]:
    """Text in the code of a file with its line: no docstrings, and only where asked what a call makes an error of."""
    stack: list[ast.AST] = [ast.parse(file.read_text(encoding="utf-8"))]
    while stack:
        node = stack.pop()
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue
        if isinstance(node, ast.Call) and not made:
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in MAKERS:
                continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value, node.lineno
        stack.extend(ast.iter_child_nodes(node))


def found(files: Iterator[Path], *, made: bool) -> dict[str, str]:
    """Code -> the first place that names it."""
    places: dict[str, list[str]] = defaultdict(list)
    for file in files:
        for text, line in texts(file, made=made):
            for code in CODE.findall(text):
                places[code].append(f"{file.relative_to(ROOT)}:{line}")
    return {code: min(where) for code, where in places.items()}


@functools.cache
def in_source() -> dict[str, str]:
    return found((f for source in SOURCES for f in (ROOT / source).rglob("*.py")), made=True)


def test_every_code_is_explained() -> None:
    missing = [
        f"{code} ({where}): add [{code}] with means, why and fix to idds_core/catalogue/{family(code)}"
        for code, where in sorted(in_source().items())
        if code not in catalogue()
    ]
    assert not missing, "\n".join(missing)


def test_nothing_is_explained_that_is_no_code() -> None:
    unused = [
        f"{code}: nothing in {', '.join(SOURCES)} says it; remove it from idds_core/catalogue/{family(code)}"
        for code in catalogue()
        if code not in in_source()
    ]
    assert not unused, "\n".join(unused)


def test_every_code_is_expected_by_a_test() -> None:
    tests = (f for f in (ROOT / "tests").rglob("*.py") if f != Path(__file__).resolve())
    expected = found(tests, made=False)
    missing = [
        f"{code} ({where}): no test names it; write one that provokes it and expects it, or delete the branch"
        for code, where in sorted(in_source().items())
        if code not in expected
    ]
    assert not missing, "\n".join(missing)


def test_each_entry_is_in_the_file_of_its_family_once_and_in_whole_sentences() -> None:
    wrong, seen = [], set()
    for file in sorted(Path(module.__file__).parent.glob("*.toml")):
        for code, entry in tomllib.loads(file.read_text(encoding="utf-8")).items():
            if code in seen or not CODE.fullmatch(code) or file.name != family(code):
                wrong.append(f"{code} in {file.name}: it belongs once into {family(code)}")
            if sorted(entry) != ["fix", "means", "why"] or not all(t.endswith((".", ")", "?")) for t in entry.values()):
                wrong.append(f"{code}: it needs means, why and fix, each a sentence")
            seen.add(code)
    assert not wrong, "\n".join(wrong)


def test_the_page_of_errors_is_up_to_date() -> None:
    written = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8")
    assert written == markdown(), "python -m idds_core.catalogue > docs/errors.md"


def test_documents_name_no_code_that_does_not_exist() -> None:
    files = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("config/*")]
    wrong = [
        f"{f.relative_to(ROOT)}: {code}"
        for f in files
        for code in CODE.findall(f.read_text(encoding="utf-8"))
        if code not in catalogue()
    ]
    assert not wrong
