"""PostgreSQL for tests: an empty store in a database of its own, copied from a template."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path

import psycopg

from idds_core.store import Store, open_store

_NUMBERS = itertools.count(1)


def _create(server: str, name: str, template: str = "template0") -> str:
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return f"{server.rpartition('/')[0]}/{name}"


@cache
def _template(server: str) -> str:
    name = f"idds_template_{os.getpid()}"
    open_store(_create(server, name), folder=Path("/tmp"), durability="normal").close()
    return name


def empty_postgres(server: str, folder: Path, clock: Callable[[], float] | None) -> Store:
    """A store in a new database."""
    url = _create(server, f"idds_{os.getpid()}_{next(_NUMBERS)}", _template(server))
    return open_store(url, clock=clock, durability="normal", folder=folder)
