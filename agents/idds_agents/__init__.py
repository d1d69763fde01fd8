"""The three agents, the engine that runs them, and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from idds_agents.result import Result

__all__ = ["open"]


def open(workdir: str | Path | None = None, path: str | None = None) -> Result:  # noqa: A001 - idds_agents.open(...)
    """The result of a run, past or still running, for reading only.

    Parameters
    ----------
    workdir : the work folder; by default the current folder, or the only ``*-run`` folder in it.
    path : ``workflow`` or ``workflow/loop``; the only one by default.

    """
    from idds_agents.result import open_result

    return open_result(workdir, path)
