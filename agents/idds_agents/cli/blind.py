"""``unblind``: from now on the sealed targets of a loop are seen."""

from __future__ import annotations

from pathlib import Path

from idds_agents.blinding import unblind as open_all
from idds_agents.cli.problems import FINE, InputError
from idds_agents.cli.text import print_json, say
from idds_agents.cli.where import find_workspace, resolve_loop
from idds_agents.cli.wishes import actor

__all__ = ["unblind"]


def unblind(path: str | None, workdir: Path | None, *, reason: str, as_json: bool) -> int:
    """Open the sealed targets of a loop, on record."""
    workspace = find_workspace(workdir, path)
    if not reason.strip():
        raise InputError.of("E-BLIND-005", "unblinding needs a reason", "it is empty", "",
                            'For example --reason "approved, minutes 12".')  # fmt: skip
    workspace.look().close()  # a missing store is told, not made
    store = workspace.open()
    try:
        target = resolve_loop(store, path)
        definition = store.workflows.by_id(target.workflow.id)
        blind = _blind(definition.definition, target.loop.name)
        if not blind:
            raise InputError.of("E-BLIND-004", f"{target.loop_path} has nothing sealed",
                                "its definition blinds nothing", target.loop_path, "Name another loop.")  # fmt: skip
        before = target.loop.unblinded
        opened = open_all(store, workspace.folder, target.loop, actor(), reason.strip())
    finally:
        store.close()
    if as_json:
        document = {"path": target.loop_path, "targets": blind, "folders_opened": opened, "already": before is not None}
        print_json(document)
    elif before is not None:
        say(f"{target.loop_path}: it was unblinded before")
    else:
        say(f"{target.loop_path}: {', '.join(blind)} can be seen now, in {opened} folders, 'show', 'plot' and 'export'")
    return FINE


def _blind(definition: str, loop: str) -> list[str]:
    import json

    from idds_core.definition import Definition

    return list(Definition(json.loads(definition)).loop(loop).blind)
