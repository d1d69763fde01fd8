"""The one way in and the one way out: what a verb raises becomes a line on stderr and an exit code."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import Any

from idds_agents.cli.problems import BAD_INPUT, FINE, NOT_CONCLUDED, InputError
from idds_agents.cli.text import hush, reader_is_gone
from idds_core.errors import DefinitionError, IddsError, Problem

__all__ = ["main"]

_MISSING = frozenset({"E-STORE-006", "E-STORE-008"})  # a --workdir that is none
_INTERRUPTED = 130  # what typer makes of Ctrl-C


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code: 0 fine, 2 budget spent, 3 not concluded, 4 bad input."""
    # One thread: a surrogate gives the same digits as in the learner's process, and leaves the cores to the jobs.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    given = list(sys.argv[1:] if arguments is None else arguments)
    show_traceback = "--traceback" in given or bool(os.environ.get("IDDS_TRACEBACK"))
    given = [a for a in given if a != "--traceback"]
    try:
        code = _call(given)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return NOT_CONCLUDED
    except IddsError as error:
        return _told(error, show_traceback)
    except OSError as error:
        if not reader_is_gone(error):
            return _bug(error, show_traceback)
        hush()
        return FINE
    except Exception as error:  # noqa: BLE001 - the top: whatever comes here is told in one line
        return _usage(error) if hasattr(error, "format_message") else _bug(error, show_traceback)


def _call(arguments: list[str]) -> int:
    from typer import Abort, Exit

    from idds_agents.cli.app import app

    try:
        answer = app(arguments, prog_name="idds-core", standalone_mode=False)
    except Exit as end:
        return int(end.exit_code)
    except Abort:
        return NOT_CONCLUDED
    code = answer if isinstance(answer, int) else FINE
    return NOT_CONCLUDED if code == _INTERRUPTED else code


def _say(problem: object) -> None:
    print(str(problem), file=sys.stderr)


def _told(error: IddsError, show_traceback: bool) -> int:
    if show_traceback:
        traceback.print_exception(error)
    for problem in error.problems:
        _say(problem)
    wrong = isinstance(error, (DefinitionError, InputError)) or error.code in _MISSING
    return BAD_INPUT if wrong else NOT_CONCLUDED


def _usage(error: Any) -> int:
    """What typer found wrong with the command line (it would exit with 2, which is "budget spent" here)."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "idds-core"
    text = " ".join(str(error.format_message()).split()).rstrip(".")
    if not text:  # no verb at all
        text = "no command is given"
    what, _, near = text.partition(" Did you mean ")
    hint = f"Did you mean {near} " if near else ""
    _say(Problem("E-USAGE-001", what.rstrip("."), fix=f"{hint}See '{command} --help'."))
    return BAD_INPUT


def _bug(error: Exception, show_traceback: bool) -> int:
    if show_traceback:
        traceback.print_exception(error)
        where = "above"
    else:
        with tempfile.NamedTemporaryFile(
            "w", prefix="idds-core-", suffix=".traceback", delete=False, encoding="utf-8"
        ) as file:
            file.writelines(traceback.format_exception(error))
        where = file.name
    _say(Problem("E-BUG", "this should not have happened", f"{type(error).__name__}: {error}", f"traceback: {where}",
                 "Please report it with that file; what is on record is safe."))  # fmt: skip
    return NOT_CONCLUDED
