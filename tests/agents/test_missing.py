"""What an older backup lacks is counted, and so is what of it waits in the folders of attempts."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from idds_agents.missing import missing
from idds_core.store import back_up
from idds_core.testing.fakes import ScriptedProvider
from tests.world import World, honest


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A run that ended after its backup was made."""
    (tmp_path / "work").mkdir()
    made = World(tmp_path / "work", ScriptedProvider(honest))
    for _ in range(5):
        made.turn()
    back_up(made.store.path, tmp_path / "older.db")
    made.run()
    back_up(made.store.path, tmp_path / "newer.db")
    yield made
    made.store.close()


def results(file: Path) -> dict[str, str]:
    with sqlite3.connect(file) as raw:
        rows = raw.execute("SELECT a.key, a.path FROM attempt a JOIN result r ON r.attempt_id = a.id").fetchall()
    raw.close()
    return dict(rows)


def leave(folder: Path, key: str, state: str = "succeeded") -> None:
    """What a runner leaves of an attempt that ended."""
    folder.mkdir(parents=True)
    (folder / "result.json").write_text("{}", encoding="utf-8")
    (folder / "DONE.json").write_text(json.dumps({"key": key, "state": state}), encoding="utf-8")


def test_results_younger_than_the_backup_are_found_in_their_folders_or_run_again(world: World, tmp_path: Path) -> None:
    old, new = results(tmp_path / "older.db"), results(tmp_path / "newer.db")
    young = {key: path for key, path in new.items() if key not in old}
    assert old
    (first, second, third, *_) = young
    leave(world.folder / young[first], first)
    leave(world.folder / young[second], second, "failed")
    leave(world.folder / young[third], "of another store")
    known = next(iter(old))
    leave(world.folder / old[known], known)  # on record in both
    found = missing(tmp_path / "newer.db", tmp_path / "older.db", world.folder)
    assert (found.results, found.found) == (len(young), 1)
    assert (
        str(found) == f"{len(young)} results are younger: 1 are found in their folders, {len(young) - 1} jobs run again"
    )
    assert sorted(p.name for p in tmp_path.iterdir()) == ["newer.db", "older.db", "work"]


@pytest.mark.parametrize("damage", [None, b"no database", b""])
def test_with_a_record_that_cannot_be_read_the_folders_alone_are_counted(
    world: World, tmp_path: Path, damage: bytes | None
) -> None:
    young = set(new := results(tmp_path / "newer.db")) - set(results(tmp_path / "older.db"))
    key = min(young)
    leave(world.folder / new[key], key)
    leave(world.folder / "elsewhere", "other-1-1")
    before = None
    if damage is not None:
        before = tmp_path / "damaged.db"
        before.write_bytes(damage)
    found = missing(before, tmp_path / "older.db", world.folder)
    assert (found.results, found.found) == (None, 1)
    assert "cannot be read; 1 younger" in str(found)
