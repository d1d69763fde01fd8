"""What would be done about what ``verify`` has found: nothing is changed here."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from idds_core.errors import StoreError
from idds_core.store import Mend, Store, check_file, open_store

__all__ = ["repair_plan"]


def repair_plan(
    store: Store, database: Path, folder: Path, found: Mapping[str, Sequence[str]], files: Mapping[str, Sequence[str]]
) -> list[Mend]:
    """What would mend each violation, in the order of `found`.

    Parameters
    ----------
    database, folder : the store's file and the work folder.
    found : invariant -> violations. files : those of them that are about files.

    """
    wrong = {name: lines for name, lines in found.items() if lines}
    sound = not check_file(database)
    known = store.audit.mends(wrong) if sound else []
    by_statement = {mend.invariant for mend in known}
    backup = None if wrong.keys() <= by_statement | files.keys() else _newest_sound(database, folder)
    plan: list[Mend] = []
    for name, lines in wrong.items():
        if name in files:
            act = "put the file back from a copy of the work folder; the record has its checksum and its values"
            plan += [Mend(name, line, "hand", act) for line in lines]
        elif name in by_statement:
            plan += [mend for mend in known if mend.invariant == name]
        else:
            plan.append(_restored(name, lines, backup, folder))
    return plan


def _restored(name: str, lines: Sequence[str], backup: Path | None, folder: Path) -> Mend:
    rows = f"{lines[0]}{f', and {len(lines) - 1} more' if len(lines) > 1 else ''}"
    if backup is None:
        act = f"no backup in {folder / 'backups'} is fine: idds-core db restore FILE, with one from elsewhere"
        return Mend(name, rows, "hand", act)
    command = ["idds-core", "db", "restore", str(backup), "--workdir", str(folder)]
    return Mend(name, rows, "restore", shlex.join(command))


def _newest_sound(database: Path, folder: Path) -> Path | None:
    """The newest backup of this store in which nothing is violated."""
    return next(_sound(_backups(database, folder)), None)


def _backups(database: Path, folder: Path) -> list[Path]:
    files = [*(folder / "backups").glob("*.db"), *database.parent.glob(f"{database.name}.before-restore-*")]
    plain = [file for file in files if not file.name.endswith(("-wal", "-shm", "-journal"))]
    return sorted(plain, key=lambda file: file.stat().st_mtime, reverse=True)


def _sound(files: Sequence[Path]) -> Iterator[Path]:
    for file in files:
        with contextlib.suppress(StoreError):  # no store, or of another schema: it is no help
            store = open_store(file.resolve(), "read")
            try:
                if not any(store.audit.verify().values()):
                    yield file
            finally:
                store.close()
