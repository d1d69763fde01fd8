"""``convert``: a scan file as YAML. ``schema``: the JSON Schema of such files, and of what verbs print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from idds_agents.cli.assignments import assignments
from idds_agents.cli.problems import FINE, InputError, did_you_mean
from idds_agents.cli.text import print_json, say
from idds_core.loading import load
from idds_core.yaml import to_yaml
from idds_core.yaml.loading import load_text
from idds_core.yaml.schema import json_schema

__all__ = ["convert", "schema"]


def schema(out: Path | None, output: str | None, *, as_json: bool) -> int:
    """Write a schema to a file or stdout: of scan files, or of what a verb prints with ``--json``."""
    document = json_schema() if output is None else _output(output)
    if out is None:
        print(json.dumps(document, indent=None if as_json else 2))
        return FINE
    _write(out, json.dumps(document, indent=2) + "\n", overwrite=True)
    if as_json:
        print_json({"file": str(out)})
    elif output is None:
        say(f"wrote {out}; begin a YAML file with: # yaml-language-server: $schema={out.name}")
    else:
        say(f"wrote {out}")
    return FINE


def _output(verb: str) -> dict[str, Any]:
    from idds_agents.cli.outputs import OUTPUTS, output_schema

    name = " ".join(verb.split())
    if name not in OUTPUTS:
        raise InputError.of("E-USAGE-008", f"there is no verb {verb}", "", "", did_you_mean(name, OUTPUTS))
    return output_schema(name)


def convert(file: Path, given: Sequence[str], *, out: Path | None, as_json: bool) -> int:
    """Write the YAML of a scan file, after reading it back: what is not the same scan is never written."""
    definition = load(file, assignments(given))
    text = to_yaml(definition)
    beside = (out or file).resolve()
    # Functions and learners are found beside the file, so the text is tried where the code is
    if load_text(text, file.resolve().parent / beside.name).text != definition.text:
        raise InputError.of("E-CONVERT-001", f"{file} cannot be written as YAML", "it would not come back the same",
                            str(file), "Keep the Python file; please report this.")  # fmt: skip
    moved = out is not None and beside.parent != file.resolve().parent
    modules = sorted({s.function.partition(":")[0] for _, s in definition.workflow.steps() if s.function})
    if out is None:
        if as_json:
            print_json({"file": None, "yaml": text, "modules": modules})
        else:
            print(text, end="")
        return FINE
    _write(out, text)
    if as_json:
        print_json({"file": str(out), "yaml": text, "modules": modules})
        return FINE
    say(f"wrote {out}: the same scan as {file}")
    if modules:
        where = f"; put {', '.join(f'{m}.py' for m in modules)} beside it" if moved else ""
        say(f"its functions stay in Python: {', '.join(modules)}{where}")
    return FINE


def _write(out: Path, text: str, *, overwrite: bool = False) -> None:
    """Write a new file; one that is there already is kept unless it may be made again at any time."""
    try:
        with out.open("w" if overwrite else "x", encoding="utf-8") as stream:
            stream.write(text)
    except FileExistsError:
        raise InputError.of("E-CONVERT-002", f"{out} is there already", "", str(out), "Give another name.") from None
    except OSError as error:
        raise InputError.of("E-CONVERT-003", f"{out} cannot be written", error.strerror or str(error), str(out),
                            "Give another place.") from error  # fmt: skip
