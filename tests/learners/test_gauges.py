"""Where conditions stand, for reports."""

from __future__ import annotations

from idds_core.history import History, IterationRecord, Point
from idds_core.ports import Gauge
from idds_core.space import Real, Space
from idds_learners import BoundaryConverged, MaxPoints
from idds_learners.conditions import CoreHours, MaxIterations, Wall


def test_budgets_and_goals_of_a_combination_are_told_with_where_they_stand() -> None:
    record = IterationRecord(1, {}, {"emv": 0.02}, elapsed_s=30.0, core_hours=0.5)
    points = (Point(1, 0, {"x": 0.1}), Point(2, 1, {"x": 0.2}))  # the first is imported: it costs nothing
    history = History(Space(x=Real(0, 1)), points=points, iterations=(record,))
    until = BoundaryConverged(0.01) | MaxPoints(10) | (MaxIterations(3) & Wall("2 min")) | CoreHours(2)
    assert until.gauges(history) == [
        Gauge("emv", 0.02, 0.005, goal=True),
        Gauge("points", 1.0, 10.0),
        Gauge("iterations", 1.0, 3.0),
        Gauge("time", 30.0, 120.0, "s"),
        Gauge("core hours", 0.5, 2.0, "h"),
    ]


def test_what_cannot_be_told_is_left_out() -> None:
    empty = History(Space(x=Real(0, 1)))
    assert (~MaxPoints(3)).gauges(empty) == []
    assert BoundaryConverged(0.02).gauges(empty) == [Gauge("emv", 1.0, 0.01, goal=True)]
