"""What a report says in words and tables: what was asked, how healthy the map is, what failed, what was used."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from idds_agents.cli.text import clean, duration
from idds_agents.report.charts import finite
from idds_agents.report.reading import LoopView, make_importable
from idds_core.errors import Problem
from idds_core.plugins import CONDITIONS, build
from idds_core.ports import Gauge
from idds_core.store import Attempt, Store

__all__ = ["failure_groups", "field_text", "gauges_of", "health", "spec_text", "steps", "tail", "usage", "warnings_of"]

_TAIL_BYTES = 4096
_TAIL_LINES = 40
_MOST_TAILS = 30
_MOST_GROUPS = 40
_TAILS_OF_A_GROUP = 2
_POOR_LOO = 0.5
_POOR_Z2 = 4.0
_ROUGH = 1.0
_JOINTS = {"any": " | ", "all": " & "}
# Of the step's own fields: those that are said in columns of their own
_SAID = frozenset({"name", "function", "run", "arguments", "optional", "requires", "retry", "provider"})


# ---------------------------------------------------------------------- what was asked
def spec_text(spec: Any) -> str:
    """A learner or a condition as one writes it.

    >>> spec_text({"type": "any", "conditions": [{"type": "max_points", "n": 5}, {"type": "wall", "limit": "1h"}]})
    "max_points(n=5) | wall(limit='1h')"
    """
    if not isinstance(spec, Mapping) or "type" not in spec:
        return json.dumps(spec)
    kind, fields = str(spec["type"]), {k: v for k, v in spec.items() if k != "type" and v is not None}
    members = fields.get("conditions")
    if isinstance(members, list) and kind in (*_JOINTS, "not"):
        texts = [spec_text(m) for m in members]
        return _JOINTS[kind].join(texts) if kind in _JOINTS else f"~({', '.join(texts)})"
    return f"{kind}({', '.join(f'{k}={_value(v)}' for k, v in fields.items())})"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return spec_text(value) if "type" in value else json.dumps(value)
    return f"[{', '.join(_value(v) for v in value)}]" if isinstance(value, list) else repr(value)


def field_text(value: Any) -> str:
    """A field of the definition in a few words; empty for what says nothing.

    >>> field_text({"max_points": 120, "gate": None}), field_text([]), field_text(8)
    ('max_points=120', '', '8')
    """
    if isinstance(value, Mapping):
        return spec_text(value) if "type" in value else _said(value)
    return "" if value in (None, "", [], False) else value if isinstance(value, str) else json.dumps(value)


def steps(body: Iterable[Mapping[str, Any]]) -> list[dict[str, str]]:
    """The boxes of a loop's body: what runs, where, and every other field that says something."""
    found = []
    for box in body:
        run = box.get("run")
        what = " ".join(map(str, run)) if isinstance(run, list) else str(box.get("function") or box.get("type") or "")
        needs = _needs(box.get("requires") or {}, box.get("retry") or {}, box.get("provider"))
        more = _said({k: v for k, v in box.items() if k not in _SAID})
        found.append({"name": str(box.get("name", "")), "what": what, "needs": needs, "more": more})
    return found


def _needs(requires: Mapping[str, Any], retry: Mapping[str, Any], provider: Any) -> str:
    """What a step needs, in units that people use; what is not known here is said as it stands."""
    words = []
    for name, value in requires.items():
        if value is None:
            continue
        if name == "memory" and finite(value):
            words.append(f"{value / 1e9:.3g} GB")
        elif name == "walltime" and finite(value):
            words.append(f"at most {duration(value)}")
        elif name == "cores":
            words.append(f"{value} core{'s' if value != 1 else ''}")
        else:
            words.append(f"{name}={_value(value)}")
    words += [f"{retry['attempts']} attempts"] if retry.get("attempts") else []
    return ", ".join([*words, *([f"on {provider}"] if provider else [])])


def _said(fields: Mapping[str, Any]) -> str:
    kept = {k: v for k, v in fields.items() if v not in (None, "", [], {}, False)}
    return ", ".join(f"{k}={v if isinstance(v, (str, int, float)) else json.dumps(v)}" for k, v in kept.items())


def gauges_of(view: LoopView) -> list[Gauge]:
    """Goals and budgets of the loop's conditions and where they stand; none of a condition that does not tell."""
    make_importable(view.plan)
    try:
        told = getattr(build(view.plan.document["until"], CONDITIONS), "gauges", None)
        found = list(told(view.history)) if told is not None else []
    except Exception:  # noqa: BLE001 - the user's own condition may raise anything, and a report can do without it
        return []
    return [g for g in found if isinstance(g, Gauge) and finite(g.value) and finite(g.limit)]


# ---------------------------------------------------------------------- the map
def health(view: LoopView) -> list[dict[str, Any]]:
    """What the newest record says of each target's map: name -> text, numbers only where they are some."""
    found = []
    for target, told in _newest(view).get("targets", {}).items():
        if not isinstance(told, Mapping):
            continue
        scales = told.get("lengthscales")
        lengths = {str(k): float(v) for k, v in scales.items() if finite(v)} if isinstance(scales, Mapping) else {}
        numbers = {k: float(v) for k, v in told.items() if finite(v)}
        bounds = [str(b) for b in told.get("at_bounds", ())]
        found.append({"target": str(target), "numbers": numbers, "lengthscales": lengths, "at_bounds": bounds})
    return found


def _newest(view: LoopView) -> Mapping[str, Any]:
    return next((r.diagnostics for r in reversed(view.history.iterations) if r.diagnostics), {})


def warnings_of(view: LoopView) -> list[Problem]:
    """What makes the map unreliable, in plain words."""
    found = []
    for told in health(view):
        target, numbers = told["target"], told["numbers"]
        error = numbers.get("loo_rmse")
        beside = f"leave-one-out error {100 * error:.0f} % of the spread" if error is not None else ""
        at = [b for b in told["at_bounds"] if b.endswith(":low") and b.removesuffix(":low") in told["lengthscales"]]
        if at:
            why = f"the length scale of {', '.join(b.removesuffix(':low') for b in at)} is at its lower bound"
            found.append(Problem("W-MODEL-002", f"the surrogate of {target} is unreliable",
                                 f"{why}, {beside}" if beside else why, "",
                                 "Do not trust the contour; more points, or another transform, may help."))  # fmt: skip
        elif error is not None and error > _POOR_LOO:
            found.append(Problem("W-MODEL-003", f"the surrogate of {target} predicts poorly", beside, "",
                                 "Look at the points before you use the contour."))  # fmt: skip
        z2, kappa = numbers.get("loo_z2"), numbers.get("kappa")
        if z2 is not None and z2 > _POOR_Z2:
            why = f"squared leave-one-out errors are {z2:.1f} times what it expects"
            why += f"; its band is widened by kappa {kappa:.2f}" if kappa else ""
            found.append(Problem("W-MODEL-004", f"the surrogate of {target} is too sure of itself", why, "",
                                 "Take its band as too narrow."))  # fmt: skip
        rough = numbers.get("approximation_error")
        if rough is not None and rough > _ROUGH:
            found.append(Problem("W-MODEL-005", f"the surrogate of {target} is a rough approximation of an exact one",
                                 f"with a third less of its inducing points the mean moves by {rough:.2f} sd", "",
                                 "Give the learner a larger exact, if time and memory allow."))  # fmt: skip
    return found


# ---------------------------------------------------------------------- failures
def failure_groups(attempts: Sequence[Attempt], workdir: Path, sealed: str = "") -> dict[str, Any]:
    """Failed attempts by class, code and signature, the most frequent first, with the ends of a few logs.

    sealed : the step that sees blinded targets; its logs are not shown.
    """
    groups: dict[tuple[str, str, str], list[Attempt]] = {}
    for a in attempts:
        key = (a.failure_class or "INFRA", a.failure_code or "", a.signature or a.reason)
        groups.setdefault(key, []).append(a)
    ranked = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    left, found = _MOST_TAILS, []
    for (class_, code, _), members in ranked[:_MOST_GROUPS]:
        tails = [
            {"path": a.path, "text": "" if sealed and f"/{sealed}/job/" in a.path else tail(workdir / a.path / "log")}
            for a in members[: min(_TAILS_OF_A_GROUP, left)]
        ]
        left -= len(tails)
        found.append(
            {
                "class": class_,
                "code": code,
                "message": clean(members[-1].reason)[:500],
                "count": len(members),
                "jobs": len({a.job_id for a in members}),
                "tails": tails,
            }
        )
    return {"attempts": len(attempts), "groups": found, "more": max(0, len(ranked) - _MOST_GROUPS)}


def tail(file: Path) -> str:
    """The last lines of a log; empty when there is none."""
    try:
        if not file.is_file():  # a job may leave anything under that name
            return ""
        with file.open("rb") as source:
            size = source.seek(0, os.SEEK_END)
            source.seek(max(0, size - _TAIL_BYTES))
            text = source.read(_TAIL_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    lines = clean(text).splitlines()
    if size > _TAIL_BYTES and len(lines) > 1:
        lines = lines[1:]  # the first is only a part
    kept = lines[-_TAIL_LINES:]
    return "\n".join(["[...]", *kept] if size > _TAIL_BYTES or len(lines) > len(kept) else kept)


# ---------------------------------------------------------------------- usage
def usage(view: LoopView, store: Store) -> list[dict[str, Any]]:
    """What each step's jobs used."""
    cores = {step.name: step.requires.cores for step in view.plan.loop.body if hasattr(step, "requires")}
    return [
        {
            "step": u.step,
            "jobs": u.jobs,
            "attempts": u.attempts,
            "failed": u.failed,
            "retries": u.retries,
            "wall_s": u.wall_s,
            "cpu_s": u.cpu_s,
            "core_hours": u.wall_s * cores.get(u.step, 1) / 3600,
            "max_rss": u.max_rss,
        }
        for u in store.usage(view.record.id)
    ]
