"""A scan in YAML is the scan in Python; each mistake has its line, and all of them are told at once."""

from __future__ import annotations

import copy
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from idds_core import Categorical, Integer, Log, Loop, Ordered, Real, Requirements, Retry, Space, chain, command
from idds_core.definition import Definition, validate
from idds_core.errors import DefinitionError
from idds_core.loading import load
from idds_core.yaml.loading import load_text
from idds_learners import BoundaryConverged, CoreHours, LevelSet, MaxIterations, MaxPoints, Sobol, Wall

SCAN = """
name: scan
space:
  m_zp: {low: 400, high: 2800, unit: GeV}
  m_a: [200, 1200]
  g: {log: [1e-3, 1], unit: ""}
  n: {kind: integer, low: 1, high: 012}
  tune: [on, a14]
  size: {ordered: [16, 32], default: 32, when: tune == 'on'}
constraints: m_zp > m_a + 125
steps:
  generate:
    run: ./mc.sh {m_zp} '{m_a} {g}' {seed}
    outputs: {events: events.txt}
    requires: {memory: 4GB, walltime: 2h}
    retry: {attempts: 2, wait: 1min}
  limit: {run: [./limit.sh, "{generate.events}", 5], result: limits.json, retry: 4, provider: local}
learner:
  level-set:
    targets: [obs, exp]
    level: 0.05
until: BoundaryConverged(0.01) & ~MaxIterations(3) | MaxPoints(n_max) | Wall("1d 6h") | CoreHours(limit=1e2)
batch: 6
parameters: {n_max: 150, note: 'yes'}
"""

SAME = Loop(
    "scan",
    Space(
        m_zp=Real(400, 2800, "GeV"), m_a=Real(200, 1200), g=Log(0.001, 1), n=Integer(1, 12),
        tune=Categorical(["on", "a14"]), size=Ordered([16, 32], when="tune == 'on'", default=32),
        constraints=["m_zp > m_a + 125"],
    ),
    chain(
        command("generate", "./mc.sh {m_zp} '{m_a} {g}' {seed}", outputs={"events": "events.txt"},
                requires=Requirements(memory="4GB", walltime="2h"), retry=Retry(2, 60.0)),
        command("limit", ["./limit.sh", "{generate.events}", "5"], result="limits.json", provider="local",
                retry=Retry(4)),
    ),
    LevelSet(["obs", "exp"], level=0.05),
    (BoundaryConverged(0.01) & ~MaxIterations(3)) | MaxPoints(150) | Wall("1d 6h") | CoreHours(100.0),
    batch=6,
    parameters={"n_max": 150, "note": "yes"},
)  # fmt: skip


def read(text: str, folder: Path = Path("/nowhere"), **given: str) -> Definition:
    return load_text(text, folder / "scan.yaml", given)


def told(text: str, folder: Path = Path("/nowhere"), **given: str) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        read(text, folder, **given)
    return [str(p) for p in caught.value.problems]


# ---------------------------------------------------------------------- the same model
def test_yaml_and_python_define_the_same_document() -> None:
    assert read(SCAN).text == validate(SAME).text


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("level-set: {targets: [obs]}", LevelSet(["obs"])),
        ("level_set: obs", LevelSet("obs")),
        ("LevelSet: [obs]", LevelSet("obs")),
        ("{type: level-set, targets: obs, level: {obs: 0.1}}", LevelSet("obs", level={"obs": 0.1})),
        ("{sobol: {targets: obs, transform: none}}", Sobol("obs", transform="none")),
    ],
)
def test_a_learner_is_written_in_short_or_at_length(written: str, same: Any) -> None:
    inner = f"\n  {written}" if written[0] != "{" else f" {written}"
    text = (
        f"name: s\nspace: {{x: [0, 1]}}\nsteps: {{mc: {{run: a, result: r}}}}\nlearner:{inner}\nuntil: MaxPoints(3)\n"
    )
    loop = Loop("s", Space(x=Real(0, 1)), chain(command("mc", "a", result="r")), same, MaxPoints(3))
    assert read(text).text == validate(loop).text


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ("MaxPoints(3)", MaxPoints(3)),
        ("max-points: 3", MaxPoints(3)),
        ("{type: max_points, n: 3}", MaxPoints(3)),
        ("any: [BoundaryConverged(tol=0.1), {max-points: {n: 3}}]", BoundaryConverged(0.1) | MaxPoints(3)),
        ("all: [MaxPoints(3), any: [Wall('2h'), Wall(5)]]", MaxPoints(3) & (Wall("2h") | Wall(5))),
        ("(MaxPoints(3) | Wall(1)) | (Wall(2) | Wall(3))", MaxPoints(3) | Wall(1) | Wall(2) | Wall(3)),
    ],
)
def test_a_condition_is_written_as_text_or_as_a_mapping(written: str, same: Any) -> None:
    head = "name: s\nspace: {x: [0, 1]}\nsteps: {mc: {run: a, result: r}}\nlearner: {sobol: y}\n"
    text = f"{head}until:\n  {written}\n"
    loop = Loop("s", Space(x=Real(0, 1)), chain(command("mc", "a", result="r")), Sobol("y"), same)
    assert read(text).text == validate(loop).text


def test_steps_may_be_a_list_or_a_line_each(tmp_path: Path) -> None:
    (tmp_path / "analysis_of_yaml.py").write_text("def limit(events): return {'obs': 1.0}\n", encoding="utf-8")
    head = "name: s\nspace: {x: [0, 1]}\nlearner: {sobol: obs}\nuntil: MaxPoints(3)\nsteps:\n"
    short = "  mc: {run: ./mc.sh, outputs: {events: e.txt}}\n  limit: analysis_of_yaml:limit\n"
    long = (
        "  - {name: mc, run: ./mc.sh, outputs: {events: e.txt}}\n  - {name: limit, function: analysis_of_yaml:limit}\n"
    )
    assert read(head + short, tmp_path).text == read(head + long, tmp_path).text


# ---------------------------------------------------------------------- functions
FUNCTIONS = """
from idds_core import Context, File, Requirements, Retry, step

@step(requires=Requirements(cores=2), retry=Retry(1))
def generate(ctx: Context, x: float, n: int = 5) -> File: ...

def limit(output: File) -> dict: ...

class Mine:
    number = 5
"""


def test_a_function_s_signature_comes_out_as_in_python(tmp_path: Path) -> None:
    (tmp_path / "functions_of_yaml.py").write_text(FUNCTIONS, encoding="utf-8")
    head = "name: s\nspace: {x: [0, 1]}\nlearner: {sobol: obs}\nuntil: MaxPoints(3)\nsteps:\n"
    text = (
        "  generate: functions_of_yaml:generate\n  other: {function: functions_of_yaml:limit, requires: {cores: 3}}\n"
    )
    steps = read(head + text, tmp_path).document["body"][0]["body"]
    assert steps[0]["arguments"] == ["x"]
    assert steps[0]["optional"] == ["n"]
    assert (steps[0]["context"], steps[0]["returns_file"], steps[0]["requires"]["cores"]) == (True, True, 2)
    assert steps[0]["retry"]["attempts"] == 1
    assert (steps[1]["name"], steps[1]["arguments"], steps[1]["requires"]["cores"]) == ("other", ["output"], 3)
    python = tmp_path / "scan_of_functions.py"
    python.write_text(
        "from idds_core import *\nfrom idds_learners import *\nimport dataclasses\n"
        "from functions_of_yaml import generate, limit\n"
        "other = step(name='other', requires=Requirements(cores=3))(limit)\n"
        "loop = Loop('s', Space(x=Real(0, 1)), chain(generate, other), Sobol('obs'), MaxPoints(3))\n",
        encoding="utf-8",
    )
    assert load(python).text == read(head + text, tmp_path).text


def test_a_changed_module_is_read_anew(tmp_path: Path) -> None:
    head = "name: s\nspace: {x: [0, 1]}\nlearner: {sobol: obs}\nuntil: MaxPoints(3)\nsteps: {f: fresh_of_yaml:f}\n"
    for arguments in ("one=1", "one=1, two=2"):
        (tmp_path / "fresh_of_yaml.py").write_text(f"def f({arguments}): ...\n", encoding="utf-8")
        optional = read(head, tmp_path).document["body"][0]["body"][0]["optional"]
        assert len(optional) == arguments.count("=")


@pytest.mark.parametrize(
    ("reference", "says"),
    [
        ("functions_of_yaml:limt", "Did you mean 'limit'?"),
        ("functions_of_yaml:Mine.number", "Mine.number is a int"),
        ("functions_of_yam:limit", "Put functions_of_yam.py beside the YAML file."),
        ("broken_of_yaml:f", "ZeroDivisionError"),
        ("json:f", "Rename the file."),
    ],
)
def test_a_reference_that_leads_nowhere_is_told_with_its_line(tmp_path: Path, reference: str, says: str) -> None:
    (tmp_path / "functions_of_yaml.py").write_text(FUNCTIONS, encoding="utf-8")
    (tmp_path / "broken_of_yaml.py").write_text("1 / 0\n", encoding="utf-8")
    (tmp_path / "json.py").write_text("def f(): ...\n", encoding="utf-8")
    head = "name: s\nspace: {x: [0, 1]}\nlearner: {sobol: obs}\nuntil: MaxPoints(3)\nsteps:\n  f:\n"
    (line,) = told(f"{head}    function: {reference}\n", tmp_path)
    assert line.startswith("E-YAML-006 the function of step f cannot be found")
    assert "(scan.yaml:7)" in line
    assert says in line


# ---------------------------------------------------------------------- paths and --set
def test_a_path_is_found_from_the_file_and_settings_replace_parameters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = SCAN + "paths: {data: ../tables}\n"
    folder = tmp_path / "scan"
    folder.mkdir()
    loop = read(text, folder).document["body"][0]
    assert loop["parameters"] == {"data": str(tmp_path / "tables"), "n_max": 150, "note": "yes"}
    loop = read(text, folder, data="here", n_max="60", note="1e-3").document["body"][0]
    assert loop["parameters"] == {"data": str(tmp_path / "here"), "n_max": 60, "note": "1e-3"}
    assert loop["until"]["conditions"][1] == {"type": "max_points", "n": 60}


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [("n_maxx", "5", "E-FILE-006"), ("n_max", "many", "E-FILE-010"), ("n_max", "1.5", "E-FILE-010"),
     ("n_max", "true", "E-FILE-010")],
)  # fmt: skip
def test_a_setting_that_does_not_fit_is_told(name: str, text: str, code: str) -> None:
    (line,) = told(SCAN, Path("/nowhere"), **{name: text})
    assert line.startswith(code)


# ---------------------------------------------------------------------- mistakes
MISTAKES = """name: My Scan
spase: {}
space:
  m_zp: {low: 400, high: 2800, unti: GeV}
  m_a: {kind: reel, low: 1, high: 2}
  g: {log: [0, 1]}
  n: {low: 5}
  h: 7
constraints:
  - g > 0
  - m_zq > m_a
steps:
  Gen:
    run: ./mc.sh {m_zz}
    outputs: {events: /tmp/x}
    requires: {memory: lots, cpus: 3}
    retry: {attempts: 0}
  ana: scan_mistakes:nothing
  fit: {run: ./fit 'open}
learner:
  level-sett: {}
until: BoundaryConverged(tl=0.01) | MaxPoint(3) | MaxPoints(nmax)
batch: 0
first: many
"""


def test_every_mistake_has_its_line_and_a_way_out() -> None:
    expected = [
        (1, "E-DEF-001", "'My Scan'"),
        (2, "E-YAML-003", "Did you mean 'space'?"),
        (4, "E-YAML-003", "Did you mean 'unit'?"),
        (5, "E-YAML-005", "Did you mean 'real'?"),
        (6, "E-SPACE-003", "g has no logarithm"),
        (7, "E-YAML-004", "has no high"),
        (8, "E-YAML-005", "h is no parameter"),
        (11, "E-SPACE-009", "Did you mean 'm_zp'?"),
        (13, "E-DEF-001", "'Gen'"),
        (14, "E-STEP-010", "Did you mean 'm_zp'?"),
        (15, "E-STEP-007", "/tmp/x"),
        (16, "E-YAML-003", "cpus"),
        (16, "E-STEP-008", "lots"),
        (17, "E-STEP-008", "retry.attempts"),
        (18, "E-YAML-006", "scan_mistakes"),
        (19, "E-STEP-006", "No closing quotation"),
        (19, "E-STEP-009", "result: limits.json"),
        (21, "E-PLUGIN-001", "Did you mean 'level-set'?"),
        (22, "E-YAML-007", "Did you mean 'tol'?"),
        (22, "E-YAML-007", "Did you mean 'MaxPoints'?"),
        (22, "E-YAML-007", "nmax is no parameter"),
        (23, "E-DEF-006", "batch"),
        (24, "E-DEF-006", "first"),
    ]
    lines = told(MISTAKES)
    for number, code, words in expected:
        place = f"(scan.yaml:{number})"
        assert any(t.startswith(f"{code} ") and place in t and words in t for t in lines), (number, code, lines)
    assert len(lines) == len(expected)
    assert not any("body." in line or "chain(" in line for line in lines)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [("retry: two", "Its keys are attempts, wait."), ("requires: 4GB", "Its keys are cores, memory, walltime.")],
)
def test_a_record_that_is_a_word_is_told_with_its_keys(wrong: str, says: str) -> None:
    (line,) = told(SCAN.replace("retry: 4", wrong))
    assert line.startswith(f"E-YAML-005 {wrong.split(':', maxsplit=1)[0]} cannot be read")
    assert says in line


def test_a_constraint_that_excludes_every_point_names_its_line() -> None:
    (line,) = told(SCAN.replace("constraints: m_zp > m_a + 125", "constraints:\n  - m_zp > 1\n  - m_zp > m_a + 3000"))
    assert line.startswith("E-SPACE-004 constraint 'm_zp > m_a + 3000' excludes every point")
    assert "(scan.yaml:12)" in line


def test_what_is_missing_is_told_with_an_example() -> None:
    lines = told("name: scan\n")
    missing = [line.split()[1] for line in lines if line.startswith("E-YAML-004")]
    assert missing == ["space", "steps", "learner", "until"]
    assert len(lines) == 4
    assert all("(scan.yaml:1)" in line and "For example" in line for line in lines)


def test_constraints_inside_the_space_are_no_choices() -> None:
    (line,) = told(SCAN.replace("  m_a: [200", "  constraints: [m_zp > 5]\n  m_a: [200"))
    assert "Move constraints to the left" in line


def test_names_in_the_model_s_own_advice_are_those_of_yaml() -> None:
    (line,) = told(SCAN.replace("result: limits.json, ", ""))
    assert "result: limits.json" in line


# ---------------------------------------------------------------------- never a traceback
ODD = st.one_of(
    st.none(), st.booleans(), st.integers(-5, 10**30), st.floats(), st.text(max_size=5), st.just([]), st.just({}),
    st.sampled_from([[1, "a"], {"type": "sobol"}, {"type": {}}, [[]], {"a": {"b": 1}}, "x:y", "{x}", "MaxPoints("]),
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(p for key, inner in items for p in places(inner, (*path, key)))]


PLAIN = YAML(typ="safe", pure=True).load(SCAN)


@given(st.sampled_from(places(PLAIN)[1:]), ODD, st.sampled_from(["replace", "add", "remove"]))
@settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_whatever_is_wrong_is_told_in_lines(path: tuple[Any, ...], odd: Any, how: str) -> None:
    changed = copy.deepcopy(PLAIN)
    parent = changed
    for key in path[:-1]:
        parent = parent[key]
    if how == "replace":
        parent[path[-1]] = odd
    elif how == "remove":
        del parent[path[-1]]
    elif isinstance(parent, dict):
        parent["odd"] = odd
    stream = io.StringIO()
    YAML(typ="safe", pure=True).dump(changed, stream)
    try:
        read(stream.getvalue())
        found = []
    except DefinitionError as error:
        found = list(error.problems)
    assert all("scan.yaml" in p.where and p.code.startswith("E-") for p in found)
