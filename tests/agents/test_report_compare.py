"""Two loops side by side, on discs whose areas are known and on stored runs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from idds_agents.report.compare import Comparison, Side, common_space, definition_differences, point_differences
from idds_core.errors import IddsError
from idds_core.history import Observation
from idds_core.model import Loop
from idds_core.ports import Prediction
from idds_core.space import Categorical, Integer, Log, Parameter, Real, Space
from tests.agents.cli_kit import Cli, Runs
from tests.agents.report_kit import opened


class Ball:
    """Excludes what is nearer to a centre than a radius; the uncertainty is small."""

    targets = ("r",)

    def __init__(self, radius: float, x: float = 0.5) -> None:
        self.radius, self.x = radius, x

    def predict(self, points: Sequence[Mapping[str, Any]]) -> Mapping[str, Prediction]:
        mean = np.array([math.hypot(p["x"] - self.x, *(v - 0.5 for k, v in p.items() if k != "x")) for p in points])
        p = np.array([0.5 * math.erfc(-(self.radius - m) / 0.1 / math.sqrt(2)) for m in mean])
        return {"r": Prediction(mean, np.full(len(points), 0.1), p)}


@dataclasses.dataclass(frozen=True)
class Plan:
    loop: Loop


@dataclasses.dataclass(frozen=True)
class View:
    plan: Plan


def side(name: str, ball: Ball, space: Space) -> Side:
    view: Any = View(Plan(Loop(name, space=space, body=(), learner=None, until=None)))
    return Side(name, view, ball)


def square(**named: Parameter) -> Space:
    return Space({"x": Real(0, 1, unit="GeV"), "y": Real(0, 1, unit="GeV"), **named})


# ---------------------------------------------------------------------- areas
def test_two_discs_have_the_areas_of_two_discs() -> None:
    found = Comparison(side("a", Ball(0.3), square()), side("b", Ball(0.2), square()), ("r",)).overlap("r")
    assert found.a == pytest.approx(math.pi * 0.09, rel=1e-3)
    assert found.b == pytest.approx(math.pi * 0.04, rel=1e-3)
    assert found.union_share == pytest.approx(4 / 9, rel=2e-3)
    assert found.difference == pytest.approx(math.pi * 0.05, rel=2e-3)
    assert found.distance == pytest.approx(0.1, abs=1e-3)
    assert found.areas == pytest.approx((found.a, found.b, found.difference))


def test_a_disc_is_its_own_twin_and_two_apart_share_nothing() -> None:
    same = Comparison(side("a", Ball(0.3), square()), side("b", Ball(0.3), square()), ("r",)).overlap("r")
    assert (same.union_share, same.difference, same.distance) == (1.0, 0.0, 0.0)
    apart = Comparison(side("a", Ball(0.1, 0.2), square()), side("b", Ball(0.1, 0.8), square()), ("r",)).overlap("r")
    assert apart.both == 0.0
    assert apart.union_share == 0.0
    assert apart.distance == pytest.approx(0.6, abs=2e-3)  # between their outermost and innermost sides
    nothing = Comparison(side("a", Ball(-9), square()), side("b", Ball(-9), square()), ("r",)).overlap("r")
    assert (nothing.union_share, nothing.distance) == (1.0, None)


def test_shares_are_of_what_is_allowed_and_of_the_scale_of_the_axis() -> None:
    half = Space({"x": Real(0, 1), "y": Real(0, 1)}, constraints=["x > 0.5"])
    found = Comparison(side("a", Ball(0.3), half), side("b", Ball(0.3), square_without_unit()), ("r",)).overlap("r")
    assert found.a == pytest.approx(math.pi * 0.09, rel=0.02)  # half a disc in half a square


def square_without_unit() -> Space:
    return Space(x=Real(0, 1), y=Real(0, 1))


def test_three_dimensions_are_sampled() -> None:
    space = square(z=Real(0, 1))
    found = Comparison(side("a", Ball(0.4), space), side("b", Ball(0.3), space), ("r",)).overlap("r")
    assert found.a == pytest.approx(4 / 3 * math.pi * 0.4**3, rel=0.02)
    assert found.union_share == pytest.approx(27 / 64, rel=0.03)
    assert (found.areas, found.distance) == (None, None)


# ---------------------------------------------------------------------- spaces
def test_the_space_that_both_look_at_is_the_overlap_of_both() -> None:
    a = Space(
        x=Real(0, 2, unit="TeV"), n=Integer(1, 5), g=Log(0.1, 10), c=Categorical(["u", "d"]), constraints=["x > 1"]
    )
    b = Space(
        g=Log(1, 100), c=Categorical(["d", "u"]), x=Real(1, 3, unit="TeV"), n=Integer(3, 9), constraints=["n > 3"]
    )
    found = common_space(side("a", Ball(1), a), side("b", Ball(1), b))
    assert found.parameters == {
        "x": Real(1, 2, unit="TeV"),
        "n": Integer(3, 5),
        "g": Log(1, 10),
        "c": Categorical(["u", "d"]),
    }
    assert found.constraints == ("x > 1", "n > 3")


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (Space(x=Real(0, 1, unit="GeV")), "b has no parameter y"),
        (square(z=Real(0, 1)), "a has no parameter z"),
        (square(y=Log(0.1, 1, unit="GeV")), "y is Real in a and Log in b"),
        (square(y=Real(0, 1, unit="TeV")), "y is in GeV in a and in TeV in b"),
        (square(y=Real(2, 3, unit="GeV")), "the ranges of y do not overlap"),
    ],
)
def test_spaces_that_do_not_match_are_one_line(other: Space, says: str) -> None:
    with pytest.raises(IddsError, match=rf"E-COMPARE-001 the spaces do not match: {says}"):
        common_space(side("a", Ball(1), square()), side("b", Ball(1), other))


# ---------------------------------------------------------------------- points and definitions
def test_points_that_differ_are_found_by_their_parameters(finished: Path) -> None:
    store, view = opened(finished)
    store.close()
    changed, *rest = view.history.measured
    assert changed.observation is not None
    values = {**changed.observation.values, "obs": 0.5}
    odd = dataclasses.replace(changed, observation=Observation(values), number=7)
    other = dataclasses.replace(view, history=dataclasses.replace(view.history, points=(odd, *rest[:-3])))
    found = point_differences(view, other, ("obs", "exp"))
    assert found["shared"] == other.evaluations
    assert [(row["points"], row["values"]) for row in found["differ"]] == [
        ([changed.number, 7], {"obs": [changed.observation.values["obs"], 0.5]})
    ]


def test_definitions_are_compared_leaf_by_leaf(finished: Path) -> None:
    store, view = opened(finished)
    store.close()
    assert definition_differences(view, view) == []
    document = {**view.plan.document, "batch": 4, "more": [1]}
    other = dataclasses.replace(view, plan=dataclasses.replace(view.plan, document=document))
    assert definition_differences(view, other) == [
        {"path": "batch", "a": 8, "b": 4},
        {"path": "more[0]", "a": None, "b": 1},
    ]


# ---------------------------------------------------------------------- the verb
@pytest.fixture
def smaller(cli: Cli, tmp_path: Path) -> Path:
    assert cli("run", Runs(tmp_path).scan("plane"), "--set", "max_points=18", "--quiet").code == 2
    return tmp_path / "plane-run"


def test_compare_tells_areas_points_and_wishes(cli: Cli, finished: Path, smaller: Path) -> None:
    done = cli("compare", f"{finished}:plane", "plane-run:plane/plane", "-o", "c.png", "--json")
    assert done.code == 0
    found = done.json
    assert set(found) == {"protocol", "a", "b", "targets", "points", "definition", "file"}
    all_, few = found["a"]["evaluations"], found["b"]["evaluations"]  # of 26 and 18 points; some cannot be measured
    assert 8 < few < all_ < 26
    for target in ("obs", "exp"):
        one = found["targets"][target]
        assert set(one) == {"excluded_share", "intersection_over_union", "symmetric_difference", "natural",
                            "largest_distance", "largest_distance_between"}  # fmt: skip
        assert 0 < one["intersection_over_union"] < 1
        assert one["natural"]["unit"] == "GeV²"
        assert 0 < one["largest_distance"] < 0.5
    assert found["points"] == {"measured": [all_, few], "shared": few, "differ": []}
    assert {row["path"] for row in found["definition"]} == {"parameters.max_points", "until.conditions.max_points.n"}
    assert (smaller.parent / "c.png").read_bytes().startswith(b"\x89PNG")
    out = cli("compare", finished, "plane", "--target", "obs", "--workdir", "plane-run").out
    assert "obs: A excludes" in out
    assert "exp" not in out.split("points:")[0].replace("expected", "")
    assert f"points: {few} measured at the same parameters, 0 of them with other values" in out
    assert "definition: 2 differences" in out


def test_a_loop_is_like_itself(cli: Cli, finished: Path) -> None:
    found = cli("compare", "plane", "plane/plane", "--workdir", finished, "--json").json
    assert {t: o["intersection_over_union"] for t, o in found["targets"].items()} == {"obs": 1.0, "exp": 1.0}
    assert (found["points"]["differ"], found["definition"]) == ([], [])


def test_compare_refuses_what_it_cannot_do(cli: Cli, finished: Path, tmp_path: Path) -> None:
    assert cli("run", Runs(tmp_path).scan("curve"), "--quiet").code == 0
    for arguments, says, code in (
        ((f"{finished}:", "curve-run:"), "E-COMPARE-001 the spaces do not match: curve-run:curve/curve has no", 4),
        ((f"{finished}:", f"{finished}:", "--target", "obz"), "E-COMPARE-002", 4),
        (("curve-run:", "curve-run:", "-o", "a.png"), "E-COMPARE-003", 4),
        (("curve-run:", "curve-run:", "-o", "a.gif"), "E-PLOT-004", 4),
        (("nowhere:", "curve-run:"), "E-STORE-006", 4),
        (("curve-run:curv", "curve-run:"), "E-PATH-003", 4),
    ):
        done = cli("compare", *arguments)
        assert (done.code, len(done.lines)) == (code, 1), done.err
        assert done.err.startswith(says)


OWN = """
import dataclasses
from idds_learners import LevelSet

@dataclasses.dataclass(frozen=True)
class Mine(LevelSet):
    def scales(self):
        return {t: dataclasses.replace(s, level=LEVEL) for t, s in super().scales().items()}
"""

SCAN = """
from idds_core import Loop, Real, Space, chain, step
from idds_learners import MaxPoints
from own import Mine

@step
def measure(x: float, y: float) -> dict:
    return {"s": 0.02 + 0.48 * (x + y)}

loop = Loop("same", space=Space(x=Real(0, 1), y=Real(0, 1)), body=chain(measure), first=8, learner=Mine("s"),
            until=MaxPoints(8))
"""


def test_two_learners_of_the_same_name_are_not_mixed_up(cli: Cli, runs: Runs, tmp_path: Path) -> None:
    for name, level in (("one", 0.4), ("two", 0.8)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "own.py").write_text(f"LEVEL = {level}\n{OWN}", encoding="utf-8")
        (folder / "scan.py").write_text(SCAN, encoding="utf-8")
        assert runs.call("run", folder / "scan.py", "--workdir", f"{name}-run", "--quiet").wait().code == 2
    found = cli("compare", "one-run:", "two-run:", "--json").json
    assert (found["a"]["levels"], found["b"]["levels"]) == ({"s": 0.4}, {"s": 0.8})
