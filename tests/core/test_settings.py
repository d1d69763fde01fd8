"""What an operator may set, and how mistakes are told."""

# What is of the wrong type here is so on purpose.
# mypy: disable-error-code="misc"

from typing import Any

import pytest

from idds_core.errors import DefinitionError
from idds_core.settings import Settings, effective, example, read_settings, strange_variables


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: Any) -> None:
    import os

    for name in list(os.environ):
        if name.startswith("IDDS_"):
            monkeypatch.delenv(name)


def written(tmp_path: Any, text: Any) -> Any:
    file = tmp_path / "idds.toml"
    file.write_text(text, encoding="utf-8")
    return file


def refused(path: Any) -> Any:
    with pytest.raises(DefinitionError) as caught:
        read_settings(path)
    return [str(p) for p in caught.value.problems]


def test_without_a_file_the_defaults_hold() -> None:
    assert read_settings() == Settings()
    assert (Settings().durability, Settings().slots, Settings().infra_attempts) == ("full", None, 10)
    assert (Settings().learner_seconds, Settings().learner_memory) == (300.0, 2_000_000_000)
    assert (Settings().log_limit, Settings().output_limit) == (10_000_000, 1_000_000)


def test_a_file_may_set_some(tmp_path: Any) -> None:
    file = written(tmp_path, '[embedded]\nslots = 4\ndurability = "normal"\n')
    assert (read_settings(file).slots, read_settings(file).durability) == (4, "normal")


def test_an_empty_file_sets_nothing(tmp_path: Any) -> None:
    assert read_settings(written(tmp_path, "")) == Settings()


def test_the_environment_wins_over_the_file(tmp_path: Any, monkeypatch: Any) -> None:
    file = written(tmp_path, "[embedded]\nslots = 4\nlog_limit = 5000\n")
    monkeypatch.setenv("IDDS_SLOTS", "2")
    assert (read_settings(file).slots, read_settings(file).log_limit) == (2, 5000)


def test_a_variable_that_is_no_setting_is_somebody_elses(monkeypatch: Any) -> None:
    monkeypatch.setenv("IDDS_CHAOS", "full")
    assert read_settings() == Settings()


def test_every_wrong_setting_gets_a_line(tmp_path: Any) -> None:
    file = written(tmp_path, '[embedded]\nslots = 0\nlearner_seconds = "soon"\nlog_limits = 5\nsweep_seconds = nan\n')
    lines = refused(file)
    assert len(lines) == 4
    assert all(line.startswith("E-CONFIG-002 setting ") and str(file) in line for line in lines)
    assert any("log_limits" in line and "Did you mean 'log_limit'?" in line for line in lines)


def test_true_is_no_number(tmp_path: Any) -> None:
    (line,) = refused(written(tmp_path, "[embedded]\nslots = true\n"))
    assert line.startswith("E-CONFIG-002 setting slots")


def test_a_wrong_variable_is_told_by_its_name(monkeypatch: Any) -> None:
    monkeypatch.setenv("IDDS_SLOTS", "many")
    (line,) = refused(None)
    assert "IDDS_SLOTS" in line


def test_a_setting_outside_the_table_is_not_lost_silently(tmp_path: Any) -> None:
    (line,) = refused(written(tmp_path, "[embeded]\nslots = 4\n"))
    assert line.startswith("E-CONFIG-003")
    assert "Did you mean 'embedded'?" in line
    assert refused(written(tmp_path, "slots = 4\n"))[0].startswith("E-CONFIG-003 slots")
    assert refused(written(tmp_path, "embedded = 4\n"))[0].startswith("E-CONFIG-003 embedded")


@pytest.mark.parametrize("content", [b"[embedded\n", b"\xff\xfe", b"a = "])
def test_a_file_that_is_no_toml_is_told(tmp_path: Any, content: Any) -> None:
    file = tmp_path / "idds.toml"
    file.write_bytes(content)
    assert refused(file)[0].startswith("E-CONFIG-001")


def test_a_missing_file_is_told(tmp_path: Any) -> None:
    assert refused(tmp_path / "none.toml")[0].startswith("E-CONFIG-001")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Settings().slots = 3


def test_all_mistakes_are_told_at_once_wherever_they_are(tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("IDDS_SWEEP_SECONDS", "never")
    file = written(tmp_path, "slot = 4\n[embeded]\n[embedded]\nslots = true\nlog_limits = 5\noutput_limit = 1\n")
    lines = refused(file)
    assert sorted(line.split(" ")[0] for line in lines) == ["E-CONFIG-002"] * 4 + ["E-CONFIG-003"] * 2
    text = "\n".join(lines)
    for words in ("setting slots cannot be used: it is true or false", "Did you mean 'log_limit'?", "output_limit",
                  "environment, IDDS_SWEEP_SECONDS", "Did you mean 'embedded'?"):  # fmt: skip
        assert words in text


def test_each_setting_says_where_it_comes_from(tmp_path: Any, monkeypatch: Any) -> None:
    file = written(tmp_path, "[embedded]\nslots = 4\nlog_limit = 5000\nkeep_logs = false\n")
    monkeypatch.setenv("IDDS_SLOTS", "2")
    found = {s.name: (s.value, s.source) for s in effective(file)[1]}
    assert found["slots"] == (2, "IDDS_SLOTS")
    assert found["log_limit"] == (5000, str(file))
    assert found["keep_logs"] == (False, str(file))
    assert found["output_limit"] == (1_000_000, "default")
    assert set(found) == set(Settings.model_fields)


def test_the_example_is_a_file_with_every_setting_its_words_and_its_bounds(tmp_path: Any) -> None:
    text = example()
    assert read_settings(written(tmp_path, text)) == Settings()
    assert (
        "# Jobs that run at once. Without it: the cores this process may use. At least 1, at most 4096.\n# slots"
        in text
    )
    assert "Above 0.\nlearner_seconds = 300.0" in text
    assert all(field.description and field.description.endswith(".") for field in Settings.model_fields.values())


def test_a_variable_that_is_nearly_a_setting_is_found(monkeypatch: Any) -> None:
    monkeypatch.setenv("IDDS_SLOT", "2")
    monkeypatch.setenv("IDDS_CHAOS", "full")
    monkeypatch.setenv("IDDS_1LBB_DATA", "somewhere")
    assert [str(p) for p in strange_variables()] == [
        "W-CONFIG-004 variable IDDS_SLOT is no setting: nobody reads it (environment). Did you mean 'IDDS_SLOTS'?"
    ]
