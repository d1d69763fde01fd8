"""From a scan file to a definition, and from its folder to the bundle."""

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from idds_core.definition import Definition
from idds_core.errors import DefinitionError
from idds_core.loading import load, source_folder

HEAD = """
from __future__ import annotations
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Optional
from idds_core import Loop, Real, Space, Workflow, chain, step
from idds_learners import LevelSet, MaxPoints
if TYPE_CHECKING:
    from nowhere import Nothing

@step
def measure(x): ...

def loop(name="scan", **changes):
    return Loop(name, space=Space(x=Real(0, 1)), body=chain(measure), learner=LevelSet("obs", level=0.05),
                until=MaxPoints(5), **changes)
"""


@pytest.fixture(autouse=True)
def _clean(monkeypatch: Any) -> Any:
    """Leave neither modules nor paths behind."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = dict(sys.modules)
    yield
    for name in set(sys.modules) - set(before):
        if name.startswith("scan"):
            del sys.modules[name]


@pytest.fixture
def scan(tmp_path: Any) -> Any:
    def write(text: Any, name: Any = "scan_file.py", head: Any = HEAD) -> Any:
        file = tmp_path / name
        file.write_text(head + text, encoding="utf-8")
        return file

    return write


def refused(path: Any, settings: Any = None) -> Any:
    with pytest.raises(DefinitionError) as caught:
        load(path, settings)
    (problem,) = caught.value.problems
    return problem


def parameters(path: Any, **settings: Any) -> Any:
    return load(path, settings).loop("scan").parameters


# ---------------------------------------------------------------------- files
def test_a_file_defines_one_loop_at_its_top_level(scan: Any) -> None:
    definition = load(scan("the_scan = loop()\nthe_same = the_scan\n"))
    assert isinstance(definition, Definition)
    assert next(definition.workflow.steps())[1].function == "scan_file:measure"


def test_a_file_may_define_a_workflow(scan: Any) -> None:
    assert load(scan("inner = loop()\nflow = Workflow('flow', (inner,))\n")).name == "flow"


def test_a_file_may_define_its_loop_by_a_function(scan: Any) -> None:
    assert load(scan("def define():\n    return loop()\n")).name == "scan"
    assert load(scan("def define():\n    return Workflow('flow', (loop(),))\n")).name == "flow"


def test_modules_beside_the_file_can_be_imported(scan: Any) -> None:
    scan("VALUE = 0.5\n", "scan_helper.py", head="")
    file = scan("import scan_helper\nthe_scan = loop(parameters={'v': scan_helper.VALUE})\n")
    assert parameters(file) == {"v": 0.5}


def test_each_file_is_loaded_anew(scan: Any) -> None:
    assert load(scan("a = loop('one')\n")).name == "one"
    assert load(scan("a = loop('two')\n")).name == "two"


@pytest.mark.parametrize("name", ["scan.json", "scan", "scan.txt", ".py", ".yaml"])
def test_only_python_and_yaml_files_are_scan_files(tmp_path: Any, name: Any) -> None:
    assert refused(tmp_path / name).code == "E-FILE-001"


def test_a_missing_file_is_told(tmp_path: Any) -> None:
    problem = refused(tmp_path / "none.py")
    assert (problem.code, problem.where) == ("E-FILE-002", str(tmp_path / "none.py"))
    (tmp_path / "folder.py").mkdir()
    assert refused(tmp_path / "folder.py").code == "E-FILE-002"


@pytest.mark.parametrize(("text", "count"), [("", 0), ("a, b = loop(), loop('other')\n", 2)])
def test_a_file_without_exactly_one_loop_is_told(scan: Any, text: Any, count: Any) -> None:
    problem = refused(scan(text))
    assert problem.code == "E-FILE-003"
    assert f"defines {count} loops" in problem.what


@pytest.mark.parametrize(
    ("text", "line", "why"),
    [
        ("\n\nx = = 1\n", 3, "SyntaxError: invalid syntax"),
        ("import no_such_module\n", 1, "ModuleNotFoundError"),
        ("\nimport sys\nsys.exit(3)\n", 3, "SystemExit: 3"),
        ("x = 1\ny = 1 / 0\n", 2, "ZeroDivisionError"),
        ("def f():\n    raise RuntimeError('inside')\nf()\n", 2, "RuntimeError: inside"),
    ],
)
def test_an_error_in_the_file_is_told_with_its_line(scan: Any, text: Any, line: Any, why: Any) -> None:
    file = scan(text, head="")
    problem = refused(file)
    assert (problem.code, problem.where) == ("E-FILE-005", f"{file}:{line}")
    assert why in problem.why
    assert file.stem not in sys.modules


def test_a_missing_package_is_named_in_the_way_out(scan: Any) -> None:
    assert refused(scan("import no_such_module\n")).fix == "Install no_such_module, or put it beside the file."


@pytest.mark.parametrize("content", [b"x = '\xff'\n", b"x = 1\0\n"])
def test_a_file_that_is_no_text_is_told(tmp_path: Any, content: Any) -> None:
    file = tmp_path / "scan_file.py"
    file.write_bytes(content)
    assert refused(file).code == "E-FILE-005"


@pytest.mark.parametrize("name", ["json.py", "numpy.py", "idds_core.py", "my.scan.py"])
def test_a_file_that_a_worker_would_not_find_by_its_name_is_refused(scan: Any, name: Any) -> None:
    assert refused(scan("a = loop()\n", name)).code == "E-FILE-012"


@pytest.mark.parametrize(
    "text",
    [
        "a = loop()\nmeasure = step(name='f')(lambda x: x)\na = loop_of(measure)\n",
        "def make():\n    @step\n    def inner(x): ...\n    return inner\na = loop_of(make())\n",
    ],
)
def test_functions_that_cannot_be_found_again_are_refused(scan: Any, text: Any) -> None:
    helper = "def loop_of(s):\n    import dataclasses\n    return dataclasses.replace(loop(), body=chain(s))\n"
    assert refused(scan(helper + text)).code == "E-STEP-005"


def test_mistakes_of_the_definition_are_told_as_they_are(scan: Any) -> None:
    with pytest.raises(DefinitionError) as caught:
        load(scan("a = loop('My Scan', batch=0)\n"))
    assert {p.code for p in caught.value.problems} == {"E-DEF-001", "E-DEF-006"}


# ---------------------------------------------------------------------- --set
DEFINE = """
def define(n: int = 3, tol: float = 0.01, tag: str = "a", fast: bool = False, data: Path = Path("d"),
           most: Optional[int] = None, least: float | None = None, kind: Literal["x", "y"] = "x",
           plain=7, unknown: Nothing = None):
    return loop()
"""


def test_what_define_was_called_with_are_the_parameters_of_the_definition(
    scan: Any, tmp_path: Any, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert parameters(scan(DEFINE)) == {
        "n": 3, "tol": 0.01, "tag": "a", "fast": False, "data": str(tmp_path / "d"), "most": None, "least": None,
        "kind": "x", "plain": 7, "unknown": None}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("n", "5", 5),
        ("n", "-5", -5),
        ("tol", "1e-3", 0.001),
        ("tol", "2", 2.0),
        ("tag", "5", "5"),
        ("tag", "", ""),
        ("fast", "true", True),
        ("fast", "Yes", True),
        ("fast", "0", False),
        ("most", "5", 5),
        ("most", "none", None),
        ("least", "0.5", 0.5),
        ("least", "None", None),
        ("kind", "y", "y"),
        ("plain", "8", 8),
        ("unknown", "text", "text"),
    ],
)
def test_text_is_read_as_the_annotation_says(scan: Any, name: Any, text: Any, value: Any) -> None:
    found = parameters(scan(DEFINE), **{name: text})[name]
    assert (found, type(found)) == (value, type(value))


def test_paths_are_resolved_where_the_command_is_given(scan: Any, tmp_path: Any, monkeypatch: Any) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    file = scan(DEFINE)
    assert parameters(file, data="../x")["data"] == str(tmp_path / "x")
    assert parameters(file)["data"] == str(elsewhere / "d")


@pytest.mark.parametrize(
    ("name", "text"),
    [("n", "3.5"), ("n", "many"), ("n", ""), ("tol", "small"), ("fast", "maybe"), ("most", "x"), ("kind", "z")],
)
def test_text_of_another_type_is_told(scan: Any, name: Any, text: Any) -> None:
    problem = refused(scan(DEFINE), {name: text})
    assert problem.code == "E-FILE-010"
    assert f"--set {name}={text}" in problem.what


def test_a_type_that_no_text_can_be_is_told(scan: Any) -> None:
    file = scan("def define(xs: list[int] = (), m: dict = None):\n    return loop()\n")
    assert "list[int]" in refused(file, {"xs": "1"}).why
    assert refused(file, {"m": "1"}).code == "E-FILE-010"


def test_an_unknown_setting_is_told_with_the_nearest_name(scan: Any) -> None:
    problem = refused(scan(DEFINE), {"tols": "1", "zzz": "2"})
    assert problem.code == "E-FILE-006"
    assert "--set tols, zzz" in problem.what
    assert "Did you mean 'tol'?" in problem.fix


def test_settings_need_a_function_to_go_to(scan: Any) -> None:
    assert refused(scan("a = loop()\n"), {"n": "1"}).code == "E-FILE-004"


def test_a_setting_without_a_default_must_be_given(scan: Any) -> None:
    file = scan("def define(n: int):\n    return loop()\n")
    assert refused(file).code == "E-FILE-007"
    assert parameters(file, n="4") == {"n": 4}


def test_further_names_are_taken_where_define_takes_them(scan: Any) -> None:
    file = scan("def define(n: int = 1, **more):\n    return loop()\n")
    assert parameters(file, n="4", other="x") == {"n": 4, "other": "x"}


def test_parameters_of_the_loop_win_over_those_of_define(scan: Any) -> None:
    assert parameters(scan("def define(n: int = 1):\n    return loop(parameters={'n': 2})\n")) == {"n": 2}


@pytest.mark.parametrize(
    ("body", "why"),
    [("raise ValueError('no data')", "ValueError: no data"), ("import sys; sys.exit(1)", "SystemExit: 1")],
)
def test_an_error_in_define_is_told_with_its_line(scan: Any, body: Any, why: Any) -> None:
    file = scan(f"def define():\n    {body}\n")
    problem = refused(file)
    line = HEAD.count("\n") + 2
    assert (problem.code, problem.where, problem.why) == ("E-FILE-008", f"{file}:{line}", why)


@pytest.mark.parametrize("value", ["None", "5", "[loop()]"])
def test_define_returns_a_loop(scan: Any, value: Any) -> None:
    assert refused(scan(f"def define():\n    return {value}\n")).code == "E-FILE-009"


def test_a_loop_with_impossible_parameters_is_told_by_the_validation(scan: Any) -> None:
    file = scan("def define(n: int = 1):\n    return loop(parameters=5)\n")
    assert refused(file).code == "E-DEF-008"


def test_the_folder_of_the_file_is_what_workers_get(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    assert source_folder("a/scan.py") == Path(os.path.realpath(tmp_path)) / "a"
