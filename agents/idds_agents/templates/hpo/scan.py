"""Hyper-parameters of a scikit-learn model: where its cross-validated error is smallest.

The learner goes where it expects the largest improvement, by a Gaussian process that knows how noisy the error is. The
search ends when 16 points have brought nothing, or all points are spent.

    idds-core validate scan.py
    idds-core plan scan.py
    idds-core run scan.py
    idds-core show                   # the best point
    idds-core plot                   # how it was found
"""

from __future__ import annotations

from idds_core import Context, Log, Loop, Space, chain, step
from idds_learners import MaxPoints, NoImprovement, Optimum


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
    """The search; what `define` takes is given to the steps, and `--set folds=10` changes it."""
    return Loop(
        "hpo",
        space=Space(c=Log(0.01, 100), gamma=Log(0.01, 100)),
        body=chain(score),
        learner=Optimum("error"),
        until=NoImprovement(16) | MaxPoints(max_points),
    )
