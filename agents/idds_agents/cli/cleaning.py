"""``clean``: room on the disk, from what concluded loops left behind."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from idds_agents import cleaning
from idds_agents.cli.problems import FINE, InputError
from idds_agents.cli.text import columns, print_json, say
from idds_agents.cli.where import find_workspace, resolve_loop
from idds_agents.cli.wishes import actor
from idds_core.model import parse_seconds
from idds_core.states import TERMINAL
from idds_core.store import Store
from idds_core.store.retention import Ended

__all__ = ["clean"]


def clean(
    path: str | None, workdir: Path | None, *, older_than: str | None, dry_run: bool, logs: bool, as_json: bool
) -> int:
    """Remove the folders of attempts of one loop, or of all that ended long ago."""
    seconds = _seconds(older_than)
    if (path is None) == (seconds is None):
        raise InputError.of("E-USAGE-004", "it is not clear what to clean", "", "",
                            "Give one of LOOP and --older-than, for example --older-than 30d.")  # fmt: skip
    workspace = find_workspace(workdir, path)
    workspace.look().close()  # a missing store is told, not made
    store = workspace.look() if dry_run else workspace.open()
    try:
        loops = _one(store, path) if seconds is None else store.retention.ended_loops(store.now() - seconds)
        freed = cleaning.clean(store, workspace.folder, loops, actor(), logs=logs, dry_run=dry_run)
    finally:
        store.close()
    total = sum(f.bytes for f in freed)
    if as_json:
        print_json({"dry_run": dry_run, "bytes": total, "loops": [dataclasses.asdict(f) for f in freed]})
        return FINE
    if freed:
        rows = [[f.path, f.attempts, f.files, f"{f.bytes / 1e6:.1f} MB"] for f in freed]
        for line in columns(rows, ["loop", "attempts", "files", "size"]):
            say(line)
    say(f"{total / 1e6:.1f} MB {'would be freed' if dry_run else 'freed'}; results and the record stay")
    return FINE


def _seconds(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        seconds = parse_seconds(text)
    except (ValueError, TypeError):
        seconds = -1.0
    if not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e12:
        raise InputError.of(
            "E-USAGE-004", f"--older-than {text} is no duration", "", "", "For example 30d, 12h, 90min."
        )
    return seconds


def _one(store: Store, path: str | None) -> list[Ended]:
    target = resolve_loop(store, path)
    if target.loop.state not in TERMINAL["loop"]:
        raise InputError.of("E-CLEAN-001", f"{target.loop_path} has not concluded", f"it is {target.loop.state}",
                            target.loop_path, "Wait, or 'idds-core cancel' it first.")  # fmt: skip
    return [ended for ended in store.retention.ended_loops() if ended.loop_id == target.loop.id]
