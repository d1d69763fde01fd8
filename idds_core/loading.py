"""From a scan file to a definition, and from its folder to the source bundle that workers run."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import os
import shutil
import sys
import traceback
import typing
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from idds_core.definition import Definition, validate
from idds_core.errors import DefinitionError, Problem
from idds_core.model import Loop, Workflow

__all__ = ["MAX_BUNDLE_BYTES", "MAX_BUNDLE_FILES", "load", "make_bundle", "source_folder"]

MAX_BUNDLE_BYTES = 20_000_000
MAX_BUNDLE_FILES = 1000
_LEFT_OUT = frozenset({"__pycache__", "node_modules", "venv", "build", "dist"})


def load(path: str | Path, settings: Mapping[str, str] | None = None) -> Definition:
    """The definition in a scan file.

    Parameters
    ----------
    path : a Python file with ``define(**parameters)``, or with one Loop or Workflow at its top level.
    settings : name -> text, the arguments of ``define``; they are read as its annotations say.

    """
    file = Path(path).resolve()
    if file.suffix != ".py":
        raise DefinitionError.of("E-FILE-001", f"{path} is no scan file", "it does not end in .py", str(path),
                                 "Give a Python file that defines a Loop.")  # fmt: skip
    module = _import(file)
    define = getattr(module, "define", None)
    if callable(define):
        return validate(_call(define, dict(settings or {}), file))
    found = {id(v): v for v in vars(module).values() if isinstance(v, (Loop, Workflow))}
    if settings:
        raise DefinitionError.of("E-FILE-004", f"--set {', '.join(settings)} has nowhere to go",
                                 f"{file.name} has no define()", str(file), "Write def define(name=default).")  # fmt: skip
    if len(found) != 1:
        raise DefinitionError.of("E-FILE-003", f"{file.name} defines {len(found)} loops at its top level", "",
                                 str(file), "Define exactly one Loop, or a function define() that returns it.")  # fmt: skip
    return validate(next(iter(found.values())))


def source_folder(path: str | Path) -> Path:
    """The folder that is bundled for a scan file."""
    return Path(path).resolve().parent


def _import(file: Path) -> Any:
    if not file.is_file():
        raise DefinitionError.of("E-FILE-002", f"{file.name} cannot be read", "no such file", str(file),
                                 "Check the path.")  # fmt: skip
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except DefinitionError:
        raise
    except (Exception, SystemExit) as error:
        raise DefinitionError(_code_problem("E-FILE-005", f"{file.name} cannot be imported", error, file)) from error
    return module


def _code_problem(code: str, what: str, error: BaseException, file: Path) -> Problem:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
    if isinstance(error, SyntaxError) and error.filename == str(file):
        lines.append(error.lineno)
    where = f"{file}:{lines[-1]}" if lines else str(file)
    return Problem(code, what, f"{type(error).__name__}: {error}", where, "Mend the file.")


def _call(define: Callable[..., Any], settings: dict[str, str], file: Path) -> Loop | Workflow:
    """``define`` called with the settings; what it was called with becomes the definition's parameters."""
    signature = inspect.signature(define)
    unknown = sorted(set(settings) - set(signature.parameters))
    if unknown:
        raise DefinitionError.of("E-FILE-006", f"--set {', '.join(unknown)} is no parameter of {file.name}",
                                 f"its parameters are {', '.join(signature.parameters) or 'none'}", str(file),
                                 "Use one of them.")  # fmt: skip
    hints = _hints(define)
    given = {name: _read(name, text, hints.get(name, str), file) for name, text in settings.items()}
    try:
        bound = signature.bind(**given)
    except TypeError as error:
        raise DefinitionError.of("E-FILE-007", f"{file.name} cannot be defined", str(error), str(file),
                                 "Give it with --set NAME=VALUE.") from error  # fmt: skip
    bound.apply_defaults()
    values = {name: Path(v).resolve() if hints.get(name) is Path else v for name, v in bound.arguments.items()}
    try:
        definition = define(**values)
    except DefinitionError:
        raise
    except Exception as error:
        raise DefinitionError(_code_problem("E-FILE-008", f"define() of {file.name} failed", error, file)) from error
    if not isinstance(definition, (Loop, Workflow)):
        raise DefinitionError.of("E-FILE-009", "define() returned no Loop", f"{type(definition).__name__}", str(file),
                                 "Return a Loop.")  # fmt: skip
    named = {name: str(v) if isinstance(v, Path) else v for name, v in values.items()}
    return _with_parameters(definition, named)


def _hints(define: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(define)
    except (NameError, TypeError):
        return {}


def _with_parameters(definition: Loop | Workflow, values: dict[str, Any]) -> Loop | Workflow:
    if isinstance(definition, Workflow):
        return replace(definition, loops=tuple(_with_loop_parameters(loop, values) for loop in definition.loops))
    return _with_loop_parameters(definition, values)


def _with_loop_parameters(loop: Loop, values: dict[str, Any]) -> Loop:
    return replace(loop, parameters={**values, **loop.parameters})


def _read(name: str, text: str, annotation: Any, file: Path) -> Any:
    choices = typing.get_args(annotation) or (annotation,)
    for kind in choices:
        try:
            if kind is bool and text.lower() in ("true", "false", "yes", "no", "1", "0"):
                return text.lower() in ("true", "yes", "1")
            if kind in (int, float, str, Path):
                return kind(text)
        except ValueError:
            continue
    raise DefinitionError.of("E-FILE-010", f"--set {name}={text} cannot be read",
                             f"{name} is {getattr(annotation, '__name__', annotation)}", str(file),
                             "Give such a value.")  # fmt: skip


# ---------------------------------------------------------------------- bundles
def _files(folder: Path, exclude: Path | None) -> list[Path]:
    found: list[Path] = []
    total = 0
    for root, folders, names in os.walk(folder):
        here = Path(root)
        folders[:] = sorted(
            f
            for f in folders
            if f not in _LEFT_OUT
            and not f.startswith((".", "demo-"))
            and here / f != exclude
            and not (here / f / "idds.db").exists()
        )
        for name in sorted(names):
            path = here / name
            if name.startswith(".") or name.endswith((".pyc", ".db", ".db-wal", ".db-shm")) or not path.is_file():
                continue
            found.append(path)
            total += path.stat().st_size
            if len(found) > MAX_BUNDLE_FILES or total > MAX_BUNDLE_BYTES:
                raise DefinitionError.of(
                    "E-FILE-011", f"the folder {folder} is too large to bundle",
                    f"more than {MAX_BUNDLE_FILES} files or {MAX_BUNDLE_BYTES // 10**6} MB", str(folder),
                    "Put the scan file into a folder of its own with the code it needs, and name data by path.",
                )  # fmt: skip
    return found


def make_bundle(folder: Path, bundles: Path, exclude: Path | None = None) -> tuple[str, Path]:
    """Copy a source folder to ``bundles/<digest>``; the same content gives the same folder.

    Returns
    -------
    digest, path : of the bundle.

    """
    files = _files(folder, exclude)
    digest = hashlib.sha256()
    for path in files:
        digest.update(f"{path.relative_to(folder)}\0{path.stat().st_mode & 0o100}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    name = digest.hexdigest()[:16]
    target = bundles / name
    if not target.is_dir():
        partial = bundles / f".{name}.{os.getpid()}"
        shutil.rmtree(partial, ignore_errors=True)
        for path in files:
            copy = partial / path.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)
        partial.mkdir(parents=True, exist_ok=True)
        partial.rename(target)
    return name, target
