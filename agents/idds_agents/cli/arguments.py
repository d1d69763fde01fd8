"""Arguments that many verbs share, and an example of each verb for its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["EXAMPLES", "At", "Json", "Loop", "Workdir", "give_examples"]

At = Annotated[str | None, typer.Argument(metavar="PATH", help="Of a loop, iteration, point, job or attempt.")]
Loop = Annotated[
    str | None, typer.Argument(metavar="LOOP", help="Workflow or workflow/loop; the only one if left out.")
]
Workdir = Annotated[
    Path | None, typer.Option("--workdir", help="Work folder. Default: here, or the only *-run folder.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON value on stdout.")]

#: verb -> a call of it; a verb that is added gives its own (``epilog="Example: ..."``) or stands here
EXAMPLES = {
    "run": "idds-core run scan.py --set max_points=60 --slots 4",
    "attach": "idds-core attach monohbb-run",
    "show": "idds-core show monohbb/it/5",
    "ls": "idds-core ls monohbb/p/42",
    "logs": "idds-core logs -f monohbb/p/42/generate",
    "why": "idds-core why monohbb/p/42",
    "hold": "idds-core hold monohbb",
    "resume": "idds-core resume monohbb",
    "cancel": "idds-core cancel monohbb",
    "plot": "idds-core plot monohbb -o contour.svg",
    "predict": "idds-core predict monohbb --points benchmarks.csv",
    "export": "idds-core export monohbb --format csv -o contour.csv",
    "verify": "idds-core verify --deep",
    "doctor": "idds-core doctor --json",
    "replay": "idds-core replay monohbb --json",
    "errors": "idds-core errors E-SPACE-004",
    "config": "idds-core config --example",
    "clean": "idds-core clean --older-than 30d --dry-run",
    "db check": "idds-core db check",
    "db backup": "idds-core db backup nightly.db",
    "db restore": "idds-core db restore nightly.db",
    "db upgrade": "idds-core db upgrade",
}


def give_examples(app: typer.Typer, group: str = "") -> None:
    """Put the example of each verb below its help."""
    for command in app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "")
        example = EXAMPLES.get(f"{group} {name}".strip())
        if example and not command.epilog:
            command.epilog = f"Example: {example}"
    for below in app.registered_groups:
        if below.typer_instance is not None:
            give_examples(below.typer_instance, below.name or "")
