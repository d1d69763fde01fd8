"""The verbs and their options. Each imports what it needs when it is called, so that help is instant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from idds_agents.cli.scan_verbs import register

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


register(app)


@app.command(epilog="Example: idds-core run scan.yaml --set max_points=60 --slots 8")
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="scan.py or scan.yaml.")],
    workdir: Annotated[Path | None, typer.Option("--workdir", help="Default: ./<workflow>-run.")] = None,
    given: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Argument of define(), parameter in YAML.")
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


@app.command(epilog="Example: idds-core show monohbb/p/12")
def show(path: _At = None, workdir: _Workdir = None, as_json: _Json = False) -> int:
    """Show a loop, an iteration, a point, a job or an attempt."""
    from idds_agents.cli import show as verb

    return verb.show(path, workdir, as_json=as_json)


@app.command(epilog="Example: idds-core ls monohbb/it/3")
def ls(path: _At = None, workdir: _Workdir = None, as_json: _Json = False) -> int:
    """List what is below a path: workflows, iterations, points, jobs, attempts."""
    from idds_agents.cli import show as verb

    return verb.ls(path, workdir, as_json=as_json)


@app.command(epilog="Example: idds-core logs -f monohbb/p/12/generate/job/0/a/1")
def logs(
    path: _At = None,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on until the attempt has ended.")] = False,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Print the log of an attempt, or of all failed ones below a path."""
    from idds_agents.cli import logs as verb

    return verb.logs(path, workdir, follow=follow, as_json=as_json)


@app.command(epilog="Example: idds-core why monohbb/p/12")
def why(path: _At = None, workdir: _Workdir = None, as_json: _Json = False) -> int:
    """Say why nothing happens, or why a job is where it is."""
    from idds_agents.cli import why as verb

    return verb.why(path, workdir, as_json=as_json)


@app.command(epilog="Example: idds-core hold monohbb")
def hold(path: _Loop = None, workdir: _Workdir = None, as_json: _Json = False) -> int:
    """Start nothing new until resumed; what runs goes on."""
    from idds_agents.cli.wishes import wish

    return wish("hold", path, workdir, as_json=as_json)


@app.command(epilog="Example: idds-core resume monohbb")
def resume(path: _Loop = None, workdir: _Workdir = None, as_json: _Json = False) -> int:
    """Go on after a hold, by a person or by the engine."""
    from idds_agents.cli.wishes import wish

    return wish("resume", path, workdir, as_json=as_json)


@app.command(epilog="Example: idds-core cancel monohbb")
def cancel(path: _Loop = None, workdir: _Workdir = None, as_json: _Json = False) -> int:
    """End a workflow for good; what is measured stays."""
    from idds_agents.cli.wishes import wish

    return wish("cancel", path, workdir, as_json=as_json)


@app.command(epilog="Example: idds-core plot monohbb -o contour.svg")
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


@app.command(epilog="Example: idds-core predict monohbb --points points.csv")
def predict(
    path: _Loop = None,
    points: Annotated[Path, typer.Option("--points", metavar="FILE.csv", help="A column for each parameter.")] = ...,  # type: ignore[assignment]
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Predict every target at the points of a CSV file; CSV on stdout."""
    from idds_agents.cli import products as verb

    return verb.predict(path, workdir, points=points, as_json=as_json)


@app.command(epilog="Example: idds-core export monohbb --format csv -o contour.csv")
def export(
    path: _Loop = None,
    kind: Annotated[
        str | None, typer.Option("--format", metavar="csv|json", help="Default: as FILE ends, or csv.")
    ] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Default: stdout.")] = None,
    workdir: _Workdir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Same as --format json.")] = False,
) -> int:
    """Write the contour lines with their band."""
    from idds_agents.cli import products as verb

    return verb.export(path, workdir, kind="json" if as_json else kind, out=out)


@app.command(epilog="Example: idds-core verify --deep")
def verify(
    deep: Annotated[bool, typer.Option("--deep", help="Checksums of files, too.")] = False,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Check the record: each promise with its number of violations."""
    from idds_agents.cli import verify as verb

    return verb.verify(workdir, deep=deep, as_json=as_json)


@app.command(epilog="Example: idds-core doctor")
def doctor(workdir: _Workdir = None, as_json: _Json = False) -> int:
    """Check this machine and folder, with a fix for each trouble."""
    from idds_agents.cli import doctor as verb

    return verb.doctor(workdir, as_json=as_json)
