"""The Gaussian process against what it must be: brute force, finite differences, and its own definition."""

from typing import Any

import numpy as np
import pytest
from scipy.optimize import check_grad

from idds_learners.prior import LENGTHSCALE_BOUNDS, NUGGET_BOUNDS, Prior
from idds_learners.surrogate import GP, Fitted, basis, fit, matern, objective, standard


def data(n: int = 14, d: int = 2, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    X = rng.random((n, d))
    return X, np.sin(4 * X[:, 0]) + X.sum(1) ** 2, rng.random(n) * 0.1


THETA = np.array([*np.log([0.4, 0.9]), -1.0, 0.5, *np.log([1.7, 1e-3])])


def given(y: Any, theta: Any = THETA) -> Fitted:
    return Fitted(theta, *standard(y))


@pytest.mark.parametrize("d", [1, 2, 4])
def test_the_gradient_is_that_of_finite_differences(d: int) -> None:
    X, y, noise = data(12, d)
    D2 = ((X[:, None] - X[None]) ** 2).transpose(2, 0, 1)
    prior, H = Prior(d), basis(X, lambda U: np.exp(U[:, 0]))
    for seed in range(3):
        theta = prior.mean + 0.5 * np.random.default_rng(seed).normal(size=d + 4)

        def value(t: Any, D2: Any = D2, H: Any = H) -> float:
            return objective(t, D2, y, noise**2, H, prior)[0]

        def slope(t: Any, D2: Any = D2, H: Any = H) -> Any:
            return objective(t, D2, y, noise**2, H, prior)[1]

        error = check_grad(value, slope, theta)
        assert error < 1e-4 * max(1.0, np.abs(objective(theta, D2, y, noise**2, H, prior)[1]).max())


def brute(gp: Any, U: Any) -> Any:
    """Mean and sd by the textbook: a constant mean with a flat prior is a huge constant in the covariance."""
    ys = (gp.y - gp.centre) / gp.spread
    K = matern(gp.X, gp.X, gp.theta) + np.diag(gp.nugget + (gp.noise / gp.spread) ** 2)
    inverse, k, one = np.linalg.inv(K), matern(gp.X, U, gp.theta), np.ones(len(ys))
    beta = one @ inverse @ ys / (one @ inverse @ one)
    mean = beta + k.T @ inverse @ (ys - beta)
    h = 1 - one @ inverse @ k
    variance = np.diag(matern(U, U, gp.theta) - k.T @ inverse @ k) + h**2 / (one @ inverse @ one)
    return gp.centre + gp.spread * mean, gp.spread * np.sqrt(variance)


def test_the_prediction_is_that_of_the_textbook_with_the_variance_of_the_mean() -> None:
    X, y, noise = data()
    gp = GP(X, y, noise, given(y))
    U = np.random.default_rng(1).random((50, 2))
    for found, expected in zip(gp.predict(U), brute(gp, U), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_posterior_covariance_is_that_of_conditioning_on_one_more_point() -> None:
    X, y, noise = data()
    noise[:] = 0.0
    gp = GP(X, y, noise, given(y))
    U, x = np.random.default_rng(1).random((30, 2)), np.array([[0.3, 0.6]])
    VU, Vx = gp.project(U)[0], gp.project(x)[0]
    k = gp.covariance(U, x, VU, Vx)[:, 0]
    left = gp.variance(VU) - k**2 / (gp.variance(Vx)[0] + gp.noise_variance)
    more = GP(np.vstack([X, x]), np.append(y, y.mean()), np.append(noise, 0.0), given(y))
    expected = (more.predict(U)[1] / more.spread * gp.spread) ** 2
    np.testing.assert_allclose(left, expected, rtol=1e-4, atol=1e-9)


def test_leave_one_out_is_what_leaving_out_gives() -> None:
    X, y, noise = data()
    gp = GP(X, y, noise, given(y))
    found = gp.leave_one_out()
    for i in range(len(y)):
        keep = np.arange(len(y)) != i
        K = matern(X, X, THETA) + np.diag(gp.nugget + (noise / gp.spread) ** 2)
        ys, one = (y - gp.centre) / gp.spread, np.ones(len(y) - 1)
        inverse = np.linalg.inv(K[np.ix_(keep, keep)])
        beta = one @ inverse @ ys[keep] / (one @ inverse @ one)
        k = K[keep, i]
        error = ys[i] - beta - k @ inverse @ (ys[keep] - beta)
        variance = K[i, i] - k @ inverse @ k + (1 - one @ inverse @ k) ** 2 / (one @ inverse @ one)
        assert found.residuals[i] == pytest.approx(error, rel=1e-4, abs=1e-7)
        assert found.z[i] == pytest.approx(error / np.sqrt(variance), rel=1e-4, abs=1e-6)


def test_a_fit_is_at_a_maximum_inside_the_bounds() -> None:
    X, y, noise = data(20)
    theta = fit(X, y, noise).theta
    prior = Prior(2)
    assert ((theta >= prior.bounds[:, 0]) & (theta <= prior.bounds[:, 1])).all()
    ys = (y - y.mean()) / y.std()
    D2 = ((X[:, None] - X[None]) ** 2).transpose(2, 0, 1)
    best = objective(theta, D2, ys, (noise / y.std()) ** 2, basis(X, None), prior)[0]
    for step in 0.3 * np.vstack([np.eye(6), -np.eye(6)]):
        near = np.clip(theta + step, *prior.bounds.T)
        assert objective(near, D2, ys, (noise / y.std()) ** 2, basis(X, None), prior)[0] >= best - 1e-6


def test_a_smooth_function_is_learnt_and_its_errors_are_as_large_as_said() -> None:
    rng = np.random.default_rng(5)
    X, U = rng.random((40, 2)), rng.random((400, 2))

    def f(x: Any) -> Any:
        return np.sin(3 * x[:, 0]) * np.cos(2 * x[:, 1])

    gp = GP(X, f(X), np.zeros(40), fit(X, f(X), np.zeros(40)))
    mean, sd = gp.predict(U)
    assert np.sqrt(np.mean((mean - f(U)) ** 2)) < 0.01
    assert np.mean(((mean - f(U)) / sd) ** 2) < 3.0


def test_reported_noise_is_not_taken_for_structure() -> None:
    rng = np.random.default_rng(6)
    X = rng.random((60, 2))
    y = X[:, 0] + 0.3 * rng.normal(size=60)
    told = GP(X, y, np.full(60, 0.3), fit(X, y, np.full(60, 0.3)))
    assert np.sqrt(np.mean((told.predict(X)[0] - X[:, 0]) ** 2)) < 0.15


@pytest.mark.parametrize("y", [np.zeros(6), np.full(6, 1e12), np.arange(6) * 1e-12])
def test_a_constant_is_survived(y: Any) -> None:
    X = np.random.default_rng(0).random((6, 2))
    mean, sd = GP(X, y, np.zeros(6), fit(X, y, np.zeros(6))).predict(X)
    assert np.isfinite(mean).all()
    assert np.isfinite(sd).all()


def test_the_jitter_grows_until_the_matrix_has_a_factor() -> None:
    X = np.zeros((8, 2))
    gp = GP(X, np.arange(8.0), np.zeros(8), given(np.arange(8.0), np.log(np.array([1.0, 1.0, 1.0, 1e4, 1e-9]))))
    assert np.isfinite(gp.predict(np.random.default_rng(0).random((3, 2)))[0]).all()


def test_parameters_at_a_bound_that_spoils_the_map_are_named() -> None:
    X, y, noise = data()
    low, high = np.log(LENGTHSCALE_BOUNDS)
    theta = np.array([low, high, 0.0, 0.0, 0.0, np.log(NUGGET_BOUNDS[1])])
    assert GP(X, y, noise, given(y, theta)).at_bounds(["x", "y"]) == ["x:low", "nugget:high"]
    assert GP(X, y, noise, given(y)).at_bounds(["x", "y"]) == []
