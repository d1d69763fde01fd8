"""What the process sees of a target."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from idds_core.errors import IddsError
from idds_learners.transform import CLIP, TRANSFORMS, Scale
from tests.learners.common import quick

LEVELS = {"probit": 0.05, "logit": 0.05, "log": 1.0, "none": 3.0}


@pytest.mark.parametrize("name", sorted(TRANSFORMS))
def test_the_level_is_the_threshold_whatever_the_squash(name: str) -> None:
    scale = Scale(name, LEVELS[name], 2.5)
    assert scale.forward(np.array([LEVELS[name]]))[0] == pytest.approx(scale.threshold)
    assert scale.back(np.array([scale.threshold]))[0] == pytest.approx(LEVELS[name])


@quick
@given(st.floats(2e-6, 0.99), st.sampled_from(["probit", "logit"]), st.sampled_from([None, 2.5]))
def test_there_and_back(p: Any, name: str, squash: float | None) -> None:
    scale = Scale(name, 0.05, squash)
    assert scale.back(scale.forward(np.array([p])))[0] == pytest.approx(p, rel=1e-4)


@quick
@given(st.floats(0, 1), st.floats(0, 1), st.sampled_from(sorted(TRANSFORMS)))
def test_sigma_is_finite_and_never_negative(value: float, sigma: float, name: str) -> None:
    value = value + 1e-9 if name == "log" else value
    found = Scale(name, LEVELS[name], 2.5).sigma(np.array([value]), np.array([sigma]))[0]
    assert np.isfinite(found)
    assert found > 0 if sigma > 1e-12 else found >= 0


def test_no_noise_stays_no_noise() -> None:
    assert Scale("probit", 0.05).sigma(np.array([0.0, 0.3]), np.zeros(2)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(("name", "value"), [("probit", 0.05), ("logit", 0.2), ("log", 2.0), ("none", 3.0)])
def test_a_small_sigma_goes_through_with_the_derivative(name: str, value: float) -> None:
    scale, h = Scale(name, LEVELS[name], 2.5), 1e-5
    slope = np.diff(scale.forward(np.array([value - h, value + h])))[0] / (2 * h)
    assert scale.sigma(np.array([value]), np.array([1e-4]))[0] == pytest.approx(slope * 1e-4, rel=1e-3)


def test_noise_of_a_cls_near_zero_is_large_and_not_absurd() -> None:
    scale = Scale("probit", 0.05, None)
    assert 0.5 < scale.sigma(np.array([0.0]), np.array([1e-3]))[0] < 2.0


def test_noise_far_from_the_level_keeps_a_share_of_itself() -> None:
    squashed, bare = Scale("log", 1.0, 2.0), Scale("log", 1.0, None)
    value, sigma = np.array([1e6]), np.array([1e5])
    assert squashed.sigma(value, sigma)[0] >= 0.05 * bare.sigma(value, sigma)[0]


def test_a_probability_is_clipped() -> None:
    assert np.isfinite(Scale("probit", 0.05, None).forward(np.array([0.0, 1.0, CLIP / 10]))).all()


@pytest.mark.parametrize(("name", "value"), [("log", 0.0), ("log", -1.0), ("probit", 1.2), ("logit", -0.1)])
def test_a_value_outside_the_domain_is_an_error_that_names_the_transform(name: str, value: float) -> None:
    with pytest.raises(IddsError, match=rf"E-LEARNER-007 a value has no {name}"):
        Scale(name, LEVELS[name]).forward(np.array([0.5, value]))


def test_the_squash_flattens_what_is_far_and_leaves_what_is_near() -> None:
    scale = Scale("log", 1.0, 2.5)
    near, far = scale.forward(np.exp(np.array([0.1, 20.0])))
    assert near == pytest.approx(0.1, rel=1e-2)
    assert far < 2.5


def test_the_values_farthest_from_the_level_are_taken_with_a_tolerance_that_grows() -> None:
    scale, g = Scale("log", 1.0, None, near=0.75), np.array([-1.0, 0.5, 2.0, 5.0, 0.0])
    assert scale.far(g) == pytest.approx(2.0)
    np.testing.assert_allclose(scale.tolerance(g, 2.0), [0.0, 0.0, 0.0, 0.9, 0.0])
    assert Scale("log", 1.0, None, near=1.0).tolerance(g, np.inf).tolist() == [0.0] * 5
