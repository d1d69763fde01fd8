"""``validate``: all mistakes of a scan file, or one line that says it is fine."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from idds_agents.budget import budget_of
from idds_agents.cli.assignments import assignments
from idds_agents.cli.problems import BAD_INPUT, FINE
from idds_agents.cli.text import print_json, say
from idds_core.definition import Definition
from idds_core.errors import DefinitionError
from idds_core.loading import load, make_bundle, source_folder
from idds_core.model import Step

__all__ = ["validate"]


def validate(file: Path, given: Sequence[str], *, as_json: bool) -> int:
    """Check a scan file as ``run`` does, its folder included."""
    try:
        definition = load(file, assignments(given))
        _check_folder(source_folder(file))
    except DefinitionError as error:
        if not as_json:
            raise
        print_json({"file": str(file), "ok": False, "name": None,
                    "problems": [dataclasses.asdict(p) for p in error.problems]})  # fmt: skip
        return BAD_INPUT
    if as_json:
        print_json({"file": str(file), "ok": True, "name": definition.name, "problems": []})
    else:
        say(f"{file} is fine: {_summary(definition)}")
    return FINE


def _check_folder(folder: Path) -> None:
    """Whether the folder can be bundled; the copy goes to a place that is cleared at once."""
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        make_bundle(folder, Path(place))


def _summary(definition: Definition) -> str:
    words = []
    outside = [e for e in definition.workflow.body if isinstance(e, Step)]
    if outside:
        words.append(f"{_count(len(outside), 'step')} outside of loops")
    for loop, document in definition.loops():
        budget = budget_of(document)
        most = f", at most {budget.points} points" if budget.points is not None else ""
        parameters = _count(len(loop.space.parameters), "parameter")
        words.append(f"scan {loop.name} of {parameters}, {_count(len(loop.body), 'step')}{most}")
    return "; ".join(words)


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
