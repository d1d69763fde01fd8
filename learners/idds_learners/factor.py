"""Cholesky factors that grow: what was worked out for the first points is kept while more come in.

Rows are worked out in blocks of 64, always in the same order and of the same shapes, so a factor is the same to the
last digit whether it was grown or made anew. A block of q rows costs O(q n^2) instead of O(n^3), and the projection
``V = L^-1 K(X, U)`` of a pool U grows by the same rows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cholesky, solve_triangular

__all__ = ["BLOCK", "Factor", "factor", "remember"]

Array = NDArray[np.float64]
Kernel = Callable[[Array, Array], Array]

BLOCK = 64
#: bytes that all that is kept may take together; what was used longest ago goes first
_KEPT = 600_000_000


class Factor:
    """L of K(X, X) + diag(extra), its inverse, and L^-1 K(X, U), for the first rows of some points.

    kernel : (A, B) -> covariances; jitter : what is added to the diagonal.
    """

    def __init__(self, kernel: Kernel, jitter: float) -> None:
        self._kernel, self._jitter = kernel, jitter
        self._X = self._extra = np.empty(0)
        self._L = self._inverse = np.empty((0, 0))
        self._U = self._V = np.empty((0, 0))

    @property
    def bytes(self) -> int:
        """What it keeps."""
        return self._L.nbytes + self._inverse.nbytes + self._V.nbytes

    def _known(self, X: Array, extra: Array) -> int:
        """How many leading rows of X were worked out before: whole blocks."""
        n = min(len(X), len(self._X)) // BLOCK * BLOCK
        if not n:
            return 0
        other = (X[:n] != self._X[:n]).any(axis=1) | (extra[:n] != self._extra[:n])
        return (int(np.argmax(other)) if other.any() else n) // BLOCK * BLOCK

    def solve(self, X: Array, extra: Array) -> tuple[Array, Array]:
        """(n, n) L and L^-1 at X (n, d) with extra (n,) on the diagonal.

        Raises
        ------
        numpy.linalg.LinAlgError
            When the matrix is not positive definite.

        """
        n, known = len(X), self._known(X, extra)
        L, inverse = np.zeros((n, n)), np.zeros((n, n))
        L[:known, :known], inverse[:known, :known] = self._L[:known, :known], self._inverse[:known, :known]
        for start in range(known, n, BLOCK):
            rows = slice(start, min(start + BLOCK, n))
            new = X[rows]
            K = self._kernel(new, new)
            K.flat[:: len(K) + 1] += extra[rows] + self._jitter
            if start:
                left = solve_triangular(L[:start, :start], self._kernel(X[:start], new), lower=True, check_finite=False)
                L[rows, :start] = left.T
                K -= left.T @ left
            corner = cholesky(K, lower=True, check_finite=False)
            L[rows, rows] = corner
            inverse[rows, rows] = solve_triangular(corner, np.eye(len(new)), lower=True, check_finite=False)
            inverse[rows, :start] = -inverse[rows, rows] @ (L[rows, :start] @ inverse[:start, :start])
        whole = n // BLOCK * BLOCK
        if whole > known:
            self._X, self._extra = X[:whole].copy(), extra[:whole].copy()
            self._L, self._inverse = L[:whole, :whole].copy(), inverse[:whole, :whole].copy()
            self._V = self._V[: min(known, len(self._V))]
        return L, inverse

    def project(self, X: Array, L: Array, U: Array) -> Array:
        """(n, m) L^-1 K(X, U), where L is what :meth:`solve` gave for X; U (m, d) is a pool that stays the same."""
        n = len(X)
        known = len(self._V) if np.array_equal(U, self._U) else 0
        known = min(known, n // BLOCK * BLOCK)
        known = known if np.array_equal(L[:known, :known], self._L[:known, :known]) else 0
        V = np.empty((n, len(U)))
        if known:
            V[:known] = self._V[:known]
        for start in range(known, n, BLOCK):
            rows = slice(start, min(start + BLOCK, n))
            right = self._kernel(X[rows], U)
            if start:
                right -= L[rows, :start] @ V[:start]
            V[rows] = solve_triangular(L[rows, rows], right, lower=True, check_finite=False)
        whole = min(n // BLOCK * BLOCK, len(self._X))
        if whole > known and np.array_equal(L[:whole, :whole], self._L[:whole, :whole]):
            self._U, self._V = U, V[:whole].copy()
        return V


class _Sized(Protocol):
    @property
    def bytes(self) -> int: ...


Kept = TypeVar("Kept", bound=_Sized)
_kept: OrderedDict[bytes, Any] = OrderedDict()


def factor(key: bytes, kernel: Kernel, jitter: float) -> Factor:
    """The factor of that key (kernel and jitter are told by it), as it was left."""
    return remember(key, lambda: Factor(kernel, jitter))


def remember(key: bytes, make: Callable[[], Kept]) -> Kept:
    """What is kept by that key, or else is made now: a memo, emptied from the far end."""
    found: Kept = _kept.pop(key, None) or make()
    while _kept and sum(f.bytes for f in _kept.values()) + found.bytes > _KEPT:
        _kept.popitem(last=False)
    _kept[key] = found
    return found
