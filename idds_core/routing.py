"""Routing: which providers can run a step, and for each of the others the reason why it cannot. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from idds_core.model import Step
from idds_core.ports import Capabilities

__all__ = ["Route", "route"]


@dataclass(frozen=True, slots=True)
class Route:
    """Whether a provider can run a step, and why, in words."""

    name: str
    ok: bool
    reason: str


def route(step: Step, capabilities: Mapping[str, Capabilities]) -> list[Route]:
    """One answer for each provider, in the order given.

    >>> from idds_core.model import Requirements
    >>> step = Step("fit", function="scan:fit", requires=Requirements(cores=4))
    >>> for r in route(step, {"laptop": Capabilities(slots=2), "farm": Capabilities(slots=64)}):
    ...     print(r.name, r.ok, r.reason)
    laptop False it needs 4 cores, there are 2
    farm True it fits
    """
    found = []
    for name, can in capabilities.items():
        refusals = [text for text in (check(step, name, can) for check in _FILTERS) if text]
        found.append(Route(name, not refusals, "; ".join(refusals) or "it fits"))
    return found


def _by_name(step: Step, name: str, _: Capabilities) -> str:
    wanted = [word.strip() for word in (step.provider or "").split("|") if word.strip()]
    # "slurm:perlmutter" asks for one site, "slurm" for any
    asked = not wanted or any(name == word or name.startswith(f"{word}:") for word in wanted)
    return "" if asked else f"the step asks for {' | '.join(wanted)}"


def _by_payload(step: Step, _: str, can: Capabilities) -> str:
    if step.run is not None:
        return "" if can.commands else "it runs no commands"
    return "" if can.functions else "it runs no Python functions"


def _by_cores(step: Step, _: str, can: Capabilities) -> str:
    needed = step.requires.cores
    return "" if needed <= can.slots else f"it needs {needed} cores, there are {can.slots}"


def _by_memory(step: Step, _: str, can: Capabilities) -> str:
    needed = step.requires.memory
    if needed is None or can.memory is None or needed <= can.memory:
        return ""
    return f"it needs {needed / 1e9:.3g} GB, there are {can.memory / 1e9:.3g} GB"


_FILTERS: tuple[Callable[[Step, str, Capabilities], str], ...] = (_by_name, _by_payload, _by_cores, _by_memory)
