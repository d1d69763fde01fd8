"""The covariance: a Matern function of all coordinates together and a sum of Matern functions of one coordinate each.

    k(x, z) = v [ (1 - q) m(sqrt(sum_i ((x_i - z_i) / l_i)^2)) + q / d sum_i m(|x_i - z_i| / l_i) ]
    m(t) = (1 + r + (1 - w) r^2 / 3) exp(-r),  r = sqrt(5) t

m is a Matern-5/2 at w = 0 and, with a lengthscale of sqrt(3 / 5) l, a Matern-3/2 at w = 1; between them it is a sum of
both. A surface that was interpolated between the points of a grid has kinks and wants w > 0; the data say what it is.

The logarithm of a cross section times an acceptance is close to a sum of functions of one parameter each; such a part
is learnt from few points in any dimension [Durrande et al., Ann. Fac. Sci. Toulouse 21 (2012) 481; Duvenaud et al.,
NIPS 2011]. q = 0 is the usual kernel, and the data say what q is.

theta (d + 4,) = log lengthscales, logit of w, logit of q, log variance v, log nugget variance, the last two in units of
the square of the data's spread.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["additive_share", "extra", "gradient", "matern", "roughness", "scales", "slopes"]

Array = NDArray[np.float64]

_SQRT5 = math.sqrt(5.0)
#: parameters beside the lengthscales
extra = 4


def additive_share(theta: Array) -> float:
    """The share q of the variance that is a sum of functions of one coordinate each."""
    return 1.0 / (1.0 + math.exp(-float(theta[-3])))


def roughness(theta: Array) -> float:
    """The share w of Matern-3/2 in the function."""
    return 1.0 / (1.0 + math.exp(-float(theta[-4])))


def scales(theta: Array) -> Array:
    """(d,) sqrt(5) / lengthscale, what differences of coordinates are multiplied with."""
    return np.asarray(_SQRT5 * np.exp(-theta[:-extra]))


def _matern(r: Array, smooth: float) -> Array:
    """(1 + r + smooth r^2 / 3) exp(-r) of r = sqrt 5 times a scaled distance; r is used up."""
    poly: Array = r * (smooth / 3.0)
    poly += 1.0
    poly *= r
    poly += 1.0
    np.negative(r, out=r)
    np.exp(r, out=r)
    poly *= r
    return poly


def matern(A: Array, B: Array, theta: Array) -> Array:
    """(n, m) covariances of the latent function between A (n, d) and B (m, d)."""
    scale, variance, share, smooth = scales(theta), math.exp(theta[-2]), additive_share(theta), 1.0 - roughness(theta)
    a, b = A * scale, B * scale
    squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2.0 * (a @ b.T)
    found = _matern(np.sqrt(np.maximum(squared, 0.0)), smooth)
    found *= (1.0 - share) * variance
    for x, z in zip(a.T, b.T, strict=True):
        alone = _matern(np.abs(x[:, None] - z[None, :]), smooth)
        alone *= share / len(scale) * variance
        found += alone
    return found


def slopes(D2: Array, theta: Array) -> tuple[Array, Array, Array, Array]:
    """The covariance of n points and its derivatives, from squared differences D2 (d, n, n).

    Returns
    -------
    K : (n, n)
    by_lengthscale : (d, n, n) derivatives by the log lengthscales
    by_roughness : (n, n) derivative by the logit of the roughness
    by_share : (n, n) derivative by the logit of the additive share

    """
    weights = 5.0 * np.exp(-2.0 * theta[:-extra])
    variance, share, rough = math.exp(theta[-2]), additive_share(theta), roughness(theta)
    smooth = 1.0 - rough
    W2 = weights[:, None, None] * D2
    R = np.sqrt(np.concatenate([W2.sum(0)[None], W2]))
    decay = np.exp(-R)
    bend = R * R * decay * (1.0 / 3.0)  # what a Matern-3/2 does not have
    M = decay * (1.0 + R) + smooth * bend
    decay *= variance * (1.0 - smooth / 1.5 + smooth / 3.0 * R)
    sums = M[1:].mean(0)
    K = variance * ((1.0 - share) * M[0] + share * sums)
    by_lengthscale = W2 * ((1.0 - share) * decay[0] + (share / len(D2)) * decay[1:])
    bends = (1.0 - share) * bend[0] + share * bend[1:].mean(0)
    return K, by_lengthscale, -variance * rough * smooth * bends, variance * share * (1.0 - share) * (sums - M[0])


def gradient(X: Array, x: Array, theta: Array) -> Array:
    """(n, d) derivatives of the covariances of X (n, d) and one x (d,) by the coordinates of x."""
    scale, share, smooth = scales(theta), additive_share(theta), 1.0 - roughness(theta)
    away = (x - X) * scale
    together, alone = np.sqrt((away**2).sum(1))[:, None], np.abs(away)
    low, more = 1.0 - smooth / 1.5, smooth / 3.0
    slope = (1.0 - share) * (low + more * together) * np.exp(-together)
    slope = slope + share / len(x) * (low + more * alone) * np.exp(-alone)
    return np.asarray(-math.exp(theta[-2]) * slope * away * scale)
