"""The digest of a job: equal digests, equal results. What a job is given and may look at, and nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from idds_core.binding import BindingError, Given, bind, joined
from idds_core.history import canonical_json
from idds_core.model import Step
from idds_core.sources import Bundle, step_digest

__all__ = ["job_digest"]


def job_digest(
    step: Step,
    bundle: Bundle,
    definition: Mapping[str, Any],
    point: Mapping[str, Any],
    upstream: Sequence[tuple[str, Mapping[str, Any]]],
    seed: int,
    part: tuple[str, int] = ("", 0),
) -> str | None:
    """Digest of a step's source and definition, its arguments, what is in its files, and the seed where it sees one.

    Parameters
    ----------
    definition, point : parameters of the definition and of the point.
    upstream : (step, result) of the steps before it, in order.
    part : variant and chunk.

    Returns
    -------
    None when its arguments cannot be bound.

    """
    source = bundle.source(step)
    try:
        payload = bind(step, {**definition, **point}, _seen(step, upstream), "bundle", seed)
    except BindingError:
        return None
    given: list[Any] = [step_digest(step, bundle, definition), dataclasses.asdict(payload), list(part)]
    given.append(seed if source.seed else None)
    given.append(dict(point) if source.parameters else None)
    return hashlib.sha256(canonical_json(given).encode()).hexdigest()[:32]


def _seen(step: Step, upstream: Sequence[tuple[str, Mapping[str, Any]]]) -> list[tuple[str, dict[str, Any]]]:
    return joined((), step, [Given(name, _by_content(result)) for name, result in upstream], "", 0)


def _by_content(result: Mapping[str, Any]) -> dict[str, Any]:
    """A result whose files are named by what is in them."""
    files = {name: {**file, "path": file["sha256"]} for name, file in result.get("files", {}).items()}
    return {**result, "files": files}
