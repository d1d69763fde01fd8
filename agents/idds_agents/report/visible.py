"""What of a record may be shown: the one place through which maps, plots, exports and fetched results read it.

Everything that leaves a run for people passes one of these functions. Today all of it may be seen; what is to stay
sealed for a while (blinded targets) is taken out here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from idds_core.history import History
from idds_core.model import Loop

__all__ = ["visible_history", "visible_reasons", "visible_values"]


def visible_history(loop: Loop, history: History) -> History:  # noqa: ARG001 - the loop will say what is sealed
    """The history of a loop as people may see it: observations, and what the learner said of them."""
    return history


def visible_reasons(loop: Loop, reasons: Mapping[int, str]) -> Mapping[int, str]:  # noqa: ARG001 - as above
    """Why points ended as they did, in words that may be shown; a step may have written values into them."""
    return reasons


def visible_values(loop: Loop, values: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG001 - as above
    """The values of a job's result that may be shown."""
    return values
