"""``idds-core run`` that says in a file, after each commit, what anybody can now see as acknowledged.

``python telling_run.py TOLD run scan.py ...``. It leaves no pictures of the end: they are made of what is on record.
What it starts has the clock of ``CHILDREN_FAKETIME``, if that is there (see `test_clock.py`).
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from idds_agents.cli import main, run
from idds_core.store.database import Database

_QUERIES = (
    "SELECT 'result', job_id, result FROM result",
    "SELECT 'point', number, state || ' ' || parameters || ' ' || coalesce(observation, '') FROM point"
    " WHERE state <> 'open'",
    "SELECT 'event', id, entity || ' ' || entity_id || ' ' || new FROM event WHERE seal_no IS NOT NULL",
)


def acknowledged(path: str) -> list[str]:
    """All that may never be lost again, one line each."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as raw:
        if raw.execute("SELECT 1 FROM sqlite_master WHERE name = 'result'").fetchone() is None:
            return []
        return [json.dumps(row) for query in _QUERIES for row in raw.execute(query)]


def told(file: Path) -> list[str]:
    """What was told, line by line; a line that was cut by a kill was not."""
    try:
        lines = file.read_bytes().decode().split("\n")
    except FileNotFoundError:
        return []
    return [line for line in lines if line.endswith("]")]


def tell_commits(file: Path) -> None:
    """Let every outermost transaction write what is new since the file was last written, by whomever."""
    known = set(told(file))
    out = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    if known:
        os.write(out, b"\n")  # whoever wrote before may have been killed within a line
    commit = Database.transaction

    @contextlib.contextmanager
    def telling(self: Database) -> Iterator[Any]:
        outermost = not self.connect().in_transaction()
        with commit(self) as connection:
            yield connection
        if outermost:
            new = [line for line in acknowledged(str(self.path)) if line not in known]
            known.update(new)
            if new:
                os.write(out, "".join(line + "\n" for line in new).encode())

    Database.transaction = telling  # type: ignore[method-assign]


def leave_no_pictures() -> None:
    """They are half of what a short run costs."""
    nothing: Any = lambda *_, **__: None  # noqa: E731
    run._leave_products = run._leave_report = nothing


if __name__ == "__main__":
    tell_commits(Path(sys.argv[1]))
    leave_no_pictures()
    os.environ.update({"FAKETIME": clock} if (clock := os.environ.get("CHILDREN_FAKETIME")) else {})
    del sys.argv[1]
    sys.exit(main())
