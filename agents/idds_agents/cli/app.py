"""The verbs and their options. Each imports what it needs when it is called, so that help is instant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from idds_agents.cli import operations
from idds_agents.cli.arguments import At as _At
from idds_agents.cli.arguments import Json as _Json
from idds_agents.cli.arguments import Loop as _Loop
from idds_agents.cli.arguments import Workdir as _Workdir
from idds_agents.cli.arguments import give_examples
from idds_agents.cli.campaign_app import register
from idds_agents.cli.scan_verbs import register as register_scan_verbs

__all__ = ["app"]

app = typer.Typer(
    name="idds-core",
    help="Active-learning scans: run, watch and use them.",
    epilog="Exit codes: 0 converged or fine, 2 budget spent, 3 failed or not concluded, 4 bad input, 5 handed over "
    "(the same command goes on). Objects are addressed by path, for example monohbb/it/5/p/42/generate/job/0/a/1. "
    "--traceback (or IDDS_TRACEBACK=1) shows where an error comes from.",
    add_completion=False,
    rich_markup_mode=None,  # rich costs 60 ms to import
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


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


register_scan_verbs(app)


@app.command()
def run(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="scan.py, scan.yaml, or a workflow on record.")],
    workdir: Annotated[Path | None, typer.Option("--workdir", help="Default: ./<workflow>-run.")] = None,
    given: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Argument of define(), parameter in YAML.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**62, help="Of everything random.")] = 0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin a new revision instead of going on.")] = False,
    reuse: Annotated[bool, typer.Option("--reuse", help="With --fresh: take over results that are known.")] = False,
    slots: Annotated[int | None, typer.Option(min=1, max=4096, help="Jobs at once. Default: the cores.")] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE.toml", help="Settings.")] = None,
    as_json: _Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the end.")] = False,
    detach: Annotated[bool, typer.Option("--detach", help="In the background; 'attach' shows it.")] = False,
    max_wall: Annotated[
        str | None, typer.Option("--max-wall", metavar="TIME", help="Hand over before it is over: 2h. Exit code 5.")
    ] = None,
    margin: Annotated[
        str | None,
        typer.Option("--margin", metavar="TIME", help="Start nothing new so long before --max-wall is over."),
    ] = None,
    database: Annotated[
        Path | None, typer.Option("--database", metavar="FILE", help="The store. Default: idds.db in the work folder.")
    ] = None,
    notify: Annotated[
        list[str] | None, typer.Option("--notify", metavar="URL", help="Whom to tell: apprise, env:NAME, file:PATH.")
    ] = None,
) -> int:
    """Run a scan until it concludes; the same command goes on after a stop."""
    from idds_agents.cli import run as verb

    return verb.run(verb.Options(
        file, workdir, given or (), seed, fresh, reuse, slots, config, as_json, quiet, detach, max_wall, margin,
        notify or (), database,
    ))  # fmt: skip


@app.command()
def attach(
    workdir: Annotated[
        Path | None, typer.Argument(metavar="[WORKDIR]", help="Default: here, or the only *-run folder.")
    ] = None,
    as_json: _Json = False,
) -> int:
    """Show a run of another process as it goes on; Ctrl-C leaves the view, not the run."""
    from idds_agents.cli import detach as verb

    return verb.attach(workdir, as_json=as_json)


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


@app.command(epilog="Example: idds-core plot monohbb -o contour.pdf --target obs --iteration 5")
def plot(
    path: _Loop = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="png, svg or pdf; json or csv: the numbers.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            "--kind",
            metavar="KIND",
            help="contour, slices, profile, pairs, parallel, importance, convergence, search; what fits if left out.",
        ),
    ] = None,
    cuts: Annotated[
        list[str] | None, typer.Option("--slice", metavar="NAME=VALUE", help="Cut there; may be given often.")
    ] = None,
    target: Annotated[str | None, typer.Option("--target", help="Only this one.")] = None,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FILE", help="The numbers behind the figure: json or csv.")
    ] = None,
    style: Annotated[str | None, typer.Option("--style", metavar="atlas|cms", help="Of an experiment.")] = None,
    iteration: Annotated[int | None, typer.Option("--iteration", metavar="K", help="As it was after this one.")] = None,
    movie: Annotated[Path | None, typer.Option("--movie", metavar="FILE", help="gif, or mp4 with ffmpeg.")] = None,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Draw a loop: contour, slices through many parameters, profiles, convergence... Default file: <workflow>.png."""
    from idds_agents.cli import plot as verb

    asked = verb.Options(out, target, iteration, movie, kind, cuts or (), data, style)
    return verb.plot(path, workdir, asked, as_json=as_json)


@app.command(epilog="Example: idds-core report monohbb -o report.html")
def report(
    path: _Loop = None,
    out: Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="The page to write.")] = Path("report.html"),
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Write everything about a loop into one HTML page that works without a network."""
    from idds_agents.cli import report as verb

    return verb.report(path, workdir, out=out, as_json=as_json)


@app.command(epilog="Example: idds-core compare monohbb-run:monohbb other-run:monohbb")
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A loop: its path, or WORKDIR:PATH.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Another one, or another revision.")],
    target: Annotated[str | None, typer.Option("--target", help="Only this one.")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Plot: png, svg or pdf.")] = None,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Compare two contours: areas, overlap, distance, points that differ, what was asked differently."""
    from idds_agents.cli import compare as verb

    return verb.compare(first, second, workdir, target=target, out=out, as_json=as_json)


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


@app.command(epilog="Example: idds-core unblind monohbb --reason 'approved, minutes 12'")
def unblind(
    path: _Loop = None,
    reason: Annotated[str, typer.Option("--reason", help="Who allowed it, and why; kept on record.")] = ...,  # type: ignore[assignment]
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Show the sealed targets of a loop from now on; it cannot be undone."""
    from idds_agents.cli import blind as verb

    return verb.unblind(path, workdir, reason=reason, as_json=as_json)


@app.command()
def verify(
    deep: Annotated[bool, typer.Option("--deep", help="Checksums of files, too.")] = False,
    replay: Annotated[bool, typer.Option("--replay", help="Ask the learners every question again, too.")] = False,
    head: Annotated[str | None, typer.Option("--head", help="A head of the chain that was noted down earlier.")] = None,
    repair_plan: Annotated[
        bool, typer.Option("--repair-plan", help="Say what would mend each violation; nothing is changed.")
    ] = False,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Check the record: each promise with its number of violations."""
    from idds_agents.cli import verify as verb

    return verb.verify(workdir, deep=deep, replay=replay, head=head, repair_plan=repair_plan, as_json=as_json)


@app.command()
def replay(path: _Loop = None, workdir: _Workdir = None, as_json: _Json = False) -> int:
    """Ask the learner every question again; exit code 3 when an answer is not the one on record."""
    from idds_agents.cli import replay as verb

    return verb.replay(path, workdir, as_json=as_json)


@app.command()
def doctor(workdir: _Workdir = None, as_json: _Json = False) -> int:
    """Check this machine and folder, with a fix for each trouble."""
    from idds_agents.cli import doctor as verb

    return verb.doctor(workdir, as_json=as_json)


operations.register(app)
register(app)
give_examples(app)
