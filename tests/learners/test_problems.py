"""The benchmark problems are the ones that are meant."""

import numpy as np
import pytest

from benchmarks.problems import PROBLEMS, grid_error, s95


@pytest.mark.parametrize(
    ("name", "k", "evaluations"),
    [("monoH2e", 6, 36), ("fast2D", 16, 256), ("monoH3", 13, 2028), ("monoH3proxy", 11, 1210), ("monoH4", 12, 16416)],
)
def test_a_grid_needs_as_many_evaluations_as_is_known(name: str, k: int, evaluations: int) -> None:
    n, error = grid_error(PROBLEMS[name], k)
    assert n == evaluations
    assert error <= 0.01


@pytest.mark.parametrize(("name", "k"), [("monoH2e", 5), ("fast2D", 14), ("monoH3", 12), ("monoH4", 11)])
def test_a_coarser_grid_is_not_enough(name: str, k: int) -> None:
    assert grid_error(PROBLEMS[name], k)[1] > 0.01


def test_the_limit_of_a_counting_experiment() -> None:
    assert s95(1e-9, 0) == pytest.approx(-np.log(0.05), rel=1e-6)


@pytest.mark.parametrize("name", sorted(PROBLEMS))
def test_every_problem_has_a_contour(name: str) -> None:
    u, excluded = PROBLEMS[name].truth()
    assert 0.02 < excluded.mean() < 0.98
    assert PROBLEMS[name].valid(u).all()


def test_the_point_and_the_unit_cube_agree() -> None:
    problem = PROBLEMS["monoH4"]
    u = problem.truth()[0][:5]
    found = [problem.at(p) for p in problem.space.from_unit(u)]
    np.testing.assert_allclose(found, problem.at_unit(u), rtol=1e-9)
