"""One call of a step function: found, given its arguments, judged by what it returns or raises."""

# Text paths: the import of pathlib is a third of a short command's overhead
# ruff: noqa: PTH103, PTH118

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from idds_core.runner.channel import Channel
from idds_core.runner.context import Context, File, Infeasible, Pruned
from idds_core.runner.failures import FATAL, INFRA, USER, failure
from idds_core.runner.folder import FULL, OutputError, describe_file
from idds_core.runner.frames import dumps

__all__ = ["Functions", "answer_of"]

_PLAIN = (float, int, str, bool, type(None))


class ImportFailedError(Exception):
    """The reference does not lead to a function."""


class Functions:
    """Functions by reference. One bundle at a time: modules of another one are forgotten before it is used.

    `complain` takes tracebacks, for the log of the job. `tell` takes what a job says on its way. `asked`: key -> why
    that job is to end. `cold`: the last one had to be imported.
    """

    def __init__(
        self, complain: Callable[[str], None], tell: Callable[[dict[str, Any]], None] = lambda _: None
    ) -> None:
        self.complain = complain
        self.tell = tell
        self.asked: dict[str, str] = {}
        self.bundle: str | None = None
        self.cold = False
        self._known: dict[str, Callable[..., Any]] = {}

    def get(self, bundle: str, reference: str) -> Callable[..., Any]:
        """The function. Raises ImportFailedError."""
        if bundle != self.bundle:
            self._change(bundle)
        found = self._known.get(reference)
        self.cold = found is None
        if found is None:
            found = self._known[reference] = self._load(reference)
        return found

    def _change(self, bundle: str) -> None:
        old = self.bundle
        if old is not None:
            sys.path[:] = [entry for entry in sys.path if entry != old]
            for name, module in list(sys.modules.items()):
                if _is_from(module, old + os.sep):
                    del sys.modules[name]
        self.bundle = bundle
        self._known.clear()
        sys.path.insert(0, bundle)
        importlib.invalidate_caches()

    def _load(self, reference: str) -> Callable[..., Any]:
        name, _, qualname = reference.partition(":")
        try:
            found: Any = importlib.import_module(name)
            for part in qualname.split("."):
                found = getattr(found, part)
        except BaseException as error:  # noqa: BLE001 -- what a function raises is its answer
            self.complain(traceback.format_exc())
            raise ImportFailedError(f"{reference}: {type(error).__name__}: {error}") from None
        if not callable(found):
            raise ImportFailedError(f"{reference} is not a function but a {type(found).__name__}")
        return found  # type: ignore[no-any-return]


def _is_from(module: Any, folder: str) -> bool:
    places = [getattr(module, "__file__", None)]
    try:
        places += list(getattr(module, "__path__", None) or ())
    except Exception:  # noqa: BLE001 -- a module may be anything, also an object with strange attributes
        return False
    return any(isinstance(place, str) and place.startswith(folder) for place in places)


def _decoded(value: Any) -> Any:
    """Arguments with files in the place of ``{"$file": path}``."""
    if type(value) is dict:
        if len(value) == 1 and "$file" in value:
            return File(value["$file"])
        return {name: _decoded(item) for name, item in value.items()}
    if type(value) is list:
        return [_decoded(item) for item in value]
    return value


def _plain(value: Any) -> Any:
    """JSON for what the encoder does not know: scalars of numpy and the like. Raises TypeError."""
    if getattr(value, "shape", None) == () and hasattr(value, "item"):
        item = value.item()
        if isinstance(item, _PLAIN):
            return item
    raise TypeError(f"a {type(value).__name__}")


def _result(returned: Any, folder: str) -> tuple[str, dict[str, Any]]:
    """JSON text of the values, and the files. Raises OutputError."""
    if returned is None:
        return "{}", {}
    named = returned if isinstance(returned, Mapping) else {"output": returned}
    values, files = {}, {}
    for name, value in named.items():
        if not isinstance(name, str):
            raise OutputError("E-JOB-RESULT", f"the name {name!r} of a value is not text")
        if isinstance(value, File):
            path = os.path.join(folder, os.fspath(value))
            files[name] = describe_file(path, path)
        else:
            values[name] = value
    try:
        return _encoder(values), files
    except (TypeError, ValueError, RecursionError):
        # Only now look for the culprit: most results are in order.
        for name, value in values.items():
            try:
                _encoder(value)
            except (TypeError, ValueError, RecursionError) as error:
                raise OutputError("E-JOB-RESULT", f"the value of {name!r} is not JSON: {error}") from None
        raise OutputError("E-JOB-RESULT", "the result is not JSON") from None


def _make_encoder() -> Callable[[Any], str]:
    import json

    return json.JSONEncoder(separators=(",", ":"), default=_plain).encode


_encoder = _make_encoder()


def _raised(error: BaseException, bundle: str) -> dict[str, Any]:
    """The failure that an exception tells; its mark is the innermost line of the user's own code."""
    where = ""
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(bundle + os.sep):
            where = f"{frame.filename[len(bundle) + 1 :]}:{frame.lineno}"
    try:
        text = str(error)[:1500]
    except Exception:  # noqa: BLE001 -- __str__ is the user's too
        text = "(it cannot be shown)"
    kind = type(error).__name__
    if isinstance(error, OSError) and error.errno in FULL:
        return failure(INFRA, "E-JOB-DISK", f"{kind}: {text}")
    # The place is exact: a line number must not be normalised away.
    found = failure(USER, "E-JOB-RAISED", f"{kind}: {text}" if text else kind, kind)
    found["signature"] += f"|{where}" if where else ""
    return found


def _call(functions: Functions, function: Callable[..., Any], job: Mapping[str, Any]) -> Any:
    arguments = {name: _decoded(value) for name, value in job["arguments"].items()}
    folder = job["folder"]
    if job["context"] or job.get("own_folder"):
        os.makedirs(folder, exist_ok=True)
        os.chdir(folder)
    if not job["context"]:
        return function(**arguments)
    checkpoint = job.get("checkpoint")
    channel = Channel(job["key"], functions.tell, functions.asked)
    ctx = Context(Path(folder), job["seed"], job["parameters"], Path(checkpoint) if checkpoint else None, channel)
    try:
        return function(ctx=ctx, **arguments)
    finally:
        channel.close()


def answer_of(functions: Functions, job: Mapping[str, Any], is_child: Callable[[], bool]) -> str:
    """Run one job; the JSON text of its end, without the closing brace. What the function does cannot raise here.

    A child that the function forked and that comes back from it ends at once: it must not answer.
    """
    try:
        function = functions.get(job["bundle"], job["reference"])
    except ImportFailedError as error:
        return _failed(job, failure(FATAL, "E-JOB-IMPORT", str(error), str(error)))
    try:
        returned = _call(functions, function, job)
    except BaseException as error:  # noqa: BLE001 -- what a function raises is its answer
        if is_child():
            code = error.code if isinstance(error, SystemExit) else 1
            os._exit(code if isinstance(code, int) else 0 if code is None else 1)
        if isinstance(error, Infeasible):
            return _failed(job, failure(USER, "E-JOB-INFEASIBLE", str(error), str(error)), "infeasible")
        if isinstance(error, Pruned):
            return _failed(job, failure(USER, "E-JOB-PRUNED", str(error), str(error)), "pruned")
        functions.complain(traceback.format_exc())
        return _failed(job, _raised(error, job["bundle"]))
    if is_child():
        os._exit(0)
    try:
        text, files = _result(returned, job["folder"])
    except OutputError as error:
        return _failed(job, failure(USER, error.code, str(error), str(error)))
    except OSError as error:  # an output that cannot be made durable
        code = "E-JOB-DISK" if error.errno in FULL else "E-JOB-RUNNER"
        return _failed(job, failure(INFRA, code, str(error)))
    except Exception as error:  # noqa: BLE001 -- a Mapping of the user's own making may do anything
        functions.complain(traceback.format_exc())
        return _failed(job, failure(USER, "E-JOB-RESULT", f"{type(error).__name__}: {error}", type(error).__name__))
    if len(text) > job["output_limit"]:
        message = f"the result has {len(text)} bytes, {job['output_limit']} are allowed"
        return _failed(job, failure(USER, "E-JOB-RESULT", message, message))
    return f'{{"key":{dumps(job["key"])},"state":"succeeded","values":{text},"files":{dumps(files) if files else "{}"}'


def _failed(job: Mapping[str, Any], found: dict[str, Any], state: str = "failed") -> str:
    return f'{{"key":{dumps(job["key"])},"state":"{state}","failure":{dumps(found)}'
