"""The verbs of whoever looks after a work folder: errors, config, clean, db."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from idds_agents.cli.arguments import Json, Loop, Workdir

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    for verb in (errors, config, clean):
        app.command()(verb)
    db = typer.Typer(help="Check, back up, restore and upgrade the store of a work folder.", rich_markup_mode=None)
    for name, part in (("check", _check), ("backup", _backup), ("restore", _restore), ("upgrade", _upgrade)):
        db.command(name)(part)
    app.add_typer(db, name="db")


def errors(
    code: Annotated[str | None, typer.Argument(metavar="CODE", help="Or a family of codes: SPACE.")] = None,
    as_json: Json = False,
) -> int:
    """Explain an error code: what it means, why it happens, how to mend it. Without a code: all of them."""
    from idds_agents.cli.explain import errors as verb

    return verb(code, as_json=as_json)


def config(
    file: Annotated[Path | None, typer.Option("--config", metavar="FILE.toml", help="Settings, as for run.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="The JSON Schema of the settings.")] = False,
    example: Annotated[bool, typer.Option("--example", help="A file with every setting and its default.")] = False,
    as_json: Json = False,
) -> int:
    """Show the settings in effect and where each comes from."""
    from idds_agents.cli.configuration import config as verb

    return verb(file, schema=schema, example=example, as_json=as_json)


def clean(
    path: Loop = None,
    older_than: Annotated[
        str | None, typer.Option("--older-than", metavar="DURATION", help="All loops that ended longer ago: 30d, 12h.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be freed.")] = False,
    logs: Annotated[bool, typer.Option("--logs", help="Remove logs, too.")] = False,
    workdir: Workdir = None,
    as_json: Json = False,
) -> int:
    """Remove the folders of attempts of concluded loops; results and the record stay."""
    from idds_agents.cli.cleaning import clean as verb

    return verb(path, workdir, older_than=older_than, dry_run=dry_run, logs=logs, as_json=as_json)


# ---------------------------------------------------------------------- db
_File = Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")]


def _check(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A backup. Default: the store itself.")] = None,
    workdir: Workdir = None,
    as_json: Json = False,
) -> int:
    """Check a store: the file, its schema, and every promise about the record."""
    from idds_agents.cli import db as verb

    return verb.check(file, workdir, as_json=as_json)


def _backup(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="Default: backups/idds-<time>.db in the work folder.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE.")] = False,
    workdir: Workdir = None,
    as_json: Json = False,
) -> int:
    """Copy the store, also while an engine runs; the copy is checked."""
    from idds_agents.cli import db as verb

    return verb.backup(file, workdir, force=force, as_json=as_json)


def _restore(file: _File, workdir: Workdir = None, as_json: Json = False) -> int:
    """Put a backup in the place of the store; the old file is kept aside. No engine may run."""
    from idds_agents.cli import db as verb

    return verb.restore(file, workdir, as_json=as_json)


def _upgrade(workdir: Workdir = None, as_json: Json = False) -> int:
    """Bring the store of an older version to today's schema, after a backup. No engine may run."""
    from idds_agents.cli import db as verb

    return verb.upgrade(workdir, as_json=as_json)
