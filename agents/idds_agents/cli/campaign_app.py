"""The verbs with which a campaign goes on, and their options; each imports what it needs when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["register"]

_Loop = Annotated[
    str | None, typer.Argument(metavar="[LOOP]", help="Workflow or workflow/loop; the only one if left out.")
]
_What = Annotated[str | None, typer.Argument(metavar="[LOOP|FILE]", help="On record, or its changed scan file.")]
_Words = Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE...", help="For example m_zp=1200 m_a=400.")]
_Workdir = Annotated[
    Path | None, typer.Option("--workdir", help="Work folder. Default: here, or the only *-run folder.")
]
_Set = Annotated[list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Argument of define().")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")]
_Csv = Annotated[Path | None, typer.Option("--file", metavar="FILE.csv", help="A column for each parameter.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command(epilog="Example: idds-core extend monohbb --until 'MaxPoints(300)'")(extend)
    app.command(epilog="Example: idds-core amend scan.py --dry-run")(amend)
    app.command(epilog="Example: idds-core add monohbb m_zp=1200 m_a=400")(add)
    app.command("import", epilog="Example: idds-core import monohbb points.csv")(import_)
    app.command(epilog="Example: idds-core retry monohbb --failed")(retry)
    app.command("top-up", epilog="Example: idds-core top-up monohbb/it/5/p/42")(top_up)
    app.command(epilog="Example: idds-core ask bench -n 4 --json")(ask)
    app.command(epilog="Example: idds-core tell bench 3 cls=0.04 cls_sigma=0.01")(tell)


def extend(
    what: _What = None,
    until: Annotated[str | None, typer.Option("--until", metavar="CONDITION", help="As in a scan file.")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Points of an iteration.")] = None,
    given: _Set = None,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Continue a concluded workflow with another budget or tolerance, as a new revision; 'run' goes on with it."""
    from idds_agents.cli import campaign as verb

    return verb.extend_verb(what, workdir, given or (), until=until, batch=batch, as_json=as_json)


def amend(
    what: _What = None,
    dry: Annotated[bool, typer.Option("--dry-run", help="Say what would run again; write nothing.")] = False,
    given: _Set = None,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Continue a concluded workflow with changed data, steps or space; of old points only what changed runs again."""
    from idds_agents.cli import campaign as verb

    return verb.amend_verb(what, workdir, given or (), dry=dry, as_json=as_json)


def add(
    path: _Loop = None,
    words: _Words = None,
    file: _Csv = None,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Let a point of yours enter the next iteration; a concluded loop goes on as a new revision."""
    from idds_agents.cli import campaign as verb

    if path and "=" in path:  # the loop is left out
        words = [path, *(words or ())]
        path = None
    return verb.request(
        "add", path, workdir, lambda space, _: {"points": verb.points_of(space, words or (), file)}, as_json=as_json
    )


def import_(
    path: Annotated[str, typer.Argument(metavar="[LOOP]", help="The only one if left out.")],
    file: Annotated[
        str | None, typer.Argument(metavar="FILE.csv", help="Columns: parameters, targets, sigmas.")
    ] = None,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Bring what was measured elsewhere: it is learnt from, and counts against no budget."""
    from idds_agents.cli import campaign as verb

    loop, csv = (path, Path(file)) if file else (None, Path(path))

    def rows(space: Any, targets: Any) -> dict[str, Any]:
        return {"rows": verb.rows_of(space, targets, csv), "source": csv.name}

    return verb.request("import", loop, workdir, rows, as_json=as_json)


def retry(
    path: _Loop = None,
    failed: Annotated[bool, typer.Option("--failed", help="All failed points that nothing tries again yet.")] = False,
    point: Annotated[list[int] | None, typer.Option("--point", min=1, help="Only this one; may be repeated.")] = None,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Try failed points again, as new points; the old ones stay as they are."""
    from idds_agents.cli import campaign as verb

    return verb.retry(path, workdir, point or (), failed=failed, as_json=as_json)


def top_up(
    path: Annotated[str, typer.Argument(metavar="POINT", help="Path of a measured point, such as toy/it/2/p/7.")],
    given: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=N", help="In all N of what a step is cut by; old chunks are taken over."),
    ] = None,
    replicates: Annotated[
        int | None, typer.Option("--replicates", min=1, max=1000, help="Measure it so often once more. Default: 1.")
    ] = None,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Measure a point once more, or with more of what its steps are cut by, as a new point that says what it adds."""
    from idds_agents.cli import top_up as verb

    return verb.top_up(path, workdir, given or (), replicates=replicates, as_json=as_json)


def ask(
    what: _What = None,
    n: Annotated[int | None, typer.Option("-n", min=1, help="At most so many. Default: all that are open.")] = None,
    given: _Set = None,
    seed: Annotated[int, typer.Option(min=0, max=2**62, help="Of everything random.")] = 0,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Say which points of a loop without steps are to be measured now; a scan file begins one."""
    from idds_agents.cli import by_hand as verb

    return verb.ask(what, workdir, given or (), n=n, seed=seed, as_json=as_json)


def tell(
    words: Annotated[
        list[str], typer.Argument(metavar="[LOOP] POINT [NAME=VALUE...]", help="For example bench 3 cls=0.04.")
    ],
    infeasible: Annotated[str | None, typer.Option("--infeasible", metavar="WHY", help="It cannot exist.")] = None,
    workdir: _Workdir = None,
    as_json: _Json = False,
) -> int:
    """Tell what you have measured at a point of a loop without steps."""
    from idds_agents.cli import by_hand as verb

    return verb.tell(words, workdir, infeasible=infeasible, as_json=as_json)
