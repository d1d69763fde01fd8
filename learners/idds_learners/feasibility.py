"""Where points can exist, learnt from those that ended infeasible: a process of +1 and -1.

Its hyper-parameters are fixed, since a handful of points must not be overread: a lengthscale of a quarter of the cube's
diagonal, so that one infeasible point says something of its neighbourhood and nothing of the other side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from idds_core.history import History
from idds_learners.surrogate import GP, Fitted, standard

__all__ = ["MOST", "SURE", "log_probability", "of_history", "probability", "process"]

Array = NDArray[np.float64]

#: points of each kind that a process is made of, at most: the newest
MOST = 500
#: below this probability a point surely cannot exist
SURE = 0.02
_LENGTHSCALE = 0.25
_SOFT = 0.05


def process(X: Array, label: Array) -> GP:
    """The process at X (n, d) of the unit cube with label (n,), +1 where there was something and -1 where not."""
    theta = np.array([np.log(_LENGTHSCALE * np.sqrt(X.shape[1]))] * X.shape[1] + [-7.0, -7.0, 0.0, np.log(1e-3)])
    return GP(X, label, np.zeros(len(label)), Fitted(theta, *standard(label)))


def log_probability(gp: GP, X: Array) -> Array:
    """(n,) logarithm of the probability that there is something at X (n, d)."""
    mean, sd = gp.predict(X)
    return np.asarray(log_ndtr(mean / np.sqrt(sd**2 + _SOFT)))


def probability(gp: GP | None, X: Array) -> Array:
    """(n,) probability that there is something at X (n, d), 0 where there surely is nothing; without a process 1.

    Where nothing would be left of X the process is not believed: somewhere one has to look.
    """
    if gp is None or not len(X):
        return np.ones(len(X))
    p = np.exp(log_probability(gp, X))
    return np.where(p >= SURE, p, 0.0) if (p >= SURE).any() else np.ones(len(X))


def of_history(history: History) -> GP | None:
    """A process of where points can exist, its rows in the order in which they came in; None while all could be."""
    bad, good = history.infeasible, history.measured
    if not bad:
        return None
    order = [(p.ingest_no or 0, p.number, p, value) for points, value in ((good, 1.0), (bad, -1.0))
             for p in sorted(points, key=lambda p: p.number)[-MOST :]]  # fmt: skip
    order.sort(key=lambda row: row[:2])
    return process(history.unit([row[2] for row in order]), np.array([row[3] for row in order]))
