"""The verbs and their options. Each imports what it needs when it is called, so that help is instant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(
    name="idds-core",
    help="Active-learning scans: run, watch and use them.",
    epilog="Exit codes: 0 converged or fine, 2 budget spent, 3 failed or not concluded, 4 bad input. Objects are "
    "addressed by path, for example monohbb/it/5/p/42/generate/job/0/a/1. --traceback (or IDDS_TRACEBACK=1) shows "
    "where an error comes from.",
    add_completion=False,
    rich_markup_mode=None,  # rich costs 60 ms to import
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

_At = Annotated[str | None, typer.Argument(metavar="[PATH]", help="Of a loop, iteration, point, job or attempt.")]
_Loop = Annotated[
    str | None, typer.Argument(metavar="[LOOP]", help="Workflow or workflow/loop; the only one if left out.")
]
_Workdir = Annotated[
    Path | None, typer.Option("--workdir", help="Work folder. Default: here, or the only *-run folder.")
]
_Json = Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")]


def _version(wanted: bool) -> None:
    if wanted:
        from idds_core import __version__

        typer.echo(f"idds-core {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What all verbs share."""


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Python file that defines a loop.")],
    workdir: Annotated[Path | None, typer.Option("--workdir", help="Default: ./<workflow>-run.")] = None,
    given: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Argument of define().")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**62, help="Of everything random.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin a new revision instead of going on.")] = False,
    slots: Annotated[int | None, typer.Option(min=1, max=4096, help="Jobs at once. Default: the cores.")] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE.toml", help="Settings.")] = None,
    as_json: _Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the end.")] = False,
) -> int:
    """Run a scan until it concludes; the same command goes on after a stop."""
    from idds_agents.cli import run as verb

    return verb.run(verb.Options(file, workdir, given or (), seed, fresh, slots, config, as_json, quiet))


@app.command()
def show(path: _At = None, workdir: _Workdir = None, as_json: _Json = False) -> int:
    """Show a loop, an iteration, a point, a job or an attempt."""
    from idds_agents.cli import show as verb

    return verb.show(path, workdir, as_json=as_json)


@app.command()
def ls(path: _At = None, workdir: _Workdir = None, as_json: _Json = False) -> int:
    """List what is below a path: workflows, iterations, points, jobs, attempts."""
    from idds_agents.cli import show as verb

    return verb.ls(path, workdir, as_json=as_json)


@app.command()
def logs(
    path: _At = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the attempt has ended.")] = False,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Print the log of an attempt, or of all failed ones below a path."""
    from idds_agents.cli import logs as verb

    return verb.logs(path, workdir, follow=follow, as_json=as_json)


@app.command()
def why(path: _At = None, workdir: _Workdir = None, as_json: _Json = False) -> int:
    """Say why nothing happens, or why a job is where it is."""
    from idds_agents.cli import why as verb

    return verb.why(path, workdir, as_json=as_json)


@app.command()
def hold(path: _Loop = None, workdir: _Workdir = None, as_json: _Json = False) -> int:
    """Start nothing new until resumed; what runs goes on."""
    from idds_agents.cli.wishes import wish

    return wish("hold", path, workdir, as_json=as_json)


@app.command()
def resume(path: _Loop = None, workdir: _Workdir = None, as_json: _Json = False) -> int:
    """Go on after a hold, by a person or by the engine."""
    from idds_agents.cli.wishes import wish

    return wish("resume", path, workdir, as_json=as_json)


@app.command()
def cancel(path: _Loop = None, workdir: _Workdir = None, as_json: _Json = False) -> int:
    """End a workflow for good; what is measured stays."""
    from idds_agents.cli.wishes import wish

    return wish("cancel", path, workdir, as_json=as_json)


@app.command()
def plot(
    path: _Loop = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="png, svg or pdf.")] = None,
    target: Annotated[str | None, typer.Option("--target", help="Only this one.")] = None,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Draw the contour of a loop in two dimensions, the curve in one. Default file: <workflow>.png."""
    from idds_agents.cli import products as verb

    return verb.plot(path, workdir, out=out, target=target, as_json=as_json)


@app.command()
def predict(
    path: _Loop = None,
    points: Annotated[Path, typer.Option("--points", metavar="FILE.csv", help="A column for each parameter.")] = ...,  # type: ignore[assignment]
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Predict every target at the points of a CSV file; CSV on stdout."""
    from idds_agents.cli import products as verb

    return verb.predict(path, workdir, points=points, as_json=as_json)


@app.command(epilog="Example: idds-core export monohbb --format hepdata -o hepdata/")
def export(
    path: _Loop = None,
    kind: Annotated[
        str | None,
        typer.Option("--format", metavar="csv|json|parquet|hepdata|surrogate", help="Default: as OUT ends, or csv."),
    ] = None,
    what: Annotated[
        str | None, typer.Option("--what", metavar="contour|points|map", help="Of csv, json, parquet: which table.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="OUT", help="File, or folder of hepdata and surrogate. Default: stdout."),
    ] = None,
    grid: Annotated[int | None, typer.Option(min=2, max=1001, help="Nodes of an axis of the map.")] = None,
    workdir: _Workdir = None,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout; with OUT, what was written.")] = False,
) -> int:
    """Write the contour, the points or the map; a HEPData submission; or the surrogate for use elsewhere."""
    from idds_agents.cli import products as verb

    return verb.export(path, workdir, kind=kind, what=what, out=out, grid=grid, as_json=as_json)


@app.command(epilog="Example: idds-core get monohbb/it/5/p/42/generate -o events/")
def get(
    path: Annotated[str, typer.Argument(metavar="PATH", help="Of a loop, iteration, point, step or job.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FOLDER", help="Default: named as PATH.")] = None,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Copy the output files and results of jobs into a folder; say what is missing, and why."""
    from idds_agents.cli import get as verb

    return verb.get(path, workdir, out=out, as_json=as_json)


@app.command()
def verify(
    deep: Annotated[bool, typer.Option("--deep", help="Checksums of files, too.")] = False,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Check the record: each promise with its number of violations."""
    from idds_agents.cli import verify as verb

    return verb.verify(workdir, deep=deep, as_json=as_json)


@app.command()
def doctor(workdir: _Workdir = None, as_json: _Json = False) -> int:
    """Check this machine and folder, with a fix for each trouble."""
    from idds_agents.cli import doctor as verb

    return verb.doctor(workdir, as_json=as_json)
