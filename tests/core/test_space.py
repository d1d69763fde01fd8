"""The parameter space: its mistakes, its points, and its map to the unit cube."""

# What is of the wrong type here is so on purpose.
# mypy: disable-error-code="arg-type, dict-item, list-item"

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from idds_core import Categorical, Integer, Log, Ordered, Real, Space
from idds_core.errors import DefinitionError
from idds_core.space import round12

quick = settings(derandomize=True, deadline=None, max_examples=60, database=None)
finite = st.floats(-1e9, 1e9)


@st.composite
def parameters(draw: Any) -> Any:
    kind = draw(st.sampled_from(["real", "log", "integer", "categorical", "ordered"]))
    if kind == "ordered":
        values = draw(st.sampled_from([st.integers(-99, 99), st.floats(-9, 9), st.text("abc", min_size=1, max_size=3)]))
        return Ordered(tuple(draw(st.lists(values, min_size=1, max_size=5, unique=True))))
    if kind == "categorical":
        return Categorical(tuple(draw(st.lists(st.text("abcxyz_", min_size=1, max_size=4), min_size=1, unique=True))))
    if kind == "integer":
        low = draw(st.integers(-1000, 1000))
        return Integer(low, low + draw(st.integers(1, 1000)))
    if kind == "log":
        low = draw(st.floats(1e-9, 1e6))
        return Log(low, low * draw(st.floats(1.001, 1e9)))
    low = draw(finite)
    return Real(low, low + draw(st.floats(1.0, 1e9)))


spaces = st.lists(parameters(), min_size=1, max_size=5).map(lambda ps: Space({f"p{i}": p for i, p in enumerate(ps)}))
cubes = st.integers(0, 2**32 - 1).map(np.random.default_rng)


def _given(parameter: Any) -> Any:
    """Values that the user wrote down."""
    return parameter.choices if isinstance(parameter, Ordered) else (parameter.low, parameter.high)


def codes(space: Any) -> Any:
    return [p.code for p in space.problems()]


# ---------------------------------------------------------------------- the unit cube
@quick
@given(space=spaces, rng=cubes)
def test_every_row_of_the_unit_cube_is_a_point_of_the_space(space: Any, rng: Any) -> None:
    u = np.vstack([rng.random((20, space.dimension)), np.zeros(space.dimension), np.ones(space.dimension)])
    assert space.problems() == []
    for point in space.from_unit(u):
        assert space.point_problem(point) == ""


@quick
@given(space=spaces, rng=cubes)
def test_a_point_comes_back_from_the_unit_cube(space: Any, rng: Any) -> None:
    points = space.from_unit(rng.random((20, space.dimension)))
    u = space.to_unit(points)
    assert u.shape == (20, space.dimension)
    assert ((u >= -1e-9) & (u <= 1 + 1e-9)).all()
    again = space.from_unit(u)
    for point, other in zip(points, again, strict=True):
        for name, parameter in space.parameters.items():
            if isinstance(parameter, (Integer, Categorical, Ordered)):
                assert other[name] == point[name]
            else:
                width = parameter.high - parameter.low
                assert math.isclose(other[name], point[name], rel_tol=1e-9, abs_tol=1e-9 * width)


@quick
@given(space=spaces, rng=cubes)
def test_points_are_the_same_wherever_they_are_written_down(space: Any, rng: Any) -> None:
    points = space.from_unit(rng.random((5, space.dimension)))
    assert json.loads(json.dumps(points)) == points
    for point in points:
        for name, value in point.items():
            inside = not isinstance(value, float) or value in _given(space.parameters[name])
            assert inside or value == round12(value)


def test_the_cells_of_whole_numbers_and_choices_are_equally_wide() -> None:
    u = (np.arange(400) + 0.5) / 400
    points = Space(n=Integer(3, 6), c=Categorical(("a", "b"))).from_unit(np.stack([u, u], axis=1))
    assert [sum(p["n"] == n for p in points) for n in (3, 4, 5, 6)] == [100] * 4
    assert [sum(p["c"] == c for p in points) for c in "ab"] == [200, 200]


def test_a_logarithmic_parameter_is_even_in_its_logarithm() -> None:
    space = Space(g=Log(0.01, 100))
    assert [p["g"] for p in space.from_unit(np.array([[0.0], [0.5], [1.0]]))] == [0.01, 1.0, 100]


def test_a_logarithmic_range_may_span_all_floats() -> None:
    space = Space(g=Log(1e-300, 1e300))
    assert space.problems() == []
    assert space.to_unit([{"g": 1.0}])[0, 0] == pytest.approx(0.5)
    assert space.from_unit(np.array([[0.5]]))[0]["g"] == pytest.approx(1.0)


def test_no_points_are_no_rows() -> None:
    space = Space(x=Real(0, 1), y=Real(0, 1), constraints=["x > y"])
    assert space.to_unit([]).shape == (0, 2)
    assert space.allowed([]).tolist() == []
    assert space.from_unit(np.empty((0, 2))) == []


# ---------------------------------------------------------------------- parameters that do not always apply
TREE = Space(
    model=Categorical(["svc", "trees"]),
    c=Log(0.1, 10, when="model == 'svc'"),
    kernel=Categorical(["rbf", "poly"], when="model == 'svc'", default="rbf"),
    degree=Integer(2, 5, when="kernel == 'poly'", default=3),
    trees=Ordered([16, 32, 64], when="model == 'trees'", default=32),
)


@quick
@given(rng=cubes)
def test_what_does_not_apply_stands_at_its_default(rng: Any) -> None:
    assert TREE.problems() == []
    for point in TREE.from_unit(rng.random((20, 5))):
        assert TREE.point_problem(point) == ""
        if point["model"] == "trees":
            assert (point["c"], point["kernel"], point["degree"]) == (1.0, "rbf", 3)
        else:
            assert point["trees"] == 32
            assert isinstance(point["trees"], int)
        assert point["kernel"] == "poly" or point["degree"] == 3


def test_a_point_with_a_value_of_what_does_not_apply_is_refused() -> None:
    point = {"model": "trees", "c": 5.0, "kernel": "rbf", "degree": 3, "trees": 64}
    assert TREE.point_problem(point) == "c does not apply (model == 'svc'), so it must be 1.0"
    assert TREE.settled([point]) == [{**point, "c": 1.0}]


def test_what_depends_on_something_that_does_not_apply_does_not_apply() -> None:
    space = Space(a=Categorical(["x", "y"]), b=Categorical(["u", "v"], when="a == 'x'", default="v"),
                  z=Real(0, 1, when="b == 'v'"))  # fmt: skip
    met = space.applies([{"a": "y", "b": "v", "z": 0.1}, {"a": "x", "b": "v", "z": 0.1}])
    assert met["z"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("when", "why"), [("z > 0.5", "unknown name 'z'"), ("y > 0", "unknown name 'y'"), ("x + 1", "it is a number"),
                      ("x.real > 0", "not allowed")],
)  # fmt: skip
def test_when_a_parameter_applies_is_told_by_parameters_before_it(when: str, why: str) -> None:
    (problem,) = Space(x=Real(0, 1), y=Real(0, 1, when=when), z=Real(0, 1)).problems()
    assert problem.code == "E-SPACE-012"
    assert why in problem.why
    assert problem.where == "space.y.when"


# ---------------------------------------------------------------------- constraints
@quick
@given(rng=cubes)
def test_what_the_constraints_allow_is_in_the_space_and_nothing_else(rng: Any) -> None:
    space = Space(x=Real(0, 10), n=Integer(0, 10), c=Categorical(["a", "b"]),
                  constraints=["x > n - 2", "c == 'a' or n < 5"])  # fmt: skip
    u = rng.random((50, 3))
    points = space.from_unit(u)
    allowed = space.allowed_unit(u)
    assert allowed.tolist() == space.allowed(points).tolist()
    for point, fine in zip(points, allowed, strict=True):
        expected = point["x"] > point["n"] - 2 and (point["c"] == "a" or point["n"] < 5)
        assert fine == expected
        assert (space.point_problem(point) == "") == expected


def test_a_single_constraint_may_be_given_as_text() -> None:
    assert Space(x=Real(0, 1), y=Real(0, 1), constraints="x > y").constraints == ("x > y",)


@pytest.mark.parametrize(
    ("constraint", "why"),
    [
        ("x > z", "unknown name 'z'"),
        ("mass > 1", "Did you mean 'mas'?"),
        ("x + 1", "it is a number, and never true or false"),
        ("x.real > 0", "not allowed"),
        ("c > 1", "cannot be evaluated"),
        (5, "is not text"),
    ],
)
def test_a_constraint_that_cannot_be_read_is_named(constraint: Any, why: Any) -> None:
    space = Space(x=Real(0, 1), mas=Real(0, 1), c=Categorical(["a"]), constraints=["x > 0.5", constraint])
    (problem,) = space.problems()
    assert (problem.code, problem.where) == ("E-SPACE-009", "space.constraints[1]")
    assert why in problem.why


def test_a_constraint_that_excludes_everything_is_named() -> None:
    space = Space(m_zp=Real(0, 400), m_a=Real(500, 600), constraints=["m_a > 550", "m_zp > m_a + 125"])
    (problem,) = space.problems()
    assert problem.code == "E-SPACE-004"
    assert "'m_zp > m_a + 125' excludes every point" in problem.what


def test_constraints_that_only_together_exclude_everything_are_found() -> None:
    assert codes(Space(x=Real(0, 1), constraints=["x > 0.6", "x < 0.4"])) == ["E-SPACE-004"]


def test_a_constraint_that_only_a_corner_meets_is_fine() -> None:
    assert Space(x=Real(0, 1), y=Real(0, 1), constraints=["x + y >= 2"]).problems() == []


def test_a_broken_constraint_is_an_error_when_it_is_used() -> None:
    with pytest.raises(DefinitionError, match="E-SPACE-009"):
        Space(x=Real(0, 1), constraints=["z > 0"]).allowed([{"x": 0.5}])


# ---------------------------------------------------------------------- mistakes
@pytest.mark.parametrize(
    ("parameter", "code"),
    [
        (Real("1", 2), "E-SPACE-001"),
        (Real(True, 2), "E-SPACE-001"),
        (Real(0, float("inf")), "E-SPACE-001"),
        (Real(float("nan"), 1), "E-SPACE-001"),
        (Real(0, 10**400), "E-SPACE-001"),
        (Integer(0, 1.5), "E-SPACE-001"),
        (Integer(0.0, 2), "E-SPACE-001"),
        (Real(2, 1), "E-SPACE-002"),
        (Real(1, 1), "E-SPACE-002"),
        (Log(0, 1), "E-SPACE-003"),
        (Log(-1, 1), "E-SPACE-003"),
        (Categorical(()), "E-SPACE-005"),
        (Categorical("abc"), "E-SPACE-005"),
        (Categorical(["a", "a"]), "E-SPACE-005"),
        (Categorical(["a", ""]), "E-SPACE-005"),
        (Categorical(["a", 1]), "E-SPACE-005"),
        (Categorical(["a", "b\0"]), "E-SPACE-005"),
        (Categorical(5), "E-SPACE-005"),
        (Ordered([1, 1.0]), "E-SPACE-005"),
        (Ordered([1, "a"]), "E-SPACE-005"),
        (Ordered([True, 2]), "E-SPACE-005"),
        (Ordered([float("nan")]), "E-SPACE-005"),
        ((0, 1), "E-SPACE-008"),
        (None, "E-SPACE-008"),
        (Real(-1.7e308, 1.7e308), "E-SPACE-010"),
        (Real(1, 1 + 1e-14), "E-SPACE-010"),
        (Integer(0, 2**60), "E-SPACE-010"),
    ],
)
def test_a_parameter_that_cannot_be_used_is_named(parameter: Any, code: Any) -> None:
    (problem,) = Space(fine=Real(0, 1), x=parameter).problems()
    assert (problem.code, problem.where) == (code, "space.x")
    assert problem.fix


def test_an_empty_space_is_refused() -> None:
    assert codes(Space()) == ["E-SPACE-006"]


@pytest.mark.parametrize("name", ["m zp", "1x", "lambda", "class", "µ", "", 5])
def test_a_parameter_is_named_as_expressions_can_use_it(name: Any) -> None:
    assert codes(Space({name: Real(0, 1)})) == ["E-SPACE-007"]


def test_all_mistakes_are_found_at_once() -> None:
    space = Space({"a b": Real(2, 1), "y": Log(0, 1), "z": 3}, constraints=["y >", "q > 1"])
    assert codes(space) == ["E-SPACE-007", "E-SPACE-002", "E-SPACE-003", "E-SPACE-008", "E-SPACE-009", "E-SPACE-009"]


# ---------------------------------------------------------------------- points
SPACE = Space(x=Real(0, 1), n=Integer(1, 9), g=Log(0.1, 10), c=Categorical(["a", "b"]), constraints=["x < n"])
GOOD = {"x": 0.5, "n": 3, "g": 1.0, "c": "a"}


def test_a_good_point_has_no_problem() -> None:
    assert SPACE.point_problem(GOOD) == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"x": 1.5}, "x=1.5 is outside its range"),
        ({"x": float("nan")}, "x=nan"),
        ({"x": True}, "x=True"),
        ({"x": "0.5"}, "x='0.5'"),
        ({"x": None}, "x=None"),
        ({"n": 3.0}, "n=3.0"),
        ({"n": 0}, "n=0"),
        ({"n": True}, "n=True"),
        ({"n": 10**400}, "n=1000"),
        ({"g": 0.0}, "g=0.0"),
        ({"g": 10**400}, "g=1000"),
        ({"c": "z"}, "c='z'"),
        ({"c": 0}, "c=0"),
        ({"more": 1}, "its parameters are c, g, more, n, x, not x, n, g, c"),
        ({"x": 1.0, "n": 1}, "it does not meet x < n"),
    ],
)
def test_a_point_outside_says_why(change: Any, why: Any) -> None:
    assert SPACE.point_problem({**GOOD, **change}).startswith(why)


def test_a_point_with_a_parameter_missing_says_which_there_are() -> None:
    assert SPACE.point_problem({"x": 0.5}) == "its parameters are x, not x, n, g, c"
    assert SPACE.point_problem({}) == "its parameters are none, not x, n, g, c"


# ---------------------------------------------------------------------- JSON
@quick
@given(space=spaces)
def test_a_space_survives_json(space: Any) -> None:
    assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_the_order_of_the_parameters_is_kept() -> None:
    space = Space(z=Real(0, 1), a=Real(0, 1), constraints=["z > a"])
    again = Space.from_json(json.loads(json.dumps(space.to_json())))
    assert again.names == ("z", "a")
    assert again.constraints == ("z > a",)


def test_choices_may_be_given_as_a_list() -> None:
    assert Categorical(["a", "b"]) == Categorical(("a", "b"))


def test_a_default_is_one_of_its_values() -> None:
    (problem,) = Space(x=Real(0, 1, default=2.0)).problems()
    assert (problem.code, problem.where) == ("E-SPACE-011", "space.x.default")
    assert not Space(x=Real(0, 1, default=0.5)).problems()
