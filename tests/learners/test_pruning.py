"""Rules that end jobs early: pure functions of what was reported."""

from hypothesis import given
from hypothesis import strategies as st

from idds_core.plugins import PRUNERS, build, describe
from idds_learners import Asha, MedianRule
from tests.learners.common import quick

curves = st.lists(st.floats(-5, 5), min_size=1, max_size=12).map(lambda vs: list(enumerate(vs, 1)))


@quick
@given(own=curves, others=st.lists(curves, max_size=12))
def test_the_best_of_all_is_never_pruned_and_between_rungs_nobody_is(own: list, others: list) -> None:  # type: ignore[type-arg]
    rule = Asha(first=2, factor=2)
    found = rule.check(own, others)
    rungs = (2, 4, 8)
    if own[-1][0] not in rungs:
        assert found is None
    lowest = min((value for curve in (own, *others) for _, value in curve), default=0.0)
    if min(value for _, value in own) == lowest:
        assert found is None
    turned = [[(step, -value) for step, value in curve] for curve in others]
    other = Asha(minimize=False, first=2, factor=2).check([(s, -v) for s, v in own], turned)
    assert (other is None) == (found is None)


def test_of_nine_three_go_on_and_then_one() -> None:
    others = [[(step, float(k)) for step in range(1, 10)] for k in range(1, 9)]
    asha = Asha(factor=3)
    assert asha.check([(1, 2.5)], others) is None
    assert asha.check([(1, 3.5)], others) == "rung 1: 3.5 is not among the best 3 of 9"
    assert asha.check([(1, 2.5), (2, 2.5), (3, 2.5)], others) is None
    assert asha.check([(1, 9.0)], others[:1]) is None  # too few to tell


def test_steps_that_are_left_out_are_judged_at_the_next_report() -> None:
    others = [[(1, 0.0), (3, 0.0)]] * 5
    assert Asha().check([(2, 1.0)], others) is None  # it had nothing to show at rung 1
    assert Asha().check([(1, 0.0), (5, 1.0)], others) is None
    assert Asha().check([(1, 2.0), (5, 1.0)], others) == "rung 3: 2 is not among the best 2 of 6"


def test_fields_that_cannot_work_are_named() -> None:
    assert Asha(minimize=1, first=0, factor=1).problems() == [  # type: ignore[arg-type]
        "minimize=1 is not true or false", "first=0 is not a whole number from 1 on",
        "factor=1 is not a whole number from 2 on"]  # fmt: skip
    for rule in (Asha(), MedianRule()):
        assert build(describe(rule, PRUNERS), PRUNERS) == rule
