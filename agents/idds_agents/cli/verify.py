"""``verify``: every promise about the record that can be checked, each with its count of violations."""

from __future__ import annotations

import hashlib
from pathlib import Path

from idds_agents.cli.problems import FINE, NOT_CONCLUDED
from idds_agents.cli.text import print_json, say
from idds_agents.cli.where import looking
from idds_core.store import ResultFile, Store

__all__ = ["verify"]

_SHOWN = 5


def verify(workdir: Path | None, *, deep: bool, as_json: bool) -> int:
    """Print each invariant with its count; 0 everywhere is fine."""
    with looking(workdir) as (workspace, store):
        found = {**store.audit.verify(), **_files(store, workspace.folder, deep=deep)}
    wrong = any(found.values())
    if as_json:
        print_json({"fine": not wrong, "invariants": {n: len(v) for n, v in found.items()},
                    "violations": {n: v for n, v in found.items() if v}})  # fmt: skip
    else:
        for name, violations in found.items():
            say(f"{len(violations):>4}  {name}")
            for text in violations[:_SHOWN]:
                say(f"        {text}")
        say("violated" if wrong else "fine")
    return NOT_CONCLUDED if wrong else FINE


def _files(store: Store, folder: Path, *, deep: bool) -> dict[str, list[str]]:
    missing, size, content = [], [], []
    for file in store.audit.files():
        path, name = _place(file, folder), f"{file.attempt} {file.name}"
        if path is None:
            missing.append(f"{name}: {file.path}")
        elif path.stat().st_size != file.bytes:
            size.append(f"{name}: {path.stat().st_size} bytes, not {file.bytes}")
        elif deep and _sha256(path) != file.sha256:
            content.append(f"{name}: {path}")
    found = {"every file of a result exists": missing, "every file of a result has its size": size}
    return {**found, "every file of a result has its checksum": content} if deep else found


def _place(file: ResultFile, folder: Path) -> Path | None:
    """Where the file is: at its recorded place, or at the same place below a work folder that was moved."""
    recorded = Path(file.path)
    _, here, rest = file.path.partition(f"/{file.attempt}/")
    moved = folder / file.attempt / rest if here else recorded
    return next((p for p in (recorded, moved) if p.is_file()), None)


def _sha256(path: Path) -> str:
    with path.open("rb") as source:
        return hashlib.file_digest(source, "sha256").hexdigest()
