"""What others bring, for tests: a generator of the gest-api, and an object that is asked and told."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from gest_api.generator import Generator

from idds_core.space import Space

_PRIMES = (2, 3, 5, 7, 11, 13, 17, 19)


class Halton(Generator):  # type: ignore[misc]
    """The sequence of Halton, with identifiers; it counts what it is told."""

    returns_id = True

    def __init__(self, vocs: Any, skip: int = 0) -> None:
        super().__init__(vocs)
        self._vocs, self._at, self.told = vocs, skip, 0

    def _validate_vocs(self, vocs: Any) -> None:
        if not vocs.variables:
            raise ValueError("no variables")

    def suggest(self, num_points: int | None) -> list[dict[str, Any]]:
        found = []
        for _ in range(num_points or 1):
            self._at += 1
            point: dict[str, Any] = {"_id": self._at}
            for base, (name, variable) in zip(_PRIMES, self._vocs.variables.items(), strict=False):
                point[name] = _at(variable, _radical(self._at, base))
            found.append(point)
        return found

    def ingest(self, results: list[dict[str, Any]]) -> None:
        assert all(r["_id"] <= self._at for r in results if "_id" in r)  # what it did not suggest has none
        self.told += len(results)


def _at(variable: Any, u: float) -> Any:
    if getattr(variable, "domain", None):
        low, high = variable.domain
        return low + (high - low) * u
    values = sorted(variable.values)  # a set of text has another order in each process
    return values[int(u * len(values))]


def _radical(n: int, base: int) -> float:
    found, share = 0.0, 1.0 / base
    while n:
        n, digit = divmod(n, base)
        found += digit * share
        share /= base
    return found


class Walk:
    """Asked and told: from the best point so far a random step; 2 n numbers are drawn at each question."""

    def __init__(self, space: Space, seed: int, width: float = 0.2) -> None:
        self._space, self._rng, self._width = space, np.random.default_rng(seed), width
        self._best: tuple[float, Any] = (math.inf, np.full(space.dimension, 0.5))
        self.lost = 0

    def ask(self, n: int) -> list[dict[str, Any]]:
        steps = self._width * self._rng.standard_normal((n, self._space.dimension))
        return self._space.from_unit(np.clip(self._best[1] + steps, 0, 1))

    def tell(self, point: dict[str, Any], values: list[float] | None) -> None:
        if values is None:
            self.lost += 1
        elif values[0] < self._best[0]:
            self._best = (values[0], self._space.to_unit([point])[0])
