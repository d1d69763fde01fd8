"""Transforms of a target into the quantity that the Gaussian process learns.

The right quantity matters more than the acquisition: a smooth one that is steep nowhere. `probit` is for CLs and other
probabilities, `log` for signal-strength limits, `none` for what is smooth already.

What lies far from the level must not dictate the scale of what happens at the contour. So the values that are farthest
from it, a quarter of them, are taken with a tolerance, a standard deviation of ``0.3 (|g - c| - far)``: there the
process need only be about right. Unlike a narrow squash that keeps a sum of functions a sum, and it needs no unit. A
wide squash, ``g <- w tanh((g - c) / w) + c``, holds the rest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri

from idds_core.errors import IddsError
from idds_core.space import Space
from idds_learners.levels import Level

__all__ = ["TRANSFORMS", "Scale"]

Array = NDArray[np.float64]

#: probabilities are clipped to [CLIP, 1 - CLIP]; a toy or a fit cannot tell more
CLIP = 1e-6
#: a measurement that reaches below zero still has a logarithm: its lower end is kept at this share of the value
LOG_FLOOR = 0.05
#: how much of an uncertainty survives the squash and the clip, at least
SIGMA_FLOOR = 0.05
#: by how much the tolerance grows with the distance from the level
SLACK = 0.3
#: |tanh| is kept below this on the way back
_TANH_LIMIT = 1.0 - 1e-9


@dataclass(frozen=True)
class _Transform:
    forward: Callable[[Any], Any]
    inverse: Callable[[Any], Any]
    low: float = -np.inf
    high: float = np.inf
    clip: tuple[float, float] = (-np.inf, np.inf)


def _same(x: Any) -> Any:
    return x


TRANSFORMS: dict[str, _Transform] = {
    "none": _Transform(_same, _same),
    "log": _Transform(np.log, np.exp, low=np.finfo(float).tiny),
    "probit": _Transform(ndtri, ndtr, low=0.0, high=1.0, clip=(CLIP, 1.0 - CLIP)),
    "logit": _Transform(logit, expit, low=0.0, high=1.0, clip=(CLIP, 1.0 - CLIP)),
}


@dataclass(frozen=True)
class Scale:
    """How one target is seen by its Gaussian process.

    Parameters
    ----------
    transform : {"probit", "log", "logit", "none"}
    level : float or (n,) array
        The contour, in the target's own unit; where it depends on the point, that at the n points it was bound to.
    squash : float or None
        Width w of the squash, in units of the transformed target; None: no squash.
    below : bool
        Whether a point is excluded where the target is below `level` (else above).
    near : float
        Share of the values, nearest to the level, that are taken at their word.
    target : str
        The observation's name, where the contour has another.
    varying : Level or None
        A level that depends on the point: :meth:`on` binds it to a space, :meth:`at` to points.

    Examples
    --------
    >>> scale = Scale("probit", 0.05)
    >>> round(scale.threshold, 3), round(float(scale.back(scale.forward(np.array([0.2])))[0]), 6)
    (-1.645, 0.2)

    """

    transform: str
    level: Any
    squash: float | None = 6.0
    below: bool = True
    near: float = 0.75
    target: str = ""
    varying: Level | None = None

    def on(self, space: Space) -> Scale:
        """The same with a level of the parameters of that space."""
        return self if self.varying is None else replace(self, varying=replace(self.varying, space=space))

    def at(self, unit: Array) -> Scale:
        """The same with the level that holds at unit (n, d)."""
        return self if self.varying is None else replace(self, level=self.varying(unit), varying=None)

    @property
    def threshold(self) -> Any:
        """The level in units of the transformed target: a number, or (n,) where it depends on the point."""
        found = TRANSFORMS[self.transform].forward(np.asarray(self.level, dtype=float))
        return float(found) if np.ndim(self.level) == 0 else found

    def forward(self, values: Array) -> Array:
        """(n,) values of the target -> (n,) transformed, squashed.

        Raises
        ------
        IddsError
            For a value outside the transform's domain: the transform was meant for another kind of target.

        """
        rule = TRANSFORMS[self.transform]
        wrong = (values < rule.low - CLIP) | (values > rule.high + CLIP)
        if rule.low > 0:
            wrong = values <= 0
        if wrong.any():
            raise IddsError.of(
                "E-LEARNER-007",
                f"a value has no {self.transform}",
                f"{float(values[np.argmax(wrong)])!r} is outside its domain",
                "learner.transform",
                "Name the transform that suits the target (none suits all).",
            )
        return self._squashed(self._clipped(values))

    def beyond(self, values: Array) -> Array:
        """(n,) values -> -1 at or below the clip, +1 at or above its other end, else 0: more than that nobody knows."""
        low, high = TRANSFORMS[self.transform].clip
        return np.where(values <= low, -1.0, np.where(values >= high, 1.0, 0.0))

    def sigma(self, values: Array, sigmas: Array) -> Array:
        """(n,) standard deviations of the target -> (n,) of the transformed, squashed target; always finite.

        Half the difference between the two ends of the error bar: equal to sigma times the derivative while sigma is
        small, and still sensible where the derivative is not (a CLs of 1e-6 +- 1e-3). At least `SIGMA_FLOOR` of what
        the error bar is without squash, since a noisy value is noisy even where the squash is flat.
        """
        rule = TRANSFORMS[self.transform]
        lower, upper = values - sigmas, values + sigmas
        if self.transform == "log":
            lower = np.maximum(lower, LOG_FLOOR * values)
        low, high = self._clipped(lower), self._clipped(upper)
        if np.isfinite(rule.clip[0]):  # an error bar wholly beyond the clip still has the clip's own slope
            inside = np.clip(values, rule.clip[0] + sigmas, rule.clip[1] - sigmas)
            least = 0.5 * (self._clipped(inside + sigmas) - self._clipped(inside - sigmas))
            bare = np.maximum(0.5 * (high - low), SIGMA_FLOOR * np.abs(least))
        else:
            bare = 0.5 * (high - low)
        squashed = 0.5 * (self._squashed(high) - self._squashed(low))
        result: Array = np.where(sigmas > 0, np.maximum(squashed, SIGMA_FLOOR * bare), 0.0)
        return result

    def far(self, g: Array) -> float:
        """Distance from the level beyond which there is a tolerance, given (n,) transformed, squashed values."""
        return float(np.quantile(np.abs(g - self.threshold), self.near)) if self.near < 1 else math.inf

    def tolerance(self, g: Array, far: float) -> Array:
        """(n,) transformed, squashed -> (n,) standard deviations with which they are taken; 0 up to `far`."""
        return np.asarray(SLACK * np.maximum(np.abs(g - self.threshold) - far, 0.0))

    def back(self, g: Array) -> Array:
        """(n,) transformed, squashed -> (n,) in the target's own unit."""
        if self.squash is not None:
            c = self.threshold
            t = np.clip((g - c) / self.squash, -_TANH_LIMIT, _TANH_LIMIT)
            g = self.squash * np.arctanh(t) + c
        return np.asarray(TRANSFORMS[self.transform].inverse(g), dtype=float)

    def back_sigma(self, g: Array, s: Array) -> Array:
        """(n,) standard deviations in the target's own unit: half the distance between the ends of the error bar."""
        return np.abs(0.5 * (self.back(g + s) - self.back(g - s)))

    def _clipped(self, values: Array) -> Array:
        rule = TRANSFORMS[self.transform]
        return np.asarray(rule.forward(np.clip(values, *rule.clip)), dtype=float)

    def _squashed(self, g: Array) -> Array:
        if self.squash is None:
            return g
        c = self.threshold
        return np.asarray(self.squash * np.tanh((g - c) / self.squash) + c, dtype=float)
