"""What a step depends on: its own code and no more, and never less."""

from __future__ import annotations

from pathlib import Path

import pytest

from idds_core.model import Requirements, Step, command
from idds_core.sources import Bundle, step_digest

SCAN = '''"""A scan."""
import json
from math import exp, log
import helper
from idds_core import Loop, File, step

SCALE = 2.0
OTHER = 3.0

def shape(x):
    return exp(-x / SCALE)

@step(requires=1)
def make(x, ctx):
    return {"n": shape(x)}

@step
def measure(n):
    return {"z": helper.calibrated(n)}

@step
def located(n):
    return json.loads((Path(__file__).parent / "data.json").read_text())

@step
def by_text(n):
    return eval("n")

scan = Loop("toy", until=12)
'''
FILES = {
    "scan.py": SCAN,
    "helper.py": "import deep\ndef calibrated(n):\n    return deep.f(n)\n",
    "deep.py": "def f(n):\n    return n  # a comment\n",
    "data.json": "[1, 2]",
    "mc.sh": "#!/bin/sh\n. common.sh\n",
    "common.sh": "echo\n",
    "notes.txt": "nothing",
}


def function(name: str, *arguments: str, context: bool = False) -> Step:
    return Step(name, function=f"scan:{name}", arguments=arguments, context=context)


MAKE, MEASURE = function("make", "x", context=True), function("measure", "n")
LOCATED, BY_TEXT = function("located", "n"), function("by_text", "n")
SHELL = command("mc", "./mc.sh {x} {seed}")
STEPS = {"make": MAKE, "measure": MEASURE, "located": LOCATED, "by_text": BY_TEXT, "mc": SHELL}


def digests(folder: Path, files: dict[str, str]) -> dict[str, str]:
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    bundle = Bundle(folder)
    return {name: step_digest(step, bundle, {}) for name, step in STEPS.items()}


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("scan.py", "until=12", "until=24", set()),
        ("scan.py", "OTHER = 3.0", "OTHER = 4.0", set()),
        ("scan.py", '"""A scan."""', '"""Another text."""', set()),
        ("scan.py", "@step(requires=1)", "@step(requires=2)", set()),
        ("scan.py", "import Loop, File, step", "import Loop, File, Real, step", set()),
        ("scan.py", "return {", "# because\n    return  {", set()),
        ("scan.py", "SCALE = 2.0", "SCALE = 2.5", {"make"}),
        ("scan.py", "exp(-x", "exp(x", {"make"}),
        ("scan.py", "exp, log", "log as exp", {"make"}),
        ("scan.py", "SCALE = 2.0", "SCALE = 2.0\nprint('hello')", {"make", "measure", "located"}),
        ("helper.py", "f(n)", "f(n + 1)", {"measure"}),
        ("deep.py", "return n", "return 2 * n", {"measure"}),
        ("deep.py", "a comment", "another", set()),
        ("data.json", "2", "3", {"located"}),
        ("mc.sh", "#!/bin/sh", "#!/bin/bash", {"mc"}),
        ("common.sh", "echo", "echo hello", {"mc"}),
    ],
)
def test_a_step_changes_with_what_it_depends_on(
    tmp_path: Path, file: str, old: str, new: str, changed: set[str]
) -> None:
    before = digests(tmp_path / "before", FILES)
    assert old in FILES[file]
    after = digests(tmp_path / "after", {**FILES, file: FILES[file].replace(old, new)})
    different = {name for name in STEPS if before[name] != after[name]}
    # Files that are found by place are all files that are no Python; code by text depends on everything.
    if file != "deep.py" or changed:
        different.discard("by_text")
    if not file.endswith(".py"):
        different.discard("located")
        changed = changed - {"located"}
    assert different == changed


def test_code_that_is_made_of_text_depends_on_every_file(tmp_path: Path) -> None:
    before = digests(tmp_path / "before", FILES)
    after = digests(tmp_path / "after", {**FILES, "notes.txt": "something"})
    assert {name for name in STEPS if before[name] != after[name]} == {"by_text", "located"}


def test_only_parameters_of_the_definition_that_a_step_sees_count(tmp_path: Path) -> None:
    digests(tmp_path / "b", {**FILES, "scan.py": SCAN + "\ndef peek(ctx):\n    return ctx.parameters\n"})
    bundle = Bundle(tmp_path / "b")
    peek = function("peek", context=True)

    def of(step: Step, **parameters: float) -> str:
        return step_digest(step, bundle, parameters)

    assert of(MAKE, budget=1) == of(MAKE, budget=2)
    assert of(MAKE, x=1) != of(MAKE, x=2)
    assert of(peek, budget=1) != of(peek, budget=2)
    assert of(SHELL, x=1) != of(SHELL, x=2)
    assert of(SHELL, budget=1) == of(SHELL, budget=2)


def test_where_and_how_long_a_step_runs_is_no_part_of_it(tmp_path: Path) -> None:
    digests(tmp_path / "b", FILES)
    bundle = Bundle(tmp_path / "b")
    larger = Step("make", function="scan:make", arguments=("x",), context=True, requires=Requirements(cores=4))
    assert step_digest(MAKE, bundle, {}) == step_digest(larger, bundle, {})
    other = Step("make", function="scan:make", arguments=("x",), optional=("y",), context=True)
    assert step_digest(MAKE, bundle, {}) != step_digest(other, bundle, {})


def test_a_step_of_an_installed_module_has_a_digest(tmp_path: Path) -> None:
    assert step_digest(Step("f", function="math:exp", arguments=("x",)), Bundle(tmp_path / "none"), {})
