"""The 1Lbb search as a nine-bin counting model: signal yields at any two masses, and their CLs.

Source
------
ATLAS SUSY-2019-08, arXiv:1909.09226: chargino and neutralino pairs that decay to W(l nu) h(bb) and two lightest
neutralinos, 139/fb at 13 TeV. A folder with two tables is needed; it is not part of this project, and
``fetch_data.py --out DIR`` makes it from the published likelihood (HEPData ins1755298):

- ``background.csv`` (sr, observed, expected, uncertainty): event counts of the nine signal regions, best as published;
- ``signal_and_cls.csv`` (m_c1n2, m_n1, sig_<sr> ..., at will CLs_obs_full, CLs_exp_med, ...): nominal signal yields
  at 125 mass points, and CLs of the full likelihood there, which only benchmarks read.

Model
-----
Each region is a counting experiment with its own background uncertainty. This leaves out the correlations and
control regions of the full likelihood, whose fits take about a hundred times longer; at the 125 published points it
decides like it for 124 observed and 120 expected exclusions.

Between the points, the square root of yield over cross section, that is of acceptance times luminosity, is
interpolated linearly on a Delaunay triangulation. The steep fall of the yields with m_c1n2 is known and left to the
cross section; the root is the scale on which counts of simulated events have equal errors, and zero needs no care. A
point outside the convex hull takes the acceptance of the nearest point of the hull.

Units: masses in GeV, cross sections in fb, yields in events.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from scipy.interpolate import LinearNDInterpolator

__all__ = ["M_C1N2", "M_N1", "Counts", "Signal", "cls", "counts", "signal"]

M_C1N2 = (150.0, 1000.0)
"""Range of the mass of the lightest chargino and second neutralino in the published grid, GeV."""
M_N1 = (0.0, 400.0)
"""Range of the mass of the lightest neutralino in the published grid, GeV."""

# wino-like chargino and neutralino at 13 TeV, NLO + NLL, LHC SUSY Cross Section Working Group (central values of its
# PDF envelope of 2017): GeV -> fb
CROSS_SECTION = {
    150: 5180.86, 175: 2953.28, 200: 1807.39, 225: 1165.09, 250: 782.487, 275: 543.03, 300: 386.936, 325: 281.911,
    350: 209.439, 375: 158.06, 400: 121.013, 450: 73.4361, 500: 46.3533, 600: 20.1372, 700: 9.51032, 800: 4.75843,
    900: 2.49667, 1000: 1.34352,
}  # fmt: skip


@dataclass(frozen=True)
class Counts:
    """Published event counts, one for each signal region, in the order of the table."""

    regions: tuple[str, ...]
    observed: tuple[float, ...]
    expected: tuple[float, ...]
    uncertainty: tuple[float, ...]


@dataclass(frozen=True)
class Signal:
    """Published signal yields and how they are interpolated."""

    masses: NDArray[np.float64]
    """(n, 2) m_c1n2 and m_n1, GeV."""
    yields: NDArray[np.float64]
    """(n, regions) events."""

    @cached_property
    def _root_acceptance(self) -> LinearNDInterpolator:
        import numpy as np
        from scipy.interpolate import LinearNDInterpolator

        return LinearNDInterpolator(_plane(self.masses), np.sqrt(self.yields / cross_section(self.masses[:, :1])))

    @cached_property
    def _hull(self) -> NDArray[np.float64]:
        """(k, 2) corners of the convex hull in the plane of the triangulation, in order."""
        from scipy.spatial import ConvexHull

        corners = _plane(self.masses)
        found: NDArray[np.float64] = corners[ConvexHull(corners).vertices]
        return found

    def at(self, masses: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m, 2) masses in GeV -> (m, regions) events."""
        import numpy as np

        root = np.asarray(self._root_acceptance(_plane(masses)))
        outside = np.isnan(root[:, 0])
        if outside.any():
            root[outside] = self._root_acceptance(self._nearest_inside(_plane(masses[outside])))
        events: NDArray[np.float64] = root**2 * cross_section(masses[:, :1])
        return events

    def _nearest_inside(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m, 2) points outside the hull -> the nearest points of the hull, a hair's breadth inside."""
        import numpy as np

        start, side = self._hull, np.roll(self._hull, -1, axis=0) - self._hull
        along = ((points[:, None] - start) * side).sum(axis=2) / (side**2).sum(axis=1)
        feet = start + np.clip(along, 0, 1)[..., None] * side
        nearest = ((points[:, None] - feet) ** 2).sum(axis=2).argmin(axis=1)
        foot = feet[np.arange(len(points)), nearest]
        inside: NDArray[np.float64] = foot + 1e-7 * (self._hull.mean(axis=0) - foot)
        return inside


def _plane(masses: NDArray[np.float64]) -> NDArray[np.float64]:
    """The plane of the triangulation: the unit square, sheared by a twentieth.

    A rectangle of the grid has two triangulations that are equally good, and rounding would choose. With the shear, the
    side that both triangles share goes up in both masses: the way on which their difference changes least.
    """
    import numpy as np

    low, high = np.array([M_C1N2, M_N1]).T
    u, v = ((masses - low) / (high - low)).T
    return np.stack([u, v - 0.05 * u], axis=1)


def cross_section(m_c1n2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cross section in fb, linear between the tabulated masses on logarithmic scales."""
    import numpy as np

    return np.exp(np.interp(np.log(m_c1n2), np.log([*CROSS_SECTION]), np.log([*CROSS_SECTION.values()])))


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: give the folder of background.csv and signal_and_cls.csv with --set data=FOLDER; "
            "fetch_data.py --out FOLDER makes it"
        )
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@cache
def counts(data: Path) -> Counts:
    """The counts in a data folder; read once for each process."""
    rows = _rows(data / "background.csv")

    def column(name: str) -> tuple[float, ...]:
        return tuple(float(row[name]) for row in rows)

    return Counts(tuple(row["sr"] for row in rows), column("observed"), column("expected"), column("uncertainty"))


@cache
def signal(data: Path) -> Signal:
    """The signal in a data folder; read once for each process."""
    import numpy as np

    rows, regions = _rows(data / "signal_and_cls.csv"), counts(data).regions
    masses = np.array([[float(row["m_c1n2"]), float(row["m_n1"])] for row in rows])
    return Signal(masses, np.array([[float(row[f"sig_{region}"]) for region in regions] for row in rows]))


@cache
def _pyhf() -> Any:
    """The pyhf module on its numpy backend, loaded once for each process."""
    import pyhf

    pyhf.set_backend("numpy")
    return pyhf


def cls(counts: Counts, yields: Sequence[float]) -> tuple[float, float]:
    """CLs of the signal at its nominal strength, observed and median expected without signal.

    Asymptotic formulae for the test statistic q-tilde [arXiv:1007.1727]. Without signal both hypotheses are the same
    one, so CLs tends to 1 while the formulae tend to 0/0. Below a few hundredths of a standard deviation the fits' own
    precision decides what comes out, NaN or 1: there both CLs are those of the signal's separation d, 2 Phi(-d).
    """
    import math
    import warnings

    variance = (b + s**2 for b, s in zip(counts.expected, counts.uncertainty, strict=True))
    separation = math.sqrt(sum(s**2 / v for s, v in zip(yields, variance, strict=True)))
    if separation < 0.06:
        return math.erfc(separation / math.sqrt(2)), math.erfc(separation / math.sqrt(2))

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "jsonschema.RefResolver is deprecated", DeprecationWarning)
        pyhf = _pyhf()
        model = pyhf.simplemodels.uncorrelated_background([*yields], [*counts.expected], [*counts.uncertainty])
        data = [*counts.observed, *model.config.auxdata]
        observed, expected = pyhf.infer.hypotest(1.0, data, model, test_stat="qtilde", return_expected=True)
    return float(observed), float(expected)
