"""Anybody's optimizer as a learner: objects that are asked and told, and generators of the gest-api.

Both are named by reference (``module:callable``), made afresh, and played the record. The gest-api is the standard of
Xopt, Optimas and libEnsemble: ``suggest`` and ``ingest``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from operator import attrgetter
from typing import Any

from idds_core.errors import IddsError
from idds_core.history import History
from idds_core.space import Categorical, Integer, Ordered, Space
from idds_core.supporting import Supports
from idds_learners.peers import need
from idds_learners.replaying import Driver, Replayed

__all__ = ["AskTell", "Gest", "vocs_of"]


def _resolved(reference: str) -> Any:
    module, _, name = reference.partition(":")
    try:
        return attrgetter(name)(import_module(module))
    except Exception as error:  # somebody else's module may raise anything while it is imported
        raise IddsError.of("E-LEARNER-022", f"{reference} cannot be found", f"{type(error).__name__}: {error}",
                           "learner.make", "Give module:callable, in a file beside the scan or installed."
                           ) from error  # fmt: skip


def _reference_problems(name: str, value: object) -> list[str]:
    module, _, attribute = value.partition(":") if isinstance(value, str) else ("", "", "")
    return [] if module and attribute else [f"{name}={value!r} is not module:callable"]


@dataclass(frozen=True)
class AskTell(Replayed):
    """An object that is asked and told.

    Parameters
    ----------
    make : ``module:callable``, called as ``make(space, seed, **options)``; what it gives has ``ask(n)``, a list of
        points (name -> value of every parameter), and ``tell(point, values)``: one number for each objective, better
        when smaller, or None for a point of which nothing will come
    options : further arguments

    It must be deterministic for its seed: after each restart it is made again and the record is played to it.

    """

    make: str = ""
    options: Mapping[str, Any] | None = None

    def problems(self) -> list[str]:
        """Everything that is wrong with the learner's fields."""
        return super().problems() + _reference_problems("make", self.make)

    def driver(self, history: History) -> Driver:
        """A fresh object."""
        made = _resolved(self.make)(history.space, history.seed, **dict(self.options or {}))
        return _Signed(made, [1.0 if way == "min" else -1.0 for way in self.ways(history).values()])


class _Signed:
    """Values turned so that smaller is better."""

    def __init__(self, made: Any, signs: Sequence[float]) -> None:
        self._made, self._signs = made, signs

    def ask(self, n: int) -> list[dict[str, Any]]:
        """See :class:`~idds_learners.replaying.Driver`."""
        return [dict(point) for point in self._made.ask(n)]

    def tell(self, point: Mapping[str, Any], values: Sequence[float] | None) -> None:
        """See :class:`~idds_learners.replaying.Driver`."""
        turned = None if values is None else [s * v for s, v in zip(self._signs, values, strict=True)]
        self._made.tell(dict(point), turned)


# ---------------------------------------------------------------------- gest-api
def vocs_of(space: Space, ways: Mapping[str, str]) -> Any:
    """A space and objectives (name -> "min" or "max") as the gest-api's VOCS; choices, whole numbers are discrete."""
    from gest_api.vocs import VOCS

    variables: dict[str, Any] = {}
    for name, p in space.parameters.items():
        if isinstance(p, (Categorical, Ordered)):
            variables[name] = set(p.choices)
        elif isinstance(p, Integer):
            variables[name] = set(range(p.low, p.high + 1))
        else:
            variables[name] = [float(p.low), float(p.high)]
    return VOCS(variables=variables, objectives={n: "MINIMIZE" if w == "min" else "MAXIMIZE" for n, w in ways.items()})


@dataclass(frozen=True)
class Gest(Replayed):
    """A generator of the gest-api, such as those of Xopt, Optimas and libEnsemble.

    A logarithmic parameter is given in its own unit, since the standard has no scales. What it may not do it refuses
    itself, when it is made.

    Parameters
    ----------
    make : ``module:Class``, called as ``Class(vocs, **options)``
    options : further arguments, such as a seed

    """

    make: str = ""
    options: Mapping[str, Any] | None = None

    @property
    def supports(self) -> Supports:
        """The standard has neither conditions nor, in this adapter, constraints that a generator sees."""
        return Supports(conditional=False, noise=False)

    def problems(self) -> list[str]:
        """Everything that is wrong with the learner's fields."""
        return super().problems() + _reference_problems("make", self.make) + need("gest_api", extra="hpo")

    def driver(self, history: History) -> Driver:
        """A fresh generator."""
        ways = self.ways(history)
        return _Generator(_resolved(self.make)(vocs_of(history.space, ways), **dict(self.options or {})), history, ways)


class _Generator:
    """A generator that is asked and told; see :class:`~idds_learners.replaying.Driver`."""

    def __init__(self, made: Any, history: History, ways: Mapping[str, str]) -> None:
        self._made, self._space, self._names = made, history.space, tuple(ways)
        self._ids: dict[str, Any] = {}

    def ask(self, n: int) -> list[dict[str, Any]]:
        """N suggestions, at the digits of a record."""
        from idds_learners.replaying import text_of

        found = []
        for given in self._made.suggest(n):
            point = {name: _own(self._space.parameters[name], given[name]) for name in self._space.names}
            if "_id" in given:
                self._ids[text_of(point)] = given["_id"]
            found.append(point)
        return found

    def tell(self, point: Mapping[str, Any], values: Sequence[float] | None) -> None:
        """One result; of a point without one, NaN, as the standard has it for what failed."""
        from idds_learners.replaying import text_of

        told = dict(point)
        told |= dict(zip(self._names, values if values is not None else [float("nan")] * len(self._names), strict=True))
        if text_of(point) in self._ids:
            told["_id"] = self._ids[text_of(point)]
        if values is not None or getattr(self._made, "returns_id", False):
            self._made.ingest([told])


def _own(p: Any, value: Any) -> Any:
    """A value of Python's own type, at the digits of a record."""
    own = value.item() if hasattr(value, "item") else value
    if isinstance(p, (Categorical, Ordered)):
        return own
    return int(own) if isinstance(p, Integer) else min(max(float(f"{float(own):.12g}"), p.low), p.high)
