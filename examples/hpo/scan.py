"""Hyper-parameters of a gradient-boosted model, with bad trials ended early.

A search for the smallest loss over a space of a logarithmic, two whole-number and one categorical parameter. The model
grows in stages; after each one the step reports its validation loss, and a trial that does worse than the median of the
earlier ones at the same stage is pruned: it ends at once, and the point is PRUNED, with its last report on record.

The learner goes where it expects the largest improvement; the search ends when 24 points have brought none.

Run it: ``idds-core run examples/hpo/scan.py``; then ``idds-core show hpo`` and ``idds-core plot hpo``.
"""

from __future__ import annotations

from idds_core import Categorical, Context, Integer, Log, Loop, Space, chain, step
from idds_learners import MaxPoints, MedianRule, NoImprovement, Optimum

STAGES = 6


@step
def train(ctx: Context, rate: float, depth: int, leaf: int, features: str, trees: int) -> dict[str, float]:
    """Train in stages and report each: the validation loss (negative log-likelihood) and the best accuracy."""
    from sklearn.datasets import load_digits
    from sklearn.ensemble import GradientBoostingClassifier
    from sklearn.metrics import log_loss
    from sklearn.model_selection import train_test_split

    x, y = load_digits(n_class=4, return_X_y=True)
    seen, held, told, truth = train_test_split(x, y, test_size=0.4, random_state=1)
    most = None if features == "all" else features
    model = GradientBoostingClassifier(
        learning_rate=rate, max_depth=depth, min_samples_leaf=leaf, max_features=most, subsample=0.5,
        random_state=ctx.seed % 2**32, warm_start=True,
    )  # fmt: skip
    loss = accuracy = 0.0
    for stage in range(1, STAGES + 1):
        model.set_params(n_estimators=trees * stage)
        model.fit(seen, told)
        loss = float(log_loss(truth, model.predict_proba(held)))
        accuracy = max(accuracy, float(model.score(held, truth)))
        ctx.progress(stage / STAGES, f"loss {loss:.4f}")
        ctx.report(stage, loss)
    return {"loss": loss, "accuracy": accuracy}


def define(max_points: int = 40, trees: int = 4) -> Loop:
    """The campaign: `trees` for each stage, `max_points` trials."""
    return Loop(
        "hpo",
        space=Space(
            rate=Log(0.01, 1), depth=Integer(1, 5), leaf=Integer(1, 20), features=Categorical(["all", "sqrt", "log2"])
        ),
        body=chain(train),
        learner=Optimum("loss"),
        until=NoImprovement(24) | MaxPoints(max_points),
        prune=MedianRule(after=2),
        first=8,
        batch=8,
        parameters={"trees": trees},
    )
