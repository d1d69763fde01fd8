"""A cheap approximation of a target: what the mean of its process follows.

It is a function by name, or what a loop before this one has measured: then the process of the cheap target is the trend
of the dear one, as in recursive co-kriging [Kennedy & O'Hagan, Biometrika 87 (2000) 1; Le Gratiet & Garnier, Int. J.
Uncertain. Quantif. 4 (2014) 365]. The cheap process enters with its mean alone: what it does not know at a point that
the dear one measures is a part of what is left to learn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from idds_core.errors import IddsError
from idds_core.history import History, canonical_json
from idds_core.space import Space
from idds_learners.transform import Scale

if TYPE_CHECKING:
    from idds_learners.mapping import Maps

__all__ = ["Earlier", "earlier_of", "maps_of", "trend_of"]

Array = NDArray[np.float64]

_FIX = "Name a function of numpy arrays, one for each parameter by name, that returns an array of finite numbers."
#: share of the cheap values that are taken at their word: cliffs far from the level must not spoil it where it counts
_NEAR = 0.5
#: trends at sets of places that are asked for again and again, such as the pool
_KEPT = 16


def _wrong(reference: str, why: str, fix: str = _FIX) -> IddsError:
    return IddsError.of("E-LEARNER-013", f"trend {reference} cannot be used", why, "learner.trend", fix)


def trend_of(reference: str, history: History, scale: Scale) -> Callable[[Array], Array]:
    """The trend ``module:function`` or ``loop.target``, as a function of the unit cube: U (m, d) -> (m,).

    Parameters
    ----------
    history : whose space U is of, and that holds the earlier loop
    scale : how the target is seen that it is a trend of

    Raises
    ------
    IddsError
        When there is no such function or loop; later, when it fails or returns something else than m finite numbers.

    """
    if ":" not in reference:
        return earlier_of(reference, history, scale)
    module, _, name = reference.partition(":")
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise _wrong(reference, str(error)) from error
    space = history.space

    def trend(U: Array) -> Array:
        if not len(U):
            return np.empty(0)
        columns = space.columns(space.from_unit(U))
        try:
            found = np.broadcast_to(np.asarray(function(**columns), dtype=float), (len(U),))
        except Exception as error:  # somebody else's code
            raise _wrong(reference, f"{type(error).__name__}: {error}") from error
        if not np.isfinite(found).all():
            raise _wrong(reference, f"it gives {float(found[~np.isfinite(found)][0])} at some point of the space")
        return np.asarray(found)

    return trend


@dataclass(frozen=True)
class Earlier:
    """The trend that an earlier loop gives: the mean of a process of one of its targets, on another loop's scale.

    key : what tells two of them apart: all that went into it.
    target, scale : which, and how it is seen. history : of the earlier loop. space : of U.
    """

    key: str
    target: str
    scale: Scale
    history: History = field(compare=False)
    space: Space = field(compare=False)

    def __call__(self, U: Array) -> Array:
        """(m,) means at U (m, d), kept within the values that were measured."""
        return _at(self, U.shape, U.tobytes())

    @property
    def range(self) -> tuple[float, float]:
        """Least and largest value that was measured: beyond them the mean only extrapolates."""
        y = maps_of(self).gps[self.target].y
        return float(y.min()), float(y.max())


def earlier_of(reference: str, history: History, scale: Scale) -> Earlier:
    """The trend ``loop.target``.

    Raises
    ------
    IddsError
        When the history holds no such loop, or the loop has not measured enough.

    """
    from idds_learners.mapping import LEAST

    name, _, target = reference.partition(".")
    if name not in history.earlier:
        raise _wrong(reference, f"the history holds no loop {name}", "Name a loop that runs before this one.")
    earlier = history.earlier[name]
    if len(earlier.measured) < LEAST:
        why = f"{name} has measured {len(earlier.measured)} points; {LEAST} are needed"
        raise _wrong(reference, why, f"Let {name} measure more, or leave the trend out.")
    spaces = canonical_json([earlier.space.to_json(), history.space.to_json()])
    scale = replace(scale, squash=None, near=min(scale.near, _NEAR), target=target).on(earlier.space)
    return Earlier(earlier.digest + spaces, target, scale, replace(earlier, iterations=()), history.space)


@lru_cache(maxsize=8)
def maps_of(earlier: Earlier) -> Maps:
    """The map of the earlier loop's target, made once in a process."""
    from idds_learners.mapping import learn

    found = learn(earlier.history, {earlier.target: earlier.scale})
    assert found is not None
    return found


@lru_cache(maxsize=_KEPT)
def _at(earlier: Earlier, shape: tuple[int, int], unit: bytes) -> Array:
    """The means at U, given as bytes."""
    points = earlier.space.from_unit(np.frombuffer(unit).reshape(shape))
    there = earlier.history.space.to_unit(points)
    found = np.clip(maps_of(earlier).gps[earlier.target].predict(there)[0], *earlier.range)
    found.flags.writeable = False
    return found
