"""The JSON Schema: valid itself, made from what is installed, and as strict as the loader about names."""

from __future__ import annotations

import copy
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from idds_core.model import Loop, Requirements, Step
from idds_core.plugins import CONDITIONS, LEARNERS, registered
from idds_core.yaml.nodes import parse
from idds_core.yaml.reading import LOOP_KEYS
from idds_core.yaml.schema import json_schema
from tests.core.yaml.test_yaml_reading import MISTAKES, SCAN

ROOT = Path(__file__).parents[3]
SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
FILES = sorted([*ROOT.glob("examples/*/scan.yaml"), *ROOT.glob("agents/idds_agents/templates/*/scan.yaml")])


def document(text: str) -> Any:
    return parse(text, "scan.yaml").plain()


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert json_schema() == SCHEMA


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.parent.name)
def test_examples_and_templates_are_accepted(file: Path) -> None:
    assert len(FILES) >= 3
    VALIDATOR.validate(document(file.read_text(encoding="utf-8")))


def test_every_form_of_a_scan_is_accepted() -> None:
    VALIDATOR.validate(document(SCAN))
    inner = document(SCAN)
    step = {"run": "./mc.sh", "result": "r.json"}
    VALIDATOR.validate(
        {"name": "flow", "steps": {"first": step, "scan": {k: v for k, v in inner.items() if k != "name"}}}
    )
    VALIDATOR.validate({"name": "flow", "parameters": {"n": 1}, "steps": [{"name": "first", **step}, inner]})
    inner["until"] = {"any": ["MaxPoints(3)", {"wall": "2h"}, {"type": "core-hours", "limit": 5}]}
    inner["learner"] = {"mine:Best": {"whatever": 1}}
    inner["steps"] = [{"name": "a", "function": "analysis:limit"}]
    VALIDATOR.validate(inner)


def test_fields_of_the_model_and_of_plugins_are_all_there() -> None:
    text = str(SCHEMA["$defs"]["learner"]) + str(SCHEMA["$defs"]["condition"])
    assert set(SCHEMA["$defs"]["loop"]["properties"]) == set(LOOP_KEYS)
    for name in (*registered(LEARNERS), *registered(CONDITIONS)):
        assert f"'{name}'" in text
    step = SCHEMA["$defs"]["step"]["anyOf"][1]["properties"]
    assert set(step) == {f.name for f in fields(Step)} - {"name"}
    assert set(step["requires"]["properties"]) == {f.name for f in fields(Requirements)}
    assert SCHEMA["$defs"]["loop"]["properties"]["batch"]["description"]
    assert {f.name for f in fields(Loop)} - {"body"} <= set(SCHEMA["$defs"]["loop"]["properties"])


def spoilt(*path: Any, **changes: Any) -> Any:
    found = copy.deepcopy(document(SCAN))
    here = found
    for key in path:
        here = here[key]
    here.update(changes)
    return found


@pytest.mark.parametrize(
    "wrong",
    [
        spoilt(spase={}), spoilt("space", "m_zp", unti="GeV"), spoilt("space", "m_zp", kind="reel"),
        spoilt("steps", "generate", rn="x"), spoilt("steps", "generate", "requires", cpus=3),
        spoilt("steps", "generate", "requires", memory="lots"), spoilt("steps", "generate", "retry", atempts=3),
        spoilt("learner", "level-set", levle=0.1), spoilt(learner={"level-sett": {}}), spoilt(batch="many"),
        spoilt(until={"max-point": 3}), spoilt(until={"max-points": {"m": 3}}), spoilt(until={"any": [{"wal": 3}]}),
        spoilt(space={}), spoilt(name="My Scan"), spoilt(constraints=5), document(MISTAKES),
        spoilt("steps", generate={"function": "a:b", "run": "x"}), {"name": "x"}, [], "text",
        {"name": "flow", "steps": {}},
        {"name": "flow", "steps": {"scan": {"space": {"x": [0, 1]}}}},
    ],
)  # fmt: skip
def test_what_is_misspelt_or_of_another_kind_is_refused(wrong: Any) -> None:
    assert not VALIDATOR.is_valid(wrong)


def test_an_editor_is_told_which_key_is_wrong() -> None:
    error = best_match(VALIDATOR.iter_errors(spoilt(spase={})))
    assert error is not None
    assert "'spase' was unexpected" in error.message
