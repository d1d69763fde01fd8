"""The digest of a job: equal digests, equal results. What a job is given and may look at, and nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from idds_core.binding import BindingError, bind
from idds_core.history import canonical_json
from idds_core.model import Step
from idds_core.sources import Bundle, step_digest

__all__ = ["by_content", "job_digest"]


def job_digest(
    step: Step,
    bundle: Bundle,
    definition: Mapping[str, Any],
    values: Mapping[str, Any],
    outputs: Sequence[tuple[str, Mapping[str, Any]]],
    seed: int,
    part: tuple[str, int] = ("", 0),
) -> str | None:
    """Digest of a step's source and definition, its arguments, what is in its files, and the seed where it sees one.

    Parameters
    ----------
    definition : parameters that are the same at all points of the loop.
    values : all parameters that the job sees.
    outputs : (step, outputs) of what is before it, in order, with what is in a file in the place of its path.
    part : variant and chunk.

    Returns
    -------
    None when its arguments cannot be bound.

    """
    source = bundle.source(step)
    try:
        payload = bind(step, values, outputs, "bundle", seed)
    except BindingError:
        return None
    own = {name: value for name, value in values.items() if name not in definition or definition[name] != value}
    given: list[Any] = [step_digest(step, bundle, definition), dataclasses.asdict(payload), list(part)]
    given.append(seed if source.seed else None)
    given.append(own if source.parameters else None)
    return hashlib.sha256(canonical_json(given).encode()).hexdigest()[:32]


def by_content(value: Any, content: Callable[[str], str]) -> Any:
    """Outputs in which files are named by what is in them. content : path -> digest of what is in it."""
    if isinstance(value, Mapping):
        if "$file" in value:
            return {"$file": content(str(value["$file"]))}
        return {name: by_content(inner, content) for name, inner in value.items()}
    return [by_content(inner, content) for inner in value] if isinstance(value, list) else value
