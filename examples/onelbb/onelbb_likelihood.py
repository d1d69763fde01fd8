"""The two tables of the 1Lbb example, read from the published likelihood; `fetch_data.py` gets it and writes them.

Layout of the likelihood (HEPData ins1755298), JSON of HistFactory as pyhf reads it:

- ``BkgOnly.json``, a workspace: eight channels, each with samples (nominal counts for each bin, and modifiers),
  observations and a measurement. The nine signal regions are three bins, in m_CT, of each of three channels, in m_T;
  the other channels are control regions.
- ``patchset.json``: for each mass point a patch ``C1N2_Wh_hbb_<m_c1n2>_<m_n1>`` that adds a signal sample to channels.

Background
----------
`expected` is the sum of the nominal counts of all samples, before any fit. `uncertainty` adds in quadrature the effects
of one standard deviation of each parameter: for ``normsys``, ``histosys`` and ``lumi`` the shifts of all samples with
the same name are added first, with sign, since they are one parameter, and up and down are averaged; ``staterror`` and
``shapesys`` are independent. ``normfactor`` and ``shapefactor`` are free, and add nothing.

So it is not the published table, which is *after* a fit: there the control regions have set the normalisations of
ttbar, single top and W+jets, which here stay at 1, have pulled the other parameters, and have made uncertainties
smaller. The published table is the better input where both are at hand.

Units: masses in GeV, counts in events.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["REGIONS", "LayoutError", "add_cls", "background", "signal"]

REGIONS = {
    "SRHMEM_mct2": ("HM_low", "HM_med", "HM_high"),
    "SRMMEM_mct2": ("MM_low", "MM_med", "MM_high"),
    "SRLMEM_mct2": ("LM_low", "LM_med", "LM_high"),
}
"""Channel -> the signal regions that are its bins."""
CLS = ("CLs_exp_m2s", "CLs_exp_m1s", "CLs_exp_med", "CLs_exp_p1s", "CLs_exp_p2s")
_NAME = re.compile(r"C1N2_Wh_hbb_(\d+(?:p\d+)?)_(\d+(?:p\d+)?)")
_CHANNEL = re.compile(r"/channels/(\d+)/samples/(?:\d+|-)")
_LARGE = 1e100  # an integer of JSON may be too large for a float
_FREE = ("normfactor", "shapefactor")

Row = dict[str, Any]


class LayoutError(ValueError):
    """The likelihood is not laid out as published; `mistakes` has a line for each thing that is wrong."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)


@dataclass
class _Reader:
    """Looks things up in JSON that anybody may have written, and notes what is not as it should be."""

    mistakes: list[str] = field(default_factory=list)

    def get(self, found: Any, key: str | int, kind: type, where: str) -> Any:
        """The member `key` of `found`, of that kind, or an empty one when it is not there."""
        try:
            value = found[key]
        except (KeyError, IndexError, TypeError):
            value = None
        if isinstance(value, kind):
            return value
        self.mistakes.append(f"{where}: {key!r} is missing, or no {kind.__name__}")
        return kind()

    def numbers(self, value: Any, count: int, where: str, low: float = -math.inf) -> list[float]:
        """`count` finite numbers, none below `low`; zeros when they are not."""
        if isinstance(value, list) and len(value) == count and all(_is_number(v) and v >= low for v in value):
            return [float(v) for v in value]
        least = "" if low == -math.inf else f", at least {low:g}"
        self.mistakes.append(f"{where}: {count} finite numbers are expected{least}; found {_short(value)}")
        return [0.0] * count

    def end(self) -> None:
        """Raise if there was a mistake."""
        if self.mistakes:
            raise LayoutError(self.mistakes)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _LARGE


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


# ---------------------------------------------------------------------- background
def background(workspace: Any) -> list[Row]:
    """Rows of ``background.csv``: sr, observed, expected, uncertainty (events). Raises LayoutError."""
    read = _Reader()
    channels = _channels(read, workspace)
    observations = read.get(workspace, "observations", list, "workspace")
    observed = {read.get(o, "name", str, f"observation {i}"): o for i, o in enumerate(observations)}
    luminosity = _luminosity(workspace)
    rows = []
    for name, bins in REGIONS.items():
        if name not in channels:
            read.mistakes.append(f"workspace: there is no channel {name}")
            continue
        found = observed.get(name, {})
        counts = read.numbers(
            found.get("data") if isinstance(found, dict) else None, len(bins), f"observation of {name}", low=0.0
        )
        expected, uncertainty = _sum(read, channels[name], name, len(bins), luminosity)
        for i, region in enumerate(bins):
            rows.append(Row(sr=region, observed=counts[i], expected=expected[i], uncertainty=uncertainty[i]))
    if not read.mistakes:  # zeros stand for what could not be read
        for row in rows:
            if row["expected"] <= 0 or row["uncertainty"] <= 0:
                read.mistakes.append(
                    f"{row['sr']}: background {row['expected']:g} +- {row['uncertainty']:g}; both must be above zero"
                )
    read.end()
    return rows


def _channels(read: _Reader, workspace: Any) -> dict[str, Any]:
    """Channel by name, in the order of the workspace."""
    found = read.get(workspace, "channels", list, "workspace")
    return {read.get(c, "name", str, f"channel {i}"): c for i, c in enumerate(found)}


def _luminosity(workspace: Any) -> Any:
    """Relative uncertainty of the luminosity, as the measurement has it; None when it has none."""
    try:
        parameters = workspace["measurements"][0]["config"]["parameters"]
        return next(p["sigmas"][0] for p in parameters if p["name"] == "lumi")
    except (KeyError, IndexError, TypeError, StopIteration):
        return None


def _sum(read: _Reader, channel: Any, name: str, bins: int, luminosity: Any) -> tuple[list[float], list[float]]:
    """Expected events of all samples in each bin, and their uncertainty."""
    expected, variance = [0.0] * bins, [0.0] * bins
    shifts: dict[str, list[list[float]]] = {}
    for number, sample in enumerate(read.get(channel, "samples", list, name)):
        where = f"{name}, sample {sample.get('name', number) if isinstance(sample, dict) else number}"
        nominal = read.numbers(sample.get("data") if isinstance(sample, dict) else None, bins, where)
        expected = [a + b for a, b in zip(expected, nominal, strict=True)]
        for modifier in read.get(sample, "modifiers", list, where):
            kind, label = (read.get(modifier, key, str, f"{where}, modifier") for key in ("type", "name"))
            place, data = f"{where}, {kind} {label}", modifier.get("data") if isinstance(modifier, dict) else None
            if kind in ("staterror", "shapesys"):
                sigmas = read.numbers(data, bins, place, low=0.0)
                variance = [a + b**2 for a, b in zip(variance, sigmas, strict=True)]
            elif kind not in _FREE:
                two = shifts.setdefault(label, [[0.0] * bins, [0.0] * bins])
                for total, shift in zip(two, _shifts(read, kind, data, nominal, place, luminosity), strict=True):
                    total[:] = [a + b for a, b in zip(total, shift, strict=True)]
    for up, down in shifts.values():
        variance = [v + ((abs(u) + abs(d)) / 2) ** 2 for v, u, d in zip(variance, up, down, strict=True)]
    return expected, [math.sqrt(v) for v in variance]


def _shifts(
    read: _Reader, kind: str, data: Any, nominal: list[float], where: str, luminosity: Any
) -> tuple[list[float], list[float]]:
    """What one standard deviation up and down adds to the bins of a sample."""
    if kind == "histosys":
        up, down = (
            read.numbers(data.get(key) if isinstance(data, dict) else None, len(nominal), f"{where}, {key}")
            for key in ("hi_data", "lo_data")
        )
        return [a - b for a, b in zip(up, nominal, strict=True)], [a - b for a, b in zip(down, nominal, strict=True)]
    if kind == "normsys":
        pair = [data.get("hi"), data.get("lo")] if isinstance(data, dict) else data
        high, low = read.numbers(pair, 2, f"{where}, hi and lo")
    elif kind == "lumi":
        (sigma,) = read.numbers([luminosity], 1, f"{where}, sigma of lumi in the measurement", low=0.0)
        high, low = 1 + sigma, 1 - sigma
    else:
        read.mistakes.append(f"{where}: this type of modifier is not known")
        high, low = 1.0, 1.0
    return [n * (high - 1) for n in nominal], [n * (low - 1) for n in nominal]


# ---------------------------------------------------------------------- signal
def signal(workspace: Any, patchset: Any) -> list[Row]:
    """Rows of ``signal_and_cls.csv``: m_c1n2, m_n1 (GeV), sig_<sr> (events); zero where a patch adds no sample.

    Raises LayoutError, also when the patches were made for another workspace.
    """
    read = _Reader()
    names = [*_channels(read, workspace)]
    _check_digest(read, workspace, patchset)
    rows: dict[tuple[float, float], Row] = {}
    for number, patch in enumerate(read.get(patchset, "patches", list, "patchset")):
        about = read.get(patch, "metadata", dict, f"patch {number}")
        name = read.get(about, "name", str, f"patch {number}")
        masses = _masses(read, name, about.get("values"))
        if masses in rows:
            read.mistakes.append(f"patch {name}: these masses have a patch already")
        elif masses is not None:
            yields = _yields(read, read.get(patch, "patch", list, f"patch {name}"), names, name)
            rows[masses] = Row(m_c1n2=masses[0], m_n1=masses[1], **yields)
    if not read.mistakes and len(rows) < 3:
        read.mistakes.append(f"patchset: {len(rows)} mass points; at least 3 are needed to interpolate between them")
    read.end()
    return [*rows.values()]


def _check_digest(read: _Reader, workspace: Any, patchset: Any) -> None:
    """A patch counts channels, so it means something only with the workspace it was made for."""
    digests = read.get(read.get(patchset, "metadata", dict, "patchset"), "digests", dict, "metadata of the patchset")
    text = json.dumps(workspace, sort_keys=True, ensure_ascii=False).encode()
    for algorithm, digest in digests.items():
        if algorithm not in ("md5", "sha256"):
            read.mistakes.append(f"metadata of the patchset: digest {algorithm} is not known")
        elif hashlib.new(algorithm, text, usedforsecurity=False).hexdigest() != digest:
            read.mistakes.append(f"patchset: it was made for another workspace (its {algorithm} differs)")


def _masses(read: _Reader, name: str, values: Any) -> tuple[float, float] | None:
    parts = _NAME.fullmatch(name)
    if parts is None:
        read.mistakes.append(f"patch {_short(name)}: its name is not C1N2_Wh_hbb_<m_c1n2>_<m_n1>")
        return None
    m_c1n2, m_n1 = (float(part.replace("p", ".")) for part in parts.groups())
    if values != [m_c1n2, m_n1]:
        read.mistakes.append(f"patch {name}: its values are {_short(values)}")
    return m_c1n2, m_n1


def _yields(read: _Reader, operations: list[Any], names: list[str], name: str) -> dict[str, float]:
    """Nominal events of the samples that a patch adds to the signal regions."""
    events = {f"sig_{region}": 0.0 for bins in REGIONS.values() for region in bins}
    for operation in operations:
        path = read.get(operation, "path", str, f"patch {name}")
        kind = read.get(operation, "op", str, f"patch {name}")
        if path.startswith("/measurements/"):  # parameter of interest, and the like
            continue
        found = _CHANNEL.fullmatch(path)
        if found is None or kind != "add":
            read.mistakes.append(f"patch {name}: {kind} {path} does not add a sample to a channel")
        elif int(found[1]) >= len(names):
            read.mistakes.append(f"patch {name}: there is no channel {found[1]}; the workspace has {len(names)}")
        elif bins := REGIONS.get(names[int(found[1])]):
            sample = read.get(operation, "value", dict, f"patch {name}, {path}")
            data = read.numbers(sample.get("data"), len(bins), f"patch {name}, {path}", low=0.0)
            for region, count in zip(bins, data, strict=True):
                events[f"sig_{region}"] += count
    return events


# ---------------------------------------------------------------------- CLs
def add_cls(rows: list[Row], results: Any) -> list[Row]:
    """The same rows with CLs of the full likelihood: CLs_obs_full, and CLs_exp_* for -2, -1, 0, 1, 2 sigma.

    `results`: name of the patch -> ``CLs_obs``, a number, and ``CLs_exp``, five numbers.
    Raises LayoutError with each mass point that is missing there.
    """
    read, whole = _Reader(), []
    for row in rows:
        name = "_".join(["C1N2_Wh_hbb", *(f"{row[m]:g}".replace(".", "p") for m in ("m_c1n2", "m_n1"))])
        found = results.get(name) if isinstance(results, dict) else None
        if not isinstance(found, dict):
            read.mistakes.append(f"results: there is nothing about {name}")
            continue
        expected = found.get("CLs_exp")
        values = [found.get("CLs_obs"), *(expected if isinstance(expected, list) else [])]
        numbers = read.numbers(values, 6, f"results, CLs of {name}", low=0.0)
        whole.append({**row, **dict(zip(("CLs_obs_full", *CLS), numbers, strict=True))})
    read.end()
    return whole
