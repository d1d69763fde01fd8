"""Schemas of neighbouring versions live together: additions are tolerated, what is older is upgraded on request."""

from __future__ import annotations

import importlib.util
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idds_core.errors import StoreError
from idds_core.store import open_store, schema, upgrade_store
from idds_core.store import store as store_module
from idds_core.testing.fakes import ManualClock, ScriptedProvider
from tests.world import World, honest

HEAD = store_module.HEAD
NEXT = "9001"
ADDS = """
    op.create_table("note", sa.Column("id", sa.Integer(), primary_key=True), sa.Column("text", sa.Text()))
    op.add_column("job", sa.Column("colour", sa.Text(), nullable=False, server_default="grey"))
"""
RENAMES = """
    with op.batch_alter_table("job") as table:
        table.alter_column("reason", new_column_name="because")
"""
FAILS = """
    op.create_table("note", sa.Column("id", sa.Integer(), primary_key=True))
    op.add_column("no_such_table", sa.Column("x", sa.Text()))
"""
Next = Callable[..., None]


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Next:
    """Makes this process the next version of the code, with one more migration."""

    def make(body: str, *, additive: bool = False) -> None:
        folder = tmp_path / "migrations"
        shutil.copytree(schema.MIGRATIONS, folder)
        head = f'revision = "{NEXT}"\ndown_revision = "{HEAD}"\n' + ("additive = True\n" if additive else "")
        text = f"import sqlalchemy as sa\nfrom alembic import op\n\n{head}\n\ndef upgrade() -> None:{body}"
        (folder / "versions" / f"{NEXT}_next.py").write_text(text, encoding="utf-8")
        monkeypatch.setattr(schema, "MIGRATIONS", folder)
        monkeypatch.setattr(store_module, "HEAD", NEXT)

    return make


def columns(path: Path) -> dict[str, dict[str, bool]]:
    """Table -> column -> whether an INSERT may leave it out."""
    with sqlite3.connect(path) as raw:
        tables = [row[0] for row in raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {
            t: {r[1]: bool(not r[3] or r[4] is not None or r[5]) for r in raw.execute(f'PRAGMA table_info("{t}")')}
            for t in tables
        }
    raw.close()
    return found


def more_than_added(before: Any, after: Any) -> list[str]:
    """What an older version would trip over."""
    wrong = [f"{t}.{c} is gone" for t, cs in before.items() for c in cs if c not in after.get(t, {})]
    new = {(t, c): fine for t in before for c, fine in after.get(t, {}).items() if c not in before[t]}
    return wrong + [f"{t}.{c} must be given" for (t, c), fine in new.items() if not fine]


def test_an_older_version_works_on_with_a_store_that_has_additions(
    tmp_path: Path, next_version: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, ScriptedProvider(honest))
    path, before = world.store.path, columns(world.store.path)
    world.turn()
    world.store.close()
    with monkeypatch.context() as patch:
        next_version(ADDS, additive=True)
        assert upgrade_store(path) == (HEAD, NEXT)
        patch.undo()
    monkeypatch.undo()
    assert more_than_added(before, columns(path)) == []
    assert "colour" in columns(path)["job"]
    world.restart()
    assert world.store.revision == NEXT
    assert world.run().state == "EXHAUSTED"
    assert world.violations() == {}
    reader = open_store(path, "read")
    reader.close()
    assert upgrade_store(path) == (NEXT, NEXT)  # nothing to do for the older version


def test_an_older_version_refuses_a_store_that_was_changed(
    tmp_path: Path, next_version: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "idds.db"
    open_store(path).close()
    before = columns(path)
    next_version(RENAMES)
    upgrade_store(path)
    monkeypatch.undo()
    assert more_than_added(before, columns(path)) == ["job.reason is gone"]
    for mode in ("read", "write"):
        with pytest.raises(StoreError, match=rf"^E-STORE-009 .* needs {NEXT}, this version has {HEAD}"):
            open_store(path, mode)
    with pytest.raises(StoreError, match="E-STORE-009"):
        upgrade_store(path)


@pytest.mark.parametrize("mode", ["read", "write"])
def test_a_newer_version_asks_for_the_upgrade_of_an_older_store(tmp_path: Path, next_version: Next, mode: Any) -> None:
    path = tmp_path / "idds.db"
    open_store(path).close()
    next_version(ADDS, additive=True)
    with pytest.raises(StoreError, match=r"^E-STORE-007 .*'idds-core db upgrade"):
        open_store(path, mode)
    assert "note" not in columns(path)
    upgrade_store(path)
    open_store(path, mode).close()
    assert "note" in columns(path)


def test_a_migration_that_fails_leaves_the_store_as_it_was(
    tmp_path: Path, next_version: Next, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "idds.db"
    open_store(path).close()
    before = columns(path)
    next_version(FAILS)
    with pytest.raises(StoreError, match=r"^E-STORE-012 .*no_such_table"):
        upgrade_store(path)
    assert columns(path) == before
    monkeypatch.undo()
    open_store(path).close()


def test_a_store_whose_maker_died_before_its_last_line_gets_its_id(tmp_path: Path) -> None:
    path = tmp_path / "idds.db"
    open_store(path).close()
    with sqlite3.connect(path) as raw:
        raw.execute("DELETE FROM meta WHERE key = 'store_id'")
    raw.close()
    store = open_store(path, clock=ManualClock())
    assert len(store.id) == 8
    store.close()


def test_an_empty_file_is_no_store_yet(tmp_path: Path) -> None:
    path = tmp_path / "idds.db"
    path.touch()
    with pytest.raises(StoreError, match=r"^E-STORE-006 .*empty"):
        open_store(path, "read")
    with pytest.raises(StoreError, match=r"^E-STORE-006 .*empty"):
        upgrade_store(path)
    open_store(path).close()


def test_what_says_that_it_only_adds_does(tmp_path: Path) -> None:
    """Every migration of ours that is marked so, one after the other."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    config.attributes["path"] = path = tmp_path / "idds.db"
    before: Any = None
    for file in sorted((schema.MIGRATIONS / "versions").glob("[0-9]*.py")):
        spec = importlib.util.spec_from_file_location(file.stem, file)
        assert spec is not None
        assert spec.loader is not None
        migration = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(migration)
        command.upgrade(config, migration.revision)
        if getattr(migration, "additive", False):
            assert more_than_added(before, columns(path)) == [], file.name
        before = columns(path)
