"""A surrogate as a document and arrays that numpy alone can evaluate, in the few lines of :data:`CODE`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from idds_core.space import Categorical, Integer, Log, Ordered, Parameter, Space
from idds_learners import kernel
from idds_learners.trend import Earlier, maps_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from idds_learners.mapping import Maps
    from idds_learners.surrogate import GP

__all__ = ["CODE", "portable"]

#: Evaluates what :func:`portable` gives, once it is in ``surrogate.json`` and ``surrogate.npz`` of a folder.
CODE = """\
import json, math, pathlib, pydoc, numpy as np


def evaluate(folder, target, points):  # points: a list of {parameter: value}; gives their means and standard deviations
    doc, data = json.loads(pathlib.Path(folder, "surrogate.json").read_bytes()), np.load(f"{folder}/surrogate.npz")
    t = {**doc["targets"], **doc["earlier"]}[target] if target else doc["feasible"]
    u, h = [], {n: np.array([q[n] for q in points]) for n in points[0]}
    for p in t.get("parameters", doc["parameters"]):  # every parameter to [0, 1]
        v = np.array([p["choices"].index(q[p["name"]]) if p["choices"] else q[p["name"]] for q in points], float)
        u.append(((np.log(v) if p["log"] else v) - p["offset"]) / p["width"])
    h = [evaluate(folder, f, points)[0].clip(*r) if r else pydoc.locate(f)(**h) for f, *r in t["trend"]]
    h, a, b = np.array([np.ones(len(points)), *h]), data[target + ".at"] * t["scales"], np.stack(u, 1) * t["scales"]
    r = np.concatenate([np.linalg.norm(a[:, None] - b, axis=2)[..., None], abs(a[:, None] - b)], axis=2)
    k = ((r * (t["smooth"] * r / 3 + 1) + 1) * np.exp(-r)) @ t["variances"]  # Matern, all coordinates and each alone
    g, e = t["centre"] + t["spread"] * (t["beta"] @ h + data[target + ".alpha"] @ k), h - data[target + ".basis"].T @ k
    v = t["variance"] - ((data[target + ".R"] @ k) ** 2).sum(0) + (e * (data[target + ".A"] @ e)).sum(0)
    x = g + np.array([[0], [-1], [1]]) * (t["kappa"] * t["spread"] * np.sqrt(np.maximum(v, 1e-8 * t["variance"])))
    c, q, probit = t["threshold"], t["squash"], np.vectorize(lambda z: math.erfc(-z / math.sqrt(2)) / 2)
    back = {"none": np.positive, "log": np.exp, "logit": lambda z: 1 / (1 + np.exp(-z)), "probit": probit}
    x = back.get(t["transform"])(c + q * np.arctanh(np.clip((x - c) / q, -1 + 1e-9, 1 - 1e-9)) if q else x)
    x = x + (np.where(evaluate(folder, "", points)[0] < 0, np.nan, 0) if target and "feasible" in doc else 0)
    return x[0], abs(x[2] - x[1]) / 2
"""


def portable(maps: Maps) -> tuple[dict[str, Any], dict[str, NDArray[np.float64]]]:
    """The surrogate of `maps` as JSON and arrays.

    Returns
    -------
    document : parameters with their map to [0, 1], ``(f(value) - offset) / width``, and by target the transform, the
        level, the hyper-parameters (standardised units) and kappa; `code` evaluates it. ``feasible``, once a point has
        ended infeasible, is the same of a process that is below 0 where points probably cannot exist; ``earlier`` of
        what other loops have measured that is a trend of some target, on that target's transformed scale.
    arrays : ``X`` (n, d) training inputs in the unit cube; by target ``.y`` and ``.noise`` (n,) transformed, ``.at``
        (m, d) the points that predictions are made from: X or, for a surrogate that is an approximation, its inducing
        points and the newest; there ``.alpha`` (m,) = K^-1 (y - H beta), ``.basis`` (m, p) = K^-1 H and ``.R`` (r, m)
        with R' R = K^-1; ``.A`` (p, p) the inverse of H' K^-1 H. H is 1 and, where there is one, the trend.

    """
    arrays: dict[str, NDArray[np.float64]] = {}
    targets: dict[str, Any] = {}
    earlier: dict[str, Any] = {}
    for name in maps.targets:
        gp = maps.gps[name]
        arrays["X"] = gp.X
        targets[name] = _target(maps, name, gp, arrays)
        if name in maps.trends:
            targets[name]["trend"] = [_trend(gp.trend, name, maps.trends[name], earlier, arrays)]
    document: dict[str, Any] = {"model": "gp-matern-additive", "parameters": _parameters(maps.space),
                                "targets": targets, "earlier": earlier}  # fmt: skip
    if maps.feasible is not None:
        document["feasible"] = {**_PLAIN, **_process("", maps.feasible, arrays)}
    return {**document, "code": CODE}, arrays


def _target(maps: Maps, name: str, gp: GP, arrays: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    """The document of one target; its arrays are added."""
    scale = maps.scales[name]
    return {
        "transform": scale.transform,
        "level": maps.level_texts[name],
        "threshold": scale.threshold if scale.varying is None else None,  # one that varies has no squash
        "squash": scale.squash,
        "excluded": "below" if scale.below else "above",
        "kappa": float(maps.kappa[name]),
        "trend": [],
        **_process(name, gp, arrays),
    }


#: a process whose values are not transformed
_PLAIN = {"transform": "none", "threshold": 0.0, "squash": None, "kappa": 1.0, "trend": []}


def _process(name: str, gp: GP, arrays: dict[str, NDArray[np.float64]]) -> dict[str, Any]:
    """A process in numbers that are no arrays; its arrays are added."""
    share, variance, d = kernel.additive_share(gp.theta), math.exp(gp.theta[-2]), gp.X.shape[1]
    arrays |= {f"{name}.{what}": array for what, array in (("y", gp.y), ("noise", gp.noise), *gp.solved.items())}
    return {
        "centre": gp.centre,
        "spread": gp.spread,
        "beta": gp.beta.tolist(),
        "lengthscales": [math.exp(t) for t in gp.theta[: -kernel.extra].tolist()],
        "scales": kernel.scales(gp.theta).tolist(),
        "variance": variance,
        "variances": [(1 - share) * variance] + [share / d * variance] * d,
        "smooth": 1.0 - kernel.roughness(gp.theta),
        "nugget": gp.nugget,
    }


def _trend(
    trend: Any, target: str, reference: str, earlier: dict[str, Any], arrays: dict[str, NDArray[np.float64]]
) -> list[Any]:
    """Where the function is; or of what is added to `earlier` the name, and what it is kept within."""
    if not isinstance(trend, Earlier):
        return [reference.replace(":", ".")]
    name, maps = f"{reference} for {target}", maps_of(trend)
    earlier[name] = {**_PLAIN, **_process(name, maps.gps[trend.target], arrays), "parameters": _parameters(maps.space)}
    return [name, *trend.range]


def _parameters(space: Space) -> list[dict[str, Any]]:
    return [{"name": n, "unit": p.unit, **_map(p)} for n, p in space.parameters.items()]


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
