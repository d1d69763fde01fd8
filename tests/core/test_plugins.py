"""Plugins by name or module:Class, as JSON and back."""

import importlib
import json
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest

from idds_core.errors import DefinitionError
from idds_core.plugins import CONDITIONS, ENGINES, LEARNERS, PROVIDERS, build, describe, registered, resolve
from idds_learners import BoundaryConverged, LevelSet, MaxPoints, Wall

PLUGINS = """
from dataclasses import dataclass, field
from typing import Any

@dataclass(frozen=True)
class Mine:
    targets: tuple = ("obs",)
    options: dict = field(default_factory=dict)
    inner: Any = None
    made: int = field(default=0, init=False)

    @dataclass(frozen=True)
    class Nested:
        n: int = 1

@dataclass(frozen=True)
class Picky:
    n: int = 1

    def __post_init__(self):
        if self.n < 0:
            raise KeyError("n is negative")
"""


@pytest.fixture
def mine(tmp_path: Any, monkeypatch: Any) -> Any:
    (tmp_path / "my_plugins.py").write_text(PLUGINS, encoding="utf-8")
    (tmp_path / "my_broken.py").write_text("1 / 0\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("my_plugins")
    sys.modules.pop("my_plugins")


def code_of(call: Any, *args: Any) -> Any:
    with pytest.raises(DefinitionError) as caught:
        call(*args)
    return caught.value.code, str(caught.value)


def test_the_built_in_ones_are_registered_like_all_others() -> None:
    assert {"level_set", "sobol"} <= set(registered(LEARNERS))
    assert {"boundary_converged", "max_points", "wall", "any", "all", "not"} <= set(registered(CONDITIONS))
    assert "local" in registered(PROVIDERS)
    assert "embedded" in registered(ENGINES)


def test_a_plugin_is_found_by_its_name_or_by_its_class(mine: Any) -> None:
    assert resolve("level_set", LEARNERS) is LevelSet
    assert resolve("idds_learners.level_set:LevelSet", LEARNERS) is LevelSet
    assert resolve("my_plugins:Mine.Nested", LEARNERS) is mine.Mine.Nested


def test_a_registered_plugin_is_described_by_its_name() -> None:
    assert describe(MaxPoints(5), CONDITIONS) == {"type": "max_points", "n": 5}


def test_any_other_is_described_by_its_class(mine: Any) -> None:
    assert describe(mine.Mine(), LEARNERS) == {
        "type": "my_plugins:Mine", "targets": ["obs"], "options": {}, "inner": None}  # fmt: skip


@pytest.mark.parametrize(
    ("plugin", "group"),
    [
        (LevelSet(["obs", "exp"], level={"obs": 0.05, "exp": 0.1}), LEARNERS),
        (BoundaryConverged(0.02) | MaxPoints(7) & ~Wall("1h"), CONDITIONS),
    ],
)
def test_a_plugin_survives_json(plugin: Any, group: Any) -> None:
    assert build(json.loads(json.dumps(describe(plugin, group))), group) == plugin


def test_plugins_inside_a_plugin_survive_json(mine: Any) -> None:
    plugin = mine.Mine(("a",), {"deep": [1, {"type": 3}]}, mine.Mine.Nested(5))
    again = build(json.loads(json.dumps(describe(plugin, LEARNERS))), LEARNERS)
    assert again.inner == mine.Mine.Nested(5)
    assert again.options == {"deep": (1, {"type": 3})}


def test_a_description_may_be_given_instead(mine: Any) -> None:
    given = {"type": "my_plugins:Mine", "targets": ("a", "b"), "inner": mine.Mine.Nested(2)}
    described = describe(given, LEARNERS)
    assert described["targets"] == ["a", "b"]
    assert build(described, LEARNERS) == mine.Mine(("a", "b"), inner=mine.Mine.Nested(2))


def test_an_unknown_name_is_told_with_the_nearest_one() -> None:
    code, text = code_of(resolve, "levelset", LEARNERS)
    assert code == "E-PLUGIN-001"
    assert "Did you mean 'level_set'?" in text
    assert "sobol" in text


@pytest.mark.parametrize("name", ["", ":", "module:", ":Class", "nonsense"])
def test_a_name_of_nothing_is_unknown(name: Any) -> None:
    assert code_of(resolve, name, LEARNERS)[0] == "E-PLUGIN-001"


@pytest.mark.parametrize("name", ["no_such_module:X", "my_plugins:Missing", "my_plugins:Mine.Missing", "my_broken:X"])
def test_what_cannot_be_imported_is_told(mine: Any, name: Any) -> None:
    assert code_of(resolve, name, LEARNERS)[0] == "E-PLUGIN-002"


def test_an_error_inside_its_module_is_told_by_its_kind(mine: Any) -> None:
    assert "ZeroDivisionError: division by zero" in code_of(resolve, "my_broken:X", LEARNERS)[1]


@dataclass(frozen=True)
class Here:
    n: Any = field(default=1)


@pytest.mark.parametrize("value", [5, None, "level_set", LevelSet, object(), lambda: 1])
def test_what_is_no_instance_of_a_dataclass_is_no_plugin(value: Any) -> None:
    assert code_of(describe, value, LEARNERS)[0] == "E-PLUGIN-003"


def test_a_class_that_a_worker_cannot_find_is_no_plugin(monkeypatch: Any) -> None:
    @dataclass(frozen=True)
    class Local:
        n: int = 1

    assert code_of(describe, Local(), LEARNERS)[0] == "E-PLUGIN-003"
    monkeypatch.setattr(Here, "__module__", "__main__")
    assert code_of(describe, Here(), LEARNERS)[0] == "E-PLUGIN-003"


def test_fields_that_it_refuses_are_told(mine: Any) -> None:
    assert code_of(build, {"type": "max_points", "m": 5}, CONDITIONS)[0] == "E-PLUGIN-004"
    code, text = code_of(build, {"type": "my_plugins:Picky", "n": -1}, LEARNERS)
    assert code == "E-PLUGIN-004"
    assert "n is negative" in text


def test_a_description_without_a_type_is_of_no_plugin() -> None:
    assert code_of(build, {"n": 5}, CONDITIONS)[0] == "E-PLUGIN-001"
