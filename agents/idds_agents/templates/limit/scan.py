"""An exclusion contour of a toy model: where does CLs cross 0.05 in the plane of a mass and a coupling?

Put your own simulation and analysis into `limit`, and your own ranges into `define`. Then:

    idds-core validate scan.py
    idds-core plan scan.py
    idds-core run scan.py
"""

from __future__ import annotations

from math import exp

from idds_core import Log, Loop, Real, Space, chain, step
from idds_learners import BoundaryConverged, LevelSet, MaxPoints


@step
def limit(mass: float, coupling: float) -> dict[str, float]:
    """What is measured at a point. Arguments bind by name: parameters of the space, or of `define`."""
    signal = 4000 * coupling**2 * exp(-mass / 300)  # expected events
    return {"cls": exp(-signal)}  # add "cls_sigma" when the value has a statistical error


def define(max_points: int = 60) -> Loop:
    """The scan; `--set max_points=120` changes its budget."""
    return Loop(
        "limit",
        space=Space(mass=Real(200, 2000, unit="GeV"), coupling=Log(0.05, 2)),
        body=chain(limit),  # more steps: chain(generate, analyse)
        learner=LevelSet("cls", level=0.05),
        until=BoundaryConverged(0.02) | MaxPoints(max_points),
    )
