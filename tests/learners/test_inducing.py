"""Many points seen through few: what stays the same, how far the rest is from an exact process, and that it says so."""

import dataclasses
import json
import subprocess
import sys
import weakref
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies

from idds_core.history import History, IterationRecord, Observation, Point
from idds_core.space import Real, Space
from idds_core.states import PointState
from idds_core.testing.learner_laws import LearnerLaws
from idds_core.testing.toys import CIRCLE, play
from idds_learners import LevelSet, factor
from idds_learners.inducing import Inducing, spread_out
from idds_learners.kernel import matern
from idds_learners.mapping import Maps, learn
from idds_learners.portable import portable
from idds_learners.surrogate import GP, Fitted, basis, standard
from tests.learners.common import quick

THETA = np.array([*np.log([0.4, 0.9]), -7.0, 0.5, *np.log([1.7, 1e-4])])
U = np.random.default_rng(1).random((200, 2))


def curve(U: Any) -> Any:
    return np.asarray(np.exp(U[:, 0]))


def data(n: int, sigma: float = 0.0, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    X = rng.random((n, 2))
    y = np.sin(4 * X[:, 0]) + X.sum(1) ** 2 + sigma * rng.normal(size=n)
    return X, y, np.full(n, sigma)


def pair(n: int, exact: int, sigma: float = 0.0, trend: Any = None) -> tuple[GP, Inducing]:
    """The exact process of the same data, and the approximation."""
    X, y, noise = data(n, sigma)
    told = (X, y, noise, Fitted(THETA, *standard(y)), trend)
    return GP(*told), Inducing(*told, exact=exact)


def apart(a: GP, b: GP) -> float:
    """Root mean square of the difference of the means, in units of the larger standard deviation."""
    (mean, sd), (other, wide) = a.predict(U), b.predict(U)
    return float(np.sqrt(np.mean(((mean - other) / np.maximum(sd, wide)) ** 2)))


# ---------------------------------------------------------------------- the process
def brute(gp: Inducing) -> Any:
    """Mean and sd at U by the textbook: all covariances written out, those of the first points through Z."""
    first = gp.X[: gp._first]
    Z = first[spread_out(first * np.sqrt(5) * np.exp(-gp.theta[:2]), 3 * gp.exact // 4)]
    k = matern
    jitter = 1e-8 * (np.exp(gp.theta[-2]) + gp.nugget)
    inner = np.linalg.inv(k(Z, Z, gp.theta) + 1e-8 * np.exp(gp.theta[-2]) * np.eye(len(Z)))

    def through(A: Any, B: Any) -> Any:
        return k(A, Z, gp.theta) @ inner @ k(Z, B, gp.theta)

    n, N = gp._first, len(gp.X)
    K = through(gp.X, gp.X)
    K[n:, n:] = k(gp.X[n:], gp.X[n:], gp.theta)
    K[np.arange(n), np.arange(n)] = np.exp(gp.theta[-2])
    K += np.diag(np.full(N, gp.nugget + jitter) + (gp.noise / gp.spread) ** 2)
    across = through(gp.X, U)
    across[n:] = k(gp.X[n:], U, gp.theta)
    inverse, H, h = np.linalg.inv(K), basis(gp.X, gp.trend), basis(U, gp.trend)
    A = np.linalg.inv(H.T @ inverse @ H)
    beta = A @ H.T @ inverse @ ((gp.y - gp.centre) / gp.spread)
    rest = (gp.y - gp.centre) / gp.spread - H @ beta
    e = h - across.T @ inverse @ H
    taken, given = np.einsum("ij,ik,kj->j", across, inverse, across), np.einsum("ij,jk,ik->i", e, A, e)
    variance = np.exp(gp.theta[-2]) - taken + given
    return gp.centre + gp.spread * (h @ beta + across.T @ inverse @ rest), gp.spread * np.sqrt(variance)


@pytest.mark.parametrize("n", [81, 88, 97])
@pytest.mark.parametrize(("sigma", "trend"), [(0.0, None), (0.3, None), (0.1, curve)])
def test_the_prediction_is_that_of_the_textbook(n: int, sigma: float, trend: Any) -> None:
    gp = pair(n, 40, sigma, trend)[1]
    for found, expected in zip(gp.predict(U), brute(gp), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-4)


@quick
@given(strategies.integers(65, 200), strategies.sampled_from([0.0, 0.05, 0.5]), strategies.booleans())
def test_it_is_as_near_to_the_exact_process_as_it_says(n: int, sigma: float, bent: bool) -> None:
    exact, near = pair(n, 64, sigma, curve if bent else None)
    told = near.approximation
    assert told["points"] == n
    assert told["inducing"] == 48
    assert 1 <= told["since"] <= 8
    assert apart(exact, near) < max(0.02, 1.5 * told["difference"])
    assert 0.9 < np.median(near.predict(U)[1] / exact.predict(U)[1]) < 2.0


def test_noise_is_averaged_over_all_points_not_over_those_that_are_kept() -> None:
    exact, near = pair(600, 100, sigma=0.5)
    X, y, noise = data(600, 0.5)
    kept = GP(X[:75], y[:75], noise[:75], exact.fitted)
    assert near.predict(U)[1] == pytest.approx(exact.predict(U)[1], rel=0.02)
    assert np.median(kept.predict(U)[1]) > 1.5 * np.median(exact.predict(U)[1])


def test_more_inducing_points_are_nearer_and_it_says_so() -> None:
    few, many = (pair(300, exact) for exact in (24, 160))
    assert many[1].approximation["difference"] < 0.5 * few[1].approximation["difference"]
    assert apart(*many) < 0.5 * apart(*few)
    assert pair(300, 24)[0].approximation == {}


def test_a_value_since_is_believed_at_once() -> None:
    """It is conditioned on exactly, however many there are."""
    _, gp = pair(97, 40)
    at = gp.X[-1:]
    mean, sd = gp.predict(at)
    assert mean[0] == pytest.approx(gp.y[-1], abs=5e-3)
    assert sd[0] < 0.05 * gp.spread


def test_the_posterior_covariance_is_that_of_conditioning_on_one_more_point() -> None:
    X, y, noise = data(90)
    fitted = Fitted(THETA, *standard(y))
    gp = Inducing(X, y, noise, fitted, curve, exact=64)
    x = np.array([[0.3, 0.6]])
    VU, Vx = gp.project(U)[0], gp.project(x)[0]
    k = gp.covariance(U, x, VU, Vx)[:, 0]
    left = gp.variance(VU) - k**2 / (gp.variance(Vx)[0] + gp.noise_variance)
    more = Inducing(np.vstack([X, x]), np.append(y, y.mean()), np.append(noise, 0.0), fitted, curve, exact=64)
    np.testing.assert_allclose(left, more.predict(U)[1] ** 2, rtol=1e-3, atol=1e-9)


@pytest.mark.parametrize("sigma", [0.0, 0.3])
def test_what_is_left_out_is_predicted_as_well_as_it_says(sigma: float) -> None:
    loo = pair(400, 100, sigma)[1].leave_one_out()
    assert 200 < len(loo.z) <= 400
    assert np.mean(loo.z**2) < 2.0
    assert np.sqrt(np.mean(loo.residuals**2)) < (0.05 if sigma == 0.0 else 0.5)


def test_duplicates_are_inducing_points_once() -> None:
    X, y, noise = data(30, 0.1)
    again = np.tile(X, (4, 1)), np.tile(y, 4), np.tile(noise, 4)
    gp = Inducing(*again, Fitted(THETA, *standard(y)), exact=64)
    assert gp.approximation["inducing"] == 30
    assert apart(GP(*again, Fitted(THETA, *standard(y))), gp) < 0.02


@pytest.mark.parametrize("n", [200, 2200])
def test_hardly_any_noise_and_points_on_top_of_one_another_are_survived(n: int) -> None:
    X, y, noise = data(n)
    X[n // 2 :], y[n // 2 :] = X[: n - n // 2] + 1e-9, y[: n - n // 2]
    theta = np.array([*np.log([5.0, 5.0]), -7.0, -7.0, np.log(1e4), np.log(1e-9)])
    mean, sd = Inducing(X, y, noise, Fitted(theta, *standard(y)), exact=n - 1).predict(U)
    assert np.isfinite(mean).all()
    assert (sd > 0).all()
    assert abs(mean - (np.sin(4 * U[:, 0]) + U.sum(1) ** 2)).max() < 0.1


def test_a_kept_pool_is_that_of_a_fresh_one_to_the_last_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Grown point by point and made at once."""
    X, y, noise = data(120, 0.1)
    for n in range(100, 121):
        grown = Inducing(X[:n], y[:n], noise[:n], Fitted(THETA, *standard(y)), exact=64).project(U, keep=True)
    monkeypatch.setattr(factor, "_kept", OrderedDict())
    fresh = Inducing(X, y, noise, Fitted(THETA, *standard(y)), exact=64).project(U, keep=True)
    assert all((a == b).all() for a, b in zip(grown, fresh, strict=True))


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an ask needs no more is given back, with all that hangs on it."""
    monkeypatch.setattr(factor, "_kept", OrderedDict())
    monkeypatch.setattr(factor, "_KEPT", 300_000)
    bases = []
    for n in range(100, 200, 10):
        gp = pair(n, 64)[1]
        gp.project(U, keep=True)
        bases.append(weakref.ref(gp._base))
        del gp
    assert 0 < sum(b.bytes for b in factor._kept.values()) < 450_000
    assert sum(b() is not None for b in bases) == len(factor._kept) < 5


# ---------------------------------------------------------------------- the map and the learner
SPACE = Space(x=Real(0, 1), y=Real(0, 1))


def history(n: int, sigma: float = 0.0) -> History:
    X, y, _ = data(n, sigma)
    points = tuple(
        Point(i + 1, 1, {"x": a, "y": b}, PointState.MEASURED, Observation({"f": v}, {"f": sigma} if sigma else {}))
        for i, ((a, b), v) in enumerate(zip(X.tolist(), y.tolist(), strict=True))
    )
    return History(SPACE, 1, ("f",), points, (IterationRecord(1),))


def level_set(exact: int = 2000) -> LevelSet:
    return LevelSet("f", level=1.5, transform="none", exact=exact)


def test_up_to_exact_points_nothing_changes() -> None:
    here = history(80)
    assert level_set(80).ask(here, 4) == level_set(5000).ask(here, 4)
    assert "approximation" not in level_set(80).ask(here, 0).diagnostics


def test_above_the_diagnostics_say_how_the_map_is_made_and_how_far_it_is_from_exact() -> None:
    told = level_set(64).ask(history(150), 2).diagnostics
    assert told["approximation"]["points"] == 150
    assert told["approximation"]["inducing"] == 48
    assert told["approximation"]["difference"] == told["targets"]["f"]["approximation_error"]
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize("sigma", [0.0, 0.2])
def test_both_maps_exclude_the_same(sigma: float) -> None:
    here, test = history(400, sigma), np.random.default_rng(3).random((2000, 2))
    exact, near = (level_set(e).surrogate(here) for e in (2000, 100))
    assert exact is not None
    assert near is not None
    excluded = [m.predict_unit(test)["f"].p_excluded > 0.5 for m in (exact, near)]
    assert np.mean(excluded[0] != excluded[1]) < 0.005


def test_hyper_parameters_are_not_fitted_to_noise_that_happens_to_be_near_the_level() -> None:
    """Of 3000 noisy values the 400 nearest to the level are all alike."""
    here = history(3000, 0.3)
    found = learn(here, level_set().scales())
    assert found is not None
    truth = np.sin(4 * U[:, 0]) + U.sum(1) ** 2
    assert np.sqrt(np.mean((found.predict_unit(U)["f"].mean - truth) ** 2)) < 0.06


def test_the_portable_lines_give_what_the_approximation_gives(tmp_path: Any) -> None:
    maps = level_set(64).surrogate(history(150, 0.1))
    assert isinstance(maps, Maps)
    document, arrays = portable(maps)
    (tmp_path / "surrogate.json").write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
    np.savez(tmp_path / "surrogate.npz", allow_pickle=False, **arrays)
    names: dict[str, Any] = {}
    exec(document["code"], names)
    points = SPACE.from_unit(U)
    mean, sd = names["evaluate"](tmp_path, "f", points)
    expected = maps.predict(points)["f"]
    np.testing.assert_allclose(mean, expected.mean, rtol=1e-7)
    np.testing.assert_allclose(sd, expected.sd, rtol=1e-6)
    assert len(arrays["f.at"]) < len(arrays["X"]) == 150


@pytest.mark.parametrize("exact", [0, 15, 2.5, True])
def test_a_bad_switch_is_refused(exact: Any) -> None:
    assert f"exact={exact!r} is no whole number from 16 on" in level_set(exact).problems()


def seen(_: int, point: Mapping[str, Any]) -> Observation:
    return Observation({"f": CIRCLE.value(point)})


def test_a_loop_that_passes_the_switch_is_answered_again_by_a_process_that_knows_nothing() -> None:
    """Asked after each iteration by one process, and after any of them by a fresh one, as after a kill."""
    learner = LevelSet("f", level=0.5, transform="none", exact=16)
    histories = list(play(learner, CIRCLE.space, seen, batches=(10, 4, 4, 4, 4)))
    asked = json.dumps([h.to_json() for h in histories])
    done = subprocess.run([sys.executable, "-c", _COLD], input=asked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    for h, points in zip(histories[1:], again[:-1], strict=True):
        assert points == [dict(p.parameters) for p in h.points if p.iteration == len(h.iterations)]


_COLD = """
import json, sys
from idds_core.history import History
from idds_learners import LevelSet, factor
learner = LevelSet("f", level=0.5, transform="none", exact=16)
found = []
for document in json.load(sys.stdin):
    factor._kept.clear()
    found.append([dict(p) for p in learner.ask(History.from_json(document), 4).points])
print(json.dumps(found))
"""


def test_pending_points_are_conditioned_on() -> None:
    learner = LevelSet("f", level=0.5, transform="none", exact=16)
    here = history(60)
    learner, out = level_set(16), []
    for _ in range(6):
        (point,) = learner.ask(here, 1).points
        new = Point(len(here.points) + 1, 2, point)
        here = dataclasses.replace(here, points=(*here.points, new))
        out.append(here.space.to_unit([point])[0])
    gaps = [float(np.hypot(*(a - b))) for i, a in enumerate(out) for b in out[:i]]
    assert min(gaps) > 0.02


class TestLevelSetSeenThroughFew(LearnerLaws):
    examples = 8

    @pytest.fixture
    def learner(self) -> Any:
        return LevelSet("f", level=0.5, transform="none", exact=16)
