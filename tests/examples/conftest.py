import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "onelbb"))  # as the worker does with a bundle

Vector = np.ndarray[Any, np.dtype[np.float64]]
Cls = Callable[[Sequence[float], Sequence[float], Sequence[float], Sequence[float]], tuple[float, float]]


@pytest.fixture(scope="session")
def closed_form_cls() -> Cls:
    """CLs of a counting model without pyhf: each bin's nuisance parameter profiled by the root of a quadratic."""

    def cls(
        signal: Sequence[float], expected: Sequence[float], sigma: Sequence[float], observed: Sequence[float]
    ) -> tuple[float, float]:
        s, b, n = np.array(signal), np.array(expected), np.array(observed)
        tau = (b / np.array(sigma)) ** 2  # the background is known as well as tau auxiliary events tell

        def twice_nll(mu: float, n: Vector, aux: Vector) -> float:
            d = mu * s  # n log(d + g b) - (d + g b) + aux log(g) - g tau is largest at the positive root g
            linear = (b + tau) * d - n * b - aux * b
            g = (-linear + np.sqrt(linear**2 + 4 * (b + tau) * b * aux * d)) / (2 * (b + tau) * b)
            mean = d + g * b
            return float(-2 * np.sum(n * np.log(mean) - mean + aux * np.log(g * tau) - g * tau))

        def separation(n: Vector, aux: Vector) -> float:
            fit = minimize_scalar(twice_nll, bounds=(0, 10), args=(n, aux), method="bounded", options={"xatol": 1e-9})
            best, strength = min((fit.fun, float(fit.x)), (twice_nll(0, n, aux), 0.0))
            return 0.0 if strength > 1 else max(twice_nll(1, n, aux) - best, 0.0)

        pull = (n + tau) / (b + tau)  # background-only fit, from which the Asimov data set is made
        q, q_asimov = separation(n, tau), separation(pull * b, pull * tau)
        root = np.sqrt(q_asimov)
        t = np.sqrt(q) - root if q <= q_asimov else (q - q_asimov) / (2 * root)
        return float(norm.sf(t + root) / norm.sf(t)), float(2 * norm.sf(root))

    return cls
