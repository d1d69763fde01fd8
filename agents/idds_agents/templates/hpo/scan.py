"""Hyper-parameters of a scikit-learn model: its error over a plane of settings, by cross-validation.

The learner here is a Sobol sequence: an even sweep, which learns nothing from what it has seen. A learner that goes
for the optimum by a Gaussian process is not there yet; it will take its place in one line, and the points stay.

    idds-core validate scan.py
    idds-core plan scan.py
    idds-core run scan.py
    idds-core export hpo --json      # everything that was measured
"""

from __future__ import annotations

from idds_core import Context, Log, Loop, Space, chain, step
from idds_learners import MaxPoints, Sobol


@step
def score(ctx: Context, c: float, gamma: float, folds: int) -> dict[str, float]:
    """The mean error of the cross-validation, with the error of that mean. `ctx.seed` is the job's own."""
    from sklearn.datasets import make_moons
    from sklearn.model_selection import KFold, cross_val_score
    from sklearn.svm import SVC

    x, y = make_moons(n_samples=300, noise=0.3, random_state=1)
    splits = KFold(folds, shuffle=True, random_state=ctx.seed % 2**32)
    errors = 1 - cross_val_score(SVC(C=c, gamma=gamma), x, y, cv=splits)
    mean, spread = float(errors.mean()), float(errors.std(ddof=1))
    print(f"C={c:.4g} gamma={gamma:.4g}: error {mean:.4f}")
    return {"error": mean, "error_sigma": spread / folds**0.5}


def define(max_points: int = 32, folds: int = 5) -> Loop:
    """The scan; what `define` takes is given to the steps, and `--set folds=10` changes it."""
    return Loop(
        "hpo",
        space=Space(c=Log(0.01, 100), gamma=Log(0.01, 100)),
        body=chain(score),
        learner=Sobol("error", level=0.1),  # the line on the plot: 'excluded' is what errs less
        until=MaxPoints(max_points),
    )
