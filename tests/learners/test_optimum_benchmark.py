"""The benchmark of optima measures what it says."""

import math

import numpy as np
import pytest

from benchmarks.optimum import TASKS, ranks, study, summary

KNOWN = {
    "branin": ({"x": math.pi, "y": 2.275}, 0.397887),
    "hartmann6": (dict(zip((f"x{i}" for i in range(6)), (0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573),
                           strict=True)), -3.32237),
    "hartmann3": ({"x0": 0.114614, "x1": 0.555649, "x2": 0.852547}, -3.86278),
    "goldstein-price": ({"x0": 0.0, "x1": -1.0}, 3.0),
    "camel": ({"x": 0.0898, "y": -0.7126}, -1.0316),
    "rosenbrock4": ({f"x{i}": 1.0 for i in range(4)}, 0.0),
    "levy4": ({f"x{i}": 1.0 for i in range(4)}, 0.0),
    "styblinski4": ({f"x{i}": -2.903534 for i in range(4)}, -156.66466),
    "shekel7": ({f"x{i}": 4.0 for i in range(4)}, -10.4029),
    "schwefel2": ({"x0": 420.9687, "x1": 420.9687}, 0.0),
    "beale": ({"x0": 3.0, "x1": 0.5}, 0.0),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_the_functions_have_their_published_minima(name: str) -> None:
    point, lowest = KNOWN[name]
    assert TASKS[name].value(point) == pytest.approx(lowest, abs=2e-3)
    around = TASKS[name].space.from_unit(np.random.default_rng(1).random((200, len(point))))
    assert min(TASKS[name].value(p) for p in around) >= lowest - 1e-3


def test_there_are_thirty_tasks_and_their_spaces_are_fine() -> None:
    assert len(TASKS) >= 30
    assert not [name for name, task in TASKS.items() if task.space.problems()]


def test_a_run_counts_the_true_value_at_the_best_observed_point() -> None:
    run = study(TASKS["hartmann3 with noise"], "ours", 1, 4, 18)
    assert len(run["curve"]) == 18
    assert run["final"] == pytest.approx(run["curve"][-1])
    assert run == {**study(TASKS["hartmann3 with noise"], "ours", 1, 4, 18), "cpu_s": run["cpu_s"]}


def test_ties_share_a_rank_and_groups_that_are_not_whole_are_left_out() -> None:
    runs = [{"task": "branin", "seed": s, "batch": 1, "method": m, "final": f, "cpu_s": 1.0}
            for s, m, f in ((1, "a", 1.0), (1, "b", 1.0), (2, "a", 1.0), (2, "b", 3.0), (3, "a", 0.0))]  # fmt: skip
    assert ranks(runs) == {"a": [1.5, 1.0], "b": [1.5, 2.0]}
    assert summary(runs)["1"]["a"]["mean_rank"] == 1.25
