"""Values that are only bounds: each becomes a Gaussian site, a pseudo value with a standard deviation of its own.

A bound b says that y > b (or y < b) and no more: its likelihood is Phi of the distance [Tobin, Econometrica 26 (1958)
24]. Expectation propagation puts a Gaussian in its place that gives the same mean and variance, given everything else
[Minka, UAI 2001; Cunningham, Hennig & Lacoste-Julien, arXiv:1111.6832, for the truncated normal]. After that the point
is one like any other. All sites are updated at once, from none: the result depends on no order.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.special import log_ndtr

__all__ = ["sites"]

Array = NDArray[np.float64]

#: a step goes so far towards what would match the moments: all at once would overshoot
_STEP = 0.7
_SWEEPS = 200
_STILL = 1e-8
#: a site tells at least this share of what is known without it, so that it has a finite width
_LEAST = 1e-8
#: beyond so many standard deviations on the wrong side the variance is that of an exponential
_TAIL = -100.0


def sites(mean: Array, covariance: Array, bound: Array, side: Array) -> tuple[Array, Array]:
    """Pseudo values (c,) and standard deviations (c,) of c bounds.

    Parameters
    ----------
    mean, covariance : (c,), (c, c)
        What is known of the measurements from everything else, their noise included.
    bound : (c,)
    side : (c,)
        +1 where the measurement is above its bound, -1 where it is below.

    Examples
    --------
    >>> value, sd = sites(np.array([0.0]), np.array([[1.0]]), np.array([0.0]), np.array([1.0]))
    >>> round(float(value[0] / (1 + sd[0] ** 2)), 4)  # the mean of half a normal distribution, sqrt(2 / pi)
    0.7979

    """
    before = np.diag(covariance)
    precision, shift = np.zeros(len(mean)), np.zeros(len(mean))  # of the sites; shift: precision times value
    for _ in range(_SWEEPS):
        m, v = _posterior(mean, covariance, precision, shift)
        alone = 1.0 / np.maximum(1.0 / v - precision, 1e-12 / before)  # without its own site
        centre = alone * (m / v - shift)
        new_precision, new_shift = _matched(centre, alone, bound, side)
        steps = _STEP * (new_precision - precision), _STEP * (new_shift - shift)
        precision, shift = precision + steps[0], shift + steps[1]
        if (np.abs(steps[0]) <= _STILL * (1.0 / before + precision)).all() and (
            np.abs(steps[1]) <= _STILL * (1.0 / np.sqrt(before) + np.abs(shift))
        ).all():
            break
    precision = np.maximum(precision, _LEAST / before)
    return shift / precision, 1.0 / np.sqrt(precision)


def _posterior(mean: Array, covariance: Array, precision: Array, shift: Array) -> tuple[Array, Array]:
    """(c,) means and (c,) variances with all sites."""
    root = np.sqrt(precision)
    B = root[:, None] * covariance * root
    B.flat[:: len(B) + 1] += 1.0
    factor = cho_factor(B, lower=True, check_finite=False)
    scaled = root[:, None] * covariance
    v = np.diag(covariance) - np.einsum("ij,ij->j", scaled, cho_solve(factor, scaled, check_finite=False))
    rest = shift - precision * mean
    m = mean + covariance @ rest - scaled.T @ cho_solve(factor, scaled @ rest, check_finite=False)
    return m, np.maximum(v, 1e-12 * np.diag(covariance))


def _matched(centre: Array, variance: Array, bound: Array, side: Array) -> tuple[Array, Array]:
    """Precision and shift (c,) of the sites that give the moments of N(centre, variance) cut off at the bounds."""
    z = side * (centre - bound) / np.sqrt(variance)
    hazard = np.exp(-0.5 * z**2 - 0.5 * np.log(2.0 * np.pi) - log_ndtr(z))
    left = np.where(z < _TAIL, 1.0 / np.maximum(z**2, 1.0), 1.0 - hazard * (z + hazard))  # share of the variance
    left = np.clip(left, 1e-12, 1.0)
    precision = (1.0 - left) / (left * variance)
    return precision, precision * centre + side * hazard / (np.sqrt(variance) * left)
