"""A campaign as it really is: split simulation, systematics, merging, dead jobs, a blinded contour. A toy.

At each point of the plane of two masses the simulation is split into chunks and repeated for three variants: nominal,
jet energies one sigma up, and down. Two jobs in a hundred die for good, as on a real site; 94 % of the events suffice,
and the share reached is part of the observation. The chunks of each variant are merged, and the analysis gets all
three: CLs with the jet energy scale as a systematic. The observed contour is blinded: the learner follows the expected
one, and nobody sees the other before ``idds-core unblind campaign --reason ...``.

The physics is that of `examples/monohbb`, made shorter: ``pp -> Z' -> h(bb) A(chi chi)``, invented numbers throughout.
Units: masses and momenta in GeV, cross sections in fb, luminosity in 1/fb.

Run it: ``idds-core run examples/campaign/scan.py``; smaller: ``--set jobs=20``.
"""

from __future__ import annotations

from dataclasses import replace
from math import exp, sqrt
from typing import TYPE_CHECKING, Any

from idds_core import Context, Loop, Real, Requirements, Retry, Space, chain, step
from idds_learners import BoundaryConverged, LevelSet, MaxPoints

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

M_H = 125.0
LUMINOSITY = 139.0
BINS = (200.0, 350.0, 500.0)
"""Lower edges of the bins in missing transverse momentum, GeV; the last one is open."""
BACKGROUND = (2400.0, 150.0, 15.0)
BACKGROUND_SIGMA = (260.0, 20.0, 3.2)
OBSERVED = (2480.0, 161.0, 12.0)
SHIFT = {"nominal": 1.0, "jes_up": 1.03, "jes_down": 0.97}
"""Jet energy scale of each variant."""
DEAD = 0.02
"""Share of the jobs that die, always the same ones."""


def momentum(m_zp: float, m_a: float) -> float:
    """Momentum of h and A in the frame of the Z', GeV; 0 where the decay is closed."""
    if m_zp <= m_a + M_H:
        return 0.0
    return m_zp / 2 * sqrt((1 - ((m_a + M_H) / m_zp) ** 2) * (1 - ((m_a - M_H) / m_zp) ** 2))


def cross_section(m_zp: float, m_a: float) -> float:
    """Cross section times branchings, fb."""
    beta = 2 * momentum(m_zp, m_a) / m_zp
    return 4.0 * exp(-(m_zp - 1000.0) / 700.0) * beta**3 / (1.0 + 3.0 / (1.0 + exp(-(m_a - 450.0) / 90.0)))


@step(foreach=tuple(SHIFT), accept=0.94, retry=Retry(attempts=2), requires=Requirements(walltime="10min"))
def generate(ctx: Context, m_zp: float, m_a: float, events: int, chunks: int, variant: str) -> dict[str, Any]:
    """One chunk of one variant: the sums of weights in each bin, and of their squares.

    All variants of a chunk have the same random numbers, so that what differs between them is the scale alone.
    """
    import numpy as np

    rng = ctx.rng()
    n = events // chunks
    if rng.random() < DEAD:
        raise RuntimeError("the conditions database does not answer")
    cosine = rng.uniform(-1, 1, n)
    recoil, angle = rng.exponential(40.0, n), rng.uniform(0, 2 * np.pi, n)
    pt = momentum(m_zp, m_a) * np.sqrt(1 - cosine**2)
    true = np.hypot(pt + recoil * np.cos(angle), recoil * np.sin(angle))
    met = SHIFT[variant] * np.abs(true + np.hypot(20.0, 0.08 * true) * rng.standard_normal(n))
    weight = 1.5 * (1 - cosine**2) * 0.3 * cross_section(m_zp, m_a) * LUMINOSITY / events
    return {"sums": _histogram(met, weight), "squares": _histogram(met, weight**2)}


def _histogram(met: NDArray[np.float64], weight: NDArray[np.float64]) -> list[float]:
    import numpy as np

    counts, _ = np.histogram(met, [*BINS, np.inf], weights=weight)
    return [float(c) for c in counts]


@step(merge=True)
def merge(sums: list[list[float]], squares: list[list[float]], jobs: int) -> dict[str, Any]:
    """The yields of a variant, scaled up for the chunks that are missing, and their statistical errors."""
    scale = jobs / len(sums)
    yields = [scale * sum(column) for column in zip(*sums, strict=True)]
    errors = [scale * sqrt(sum(column)) for column in zip(*squares, strict=True)]
    return {"yields": yields, "errors": errors}


def cls(signal: dict[str, list[float]], errors: list[float]) -> tuple[float, float]:
    """CLs observed and median expected; statistical error and energy scale of the signal are nuisance parameters."""
    import math
    import warnings

    nominal = signal["nominal"]
    separation = math.sqrt(sum(s**2 / b for s, b in zip(nominal, BACKGROUND, strict=True)))
    if separation < 0.06:  # no signal to speak of: the fit's own precision would decide
        return math.erfc(separation / math.sqrt(2)), math.erfc(separation / math.sqrt(2))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "jsonschema.RefResolver is deprecated", DeprecationWarning)
        import pyhf

        pyhf.set_backend("numpy")
        scale = {"hi_data": signal["jes_up"], "lo_data": signal["jes_down"]}
        modifiers = [
            {"name": "mu", "type": "normfactor", "data": None},
            {"name": "jes", "type": "histosys", "data": scale},
            {"name": "mc", "type": "shapesys", "data": [max(e, 1e-6) for e in errors]},
        ]
        background = {"name": "bkg", "type": "shapesys", "data": [*BACKGROUND_SIGMA]}
        samples = [
            {"name": "signal", "data": [max(s, 1e-6) for s in nominal], "modifiers": modifiers},
            {"name": "background", "data": [*BACKGROUND], "modifiers": [background]},
        ]
        model = pyhf.Model({"channels": [{"name": "met", "samples": samples}]})
        data = [*OBSERVED, *model.config.auxdata]
        observed, expected = pyhf.infer.hypotest(1.0, data, model, test_stat="qtilde", return_expected=True)
    return float(observed), float(expected)


@step()
def analyse(yields: dict[str, list[float]], errors: dict[str, list[float]]) -> dict[str, float]:
    """CLs at the point, observed and expected."""
    observed, expected = cls(yields, errors["nominal"])
    return {"obs": observed, "exp": expected}


def define(jobs: int = 200, events: int = 10_000, max_points: int = 80) -> Loop:
    """The loop: where CLs crosses 0.05, until 2 % of the plane is left undecided."""
    return Loop(
        "campaign",
        space=Space(
            m_zp=Real(400, 2800, unit="GeV"), m_a=Real(200, 1200, unit="GeV"), constraints=["m_zp > m_a + 125"]
        ),
        body=chain(replace(generate, split=jobs), merge, analyse),
        learner=LevelSet(("obs", "exp"), level=0.05, transform="probit"),
        batch=8,
        until=BoundaryConverged(0.02) | MaxPoints(max_points),
        blind=("obs",),
        parameters={"jobs": jobs, "events": events},
    )
