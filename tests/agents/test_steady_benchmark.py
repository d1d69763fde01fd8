"""What steady mode is worth where jobs take very different times, on a simulated clock."""

from benchmarks.problems import PROBLEMS
from benchmarks.steady import Mode, Run, run, study
from idds_learners import MaxPoints


def test_steady_mode_needs_little_more_evaluations_and_much_less_time() -> None:
    """Median of 3 seeds, durations log-normal with sigma 1, 8 slots, to 1 % of the volume.

    Points that are out when one is chosen cost two or three evaluations, whatever the problem needs: a tenth of thirty
    or more. The mark is 1.1, and docs/benchmarks.md tells where it is met.
    """
    found = study(PROBLEMS["fast2D"], [Mode("batch"), Mode("steady")], range(1, 4))["1.0%"]["steady, top_up=1"]
    assert found["T_ratio"] <= 0.6
    assert found["N_ratio"] <= 1.25


def test_the_benchmark_depends_on_nothing_but_its_seed() -> None:
    def once(seed: int) -> Run:
        return run(PROBLEMS["monoH2e"], Mode("steady"), seed, MaxPoints(16), tol=-1.0)

    assert once(3) == once(3)
    assert once(3) != once(4)
