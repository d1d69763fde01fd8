"""Dense truth of the 1Lbb model, to judge a learner by: its own CLs at many points of the allowed region.

``python examples/onelbb/truth.py --data DIR --points 2400 --out truth.csv --jobs 2`` writes m_c1n2, m_n1 (GeV),
obs, exp at the first points of the plain Sobol sequence that meet the constraint; the same every time.
"""

from __future__ import annotations

import argparse
import csv
import os
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

# one thread for each process: the matrices are tiny, and more threads only wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import onelbb_model
from scan import SPACE


def points(n: int) -> list[tuple[float, float]]:
    """The first `n` Sobol points that the space allows: (m_c1n2, m_n1) in GeV."""
    from scipy.stats import qmc

    sequence, found = qmc.Sobol(SPACE.dimension, scramble=False), list[tuple[float, float]]()
    block = 1 << max(n - 1, 1).bit_length()  # its balance wants powers of two; each next draw doubles the sequence
    while len(found) < n:
        candidates = SPACE.from_unit(sequence.random(block if sequence.num_generated == 0 else sequence.num_generated))
        allowed = SPACE.allowed(candidates)
        found += [(p["m_c1n2"], p["m_n1"]) for p, fine in zip(candidates, allowed, strict=True) if fine]
    return found[:n]


def evaluate(data: Path, point: tuple[float, float]) -> tuple[float, float]:
    """The model's CLs at a point, observed and median expected."""
    import numpy as np

    yields = onelbb_model.signal(data).at(np.array([point]))[0].tolist()
    return onelbb_model.cls(onelbb_model.counts(data), yields)


def main() -> None:
    """Write the table."""
    parser = argparse.ArgumentParser(description="Dense truth of the 1Lbb model.")
    parser.add_argument("--data", type=Path, required=True, help="folder with background.csv and signal_and_cls.csv")
    parser.add_argument("--points", type=int, required=True, help="number of rows")
    parser.add_argument("--out", type=Path, required=True, help="the CSV file to write")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="number of processes")
    given = parser.parse_args()
    chosen = points(given.points)
    with ProcessPoolExecutor(given.jobs) as pool:
        values = list(pool.map(partial(evaluate, given.data), chosen, chunksize=8))
    with given.out.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["m_c1n2", "m_n1", "obs", "exp"])
        writer.writerows([*point, *value] for point, value in zip(chosen, values, strict=True))


if __name__ == "__main__":
    main()
