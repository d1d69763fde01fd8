"""How long the parts of an answer took: measured beside the answer, and never a part of it.

A learner marks its parts; whoever asks it may be listening. Nobody listening, a mark costs nothing, and no learner can
read what was measured: equal histories go on getting equal answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["listening", "part"]

_Heard = tuple[dict[str, float], Callable[[], float]]
_HEARD: ContextVar[_Heard | None] = ContextVar("heard", default=None)


@contextmanager
def listening(clock: Callable[[], float]) -> Iterator[dict[str, float]]:
    """Listen to the parts of what happens inside; the mapping fills with seconds by part.

    >>> ticks = iter([0.0, 1.5])
    >>> with listening(lambda: next(ticks)) as took:
    ...     with part("fit"):
    ...         pass
    >>> took
    {'fit': 1.5}
    """
    took: dict[str, float] = {}
    token = _HEARD.set((took, clock))
    try:
        yield took
    finally:
        _HEARD.reset(token)


@contextmanager
def part(name: str) -> Iterator[None]:
    """What happens inside is a part of that name; parts of one name add up."""
    heard = _HEARD.get()
    if heard is None:
        yield
        return
    took, clock = heard
    began = clock()
    try:
        yield
    finally:
        took[name] = took.get(name, 0.0) + clock() - began
