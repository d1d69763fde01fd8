"""A space as a process of optima sees it: whole arrays of candidates, choices without order on axes of their own.

Shapes: U (n, d) in the unit cube, one coordinate for each parameter; X (n, D) features, D >= d. A real, whole or
ordered parameter is one feature, its coordinate; a choice among k > 2 is k features, 1 for the one that is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idds_core.parameters import resting
from idds_core.space import Categorical, Integer, Log, Ordered, Parameter, Real, Space

__all__ = ["Encoding"]

Array = NDArray[np.float64]


def _cells(parameter: Parameter) -> int:
    """How many values it has; 0 for infinitely many."""
    if isinstance(parameter, Integer):
        return parameter.high - parameter.low + 1
    return len(parameter.choices) if isinstance(parameter, (Categorical, Ordered)) else 0


@dataclass(frozen=True)
class Encoding:
    """The maps between the unit cube, points and features of a space."""

    space: Space

    @cached_property
    def cells(self) -> tuple[int, ...]:
        """(d,) number of values of each parameter; 0 for infinitely many."""
        return tuple(_cells(p) for p in self.space.parameters.values())

    @cached_property
    def spread(self) -> tuple[bool, ...]:
        """(d,) whether a parameter has a feature for each of its choices."""
        return tuple(isinstance(p, Categorical) and len(p.choices) > 2 for p in self.space.parameters.values())

    @cached_property
    def names(self) -> tuple[str, ...]:
        """(D,) what each feature is called."""
        found: list[str] = []
        for (name, p), spread in zip(self.space.parameters.items(), self.spread, strict=True):
            found += [f"{name}={c}" for c in p.choices] if spread and isinstance(p, Categorical) else [name]
        return tuple(found)

    @cached_property
    def smooth(self) -> list[tuple[int, int]]:
        """(coordinate, feature) of each parameter that can be moved by a little."""
        found, feature = [], 0
        for i, (cells, spread) in enumerate(zip(self.cells, self.spread, strict=True)):
            if cells == 0:
                found.append((i, feature))
            feature += cells if spread else 1
        return found

    @cached_property
    def size(self) -> float:
        """How many different points there are, at most."""
        return math.inf if 0 in self.cells else math.prod(map(float, self.cells))

    def columns(self, U: Array) -> dict[str, NDArray[Any]]:
        """The points that rows of the unit cube stand for, as columns; nothing is settled."""
        found: dict[str, NDArray[Any]] = {}
        for i, (name, p) in enumerate(self.space.parameters.items()):
            if isinstance(p, Real):
                found[name] = p.low + U[:, i] * (p.high - p.low)
            elif isinstance(p, Log):
                low, high = math.log(p.low), math.log(p.high)
                found[name] = np.exp(low + U[:, i] * (high - low))
            elif isinstance(p, Integer):
                found[name] = p.low + self._cell(U[:, i], i)
            else:
                found[name] = np.array(p.choices)[self._cell(U[:, i], i)]
        return found

    def _cell(self, u: Array, i: int) -> NDArray[np.int64]:
        return np.minimum((u * self.cells[i]).astype(np.int64), self.cells[i] - 1)

    def snap(self, U: Array) -> tuple[Array, NDArray[np.bool_]]:
        """Rows of the unit cube where points are (cells at their middles, what does not apply at rest).

        Returns
        -------
        U : (n, d)
        free : (n, d)
            Whether the parameter applies there.

        """
        U = np.clip(U, 0.0, 1.0)
        for i, k in enumerate(self.cells):
            if k:
                U[:, i] = (self._cell(U[:, i], i) + 0.5) / k
        free = np.ones(U.shape, bool)
        if self.space.conditional and len(U):
            for i, met in enumerate(self.space.applies_columns(self.columns(U), len(U)).values()):
                free[:, i] = met
                U[~met, i] = self._rests[i]
        return U, free

    @cached_property
    def _rests(self) -> Array:
        """(d,) where each parameter stands that does not apply."""
        point = {name: resting(p) for name, p in self.space.parameters.items()}
        return np.asarray(self.space.to_unit([point])[0])

    def allowed(self, U: Array) -> NDArray[np.bool_]:
        """(n,) whether snapped rows meet the constraints."""
        if not (self.space.constraints and len(U)):
            return np.ones(len(U), bool)
        return self.space.allowed_columns(self.columns(U), len(U))

    def features(self, U: Array) -> Array:
        """(n, d) snapped rows -> (n, D)."""
        found: list[Array] = []
        for i, (k, spread) in enumerate(zip(self.cells, self.spread, strict=True)):
            if spread:
                found.append(np.asarray(np.arange(k)[None, :] == self._cell(U[:, i], i)[:, None], dtype=float))
            else:
                found.append(U[:, i : i + 1])
        return np.hstack(found) if found else U

    def all_rows(self) -> Array:
        """(n, d) every different point of a space that has few; call it only then."""
        axes: Sequence[Array] = [(np.arange(k) + 0.5) / k for k in self.cells]
        U, _ = self.snap(np.stack([a.ravel() for a in np.meshgrid(*axes, indexing="ij")], axis=1))
        return np.unique(U, axis=0)
