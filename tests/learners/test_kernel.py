"""The covariance's derivatives are those of its values."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import Matern

from idds_learners.kernel import gradient, matern


def test_the_gradient_by_one_point_is_that_of_the_covariances() -> None:
    rng = np.random.default_rng(3)
    X, x = rng.random((12, 3)), rng.random(3)
    for rough, logit in itertools.product((-7.0, 0.5, 7.0), (-7.0, 0.3, 7.0)):
        theta = np.array([-0.5, 0.4, -1.2, rough, logit, 0.7, -9.0])
        steps = 1e-6 * np.eye(3)
        ahead = [matern(X, (x + s)[None, :], theta) - matern(X, (x - s)[None, :], theta) for s in steps]
        np.testing.assert_allclose(gradient(X, x, theta), np.hstack(ahead) / 2e-6, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(("rough", "nu", "longer"), [(-40.0, 2.5, 1.0), (40.0, 1.5, math.sqrt(0.6))])
def test_the_ends_of_roughness_are_the_known_functions(rough: float, nu: float, longer: float) -> None:
    X = np.random.default_rng(4).random((9, 2))
    theta = np.array([-0.5, 0.4, rough, -40.0, 0.0, -9.0])
    np.testing.assert_allclose(matern(X, X, theta), Matern(longer * np.exp(theta[:2]), nu=nu)(X), atol=1e-12)
