"""What is best: of one objective the smallest or largest value, of several those that nothing beats in all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

__all__ = ["DIRECTIONS", "directions", "front", "hypervolume", "running_best"]

DIRECTIONS = ("min", "max")


def directions(learner: Mapping[str, Any], targets: Sequence[str]) -> dict[str, str]:
    """Target -> "min" or "max" for what a learner (as JSON) is after; without an objective all targets, made small.

    >>> directions({"type": "gp", "objective": ["acc"], "direction": "max"}, ["acc", "time"])
    {'acc': 'max'}
    >>> directions({"type": "sobol"}, ["loss"])
    {'loss': 'min'}
    """
    given = learner.get("objective") or targets
    names = [given] if isinstance(given, str) else [str(t) for t in given]
    way = learner.get("direction", learner.get("goal"))
    found = {}
    for name in names:
        if name in targets:
            own = way.get(name) if isinstance(way, Mapping) else way
            found[name] = own if own in DIRECTIONS else "min"
    return found


def front(values: Array) -> NDArray[np.bool_]:
    """(n,) whether each row of (n, m) values, better when smaller, is beaten by no other in all of them at once.

    Of equal rows the first counts.

    >>> import numpy as np
    >>> front(np.array([[1.0, 4.0], [2.0, 2.0], [3.0, 3.0], [1.0, 4.0]])).tolist()
    [True, True, False, False]
    """
    import numpy as np

    n = len(values)
    kept = np.ones(n, bool)
    for i in range(n):
        no_worse = (values <= values[i]).all(axis=1)
        better = no_worse & (values < values[i]).any(axis=1)
        same = no_worse & ~better
        same[i:] = False
        kept[i] = not (better | same).any()
    return kept


def hypervolume(values: Array, reference: Array) -> float:
    """Volume between the front of (n, m) values, better when smaller, and a reference (m,) that is worse.

    >>> import numpy as np
    >>> hypervolume(np.array([[1.0, 2.0], [2.0, 1.0], [5.0, 0.0]]), np.array([3.0, 3.0]))
    3.0
    """
    import numpy as np

    inside = values[(values < reference).all(axis=1)]
    if not len(inside):
        return 0.0
    inside = inside[front(inside)]
    inside = inside[np.lexsort(inside.T[::-1])]
    if inside.shape[1] == 1:
        return float(reference[0] - inside[0, 0])
    # slices along the first objective: in each, what the points up to there cover of the others
    edges = np.append(inside[:, 0], reference[0])
    return float(
        sum(
            (edges[i + 1] - edges[i]) * hypervolume(inside[: i + 1, 1:], reference[1:])
            for i in range(len(inside))
            if edges[i + 1] > edges[i]
        )
    )


def running_best(values: Sequence[float], direction: str) -> list[float]:
    """The best of the first 1, 2, ... values.

    >>> running_best([3.0, 5.0, 1.0], "min"), running_best([3.0, 5.0, 1.0], "max")
    ([3.0, 3.0, 1.0], [3.0, 5.0, 5.0])
    """
    best = min if direction == "min" else max
    found: list[float] = []
    for value in values:
        found.append(best(found[-1], value) if found else value)
    return found
