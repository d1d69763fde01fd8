"""Points that fill a space: Sobol sequences and pools, snapped to what the parameters can be.

A scrambled Sobol sequence [Sobol 1967; Owen, J. Complexity 14 (1998) 466] of the cube is walked from its beginning;
points that the constraints forbid or that exist already are skipped, so that it goes on densely wherever it stopped.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from idds_core.history import derive_seed
from idds_core.space import Space
from idds_learners.feasibility import probability
from idds_learners.surrogate import GP

__all__ = ["POOL", "Cloud", "key_of", "pool", "sequence"]

Array = NDArray[np.float64]
Key = tuple[Any, ...]

#: points of the pool that candidates and integrals are taken from
POOL = 4096
#: how many points of the cube are tried, at most, to find enough that are allowed
_TRIED = 2**17


def key_of(point: Mapping[str, Any], names: Iterable[str]) -> Key:
    """What tells two points apart: the values of the parameters, in order."""
    return tuple(point[name] for name in names)


def _spelled(space: Space) -> str:
    """The parameters as text; their order, which is that of the coordinates, is kept."""
    return json.dumps(space.to_json()["parameters"])


@dataclass(frozen=True)
class Cloud:
    """Allowed points, no two alike.

    points : list of m parameter mappings; keys : their keys; unit : (m, d) the same in the unit cube.
    share : how much of the cube is allowed.
    """

    points: list[dict[str, Any]]
    keys: list[Key]
    unit: Array
    share: float

    def head(self, n: int) -> Cloud:
        """The first n."""
        return Cloud(self.points[:n], self.keys[:n], self.unit[:n], self.share)


def sequence(space: Space, seed: int, purpose: str, tried: int) -> Cloud:
    """What is left of the first `tried` (a power of 2) points of a scrambled Sobol sequence.

    A longer sequence with the same seed begins with the shorter one. Memoised by content.
    """
    return _sequence(_spelled(space), space.constraints, seed, purpose, tried)


@lru_cache(maxsize=32)
def _sequence(parameters: str, constraints: tuple[str, ...], seed: int, purpose: str, tried: int) -> Cloud:
    from scipy.stats import qmc

    space = Space.from_json({"parameters": json.loads(parameters), "constraints": constraints})
    generator = np.random.default_rng(derive_seed(seed, purpose))
    sobol = qmc.Sobol(space.dimension, scramble=True, seed=generator)
    points = space.from_unit(sobol.random_base2(tried.bit_length() - 1))
    allowed = space.allowed(points)
    found: dict[Key, dict[str, Any]] = {}
    for point, fine in zip(points, allowed.tolist(), strict=True):
        if fine:
            found.setdefault(key_of(point, space.names), point)
    kept = list(found.values())
    return Cloud(kept, list(found), space.to_unit(kept), float(allowed.mean()))


@lru_cache(maxsize=32)
def _pool(parameters: str, constraints: tuple[str, ...], seed: int, size: int) -> Cloud:
    tried = size
    while True:
        cloud = _sequence(parameters, constraints, seed, "pool", tried)
        if len(cloud.points) >= size or tried >= _TRIED or cloud.share == 1.0:
            return cloud.head(size)
        tried *= 2


def pool(space: Space, seed: int, size: int = POOL) -> Cloud:
    """Up to `size` (a power of 2) allowed points, evenly spread, the same for the whole loop.

    Fewer where a space of integers and choices has no more, or where the constraints leave almost nothing.
    """
    return _pool(_spelled(space), space.constraints, seed, size)


def fill(space: Space, seed: int, taken: set[Key], n: int, feasible: GP | None = None) -> list[dict[str, Any]]:
    """The next n points of the loop's Sobol sequence that are not in `taken`; fewer when the space has no more.

    feasible : a process of where points can exist: those that surely cannot are passed over.
    """
    tried = 64
    while n > 0:
        cloud = sequence(space, seed, "sobol", tried)
        fine = np.array([k not in taken for k in cloud.keys], dtype=bool)
        if feasible is not None:
            fine[fine] = probability(feasible, cloud.unit[fine]) > 0
        new = [cloud.points[i] for i in np.flatnonzero(fine)]
        if len(new) >= n or tried >= _TRIED:
            return new[:n]
        tried *= 2
    return []
