"""Exclusion of a dark Higgs-like model, mono-H(bb), in the plane of two masses. A toy, from events to limit.

Physics (Z'-2HDM)
-----------------
A heavy resonance Z' is made in proton collisions and decays to a Higgs boson and a pseudoscalar A; the Higgs boson
decays to two b quarks, A to invisible dark matter: ``pp -> Z' -> h(bb) A(chi chi)``. The detector sees two b jets
with a mass near 125 GeV and missing transverse momentum (MET).

What is real: the kinematics of the two decays, the p-wave phase space (beta cubed), the sin^2 angular distribution
of two scalars from a vector, and the statistical treatment (a binned likelihood in pyhf, CLs with the asymptotic
formulae of arXiv:1007.1727). What is invented for this example: the cross section, the branching of A, efficiencies
and resolutions, and all background and observed counts. No number here is a result of an experiment.

Units: masses, momenta and MET in GeV, cross sections in fb, luminosity in 1/fb.

Run it: ``idds-core run examples/monohbb/scan.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from idds_core import Context, File, Loop, Real, Requirements, Space, chain, step
from idds_learners import BoundaryConverged, LevelSet, MaxPoints

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

M_H = 125.0
"""Mass of the Higgs boson, GeV."""
BR_BB = 0.58
"""Branching of h to b quarks."""
LUMINOSITY = 139.0
"""1/fb."""
EVENTS = 10_000
"""Generated events for each point."""

MET_EDGES = (150.0, 200.0, 350.0, 500.0)
"""Lower edges of the MET bins, GeV; the last bin is open."""
MASS_WINDOW = (95.0, 145.0)
"""Window of the two b jets' mass, GeV."""
BACKGROUND = (8200.0, 2400.0, 150.0, 15.0)
BACKGROUND_SIGMA = (900.0, 260.0, 20.0, 3.2)
OBSERVED = (8050.0, 2480.0, 161.0, 12.0)
"""Events in each MET bin inside the mass window, invented: an excess in the third bin, a deficit in the last one."""

SPACE = Space(m_zp=Real(400, 2800, unit="GeV"), m_a=Real(200, 1200, unit="GeV"), constraints=["m_zp > m_a + 125"])


# ---------------------------------------------------------------------- generator
def velocity(m_zp: float | NDArray[np.float64], m_a: float) -> NDArray[np.float64]:
    """Twice the momentum of h and A in the frame of the Z', divided by `m_zp`; 0 where the decay is closed."""
    import numpy as np

    squared = (1 - ((m_a + M_H) / m_zp) ** 2) * (1 - ((m_a - M_H) / m_zp) ** 2)
    return np.sqrt(np.where(np.asarray(m_zp) > m_a + M_H, np.maximum(squared, 0.0), 0.0))


def cross_section(m_zp: float, m_a: float) -> float:
    """Production of ``Z' -> h A`` times the branching of A to dark matter, fb.

    It falls with the mass of the Z' as parton luminosities do. The decay of A to two top quarks takes over smoothly
    where it opens.
    """
    from math import exp

    production = 7.0 * exp(-(m_zp - 1000.0) / 700.0)
    invisible = 1.0 / (1.0 + 3.0 / (1.0 + exp(-(m_a - 450.0) / 90.0)))
    return production * float(velocity(m_zp, m_a)) ** 3 * invisible


def simulate(rng: np.random.Generator, m_zp: float, m_a: float, events: int = EVENTS) -> dict[str, NDArray[np.float64]]:
    """Weighted events of the signal as the detector sees them, each column of shape (events,).

    ``met`` and ``m_bb`` are in GeV; ``weight`` is each event's share of the number expected at the luminosity.
    """
    import numpy as np

    mass = m_zp * (1 + 0.03 * rng.standard_normal(events))  # natural width
    cosine = rng.uniform(-1, 1, events)
    pt = mass / 2 * velocity(mass, m_a) * np.sqrt(1 - cosine**2)
    recoil = rng.exponential(40.0, events)  # radiation of the initial state
    angle = rng.uniform(0, 2 * np.pi, events)
    true_met = np.hypot(pt + recoil * np.cos(angle), recoil * np.sin(angle))
    met = np.abs(true_met + np.hypot(20.0, 0.08 * true_met) * rng.standard_normal(events))
    neutrino = np.where(rng.random(events) < 0.2, rng.exponential(20.0, events), 0.0)  # lost in a b jet
    m_bb = 122.0 + 14.0 * rng.standard_normal(events) - neutrino
    efficiency = 0.42 / (1 + (pt / 1200.0) ** 2)  # two b tags, harder when the jets merge
    angular = 1.5 * (1 - cosine**2)
    return {
        "met": met,
        "m_bb": m_bb,
        "weight": angular * efficiency * cross_section(m_zp, m_a) * BR_BB * LUMINOSITY / events,
    }


@step(requires=Requirements(walltime="5min", memory="1GB"))
def generate(ctx: Context, m_zp: float, m_a: float) -> File:
    """Generate the signal at a point; the events go to a file."""
    import numpy as np

    events = simulate(ctx.rng(), m_zp, m_a)
    file = ctx.file("events.npz")
    met, m_bb, weight = (events[name].astype(np.float32) for name in ("met", "m_bb", "weight"))
    np.savez(file, met=met, m_bb=m_bb, weight=weight)
    return file


# ---------------------------------------------------------------------- analysis
def select(met: NDArray[Any], m_bb: NDArray[Any], weight: NDArray[Any]) -> tuple[list[float], list[float]]:
    """Signal in each MET bin inside the mass window, and its statistical error (root of the sum of squared weights)."""
    import numpy as np

    inside = (m_bb > MASS_WINDOW[0]) & (m_bb < MASS_WINDOW[1])
    edges, chosen = [*MET_EDGES, np.inf], weight[inside].astype(float)
    yields, _ = np.histogram(met[inside], edges, weights=chosen)
    squares, _ = np.histogram(met[inside], edges, weights=chosen**2)
    return yields.tolist(), np.sqrt(squares).tolist()


@cache
def _pyhf() -> Any:
    """The pyhf module on its numpy backend, loaded once for each process."""
    import pyhf

    pyhf.set_backend("numpy")
    return pyhf


def cls(signal: Sequence[float]) -> tuple[float, float]:
    """CLs of the signal at its nominal strength, observed and median expected without signal.

    Without signal both hypotheses are the same one, so CLs tends to 1 while the formulae tend to 0/0. Below a few
    hundredths of a standard deviation the fits' own precision decides what comes out, NaN or 1: there both CLs are
    those of the signal's separation d, 2 Phi(-d).
    """
    import math
    import warnings

    variance = (b + s**2 for b, s in zip(BACKGROUND, BACKGROUND_SIGMA, strict=True))
    separation = math.sqrt(sum(s**2 / v for s, v in zip(signal, variance, strict=True)))
    if separation < 0.06:
        return math.erfc(separation / math.sqrt(2)), math.erfc(separation / math.sqrt(2))

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "jsonschema.RefResolver is deprecated", DeprecationWarning)
        pyhf = _pyhf()
        model = pyhf.simplemodels.uncorrelated_background([*signal], [*BACKGROUND], [*BACKGROUND_SIGMA])
        data = [*OBSERVED, *model.config.auxdata]
        observed, expected = pyhf.infer.hypotest(1.0, data, model, test_stat="qtilde", return_expected=True)
    return float(observed), float(expected)


def limits(signal: Sequence[float], errors: Sequence[float]) -> dict[str, float]:
    """CLs with the statistical error of the simulation.

    The bins are independent, so each bin's one-sigma shift changes CLs independently and the changes add in quadrature.
    """
    from math import hypot

    obs, exp = cls(signal)
    moved = [cls([*signal[:i], signal[i] + e, *signal[i + 1 :]]) for i, e in enumerate(errors) if e > 0]
    return {
        "obs": obs,
        "exp": exp,
        "obs_sigma": hypot(*(o - obs for o, _ in moved)),
        "exp_sigma": hypot(*(e - exp for _, e in moved)),
    }


@step()
def analyse(events: File) -> dict[str, float]:
    """Select the events and set the limit: CLs observed and expected, each with its Monte Carlo error."""
    import numpy as np

    with np.load(events) as columns:
        signal, errors = select(columns["met"], columns["m_bb"], columns["weight"])
    return limits(signal, errors)


def define(max_points: int = 120) -> Loop:
    """The loop: where CLs crosses 0.05, observed and expected, until 1 % of the plane is left undecided."""
    return Loop(
        "monohbb",
        space=SPACE,
        body=chain(generate, analyse),
        learner=LevelSet(("obs", "exp"), level=0.05, transform="probit"),
        batch=8,
        until=BoundaryConverged(0.01) | MaxPoints(max_points),
    )
