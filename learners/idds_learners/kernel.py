"""The covariance: a Matern-5/2 of all coordinates together and a sum of Matern-5/2 of one coordinate each.

    k(x, z) = v [ (1 - q) m(sqrt(sum_i ((x_i - z_i) / l_i)^2)) + q / d sum_i m(|x_i - z_i| / l_i) ]

with m the Matern-5/2 function. The logarithm of a cross section times an acceptance is close to a sum of functions of
one parameter each; such a part is learnt from few points in any dimension [Durrande et al., Ann. Fac. Sci. Toulouse
21 (2012) 481; Duvenaud et al., NIPS 2011]. q = 0 is the usual kernel, and the data say what q is.

theta (d + 3,) = log lengthscales, logit of q, log variance v, log nugget variance, the last two in units of the square
of the data's spread.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["additive_share", "extra", "gradient", "matern52", "scales", "slopes"]

Array = NDArray[np.float64]

_SQRT5 = math.sqrt(5.0)
#: parameters beside the lengthscales
extra = 3


def additive_share(theta: Array) -> float:
    """The share q of the variance that is a sum of functions of one coordinate each."""
    return 1.0 / (1.0 + math.exp(-float(theta[-3])))


def scales(theta: Array) -> Array:
    """(d,) sqrt(5) / lengthscale, what differences of coordinates are multiplied with."""
    return np.asarray(_SQRT5 * np.exp(-theta[:-extra]))


def _matern(r: Array) -> Array:
    """(1 + r + r^2 / 3) exp(-r) of r = sqrt 5 times a scaled distance; r is used up."""
    poly: Array = r * (1.0 / 3.0)
    poly += 1.0
    poly *= r
    poly += 1.0
    np.negative(r, out=r)
    np.exp(r, out=r)
    poly *= r
    return poly


def matern52(A: Array, B: Array, theta: Array) -> Array:
    """(n, m) covariances of the latent function between A (n, d) and B (m, d)."""
    scale, variance, share = scales(theta), math.exp(theta[-2]), additive_share(theta)
    a, b = A * scale, B * scale
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2.0 * (a @ b.T)
    found = _matern(np.sqrt(np.maximum(squared, 0.0)))
    found *= (1.0 - share) * variance
    for x, z in zip(a.T, b.T, strict=True):
        alone = _matern(np.abs(x[:, None] - z[None, :]))
        alone *= share / len(scale) * variance
        found += alone
    return found


def slopes(D2: Array, theta: Array) -> tuple[Array, Array, Array]:
    """The covariance of n points and its derivatives, from squared differences D2 (d, n, n).

    Returns
    -------
    K : (n, n)
    by_lengthscale : (d, n, n) derivatives by the log lengthscales
    by_share : (n, n) derivative by the logit of the additive share

    """
    weights = 5.0 * np.exp(-2.0 * theta[:-extra])
    variance, share = math.exp(theta[-2]), additive_share(theta)
    W2 = weights[:, None, None] * D2
    R = np.sqrt(np.concatenate([W2.sum(0)[None], W2]))
    decay = np.exp(-R)
    M = decay * (1.0 + R * (1.0 + R / 3.0))
    decay *= (variance / 3.0) * (1.0 + R)
    sums = M[1:].mean(0)
    K = variance * ((1.0 - share) * M[0] + share * sums)
    by_lengthscale = W2 * ((1.0 - share) * decay[0] + (share / len(D2)) * decay[1:])
    return K, by_lengthscale, variance * share * (1.0 - share) * (sums - M[0])


def gradient(X: Array, x: Array, theta: Array) -> Array:
    """(n, d) derivatives of the covariances of X (n, d) and one x (d,) by the coordinates of x."""
    scale, share = scales(theta), additive_share(theta)
    away = (x - X) * scale
    together, alone = np.sqrt((away**2).sum(1))[:, None], np.abs(away)
    slope = (1.0 - share) * (1.0 + together) * np.exp(-together) + share / len(x) * (1.0 + alone) * np.exp(-alone)
    return np.asarray(-math.exp(theta[-2]) / 3.0 * slope * away * scale)
