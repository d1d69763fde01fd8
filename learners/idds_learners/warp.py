"""How the values of an objective are seen by its Gaussian process: made small, and bent until they look normal.

An outlier must not set the scale of what happens near the optimum: the bad end is cut where no one looks, and what is
left goes through a power transform [Yeo & Johnson, Biometrika 87 (2000) 954], its exponent by maximum likelihood; for
optima: Cowen-Rivers et al., JAIR 74 (2022) 1269.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Warp"]

Array = NDArray[np.float64]

_EXPONENTS = np.linspace(-1.0, 2.0, 31)
#: values worse than the median by this many times the distance from the best to it are taken as that bad
_CUT = 4.0
_FEW = 8


def _bend(z: Array, exponent: float) -> Array:
    up = np.maximum(z, 0.0)
    down = np.maximum(-z, 0.0)
    high = np.log1p(up) if abs(exponent) < 1e-9 else ((1.0 + up) ** exponent - 1.0) / exponent
    other = 2.0 - exponent
    low = np.log1p(down) if abs(other) < 1e-9 else ((1.0 + down) ** other - 1.0) / other
    return np.where(z >= 0, high, -low)


def _unbend(g: Array, exponent: float) -> Array:
    """The inverse; beyond the range of a bounded transform its last finite value."""
    up, down, other = np.maximum(g, 0.0), np.maximum(-g, 0.0), 2.0 - exponent
    high = np.expm1(up) if abs(exponent) < 1e-9 else np.maximum(1.0 + exponent * up, 1e-6) ** (1.0 / exponent) - 1.0
    low = np.expm1(down) if abs(other) < 1e-9 else np.maximum(1.0 + other * down, 1e-6) ** (1.0 / other) - 1.0
    return np.where(g >= 0, high, -low)


def _likelihood(z: Array, exponent: float) -> float:
    """Log likelihood of normality after the bend, up to a constant."""
    bent = _bend(z, exponent)
    jacobian = (exponent - 1.0) * float((np.sign(z) * np.log1p(np.abs(z))).sum())
    return -0.5 * len(z) * float(np.log(max(bent.var(), 1e-12))) + jacobian


@dataclass(frozen=True)
class Warp:
    """From values that are better when smaller to standardised ones, and back.

    centre, scale : of the values; exponent : of the bend (1: none); cut : the largest standardised value that is told
    apart from larger ones; shift, spread : of what is bent.

    >>> import numpy as np
    >>> y = np.array([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 1e9])
    >>> warp = Warp.of(y)
    >>> bool(abs(warp.forward(y)).max() < 5), bool(np.allclose(warp.back(warp.forward(y[:7])), y[:7]))
    (True, True)
    """

    centre: float
    scale: float
    exponent: float
    cut: float
    shift: float
    spread: float

    @classmethod
    def of(cls, values: Array) -> Warp:
        """The one that suits (n,) values, n >= 1."""
        best, median = float(values.min()), float(np.median(values))
        cut = median + _CUT * (median - best)
        kept = np.minimum(values, cut) if cut > best else values
        centre, scale = float(kept.mean()), float(kept.std())
        scale = scale if scale > 1e-12 * max(1.0, abs(centre)) else 1.0
        z = (kept - centre) / scale
        exponent = 1.0
        if len(z) >= _FEW and float(z.std()) > 0:
            scores = [_likelihood(z, e) for e in _EXPONENTS]
            exponent = float(_EXPONENTS[int(np.argmax(scores))])
        bent = _bend(z, exponent)
        spread = float(bent.std())
        top = (cut - centre) / scale if cut > best else np.inf
        return cls(centre, scale, exponent, float(top), float(bent.mean()), spread if spread > 1e-12 else 1.0)

    def forward(self, values: Array) -> Array:
        """(n,) values -> (n,) of mean 0 and spread 1."""
        z = np.minimum((values - self.centre) / self.scale, self.cut)
        return np.asarray((_bend(z, self.exponent) - self.shift) / self.spread)

    def sigma(self, values: Array, sigmas: Array) -> Array:
        """(n,) standard deviations, warped: half the distance between the ends of the error bar."""
        return 0.5 * np.abs(self.forward(values + sigmas) - self.forward(values - sigmas))

    def back(self, g: Array) -> Array:
        """(...) warped -> in the objective's own unit."""
        return np.asarray(self.centre + self.scale * _unbend(g * self.spread + self.shift, self.exponent))
