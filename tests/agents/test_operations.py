"""The verbs of whoever looks after a work folder: errors, config, db, clean."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import tomllib
from pathlib import Path

import pytest

from idds_agents.cleaning import clean as remove
from idds_core.catalogue import catalogue
from idds_core.settings import Settings
from idds_core.store import open_store, schema
from idds_core.store import store as store_module
from idds_core.store.retention import Ended
from tests.agents.cli_kit import Cli, Runs, until


@pytest.fixture
def copied(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "copy")
    return tmp_path / "copy"


# ---------------------------------------------------------------------- errors
def test_errors_explains_a_code(cli: Cli) -> None:
    done = cli("errors", "e-space-004")
    assert done.code == 0
    first, why, fix = done.out.splitlines()
    assert first == f"E-SPACE-004  {catalogue()['E-SPACE-004'].means}"
    assert why.startswith("Why: ")
    assert fix.startswith("Fix: ")
    (entry,) = cli("errors", "E-SPACE-004", "--json").json
    assert list(entry) == ["code", "means", "why", "fix"]


def test_errors_lists_a_family_or_all(cli: Cli) -> None:
    assert [e["code"] for e in cli("errors", "disk", "--json").json] == ["E-DISK-001", "E-DISK-002"]
    assert cli("errors", "E-DISK").out == cli("errors", "DISK").out
    assert len(cli("errors", "--json").json) == len(catalogue())
    assert len(cli("errors").out.splitlines()) == len(catalogue()) + 1


def test_a_code_that_does_not_exist_gets_the_nearest_one(cli: Cli) -> None:
    done = cli("errors", "E-SPACE-04")
    assert (done.code, len(done.lines)) == (4, 1)
    assert done.err.startswith("E-USAGE-003 there is no error code E-SPACE-04. Did you mean 'E-SPACE-004'?")
    assert cli("errors", "quark").err.startswith("E-USAGE-003")
    assert cli("errors", "").code == 4


# ---------------------------------------------------------------------- config
def test_config_says_what_holds_and_why(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "idds.toml"
    file.write_text("[embedded]\nslots = 4\nlog_limit = 5000\n", encoding="utf-8")
    monkeypatch.setenv("IDDS_SLOTS", "2")
    monkeypatch.setenv("IDDS_SLOT", "2")
    done = cli("config", "--config", file, "--json")
    assert done.code == 0
    assert {tuple(s) for s in done.json} == {("name", "value", "default", "source", "description")}
    found = {s["name"]: (s["value"], s["source"]) for s in done.json}
    assert (found["slots"], found["log_limit"]) == ((2, "IDDS_SLOTS"), (5000, str(file)))
    assert found["keep_attempts_days"] == (None, "default")
    assert done.err.startswith("W-CONFIG-004 variable IDDS_SLOT is no setting")
    assert f"log_limit           5000        {file}" in cli("config", "--config", file).out


def test_config_prints_schema_and_example(cli: Cli) -> None:
    assert set(json.loads(cli("config", "--schema").out)["properties"]) == set(Settings.model_fields)
    assert tomllib.loads(cli("config", "--example").out)["embedded"]["durability"] == "full"
    assert cli("config", "--schema", "--example").err.startswith("E-USAGE-005")


def test_config_tells_all_mistakes(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "idds.toml"
    file.write_text("[embedded]\nslots = 0\nlog_limits = 5\n", encoding="utf-8")
    done = cli("config", "--config", file)
    assert (done.code, len(done.lines)) == (4, 2)


# ---------------------------------------------------------------------- db
def test_a_backup_of_a_run_at_work_is_restored_and_ends_the_same(cli: Cli, runs: Runs) -> None:
    """The whole way: backup beside an engine, restore refused while it runs, then the same history."""
    runs.shut_gate()
    process = runs.run("gated", "--set", f"gate={runs.gate}", "--slots", "1")
    workdir = runs.folder / "gated-run"
    until(lambda: "submitted" in cli("why", "--workdir", workdir, "--json").out, "an attempt")
    saved = cli("db", "backup", runs.folder / "copy.db", "--workdir", workdir, "--json")
    assert saved.code == 0
    assert saved.json == {
        "file": str(runs.folder / "copy.db"),
        "bytes": (runs.folder / "copy.db").stat().st_size,
    }
    assert cli("db", "backup", runs.folder / "copy.db", "--workdir", workdir).err.startswith("E-DB-001")
    checked = cli("db", "check", runs.folder / "copy.db", "--json")
    assert (checked.code, checked.json["fine"], checked.json["restored"]) == (0, True, False)
    refused = cli("db", "restore", runs.folder / "copy.db", "--workdir", workdir)
    assert (refused.code, len(refused.lines)) == (3, 1)
    assert refused.err.startswith("E-ENGINE-001")
    process.process.kill()
    process.process.wait()
    runs.open_gate()
    whole = runs.run("gated", "--set", f"gate={runs.gate}", "--slots", "1", "--json", "--quiet").wait()
    assert whole.code == 2
    restored = cli("db", "restore", runs.folder / "copy.db", "--workdir", workdir, "--json")
    assert (restored.code, set(restored.json)) == (0, {"file", "from", "aside", "missing"})
    assert restored.json["missing"] == {"results": 12, "found": 0}  # functions leave nothing in folders
    assert Path(restored.json["aside"]).exists()
    assert cli("db", "check", "--workdir", workdir, "--json").json["restored"]
    assert "restored from a backup" in cli("doctor", "--workdir", workdir).out
    again = runs.run("gated", "--set", f"gate={runs.gate}", "--slots", "1", "--json", "--quiet").wait()
    assert again.code == 2
    assert again.json["digest"] == whole.json["digest"]
    assert cli("verify", "--workdir", workdir).code == 0
    assert not cli("db", "check", "--workdir", workdir, "--json").json["restored"]


def test_a_default_backup_has_a_name_of_its_own(cli: Cli, copied: Path) -> None:
    for _ in range(2):
        assert cli("db", "backup", "--workdir", copied).code == 0
    assert len(list((copied / "backups").glob("idds-*.db"))) == 2


def test_db_check_finds_what_is_wrong(cli: Cli, copied: Path) -> None:
    assert "fine" in cli("db", "check", "--workdir", copied).out
    with sqlite3.connect(copied / "idds.db") as raw:
        raw.execute("DELETE FROM result WHERE job_id = (SELECT min(job_id) FROM result)")
    raw.close()
    done = cli("db", "check", "--workdir", copied)
    assert done.code == 3
    assert "a job is DONE exactly when it has a result" in done.out
    shown = cli("db", "check", "--workdir", copied, "--json").json
    assert list(shown) == ["file", "fine", "revision", "restored", "invariants", "violations"]
    assert not shown["fine"]


def test_an_upgrade_makes_a_backup_first(cli: Cli, copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = store_module.HEAD
    fine = cli("db", "upgrade", "--workdir", copied, "--json")
    assert (fine.code, fine.json["now"], fine.json["backup"]) == (0, head, None)
    folder = copied.parent / "migrations"
    shutil.copytree(schema.MIGRATIONS, folder)
    new = folder / "versions" / "9001_next.py"
    text = f'from alembic import op\n\nrevision = "9001"\ndown_revision = "{head}"\n\n\ndef upgrade() -> None:\n    '
    new.write_text(f'{text}op.execute("CREATE TABLE nonsense")\n', encoding="utf-8")
    monkeypatch.setattr(schema, "MIGRATIONS", folder)
    monkeypatch.setattr(store_module, "HEAD", "9001")
    failed = cli("db", "upgrade", "--workdir", copied)
    assert (failed.code, len(failed.lines)) == (3, 1)
    assert failed.err.startswith("E-STORE-012 the schema cannot be brought up to date")
    assert "A backup is " in failed.err
    shutil.rmtree(folder / "versions" / "__pycache__", ignore_errors=True)
    new.write_text(f'{text}op.execute("CREATE TABLE note (id INTEGER)")\n', encoding="utf-8")
    done = cli("db", "upgrade", "--workdir", copied, "--json")
    assert (done.code, done.json["before"], done.json["now"]) == (0, head, "9001")
    assert Path(done.json["backup"]).is_file()
    assert cli("show", "--workdir", copied).code == 0


# ---------------------------------------------------------------------- clean
def size(folder: Path) -> int:
    return sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())


def test_clean_removes_what_nobody_needs_and_keeps_results_and_logs(cli: Cli, runs: Runs, tmp_path: Path) -> None:
    assert runs.run("curve", "--slots", "2").wait().code == 0
    workdir = runs.folder / "curve-run"
    folder = next((workdir / "curve").glob("curve/it/1/p/1/count/job/0/a/1"))
    (folder / "cache").mkdir()
    (folder / "cache" / "big").write_bytes(b"x" * 100_000)
    (folder / "log").write_text("a line\n", encoding="utf-8")
    outside = tmp_path / "outside"
    outside.write_text("not ours", encoding="utf-8")
    (folder / "link").symlink_to(outside)
    before = sorted(workdir.rglob("*"))
    dry = cli("clean", "curve", "--dry-run", "--workdir", workdir, "--json")
    assert dry.code == 0
    assert list(dry.json) == ["dry_run", "bytes", "loops"]
    (freed,) = dry.json["loops"]
    assert list(freed) == ["path", "attempts", "files", "bytes"]
    assert freed["bytes"] == dry.json["bytes"] >= 100_000
    assert sorted(workdir.rglob("*")) == before
    done = cli("clean", "curve", "--workdir", workdir, "--json")
    assert (done.code, done.json["loops"]) == (0, [freed])
    assert not (folder / "cache").exists()
    assert not (folder / "link").is_symlink()
    assert outside.read_text(encoding="utf-8") == "not ours"
    assert (folder / "n.txt").is_file()  # a result's
    assert (folder / "log").is_file()
    assert cli("verify", "--deep", "--workdir", workdir).code == 0
    store = open_store(workdir / "idds.db")
    store.audit.seal()
    (event,) = [e for e in store.audit.events(limit=10**6) if e.entity == "clean"]
    store.close()
    assert event.reason == f"{freed['attempts']} attempts, {freed['files']} files, {freed['bytes']} bytes"
    assert event.actor.startswith("user")
    assert cli("clean", "curve", "--workdir", workdir, "--json").json["loops"] == []
    assert cli("clean", "curve", "--logs", "--workdir", workdir).code == 0
    assert not (folder / "log").exists()
    assert runs.run("curve").wait().code == 0  # it still tells its result


def test_clean_by_age(cli: Cli, copied: Path) -> None:
    assert cli("clean", "--older-than", "1d", "--workdir", copied, "--json").json["loops"] == []
    text = cli("clean", "--older-than", "0s", "--logs", "--dry-run", "--workdir", copied).out
    assert "would be freed; results and the record stay" in text


def test_a_loop_that_has_not_concluded_is_never_cleaned(cli: Cli, runs: Runs) -> None:
    runs.shut_gate()
    runs.run("gated", "--set", f"gate={runs.gate}", "--slots", "1")
    workdir = runs.folder / "gated-run"
    until(lambda: "submitted" in cli("why", "--workdir", workdir, "--json").out, "an attempt")
    done = cli("clean", "gated", "--workdir", workdir)
    assert (done.code, len(done.lines)) == (4, 1)
    assert done.err.startswith("E-CLEAN-001 gated/gated has not concluded: it is active")
    assert cli("clean", "--older-than", "0s", "--workdir", workdir, "--json").json["loops"] == []


@pytest.mark.parametrize(
    "arguments", [(), ("plane", "--older-than", "1d"), ("--older-than", "30 daze"), ("--older-than", "-1d")]
)
def test_what_to_clean_must_be_clear(cli: Cli, copied: Path, arguments: tuple[str, ...]) -> None:
    done = cli("clean", *arguments, "--workdir", copied)
    assert (done.code, len(done.lines)) == (4, 1)
    assert done.err.startswith("E-USAGE-00")
    assert "E-USAGE-004" in done.err or "--older-than" in done.err


def test_a_folder_that_leads_out_of_the_work_folder_is_left_alone(copied: Path, tmp_path: Path) -> None:
    store = open_store(copied / "idds.db")
    name = store.retention.folders(1)[0]
    shutil.rmtree(copied / name, ignore_errors=True)
    other = tmp_path / "elsewhere"
    other.mkdir()
    (other / "precious").write_text("x", encoding="utf-8")
    (copied / name).parent.mkdir(parents=True, exist_ok=True)
    (copied / name).symlink_to(other)
    remove(store, copied, [Ended(1, "plane/plane", 0.0)], "me", logs=True)
    store.close()
    assert (other / "precious").exists()


def test_a_clean_that_dies_half_way_goes_on(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Death(BaseException):
        pass

    store = open_store(copied / "idds.db")
    folders = [copied / name for name in store.retention.folders(1)]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "scratch").write_text("x", encoding="utf-8")
    real, count = os.unlink, [0]

    def unlink(self: Path, missing_ok: bool = False) -> None:
        count[0] += 1
        if count[0] == 5:
            raise Death
        real(self)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(Death):
            remove(store, copied, store.retention.ended_loops(), "me")
    assert remove(store, copied, store.retention.ended_loops(), "me")[0].files == len(folders) - 4
    assert not [f for f in folders if (f / "scratch").exists()]
    store.audit.seal()
    assert [e.entity for e in store.audit.events(limit=10**6)].count("clean") == 2
    assert not any(store.audit.verify().values())
    store.close()


def test_an_engine_cleans_what_is_old_when_told_to(copied: Path, finished: Path, cli: Cli, tmp_path: Path) -> None:
    store = open_store(copied / "idds.db")
    folder = copied / store.retention.folders(1)[0]
    store.close()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "scratch").write_text("x", encoding="utf-8")
    words = ("run", finished.parent / "scans" / "plane" / "plane.py", "--set", "max_points=26", "--workdir", copied)
    config = tmp_path / "idds.toml"
    config.write_text("[embedded]\nkeep_attempts_days = 1\n", encoding="utf-8")
    assert cli(*words, "--config", config).code == 2
    assert (folder / "scratch").exists()
    config.write_text("[embedded]\nkeep_attempts_days = 0\n", encoding="utf-8")
    assert cli(*words, "--config", config).code == 2
    assert not (folder / "scratch").exists()
