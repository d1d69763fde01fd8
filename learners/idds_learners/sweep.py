"""The learners that need no model: a Sobol sequence for ever, random points, a grid."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from idds_core.history import History, derive_seed
from idds_core.ports import Proposal
from idds_core.space import Categorical, Integer, Ordered, Parameter
from idds_learners.level_set import Mapped, taken
from idds_learners.reasons import RANDOM, SEQUENCE, reasons_of

__all__ = ["Grid", "Random", "Sobol"]


@dataclass(frozen=True)
class Sobol(Mapped):
    """A scrambled Sobol sequence of the allowed space; with targets it has the same map as :class:`LevelSet`.

    So conditions such as :class:`BoundaryConverged` work with it, and what active learning is worth can be measured.
    Parameters as for :class:`LevelSet`; `first` is of no consequence, since the sequence simply goes on.

    Examples
    --------
    >>> from idds_core import Real, Space
    >>> from idds_core.history import History
    >>> proposal = Sobol().ask(History(Space(x=Real(0, 1), y=Real(0, 1))), 3)
    >>> len(proposal.points), sorted(proposal.points[0])
    (3, ['x', 'y'])

    """

    def ask(self, history: History, n: int) -> Proposal:
        """The next n points of the sequence that do not exist yet."""
        from idds_learners.design import fill

        maps, _, _, diagnostics = self._look(history)
        points = fill(history.space, history.seed, taken(history), n)
        reason = "" if points or n <= 0 else "every point of the space has been proposed"
        why = reasons_of(maps, points, [(SEQUENCE, None)] * len(points))
        return Proposal(tuple(points), diagnostics, maps.state if maps else {}, reason, why)


@dataclass(frozen=True)
class Random(Mapped):
    """Random points of the allowed space, independent of one another: what every other learner must beat.

    Parameters as for :class:`Sobol`.

    Examples
    --------
    >>> from idds_core import Real, Space
    >>> from idds_core.history import History
    >>> len(Random().ask(History(Space(x=Real(0, 1))), 3).points)
    3

    """

    def ask(self, history: History, n: int) -> Proposal:
        """N random points that do not exist yet."""
        maps, _, _, diagnostics = self._look(history)
        rng, known = history.rng("random"), taken(history)
        space, names = history.space, history.space.names
        found: list[dict[str, Any]] = []
        for _ in range(64 if n > 0 else 0):  # where constraints or few values leave little, more draws are needed
            for point in space.from_unit(rng.random((max(n, 16), space.dimension))):
                key = tuple(point[name] for name in names)
                if len(found) < n and key not in known and not space.point_problem(point):
                    known.add(key)
                    found.append(point)
            if len(found) == n:
                break
        if len(found) < n:  # almost all is taken: what is left is found by going through it
            from idds_learners.design import fill

            found += fill(space, history.seed, known, n - len(found))
        reason = "" if found or n <= 0 else "every point of the space has been proposed"
        why = reasons_of(maps, found, [(RANDOM, None)] * len(found))
        return Proposal(tuple(found), diagnostics, maps.state if maps else {}, reason, why)


@dataclass(frozen=True)
class Grid(Mapped):
    """Every combination of evenly spread values: `steps` of each real parameter, all of whole numbers and choices.

    The order is from coarse to fine along no axis in particular: it goes through the grid in the order of a fixed
    permutation, so that a grid that is cut short covers the whole space. Parameters further as for :class:`Sobol`.

    Parameters
    ----------
    steps : values of a real or logarithmic parameter, or by name; also of a whole number with more values than that

    Examples
    --------
    >>> from idds_core import Integer, Real, Space
    >>> from idds_core.history import History
    >>> len(Grid(steps=3).ask(History(Space(x=Real(0, 1), n=Integer(1, 2))), 99).points)
    6

    """

    steps: int | Mapping[str, int] = 5

    def problems(self) -> list[str]:
        """Everything that is wrong with the learner's fields."""
        given = self.steps.values() if isinstance(self.steps, Mapping) else [self.steps]
        bad = [s for s in given if not isinstance(s, int) or isinstance(s, bool) or s < 1]
        return super().problems() + [f"steps={s!r} is no number of values" for s in bad]

    def ask(self, history: History, n: int) -> Proposal:
        """The next n nodes that do not exist yet."""
        maps, _, _, diagnostics = self._look(history)
        known, names = taken(history), history.space.names
        found: list[dict[str, Any]] = []
        for point in self._nodes(history) if n > 0 else ():
            key = tuple(point[name] for name in names)
            if key not in known and not history.space.point_problem(point):
                known.add(key)
                found.append(point)
                if len(found) == n:
                    break
        reason = "" if found or n <= 0 else "every node of the grid has been proposed"
        why = reasons_of(maps, found, [(SEQUENCE, None)] * len(found))
        return Proposal(tuple(found), diagnostics, maps.state if maps else {}, reason, why)

    def _nodes(self, history: History) -> Iterator[dict[str, Any]]:
        """All nodes in the order of the loop's permutation, a block at a time."""
        import numpy as np

        axes = [self._axis(name, p) for name, p in history.space.parameters.items()]
        total = math.prod(len(axis) for axis in axes)
        start, stride = _permutation(total, history.seed)
        for block in range(0, total, 1024):
            index = (start + stride * np.arange(block, min(block + 1024, total), dtype=object)) % total
            rows = np.empty((len(index), len(axes)))
            for i, axis in enumerate(axes):
                rows[:, i] = axis[(index % len(axis)).astype(int)]
                index = index // len(axis)
            yield from history.space.from_unit(rows)

    def _axis(self, name: str, parameter: Parameter) -> Any:
        """Places in [0, 1] of a parameter's values."""
        import numpy as np

        steps = self.steps.get(name, 5) if isinstance(self.steps, Mapping) else self.steps
        if isinstance(parameter, (Categorical, Ordered)):
            k = len(parameter.choices)
            return (np.arange(k) + 0.5) / k
        if isinstance(parameter, Integer):
            k = parameter.high - parameter.low + 1
            cells = np.unique(np.linspace(0, k - 1, min(steps, k)).round()) if k > steps else np.arange(k)
            return (cells + 0.5) / k
        return np.linspace(0.0, 1.0, steps) if steps > 1 else np.array([0.5])


def _permutation(total: int, seed: int) -> tuple[int, int]:
    """A start and a stride that is coprime to the total, near the golden ratio of it: every prefix is spread out."""
    stride = max(1, round(total * 0.6180339887498949))
    while math.gcd(stride, total) != 1:
        stride += 1
    return derive_seed(seed, "grid") % total, stride
