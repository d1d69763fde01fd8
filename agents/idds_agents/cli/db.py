"""``db``: check, back up, restore and upgrade the store of a work folder."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

from idds_agents.cli.problems import FINE, NOT_CONCLUDED
from idds_agents.cli.text import print_json, say
from idds_agents.cli.where import find_workspace
from idds_agents.cli.wishes import actor
from idds_agents.missing import missing
from idds_agents.workspace import Workspace
from idds_core.errors import StoreError
from idds_core.store import back_up, check_file, open_store, upgrade_store
from idds_core.store import restore as put_back

__all__ = ["backup", "check", "restore", "upgrade"]

_SHOWN = 5


def check(file: Path | None, workdir: Path | None, *, as_json: bool) -> int:
    """The file, the schema, and the invariants of the record."""
    path = file or find_workspace(workdir).database
    store = open_store(path.resolve(), "read")  # a file that is none, or of another schema, is told by its code
    try:
        found = {"the file is sound": check_file(path), **store.audit.verify()}
        revision, restored = store.revision, store.audit.restored()
    finally:
        store.close()
    wrong = {name: lines for name, lines in found.items() if lines}
    if as_json:
        print_json({"file": str(path.resolve()), "fine": not wrong, "revision": revision, "restored": restored,
                    "invariants": {n: len(v) for n, v in found.items()}, "violations": wrong})  # fmt: skip
    else:
        for name, lines in wrong.items():
            say(f"{len(lines):>4}  {name}")
            for line in lines[:_SHOWN]:
                say(f"        {line}")
        say(f"{path}: schema {revision}, {len(found)} checks, {'violated' if wrong else 'fine'}")
    return NOT_CONCLUDED if wrong else FINE


def backup(file: Path | None, workdir: Path | None, *, force: bool, as_json: bool) -> int:
    """A checked copy in one file."""
    workspace = find_workspace(workdir)
    target = file or _default(workspace, "idds")
    size = back_up(workspace.database, target, replace=force)
    _tell(as_json, {"file": str(target.resolve()), "bytes": size}, f"{target}: {size / 1e6:.1f} MB, checked")
    return FINE


def restore(file: Path, workdir: Path | None, *, as_json: bool) -> int:
    """A backup in the place of the store."""
    workspace = find_workspace(workdir)
    workspace.make()
    workspace.own()
    try:
        aside = put_back(file, workspace.database, time.time(), actor(), _stamp())
        lost = missing(aside, workspace.database, workspace.folder)
    finally:
        workspace.lock.release()
    facts = {"file": str(workspace.database), "from": str(file.resolve()), "aside": str(aside) if aside else None,
             "missing": dataclasses.asdict(lost)}  # fmt: skip
    kept = f"; the old one is {aside.name}" if aside else ""
    _tell(as_json, facts, f"{workspace.database}: restored from {file}{kept}\n{lost}")
    return FINE


def upgrade(workdir: Path | None, *, as_json: bool) -> int:
    """The schema of today, after a backup."""
    workspace = find_workspace(workdir)
    path, copy = workspace.database, _default(workspace, "before-upgrade")
    revision = _fine_already(path)
    if revision is not None:
        facts: dict[str, Any] = {"file": str(path), "before": revision, "now": revision, "backup": None}
        _tell(as_json, facts, f"{path}: schema {revision} already")
        return FINE
    workspace.make()
    workspace.own()
    try:
        back_up(path, copy)
        before, now = upgrade_store(path)
    except StoreError as error:
        if not copy.exists():
            raise
        problems = [dataclasses.replace(p, fix=f"{p.fix} A backup is {copy}.") for p in error.problems]
        raise StoreError(*problems) from error
    finally:
        workspace.lock.release()
    facts = {"file": str(path), "before": before, "now": now, "backup": str(copy)}
    _tell(as_json, facts, f"{path}: schema {before} -> {now}; a backup is {copy}")
    return FINE


def _fine_already(path: Path) -> str | None:
    """The revision of a store that needs no upgrade."""
    try:
        store = open_store(path, "read")
    except StoreError as error:
        if error.code != "E-STORE-007":
            raise
        return None
    try:
        return store.revision
    finally:
        store.close()


def _default(workspace: Workspace, name: str) -> Path:
    stamp, n = _stamp(), 1
    path = workspace.folder / "backups" / f"{name}-{stamp}.db"
    while path.exists():
        n += 1
        path = path.with_name(f"{name}-{stamp}-{n}.db")
    return path


def _stamp() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def _tell(as_json: bool, facts: dict[str, Any], text: str) -> None:
    if as_json:
        print_json(facts)
    else:
        say(text)
