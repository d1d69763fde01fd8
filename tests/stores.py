"""Stores for tests: the same suite on SQLite and on PostgreSQL."""

from __future__ import annotations

import contextlib
import sqlite3
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal

import pytest

from idds_core.store import Store, open_store

__all__ = ["BOTH", "by_hand", "empty", "opened", "reopened"]

#: what a suite is run on: parameters of a fixture
BOTH = ("sqlite", pytest.param("postgres", marks=pytest.mark.service))


@cache
def _template() -> bytes:
    """An empty store's file, made once: the migrations cost more than a whole test."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "idds.db"
        open_store(path).close()
        return path.read_bytes()


def empty(kind: str, path: Path, clock: Callable[[], float]) -> Store:
    """A store of its own, without waiting for the disk; SQLite's is at `path`, the other's work folder around it."""
    if kind == "postgres":
        from tests.postgres import empty_postgres

        return empty_postgres(path.parent, clock)
    path.write_bytes(_template())
    return opened(path, clock)


def opened(where: Path | str, clock: Callable[[], float], mode: Literal["read", "write"] = "write") -> Store:
    """A store that is there, without waiting for the disk."""
    folder = where.parent if isinstance(where, Path) else None
    return open_store(where, mode, clock, durability="normal", folder=folder)


def reopened(store: Store, mode: Literal["read", "write"] = "write") -> Store:
    """The same store once more, as another process sees it."""
    return open_store(store.address, mode, store.now, durability="normal", folder=store.path.parent)


def by_hand(store: Store, statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """What somebody does to a store with the tools of its database; returns the rows."""
    if isinstance(store.address, Path):
        with contextlib.closing(sqlite3.connect(store.address)) as raw, raw:
            return raw.execute(statement, values).fetchall()
    import psycopg

    with psycopg.connect(store.address, autocommit=True) as connection:
        cursor = connection.execute(statement.replace("?", "%s").encode(), values)
        return cursor.fetchall() if cursor.description else []
