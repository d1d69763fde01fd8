"""``top-up``: more of what a measured point is made of, or another measurement of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from idds_agents.cli.assignments import assignments
from idds_agents.cli.campaign import opened, send
from idds_agents.cli.problems import InputError
from idds_agents.cli.where import resolve

__all__ = ["top_up"]

_EXAMPLE = "For example: idds-core top-up toy/it/2/p/7."


def top_up(path: str, workdir: Path | None, given: Sequence[str], *, replicates: int | None, as_json: bool) -> int:
    """Ask for more of a point."""
    values = assignments(given)
    if values and replicates is not None:
        raise InputError.of("E-TOPUP-007", "more of the same, or a replicate", "--set and --replicates are given", path,
                            "Give one of them.")  # fmt: skip
    with opened(workdir) as (workspace, store):
        target = resolve(store, path)
        if target.point is None or target.step is not None or not target.loop.name:
            raise InputError.of("E-TOPUP-007", f"{path} is no point of a loop", "", target.loop_path, _EXAMPLE)
        asked: dict[str, Any] = {"point": target.point}
        asked |= {"values": values} if values else {"replicates": replicates or 1}
        return send("top-up", workspace, store, target, asked, as_json=as_json)
