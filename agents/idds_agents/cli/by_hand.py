"""``ask`` and ``tell``: for people who measure by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from idds_agents.by_hand import Asked, begun
from idds_agents.by_hand import ask as asked
from idds_agents.cli.assignments import assignments
from idds_agents.cli.campaign import is_file, observed_values, opened, request, values_of
from idds_agents.cli.problems import FINE, InputError
from idds_agents.cli.text import columns, number, print_json, say
from idds_agents.cli.where import resolve_loop
from idds_agents.engine import exit_code
from idds_agents.workspace import Workspace
from idds_core.errors import IddsError
from idds_core.settings import read_settings
from idds_core.states import TERMINAL

__all__ = ["ask", "tell"]


def ask(
    what: str | None, workdir: Path | None, given: Sequence[str], *, n: int | None, seed: int, as_json: bool
) -> int:
    """Print the points that are to be measured now."""
    if is_file(what):
        from idds_core.loading import load, source_folder

        file = Path(str(what))
        definition = load(file, assignments(given))
        workdir = workdir or Path(f"{definition.name}-run")
        begun(Workspace(workdir, read_settings()), definition, source_folder(file), seed)
        what = definition.name
    with opened(workdir, what) as (workspace, store):
        target = resolve_loop(store, what)
        path = target.loop_path
        try:
            found = asked(workspace, store, target.loop, n)
        except IddsError as error:
            raise InputError(*error.problems) if error.code == "E-TELL-003" else error from None
    ended = found.loop.state in TERMINAL["loop"]
    if as_json:
        print_json(_document(path, found))
    else:
        for line in _lines(path, found):
            say(line)
    return exit_code(found.loop.state) if ended or not found.points else FINE


def _document(path: str, found: Asked) -> dict[str, Any]:
    points = [{"number": p.number, "path": f"{path}/it/{p.iteration}/p/{p.number}", "parameters": dict(p.parameters)}
              for p in found.points]  # fmt: skip
    return {"path": path, "state": str(found.loop.state), "reason": found.loop.reason, "points": points}


def _lines(path: str, found: Asked) -> list[str]:
    if not found.points:
        return [f"{path}: {found.loop.state}, {found.loop.reason or 'no point is open'}"]
    names = list(found.points[0].parameters)
    return columns([[p.number, *(number(p.parameters[n]) for n in names)] for p in found.points], ["point", *names])


def tell(words: Sequence[str], workdir: Path | None, *, infeasible: str | None, as_json: bool) -> int:
    """Write down what a person has measured."""
    rest = list(words)
    path = rest.pop(0) if rest and not rest[0].isdecimal() and "=" not in rest[0] else None
    point = rest.pop(0) if rest and "=" not in rest[0] else ""
    if path and not point:  # bench/p/3, as 'ask --json' says it
        path, _, point = path.rpartition("/p/")
        path = path.partition("/it/")[0]
    if not point.isdecimal():
        raise InputError.of("E-USAGE-007", "which point is told", f"{point!r} is no number" if point else "", "",
                            "For example: idds-core tell bench 3 cls=0.04.")  # fmt: skip
    texts = values_of(rest)
    if (infeasible is None) == (not texts):
        raise InputError.of("E-USAGE-007", "what is told of the point", "give values, or --infeasible WHY", "",
                            "For example: idds-core tell bench 3 cls=0.04.")  # fmt: skip
    given = {"point": int(point), "values": observed_values(texts), "infeasible": infeasible}
    return request("tell", path or None, workdir, lambda *_: given, as_json=as_json)
