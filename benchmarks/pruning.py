"""What pruning saves: trainings of scikit-learn, searched by `Optimum` without a pruner, with `MedianRule` and `Asha`.

    OMP_NUM_THREADS=1 python -m benchmarks.pruning --quick
    OMP_NUM_THREADS=1 python -m benchmarks.pruning --seeds 5 --json

Linear models and small neural networks are trained by `partial_fit`, 27 passes over the data, on data sets that
scikit-learn ships; after each pass the logarithmic loss on held-out data is reported, and the last one is the loss of
the point. A search has 58 points: 10, then batches of 8. A rule sees each report in turn, beside those of earlier
iterations, as in the engine; a pruned training ends there. Saved is the share of passes that were not made; the result
is the smallest loss of a training that went to its end, compared with the search without a pruner on the same seed.
`spread` says how much results differ anyway: between searches without a pruner on two seeds, in the median.
"""

from __future__ import annotations

import statistics
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from benchmarks.runs import batches
from benchmarks.script import finish, parser, start, tell
from idds_core import Categorical, Log, Ordered, Space
from idds_core.history import Observation, derive_seed
from idds_core.states import PointState
from idds_core.testing.toys import Outcome, play
from idds_learners import Asha, MedianRule, Optimum

PASSES = 27
PLAN = batches(10, 8, 58)
RULES: dict[str, Any] = {
    "none": None, "MedianRule()": MedianRule(), "MedianRule(after=3)": MedianRule(after=3), "Asha()": Asha(),
    "Asha(first=3)": Asha(first=3),
}  # fmt: skip
#: least share of passes saved, and most relative loss of the result in the median
MARK = (0.4, 0.0)
WORST = 10.0
"""What a training that has run away is given as its loss."""
Parameters = Mapping[str, Any]


# ---------------------------------------------------------------------- trainings
def linear(p: Parameters, seed: int) -> Any:
    from sklearn.linear_model import SGDClassifier

    return SGDClassifier(loss="log_loss", penalty=p["penalty"], alpha=p["alpha"], eta0=p["rate"],
                         learning_rate=p["schedule"], random_state=seed)  # fmt: skip


def network(p: Parameters, seed: int) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier((p["width"],), activation=p["activation"], alpha=p["alpha"], learning_rate_init=p["rate"],
                         batch_size=p["batch"], random_state=seed)  # fmt: skip


LINEAR = Space(rate=Log(1e-4, 10), alpha=Log(1e-7, 1), penalty=Categorical(["l2", "l1"]),
               schedule=Categorical(["constant", "invscaling"]))  # fmt: skip
NETWORK = Space(rate=Log(1e-4, 1), alpha=Log(1e-6, 1), width=Ordered([8, 16, 32, 64]),
                batch=Ordered([16, 32, 64, 128]), activation=Categorical(["relu", "tanh"]))  # fmt: skip


@dataclass(frozen=True)
class Training:
    """A model on a data set, and the space of its parameters."""

    name: str
    data: str
    model: Callable[[Parameters, int], Any]
    space: Space

    def losses(self, parameters: Parameters, seed: int) -> Iterator[float]:
        """The held-out loss after each pass."""
        from sklearn.metrics import log_loss

        X, y, X_held, y_held = _split(self.data)
        model, labels = self.model(parameters, seed), np.unique(y)
        rng = np.random.default_rng(derive_seed(seed, "passes"))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # of trainings that run away: the rules are there for them
            for _ in range(PASSES):
                order = rng.permutation(len(X))
                try:
                    model.partial_fit(X[order], y[order], classes=labels)
                    shares = model.predict_proba(X_held)
                except ValueError:  # weights that are not finite any more
                    yield WORST
                    continue
                found = log_loss(y_held, shares, labels=labels) if np.isfinite(shares).all() else WORST
                yield min(float(found), WORST)


@cache
def _split(name: str) -> tuple[Any, Any, Any, Any]:
    """Two thirds to train on, at most 600 rows, and the rest."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X, X_held, y, y_held = train_test_split(X, y, test_size=1 / 3, stratify=y, random_state=0)
    scale = StandardScaler().fit(X)
    return scale.transform(X)[:600], y[:600], scale.transform(X_held), y_held


TRAININGS = {
    f"{kind} on {data}": Training(f"{kind} on {data}", data, model, space)
    for kind, model, space in (("linear", linear, LINEAR), ("network", network, NETWORK))
    for data in ("digits", "breast_cancer", "wine")
}
QUICK = ("linear on wine",)


# ---------------------------------------------------------------------- searches
def search(training: Training, rule: Any, seed: int) -> dict[str, Any]:
    """One search: passes made, points pruned, and the best loss of a training that went to its end."""
    before: list[list[tuple[int, float]]] = []  # reports of earlier iterations
    now: list[list[tuple[int, float]]] = []
    pruned = 0

    def outcome(_: int, point: Parameters) -> Outcome:
        nonlocal pruned
        reports: list[tuple[int, float]] = []
        now.append(reports)
        for step, loss in enumerate(training.losses(point, seed), 1):
            reports.append((step, loss))
            if rule is not None and step < PASSES and rule.check(reports, before):
                pruned += 1
                return PointState.PRUNED
        return Observation({"loss": reports[-1][1]})

    for _ in play(Optimum("loss"), training.space, outcome, seed=seed, batches=PLAN, targets=("loss",)):
        before, now = before + now, []
    curves = before
    best = min(c[-1][1] for c in curves if len(c) == PASSES)
    return {"passes": sum(map(len, curves)), "points": len(curves), "pruned": pruned, "best": best}


def measure(names: tuple[str, ...], seeds: int) -> list[dict[str, Any]]:
    """Every training with every rule on the same seeds."""
    found = []
    for name in names:
        for seed in range(seeds):
            for rule, made in RULES.items():
                run = {"training": name, "seed": seed, "rule": rule, **search(TRAININGS[name], made, seed)}
                tell(f"{name:24} seed {seed} {rule:20} {run['passes']:5} passes, best {run['best']:.5f}")
                found.append(run)
    return found


def summary(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """By rule: share of passes saved, and by how much the result is larger than without it; quartiles of all runs."""
    plain = {(r["training"], r["seed"]): r for r in runs if r["rule"] == "none"}
    found: dict[str, Any] = {}
    for rule in [name for name in RULES if name != "none"]:
        ours = [r for r in runs if r["rule"] == rule]
        pairs = [(r, plain[r["training"], r["seed"]]) for r in ours]
        worse = [r["best"] / p["best"] - 1.0 for r, p in pairs]
        saved = 1.0 - sum(r["passes"] for r in ours) / sum(r["points"] * PASSES for r in ours)
        by_training = {
            name: {"saved": 1.0 - sum(r["passes"] for r, _ in here) / sum(r["points"] * PASSES for r, _ in here),
                   "best": statistics.median(r["best"] for r, _ in here),
                   "best_without": statistics.median(p["best"] for _, p in here)}
            for name in dict.fromkeys(r["training"] for r in ours)
            for here in [[pair for pair in pairs if pair[0]["training"] == name]]
        }  # fmt: skip
        found[rule] = {
            "runs": len(ours), "saved": saved, "worse": np.quantile(worse, (0.25, 0.5, 0.75)).tolist(),
            "better": sum(w < 0 for w in worse), "equal": sum(w == 0 for w in worse),
            "met": bool(saved >= MARK[0] and statistics.median(worse) <= MARK[1]), "trainings": by_training,
        }  # fmt: skip
    return found


def spread(runs: list[dict[str, Any]]) -> float | None:
    """Median relative difference of the results of two seeds without a pruner; None with one seed only."""
    plain = [r for r in runs if r["rule"] == "none"]
    apart = [abs(a["best"] / b["best"] - 1.0) for a in plain for b in plain
             if a["training"] == b["training"] and a["seed"] < b["seed"]]  # fmt: skip
    return statistics.median(apart) if apart else None


def show(figures: Mapping[str, Any]) -> None:
    """A few lines of text."""
    if figures["spread"] is not None:
        print(f"two seeds without a pruner: {100 * figures['spread']:.1f} % apart")
    for rule, row in figures["rules"].items():
        low, middle, high = (f"{100 * w:+.1f}" for w in row["worse"])
        print(
            f"{rule}: {100 * row['saved']:.0f} % of the passes saved (mark {100 * MARK[0]:.0f}); the best loss is "
            f"{middle} % ({low} to {high}) off, better in {row['better']} and equal in {row['equal']} of "
            f"{row['runs']} searches"
        )
        for name, part in row["trainings"].items():
            print(f"  {name:24} saved {100 * part['saved']:3.0f} %  best {part['best']:.5f}, without a pruner "
                  f"{part['best_without']:.5f}")  # fmt: skip


def main() -> int:
    """Measure and print."""
    options = parser(__doc__, seeds=2, quick=", ".join(QUICK)).parse_args()
    figures = start(options, {"trainings": "scikit-learn"})
    runs = measure(QUICK if options.quick else tuple(TRAININGS), options.seeds)
    figures |= {"mark": MARK, "rules": summary(runs), "spread": spread(runs), "runs": runs}
    return finish(options, figures, show)


if __name__ == "__main__":
    sys.exit(main())
