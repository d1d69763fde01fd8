"""Exit codes, and the error of who asked for what cannot be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from idds_core.errors import IddsError

__all__ = ["BAD_INPUT", "FINE", "HANDED_OVER", "NOT_CONCLUDED", "InputError", "did_you_mean"]

#: 2 is "budget spent"; only the end of a loop gives it.
FINE, NOT_CONCLUDED, BAD_INPUT = 0, 3, 4
#: The engine handed over before a limit of time, or when it was told to end: the same command goes on.
HANDED_OVER = 5


class InputError(IddsError):
    """What was asked for cannot be: a path, a file or an option is wrong."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """What to do about a name that is not known.

    >>> did_you_mean("simulat", ["simulate", "analyse"]), did_you_mean("x", ["simulate"])
    ('Did you mean simulate?', 'Known: simulate.')
    """
    names = list(known)
    close = difflib.get_close_matches(given, names, n=1)
    if close:
        return f"Did you mean {close[0]}?"
    return f"Known: {', '.join(names[:20])}." if names else "There is none."
