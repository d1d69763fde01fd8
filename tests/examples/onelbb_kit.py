"""A small archive with the layout of the published 1Lbb likelihood, made here; its numbers are nobody's data."""

from __future__ import annotations

import hashlib
import io
import json
import math
import tarfile
import zipfile
from typing import Any

Json = Any

CONTROL = ("WREM_cuts", "STCREM_cuts", "TRHMEM_cuts", "TRMMEM_cuts", "TRLMEM_cuts")
REGIONS = {"SRHMEM_mct2": (4.0, 3.0, 1.0), "SRMMEM_mct2": (5.0, 3.0, 1.5), "SRLMEM_mct2": (9.0, 11.0, 7.0)}
CHANNELS = (*CONTROL, *REGIONS)
MASSES = [(m, n) for m in (150, 300, 500, 700, 1000) for n in (0, 150, 400) if m > n + 125]


def modifier(kind: str, name: str, data: Json = None) -> Json:
    return {"type": kind, "name": name, "data": data}


def samples(counts: tuple[float, ...], channel: str) -> list[Json]:
    """Two backgrounds that share a parameter, with modifiers of every type that the published workspace has."""
    two = []
    for name, share in (("ttbar", 0.75), ("wjets", 0.25)):
        data = [share * n for n in counts]
        modifiers = [
            modifier("lumi", "lumi"),
            modifier("normfactor", f"mu_{name}"),
            modifier("normsys", "JER", {"hi": 1.2, "lo": 0.8}),
            modifier("histosys", "JES", {"hi_data": [1.1 * n for n in data], "lo_data": [0.9 * n for n in data]}),
            modifier("staterror", f"staterror_{channel}", [0.1 * n for n in data]),
        ]
        two.append({"name": name, "data": data, "modifiers": modifiers})
    return two


def workspace() -> Json:
    binned = {**dict.fromkeys(CONTROL, (100.0,)), **REGIONS}
    lumi = {"name": "lumi", "auxdata": [1.0], "bounds": [[0.9, 1.1]], "inits": [1.0], "sigmas": [0.017]}
    return {
        "channels": [{"name": name, "samples": samples(counts, name)} for name, counts in binned.items()],
        "observations": [{"name": name, "data": [round(n) for n in counts]} for name, counts in binned.items()],
        "measurements": [{"name": "NormalMeasurement", "config": {"poi": "lumi", "parameters": [lumi]}}],
        "version": "1.0.0",
    }


def yields(m_c1n2: float, m_n1: float, channel: str) -> list[float]:
    """Signal events in the three bins of a signal region."""
    weight = {"SRHMEM_mct2": 3.0, "SRMMEM_mct2": 2.0, "SRLMEM_mct2": 1.0}[channel]
    total = 40 * math.exp(-m_c1n2 / 250) * max(1 - m_n1 / 450, 0.02)
    return [weight * total * part for part in (0.2, 0.3, 0.5)]


def patchset(of: Json) -> Json:
    patches = []
    for m, n in MASSES:
        operations = [
            {
                "op": "add",
                "path": f"/channels/{CHANNELS.index(channel)}/samples/2",
                "value": {
                    "name": f"C1N2_Wh_hbb_{m}_{n}",
                    "data": yields(m, n, channel),
                    "modifiers": [modifier("normfactor", "mu_SIG")],
                },
            }
            for channel in REGIONS
            if not (m == 1000 and channel == "SRLMEM_mct2")  # no sample where nothing was simulated
        ]
        operations.append({"op": "replace", "path": "/measurements/0/config/poi", "value": "mu_SIG"})
        patches.append({"metadata": {"name": f"C1N2_Wh_hbb_{m}_{n}", "values": [m, n]}, "patch": operations})
    digest = hashlib.sha256(json.dumps(of, sort_keys=True, ensure_ascii=False).encode()).hexdigest()
    about = {
        "references": {"hepdata": "ins1755298"},
        "digests": {"sha256": digest},
        "labels": ["m1", "m2"],
        "description": "signal patchset",
    }
    return {"metadata": about, "patches": patches, "version": "1.0.0"}


def packed(files: dict[str, bytes], *more: tarfile.TarInfo) -> bytes:
    """A .tar.gz of these files and members."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
        for member in more:
            tar.addfile(member)
    return out.getvalue()


def archive(background: Json = None, signal: Json = None) -> bytes:
    """The archive as published, or with other documents in it; a digest that fits."""
    background = workspace() if background is None else background
    signal = patchset(background) if signal is None else signal
    files = {"BkgOnly.json": background, "patchset.json": signal}
    texts = {name: json.dumps(document).encode() for name, document in files.items()}
    return packed({**texts, "README.md": b"# JSON Likelihoods"})


def zipped(content: bytes, name: str = "1Lbb-likelihoods-hepdata.tar.gz") -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as outer:
        outer.writestr(name, content)
        outer.writestr(f"__MACOSX/._{name.rpartition('/')[2]}", b"shadow")
    return out.getvalue()
