"""The verbs about a scan file, before anything runs: init, validate, plan, schema, convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["register"]

_File = Annotated[Path, typer.Argument(metavar="FILE", help="scan.py or scan.yaml.")]
_Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Argument of define(), parameter in YAML.")
]
_Out = Annotated[Path | None, typer.Option("-o", "--out", metavar="FILE", help="Default: stdout.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")]


def register(app: typer.Typer) -> None:
    """Add the verbs to the command line."""
    app.command(epilog="Example: idds-core init my-scan --template shell")(init)
    app.command(epilog="Example: idds-core validate scan.yaml")(validate)
    app.command(epilog="Example: idds-core plan scan.yaml --slots 8")(plan)
    app.command(epilog="Example: idds-core schema -o .scan.schema.json")(schema)
    app.command(epilog="Example: idds-core convert scan.py -o scan.yaml")(convert)


def init(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Default: here.")] = Path(),
    template: Annotated[
        str, typer.Option("--template", metavar="limit|hpo|shell|custom", help="What to begin with.")
    ] = "limit",
    as_json: _Json = False,
) -> int:
    """Write a small scan that works, to make your own of; nothing is ever overwritten.

    limit: an exclusion contour, in Python. shell: the same with a script of yours and YAML, no Python.
    hpo: hyper-parameters of a scikit-learn model. custom: a learner of your own.
    """
    from idds_agents.cli import init as verb

    return verb.init(folder, template, as_json=as_json)


def validate(file: _File, given: _Set = None, as_json: _Json = False) -> int:
    """Say all that is wrong with a scan file, or that it is fine."""
    from idds_agents.cli import validate as verb

    return verb.validate(file, given or (), as_json=as_json)


def plan(
    file: _File,
    given: _Set = None,
    seed: Annotated[int, typer.Option(min=0, max=2**62, help="Of everything random.")] = 0,
    slots: Annotated[int | None, typer.Option(min=1, max=4096, help="Jobs at once. Default: the cores.")] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="FILE.toml", help="Settings.")] = None,
    workdir: Annotated[Path | None, typer.Option("--workdir", help="Default: ./<workflow>-run.")] = None,
    as_json: _Json = False,
) -> int:
    """Say what a run would do: steps, first points, providers, bounds of jobs, core hours and disk. Nothing is run."""
    from idds_agents.cli import plan as verb

    return verb.plan(verb.Options(file, given or (), seed, slots, config, workdir, as_json))


def schema(
    out: _Out = None,
    output: Annotated[
        str | None, typer.Option("--output", metavar="VERB", help="Of what this verb prints with --json: 'db check'.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="On one line; with FILE, what was written.")] = False,
) -> int:
    """Write the JSON Schema of scan files in YAML, for editors; or of the output of a verb, for scripts.

    In the file: # yaml-language-server: $schema=.scan.schema.json
    """
    from idds_agents.cli import convert as verb

    return verb.schema(out, output, as_json=as_json)


def convert(file: _File, out: _Out = None, given: _Set = None, as_json: _Json = False) -> int:
    """Write a scan file as YAML; what comes out defines exactly the same scan."""
    from idds_agents.cli import convert as verb

    return verb.convert(file, given or (), out=out, as_json=as_json)
