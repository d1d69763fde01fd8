"""``errors``: what a code means."""

from __future__ import annotations

import dataclasses

from idds_agents.cli.problems import FINE, InputError
from idds_agents.cli.text import columns, print_json, say
from idds_core.catalogue import Explanation, catalogue
from idds_core.errors import did_you_mean

__all__ = ["errors"]


def errors(code: str | None, *, as_json: bool) -> int:
    """Print one entry of the catalogue, those of a family, or all."""
    found = _found(code)
    if as_json:
        print_json([dataclasses.asdict(e) for e in found])
    elif code is not None and len(found) == 1:
        (entry,) = found
        for line in (f"{entry.code}  {entry.means}", f"Why: {entry.why}", f"Fix: {entry.fix}"):
            say(line)
    else:
        for line in columns([[e.code, e.means] for e in found], ["code", "meaning"]):
            say(line)
    return FINE


def _found(code: str | None) -> list[Explanation]:
    known = catalogue()
    if code is None:
        return list(known.values())
    wanted = code.strip().rstrip(".:").upper()
    if wanted in known:
        return [known[wanted]]
    below = [e for c, e in known.items() if wanted and wanted in (c.rpartition("-")[0], c.split("-")[1])]
    if not below:
        raise InputError.of("E-USAGE-003", f"there is no error code {code}", "", "",
                            f"{did_you_mean(wanted, known)} 'idds-core errors' lists all.".strip())  # fmt: skip
    return below
