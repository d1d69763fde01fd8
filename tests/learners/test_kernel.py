"""The covariance's derivatives are those of its values."""

from __future__ import annotations

import numpy as np

from idds_learners.kernel import gradient, matern52


def test_the_gradient_by_one_point_is_that_of_the_covariances() -> None:
    rng = np.random.default_rng(3)
    X, x = rng.random((12, 3)), rng.random(3)
    for logit in (-7.0, 0.3, 7.0):
        theta = np.array([-0.5, 0.4, -1.2, logit, 0.7, -9.0])
        steps = 1e-6 * np.eye(3)
        ahead = [matern52(X, (x + s)[None, :], theta) - matern52(X, (x - s)[None, :], theta) for s in steps]
        np.testing.assert_allclose(gradient(X, x, theta), np.hstack(ahead) / 2e-6, rtol=1e-5, atol=1e-8)
