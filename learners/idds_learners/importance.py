"""Which parameters matter, alone and in pairs: the parts of a function's variance over the whole box.

The functional analysis of variance of the surrogate's mean [Hutter, Hoos and Leyton-Brown, ICML 2014], by pick and
freeze on a scrambled Sobol sequence [Saltelli et al., Comput. Phys. Commun. 181 (2010) 259].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Shares", "shares"]

Array = NDArray[np.float64]

#: rows of the sequence; the shares are then good to about 0.01
ROWS = 1024
#: pairs that are told, the largest first, and the smallest share that is no error of the sum
MOST_PAIRS, LEAST = 10, 0.005
#: a variance below this part of the mean square is rounding
_FLAT = 1e-18


@dataclass(frozen=True)
class Shares:
    """Parts of a variance.

    main : (d,) of each coordinate alone. total : (d,) of everything it takes a part in.
    pairs : (i, j) -> of both together, beyond what each does alone.
    """

    main: Array
    total: Array
    pairs: dict[tuple[int, int], float]

    def document(self, names: Sequence[str]) -> dict[str, Any]:
        """As JSON, by name: ``main`` and ``total`` of each, ``pairs`` of those that act together."""
        found = sorted(self.pairs.items(), key=lambda entry: (-entry[1], entry[0]))
        kept = [(i, j, share) for (i, j), share in found[:MOST_PAIRS] if share >= LEAST]
        return {
            "main": {n: round(float(v), 4) for n, v in zip(names, self.main, strict=True)},
            "total": {n: round(float(v), 4) for n, v in zip(names, self.total, strict=True)},
            "pairs": [{"parameters": [names[i], names[j]], "share": round(share, 4)} for i, j, share in kept],
        }


def shares(function: Callable[[Array], Array], dimension: int, seed: int = 0, rows: int = ROWS) -> Shares:
    """The parts of the variance of a function on the unit cube.

    Parameters
    ----------
    function : takes (n, d) rows of the cube, gives (n,) values
    rows : a power of two

    Examples
    --------
    >>> found = shares(lambda U: 2 * U[:, 0] + U[:, 1], 2)
    >>> found.main.round(2).tolist(), round(found.pairs[0, 1], 2)
    ([0.8, 0.2], 0.0)

    """
    from scipy.stats import qmc

    both = qmc.Sobol(2 * dimension, seed=seed).random(rows)
    A, B = both[:, :dimension], both[:, dimension:]
    at, other = function(A), function(B)
    middle = 0.5 * (at.mean() + other.mean())
    at, other = at - middle, other - middle
    variance = 0.5 * float((at**2).mean() + (other**2).mean())
    if not variance > _FLAT * middle**2:
        return Shares(np.zeros(dimension), np.zeros(dimension), dict.fromkeys(combinations(range(dimension), 2), 0.0))

    def changed(*columns: int) -> Array:
        mixed = A.copy()
        mixed[:, columns] = B[:, columns]
        return np.asarray(function(mixed) - middle)

    ones = [changed(i) for i in range(dimension)]
    main = np.clip([float((other * (f - at)).mean()) / variance for f in ones], 0.0, 1.0)
    total = np.clip([0.5 * float(((f - at) ** 2).mean()) / variance for f in ones], 0.0, 1.0)
    pairs = {}
    for i, j in combinations(range(dimension), 2):
        closed = float((other * (changed(i, j) - at)).mean()) / variance
        pairs[i, j] = float(np.clip(closed - main[i] - main[j], 0.0, 1.0))
    return Shares(main, total, pairs)
