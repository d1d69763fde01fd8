"""Exclusion of charginos and neutralinos from public data of a real search: ATLAS 1Lbb (SUSY-2019-08,
arXiv:1909.09226).

The plane is the mass of the lightest chargino and second neutralino (equal, wino-like) against that of the lightest
neutralino, both in GeV. The model is in ``onelbb_model.py``: published counts of nine regions, published signal
yields interpolated between 125 mass points. The constraint asks for a Higgs boson on its mass shell; all published
points meet it.

The data are two small tables in a folder of yours; ``python examples/onelbb/fetch_data.py --out DIR`` makes them from
the published likelihood. Run it: ``idds-core run examples/onelbb/scan.py --set data=../shared/data/1lbb``.
"""

from __future__ import annotations

from pathlib import Path

import onelbb_model

from idds_core import Loop, Real, Space, chain, step
from idds_learners import BoundaryConverged, LevelSet, MaxPoints, Sobol

SPACE = Space(
    m_c1n2=Real(*onelbb_model.M_C1N2, "GeV"),
    m_n1=Real(*onelbb_model.M_N1, "GeV"),
    constraints=["m_c1n2 > m_n1 + 125"],
)


@step()
def signal(m_c1n2: float, m_n1: float, data: str) -> dict[str, list[float]]:
    """Expected signal events in the nine regions at a point (masses in GeV)."""
    import numpy as np

    table = onelbb_model.signal(Path(data))
    return {"yields": table.at(np.array([[m_c1n2, m_n1]]))[0].tolist()}


@step()
def limit(yields: list[float], data: str) -> dict[str, float]:
    """CLs of these signal events, observed and median expected."""
    obs, exp = onelbb_model.cls(onelbb_model.counts(Path(data)), yields)
    return {"obs": obs, "exp": exp}


def define(data: Path = Path("../shared/data/1lbb"), max_points: int = 40, learner: str = "level_set") -> Loop:
    """The loop: where CLs crosses 0.05, observed and expected.

    `data` is the folder with ``background.csv`` and ``signal_and_cls.csv``, `max_points` the budget of evaluations.
    The `learner` is "level_set", or, to compare with, "sobol": a sweep that learns nothing from its results.
    """
    onelbb_model.counts(data.resolve())  # a wrong folder is told here, not by the first job
    kinds = {"level_set": LevelSet, "sobol": Sobol}
    if learner not in kinds:
        raise ValueError(f"learner is {learner!r}, not one of {', '.join(kinds)}")
    return Loop(
        "onelbb",
        space=SPACE,
        body=chain(signal, limit),
        learner=kinds[learner](("obs", "exp"), level=0.05, transform="probit"),
        until=BoundaryConverged(0.01) | MaxPoints(max_points),
        parameters={"data": str(data.resolve())},
    )
