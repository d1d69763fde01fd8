"""``config``: the settings in effect, their schema, an example of a file."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

from idds_agents.cli.problems import FINE, InputError
from idds_agents.cli.text import columns, print_json, say, warn
from idds_core import settings

__all__ = ["config"]


def config(file: Path | None, *, schema: bool, example: bool, as_json: bool) -> int:
    """Print settings; what is wrong with them is told all at once."""
    if example and (schema or as_json):
        other = "--schema" if schema else "--json"
        raise InputError.of("E-USAGE-005", f"{other} and --example are two things", "the example is TOML",
                            fix="Give one of them.")  # fmt: skip
    if schema:
        print_json(settings.Settings.model_json_schema(), indent=None if as_json else 2)
        return FINE
    if example:
        sys.stdout.write(settings.example())
        return FINE
    _, found = settings.effective(file)
    for problem in settings.strange_variables():
        warn(problem)
    if as_json:
        print_json([dataclasses.asdict(setting) for setting in found])
        return FINE
    rows = [[s.name, "-" if s.value is None else s.value, s.source, s.description] for s in found]
    for line in columns(rows, ["setting", "value", "from", "what it is for"]):
        say(line)
    return FINE
