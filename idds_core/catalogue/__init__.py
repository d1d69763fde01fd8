"""What every error code means: one entry each, in the TOML files beside this one, a file for each family of codes.

To add a code, add its entry (``means``, ``why``, ``fix``) to the file of its family and write a test that expects it;
``tests/core/test_catalogue.py`` says what is missing. ``docs/errors.md`` is made by ``python -m idds_core.catalogue``.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

__all__ = ["CODE", "Explanation", "catalogue", "family", "markdown"]

#: what a code looks like: E is an error, W a warning
CODE = re.compile(r"\b[EW]-[A-Z]+(?:-[A-Z0-9]+)?\b")
_FOLDER = Path(__file__).parent
_TITLES = {
    "config": "Settings",
    "db": "Backup and restore",
    "def": "The definition",
    "file": "The scan file, and files that are written",
    "job": "Jobs",
    "other": "Everything else",
    "path": "Paths of objects",
    "space": "The space",
    "step": "Steps",
    "usage": "The command line",
    "workdir": "The work folder",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """A code in words: what it means, why it usually happens, how to mend it."""

    code: str
    means: str
    why: str
    fix: str


def family(code: str) -> str:
    """The file that the entry of a code belongs into.

    >>> family("E-SPACE-004"), family("W-REPORT-001"), family("E-BUG")
    ('space.toml', 'report.toml', 'other.toml')
    """
    parts = code.split("-")
    return f"{parts[1].lower()}.toml" if len(parts) == 3 else "other.toml"


@cache
def catalogue() -> dict[str, Explanation]:
    """All codes, in order.

    >>> catalogue()["E-SPACE-002"].fix
    'Give low below high.'
    """
    found = {}
    for file in sorted(_FOLDER.glob("*.toml")):
        for code, entry in tomllib.loads(file.read_text(encoding="utf-8")).items():
            found[code] = Explanation(code, **entry)
    return dict(sorted(found.items(), key=lambda item: (family(item[0]) == "other.toml", item[0][2:], item[0])))


def markdown() -> str:
    """The page of all codes."""
    lines = [
        "# Errors",
        "",
        "Every message is one line: code, what, why, where, fix. `idds-core errors CODE` explains a code in the",
        "terminal. Codes are never used again for something else. E is an error, W a warning. This page is made from",
        "`idds_core/catalogue/` by `python -m idds_core.catalogue > docs/errors.md`.",
    ]
    before = ""
    for entry in catalogue().values():
        file = family(entry.code)
        if file != before:
            before, name = file, file.removesuffix(".toml")
            lines += ["", f"## {_TITLES.get(name, name.capitalize())}"]
        lines += ["", f"### {entry.code}", "", entry.means, "", f"- Why: {entry.why}", f"- Fix: {entry.fix}"]
    return "\n".join(lines) + "\n"
