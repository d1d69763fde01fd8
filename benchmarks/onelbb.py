"""What active learning is worth on real data: the 1Lbb surface, level set beside Sobol with the very same surrogate.

    OMP_NUM_THREADS=1 python -m benchmarks.onelbb --data DIR [--truth FILE.csv] [--seeds 10] [--json]

Observed and expected contours come from the same evaluations: a first design of 10, then batches of 6. The yardstick
is the intersection over union (IoU) of the excluded regions on the dense points of `examples/onelbb/truth.py`. With
`level_set_proxy` the logarithm of the cross section, a function of one mass, is the trend.
"""

from __future__ import annotations

import csv
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.runs import batches
from benchmarks.script import finish, parser, start, tell
from idds_core.history import Observation
from idds_core.testing.toys import play
from idds_learners import LevelSet, Sobol

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "onelbb"
sys.path.insert(0, str(EXAMPLE))

import onelbb_model  # noqa: E402
from scan import SPACE  # noqa: E402

TARGETS = ("obs", "exp")
LEVEL = 0.05
FIRST, BATCH, LONGEST = 10, 6, 94
#: method: (at how many evaluations, least IoU obs, exp)
MARKS = {"level_set": (40, 0.95, 0.96), "level_set_proxy": (28, 0.95, 0.96)}
SHARE = 0.6
Array = NDArray[np.float64]


def theory(m_c1n2: Array, m_n1: Array) -> Array:
    """Logarithm of the cross section (fb), which does not depend on the mass of the neutralino."""
    del m_n1
    return np.log(onelbb_model.cross_section(m_c1n2))


def learners() -> dict[str, Any]:
    """The methods by name."""
    ours = LevelSet(TARGETS, level=LEVEL, transform="probit", first=FIRST)
    return {
        "level_set": ours,
        "level_set_proxy": replace(ours, trend="benchmarks.onelbb:theory"),
        "sobol": Sobol(TARGETS, level=LEVEL, transform="probit", first=FIRST),
    }


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Intersection over union of two excluded regions."""
    return float((one & other).sum() / max((one | other).sum(), 1))


class Surface:
    """CLs by the example's own model, and the dense points with theirs."""

    def __init__(self, data: Path, truth: Path) -> None:
        self._counts, self._signal = onelbb_model.counts(data), onelbb_model.signal(data)
        with truth.open(newline="", encoding="utf-8") as file:
            rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
        self.points = [{n: row[n] for n in SPACE.names} for row in rows]
        self.excluded = {t: np.array([row[t] < LEVEL for row in rows]) for t in TARGETS}
        self._at = cache(self._evaluate)

    def _evaluate(self, m_c1n2: float, m_n1: float) -> tuple[float, float]:
        yields = self._signal.at(np.array([[m_c1n2, m_n1]]))[0].tolist()
        obs, exp = onelbb_model.cls(self._counts, yields)
        return float(obs), float(exp)

    def observe(self, _: int, point: Mapping[str, Any]) -> Observation:
        """The observation at a point."""
        return Observation(dict(zip(TARGETS, self._at(point["m_c1n2"], point["m_n1"]), strict=True)))


def curve(surface: Surface, learner: Any, seed: int, budget: int) -> list[tuple[int, float, float]]:
    """Evaluations, IoU obs and IoU exp after each iteration of a run."""
    found = []
    plan = batches(FIRST, BATCH, budget)
    for history in play(learner, SPACE, surface.observe, seed=seed, batches=plan, targets=TARGETS):
        said = learner.surrogate(history).predict(surface.points)
        scores = [iou(said[t].p_excluded > 0.5, surface.excluded[t]) for t in TARGETS]
        found.append((len(history.points), scores[0], scores[1]))
    return found


def medians(curves: Sequence[list[tuple[int, float, float]]]) -> list[dict[str, float]]:
    """Median IoU at each number of evaluations."""
    return [
        {"n": rows[0][0], "obs": statistics.median(r[1] for r in rows), "exp": statistics.median(r[2] for r in rows)}
        for rows in zip(*curves, strict=True)
    ]


def needed(rows: list[dict[str, float]], obs: float, exp: float) -> float | None:
    """The first number of evaluations with these IoUs in the median, and at the next look as well."""
    good = [row["obs"] >= obs and row["exp"] >= exp for row in rows]
    return next((row["n"] for row, a, b in zip(rows, good, good[1:], strict=False) if a and b), None)


def measure(data: Path, truth: Path, seeds: int, longest: int) -> dict[str, Any]:
    """Curves of each learner, and what they say beside the marks."""
    surface = Surface(data, truth)
    figures: dict[str, Any] = {"marks": MARKS, "methods": {}}
    for name, learner in learners().items():
        budget = longest if name == "sobol" else MARKS[name][0] + BATCH
        curves = [curve(surface, learner, seed, budget) for seed in range(seeds)]
        figures["methods"][name] = {"medians": medians(curves), "each": curves}
        tell(f"{name} is done")
    sobol = figures["methods"]["sobol"]["medians"]
    for name, (n, *_) in MARKS.items():
        rows = figures["methods"][name]["medians"]
        at = next(row for row in rows if row["n"] >= n)
        other = needed(sobol, at["obs"], at["exp"])
        ours = needed(rows, min(at["obs"], MARKS[name][1]), min(at["exp"], MARKS[name][2]))
        figures["methods"][name] |= {"at_mark": at, "reached_mark_at": ours, "sobol_needs": other}
    return figures


def show(figures: Mapping[str, Any]) -> None:
    """A few lines of text."""
    for name, (n, obs, exp) in MARKS.items():
        row = figures["methods"][name]
        other = row["sobol_needs"]
        text = f"more than {LONGEST}" if other is None else f"{other:g}"
        print(f"{name:16} at {n}: obs {row['at_mark']['obs']:.3f} (mark {obs}) exp {row['at_mark']['exp']:.3f} "
              f"(mark {exp}); Sobol needs {text} for the same (mark: {n} <= {SHARE} of that)")  # fmt: skip
    for row in figures["methods"]["sobol"]["medians"]:
        print(f"sobol            at {row['n']:g}: obs {row['obs']:.3f} exp {row['exp']:.3f}")


def main() -> int:
    """Measure and print."""
    made = parser(__doc__, seeds=10, quick="Sobol up to 40 points")
    made.add_argument("--data", type=Path, required=True, help="folder with the published tables")
    made.add_argument("--truth", type=Path, help="dense truth; made when not given (minutes)")
    made.add_argument("--dense", type=int, default=2400, help="points of the dense truth")
    options = made.parse_args()
    figures = start(options)
    with tempfile.TemporaryDirectory() as name:
        truth = options.truth or Path(name) / "truth.csv"
        if options.truth is None:
            script = [sys.executable, EXAMPLE / "truth.py", "--data", options.data, "--points", options.dense]
            subprocess.run([*map(str, script), "--out", str(truth)], check=True, stdout=sys.stderr)
        longest = 40 if options.quick else LONGEST
        figures |= measure(options.data.resolve(), truth, options.seeds, longest)
    return finish(options, figures, show)


if __name__ == "__main__":
    sys.exit(main())
