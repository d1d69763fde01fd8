"""``init``: a small scan that works, from a template."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
from pathlib import Path

from idds_agents.cli.problems import FINE, InputError, did_you_mean
from idds_agents.cli.text import print_json, say

__all__ = ["TEMPLATES", "init"]

TEMPLATES = {
    "limit": "an exclusion contour of a toy model, in Python",
    "hpo": "hyper-parameters of a scikit-learn model",
    "shell": "an exclusion contour with a script of yours, without Python",
    "custom": "a learner of your own",
}
_SCHEMA = ".scan.schema.json"  # hidden: an editor reads it, the source bundle leaves it out
_NEXT = {
    "limit": "Put your simulation into limit() in scan.py.",
    "hpo": "Put your model into score() in scan.py.",
    "shell": "Put your simulation into mc.sh: any program that writes limits.json will do.",
    "custom": "Write down in scan.py, class Nearest, where to measure next.",
}


def init(folder: Path, template: str, *, as_json: bool) -> int:
    """Write the files of a template; what is there already is never touched."""
    if template not in TEMPLATES:
        raise InputError.of("E-INIT-001", f"there is no template {template}", "", "",
                            did_you_mean(template, TEMPLATES))  # fmt: skip
    files = _files(template)
    taken = [n for n, text in files.items() if (folder / n).exists() and not _is(folder / n, text)]
    if taken:
        raise InputError.of("E-INIT-002", f"{', '.join(taken)} would be overwritten", "", str(folder),
                            "Give another folder: idds-core init my-scan.")  # fmt: skip
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            _write(folder / name, text)
    except OSError as error:
        raise InputError.of("E-INIT-003", f"{folder} cannot be written", error.strerror or str(error), str(folder),
                            "Give another folder.") from error  # fmt: skip
    scan = next(name for name in files if name.startswith("scan."))
    steps = [f"idds-core {verb} {scan}" for verb in ("validate", "plan", "run")]
    if folder.resolve() != Path.cwd():
        steps.insert(0, f"cd {shlex.quote(str(folder))}")
    if as_json:
        print_json({"template": template, "folder": str(folder), "files": list(files), "next": steps})
        return FINE
    say(f"{template}: {TEMPLATES[template]}. Written to {folder}: {', '.join(n for n in files if n != _SCHEMA)}")
    say("It works as it is:")
    for line in steps:
        say(f"  {line}")
    say(f"Then make it yours. {_NEXT[template]}")
    return FINE


def _files(template: str) -> dict[str, str]:
    """Name -> text of a template's files, the scan file last: it is what makes a folder a scan."""
    source = Path(__file__).parents[1] / "templates" / template
    found = {f.name: f.read_text(encoding="utf-8") for f in sorted(source.iterdir()) if f.is_file()}
    if "scan.yaml" in found:
        from idds_core.yaml.schema import json_schema

        found[_SCHEMA] = json.dumps(json_schema()) + "\n"
    return dict(sorted(found.items(), key=lambda item: (item[0].startswith("scan."), item[0])))


def _is(file: Path, text: str) -> bool:
    """Whether the file is this one already, from a call that was cut short."""
    try:
        return file.read_text(encoding="utf-8") == text
    except (OSError, UnicodeDecodeError):
        return False


def _write(file: Path, text: str) -> None:
    """Write a whole file under its name, or nothing; never over another one."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.chmod(0o755 if file.suffix == ".sh" else 0o644)
        with contextlib.suppress(FileExistsError):  # equal, as was seen
            _move(partial, file)
    finally:
        partial.unlink(missing_ok=True)


def _move(partial: Path, file: Path) -> None:
    """Give a file its name, never that of another one."""
    try:
        os.link(partial, file)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if file.exists():
            raise FileExistsError(str(file)) from None
        partial.rename(file)
