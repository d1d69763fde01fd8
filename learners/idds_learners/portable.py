"""A surrogate as a document and arrays that numpy alone can evaluate, in the few lines of :data:`CODE`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from idds_core.space import Categorical, Integer, Log, Ordered, Parameter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from idds_learners.mapping import Maps

__all__ = ["CODE", "portable"]

#: Evaluates what :func:`portable` gives, once it is in ``surrogate.json`` and ``surrogate.npz`` of a folder.
CODE = """\
import json, math, pathlib, numpy as np


def evaluate(folder, target, points):  # points: a list of {parameter: value}; gives their means and standard deviations
    doc = json.loads(pathlib.Path(folder, "surrogate.json").read_text(encoding="utf-8"))
    data, t, u = np.load(pathlib.Path(folder, "surrogate.npz")), doc["targets"][target], []
    for p in doc["parameters"]:  # every parameter to [0, 1]
        v = np.array([p["choices"].index(q[p["name"]]) if p["choices"] else q[p["name"]] for q in points], float)
        u.append(((np.log(v) if p["log"] else v) - p["offset"]) / p["width"])
    a, b, w = data["X"] * t["scales"], np.stack(u, axis=1) * t["scales"], data[target + ".ones"]
    r = np.sqrt(np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * (a @ b.T), 0)) * math.sqrt(5)
    k = (r * (r * (1 / 3) + 1) + 1) * np.exp(-r) * t["variance"]  # Matern 5/2
    g = t["centre"] + t["spread"] * (t["beta"] + k.T @ data[target + ".alpha"])
    v = t["variance"] - (np.linalg.solve(data[target + ".L"], k) ** 2).sum(0) + (1 - w @ k) ** 2 / w.sum()
    s = t["kappa"] * t["spread"] * np.sqrt(np.maximum(v, 1e-8 * t["variance"]))
    c, q, x = t["threshold"], t["squash"], np.array([g, g - s, g + s])
    probit = np.vectorize(lambda z: math.erfc(-z / math.sqrt(2)) / 2)
    back = {"none": np.positive, "log": np.exp, "logit": lambda z: 1 / (1 + np.exp(-z)), "probit": probit}
    x = back.get(t["transform"])(c + q * np.arctanh(np.clip((x - c) / q, -1 + 1e-9, 1 - 1e-9)) if q else x)
    return x[0], abs(x[2] - x[1]) / 2
"""


def portable(maps: Maps) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
    """The surrogate of `maps` as JSON and arrays.

    Returns
    -------
    document : parameters with their map to [0, 1], ``(f(value) - offset) / width``, and by target the transform, the
        level, the hyper-parameters (standardised units) and kappa; `code` evaluates it.
    arrays : ``X`` (n, d) training inputs in the unit cube; by target ``.y`` and ``.noise`` (n,) transformed, ``.alpha``
        and ``.ones`` (n,) K^-1 (y - beta) and K^-1 1, ``.L`` (n, n) the lower Cholesky factor of K.

    """
    targets: dict[str, Any] = {}
    arrays: dict[str, NDArray[np.float64]] = {}
    for name in maps.targets:
        gp, scale = maps.gps[name], maps.scales[name]
        arrays["X"] = gp.X
        arrays |= {f"{name}.{what}": array for what, array in (("y", gp.y), ("noise", gp.noise), *gp.solved.items())}
        targets[name] = {
            "transform": scale.transform,
            "level": scale.level,
            "threshold": scale.threshold,
            "squash": scale.squash,
            "excluded": "below" if scale.below else "above",
            "kappa": float(maps.kappa[name]),
            "centre": gp.centre,
            "spread": gp.spread,
            "beta": gp.beta,
            "lengthscales": [math.exp(t) for t in gp.theta[:-2].tolist()],
            "scales": gp.scales.tolist(),
            "variance": math.exp(gp.theta[-2]),
            "nugget": gp.nugget,
        }
    parameters = [{"name": n, "unit": p.unit, **_map(p)} for n, p in maps.space.parameters.items()]
    document = {"model": "gp-matern52", "parameters": parameters, "targets": targets, "code": CODE}
    return document, arrays


def _map(parameter: Parameter) -> dict[str, Any]:
    """How a parameter is taken to [0, 1]: ``(f(value) - offset) / width``, f a logarithm or a choice's number."""
    if isinstance(parameter, (Categorical, Ordered)):
        return {"log": False, "choices": list(parameter.choices), "offset": -0.5, "width": len(parameter.choices)}
    low, high = parameter.low, parameter.high
    if isinstance(parameter, Integer):
        return {"log": False, "choices": None, "offset": low - 0.5, "width": high - low + 1}
    if isinstance(parameter, Log):
        low, high = math.log(low), math.log(high)
    return {"log": isinstance(parameter, Log), "choices": None, "offset": low, "width": high - low}
