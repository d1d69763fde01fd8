"""What active learning is worth on real data: the 1Lbb surface at 40 evaluations, level set beside Sobol.

``python benchmarks/onelbb.py --data DIR [--truth FILE.csv] [--seeds 5] [--points 40] [--json]``. Runs the example
through the command line, and compares its predictions with the model's own dense truth (`examples/onelbb/truth.py`)
and with the decisions of the full likelihood at the published points, if the tables have its CLs.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SCAN = ROOT / "examples" / "onelbb" / "scan.py"
TARGETS = ("obs", "exp")
LEVEL = 0.05
FULL = {"obs": "CLs_obs_full", "exp": "CLs_exp_med"}
MARKS = {"iou_obs": 0.93, "iou_exp": 0.945, "decided_obs": 0.96, "decided_exp": 0.92}


def idds(*arguments: object) -> str:
    """Standard output of the command line."""
    command = [sys.executable, "-m", "idds_agents", *map(str, arguments)]
    ran = subprocess.run(command, capture_output=True, text=True)
    if ran.returncode not in (0, 2):
        raise SystemExit(ran.stderr)
    return ran.stdout


def read(path: Path) -> list[dict[str, float]]:
    """Rows of a CSV file of numbers."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]


def predicted(workdir: Path, points: Path) -> dict[str, list[bool]]:
    """Whether the scan calls each point excluded, for each target."""
    rows = list(csv.DictReader(idds("predict", "onelbb", "--workdir", workdir, "--points", points).splitlines()))
    return {t: [float(row[f"{t}_p_excluded"]) > 0.5 for row in rows] for t in TARGETS}


def iou(one: list[bool], other: list[bool]) -> float:
    """Intersection over union of two excluded regions."""
    both = sum(a and b for a, b in zip(one, other, strict=True))
    either = sum(a or b for a, b in zip(one, other, strict=True))
    return both / either


def score(workdir: Path, data: Path, truth: Path) -> dict[str, float]:
    """IoU with the dense truth, and the share of published decisions got right where they are known."""
    dense, published = read(truth), read(data / "signal_and_cls.csv")
    said, decided = predicted(workdir, truth), predicted(workdir, data / "signal_and_cls.csv")
    result: dict[str, float] = {}
    for target in TARGETS:
        result[f"iou_{target}"] = iou(said[target], [row[target] < LEVEL for row in dense])
        if FULL[target] in published[0]:
            right = [a == (row[FULL[target]] < LEVEL) for a, row in zip(decided[target], published, strict=True)]
            result[f"decided_{target}"] = sum(right) / len(right)
    return result


def measure(data: Path, truth: Path, seeds: int, points: int, folder: Path) -> dict[str, Any]:
    """Scores of each learner and seed, and their medians."""
    figures: dict[str, Any] = {"points": points, "seeds": seeds, "marks": MARKS}
    for learner in ("level_set", "sobol"):
        scores = []
        for seed in range(1, seeds + 1):
            workdir = folder / f"{learner}-{seed}"
            settings = {"data": data, "max_points": points, "learner": learner}
            chosen = [part for name, value in settings.items() for part in ("--set", f"{name}={value}")]
            idds("run", SCAN, "--workdir", workdir, "--seed", seed, "--quiet", *chosen)
            scores.append(score(workdir, data, truth))
        figures[learner] = {
            "median": {name: statistics.median(s[name] for s in scores) for name in scores[0]},
            "each": scores,
        }
    return figures


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with the published tables")
    parser.add_argument("--truth", type=Path, help="dense truth; made when not given (minutes)")
    parser.add_argument("--dense", type=int, default=2400, help="points of the dense truth")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--points", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    missing = [name for name in FULL.values() if name not in read(arguments.data / "signal_and_cls.csv")[0]]
    if missing:
        print(f"decisions of the full likelihood are left out: no {', '.join(missing)} in signal_and_cls.csv "
              "(fetch_data.py --cls)", file=sys.stderr)  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = arguments.truth or folder / "truth.csv"
        if arguments.truth is None:
            script = [sys.executable, ROOT / "examples" / "onelbb" / "truth.py", "--data", arguments.data]
            subprocess.run([*map(str, script), "--points", str(arguments.dense), "--out", str(truth)], check=True)
        figures = measure(arguments.data.resolve(), truth, arguments.seeds, arguments.points, folder)
    if arguments.json:
        print(json.dumps(figures, indent=2))
        return 0
    for learner in ("level_set", "sobol"):
        row = figures[learner]["median"]
        print(f"{learner:10}", "  ".join(f"{name} {value:.3f}" for name, value in row.items()))
    print(f"{'marks':10}", "  ".join(f"{name} {value:.3f}" for name, value in MARKS.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
