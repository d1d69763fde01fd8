"""``report``: everything about a loop as one page."""

from __future__ import annotations

from pathlib import Path

from idds_agents.cli.problems import FINE, InputError
from idds_agents.cli.text import print_json, say, warn
from idds_agents.cli.where import looking, resolve_loop
from idds_agents.report.reading import view_loop

__all__ = ["report"]

_ENDINGS = (".html", ".htm")


def report(path: str | None, workdir: Path | None, *, out: Path, as_json: bool) -> int:
    """Write the page of a loop."""
    if out.suffix.lower() not in _ENDINGS:  # told before the work is done
        raise InputError.of("E-REPORT-004", f"{out} is no page", f"its ending is {out.suffix or 'missing'}", "",
                            "Give a name that ends in .html.")  # fmt: skip
    from idds_agents.report.page import write_report

    with looking(workdir, path) as (workspace, store):
        target = resolve_loop(store, path)
        view = view_loop(store, workspace.folder, target.loop.id)
        page = write_report(view, store, out)
    if as_json:
        print_json(
            {
                "path": view.path,
                "file": str(out.resolve()),
                "bytes": out.stat().st_size,
                "evaluations": view.evaluations,
                "iterations": page.iterations,
                "warnings": page.warnings,
            }
        )
        return FINE
    for line in page.warnings:
        warn(line)
    say(f"{out}")
    return FINE
