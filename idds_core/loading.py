"""From a scan file to a definition, and from its folder to the source bundle that workers run."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import inspect
import sys
import sysconfig
import traceback
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Union

from idds_core.bundle import MAX_BUNDLE_BYTES, MAX_BUNDLE_FILES, make_bundle
from idds_core.definition import Definition, validate
from idds_core.errors import DefinitionError, Problem, did_you_mean
from idds_core.model import Loop, Workflow
from idds_core.scripts import script_problems
from idds_core.yaml.loading import load_yaml

__all__ = ["MAX_BUNDLE_BYTES", "MAX_BUNDLE_FILES", "load", "make_bundle", "source_folder"]


def load(path: str | Path, settings: Mapping[str, str] | None = None) -> Definition:
    """The definition in a scan file.

    Parameters
    ----------
    path : str or Path
        A Python file with ``define(**parameters)``, or with one Loop or Workflow at its top level; or a YAML file.
    settings : Mapping
        Name -> text, the arguments of ``define``, read as its annotations say; in YAML, the parameters.

    Raises
    ------
    DefinitionError
        When the file cannot be loaded, or with every mistake of what it defines.

    """
    file = Path(path).resolve()
    if file.suffix in (".yaml", ".yml"):
        return load_yaml(file, settings)
    if file.suffix != ".py":
        raise DefinitionError.of(
            "E-FILE-001",
            f"{path} is no scan file",
            "it ends neither in .py nor in .yaml",
            str(path),
            "Give a Python file that defines a Loop, or a YAML file.",
        )
    module = _import(file)
    define = getattr(module, "define", None)
    if callable(define):
        return _checked(validate(_call(define, dict(settings or {}), file)), file)
    if settings:
        raise DefinitionError.of(
            "E-FILE-004",
            f"--set {', '.join(settings)} has nowhere to go",
            f"{file.name} has no define()",
            str(file),
            "Write def define(name=default).",
        )
    found = _definitions(module)
    if len(found) != 1:
        raise DefinitionError.of(
            "E-FILE-003",
            f"{file.name} defines {len(found)} loops at its top level",
            "",
            str(file),
            "Define exactly one Loop, or a function define() that returns it.",
        )
    return _checked(validate(found[0]), file)


def _checked(definition: Definition, file: Path) -> Definition:
    """The definition, when the scripts that it starts are there."""
    problems = script_problems(definition, file.parent)
    if problems:
        raise DefinitionError.all(problems)
    return definition


def source_folder(path: str | Path) -> Path:
    """The folder that is bundled for a scan file."""
    return Path(path).resolve().parent


def _definitions(module: types.ModuleType) -> list[Loop | Workflow]:
    """What the module defines, each once; the loops of a workflow are not counted beside it."""
    found = {id(v): v for v in vars(module).values() if isinstance(v, (Loop, Workflow))}
    inside = {id(loop) for w in found.values() if isinstance(w, Workflow) for _, loop in w.elements()}
    return [value for key, value in found.items() if key not in inside]


# ---------------------------------------------------------------------- importing
def _import(file: Path) -> types.ModuleType:
    if not file.is_file():
        raise DefinitionError.of(
            "E-FILE-002", f"{file.name} cannot be read", "no such file", str(file), "Check the path."
        )
    why = _name_taken(file.stem)
    if why:
        raise DefinitionError.of(
            "E-FILE-012",
            f"{file.name} cannot be imported by its name",
            why,
            str(file),
            "Rename the file, for example scan.py.",
        )
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(file.stem)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        if before is None:
            del sys.modules[file.stem]
        else:
            sys.modules[file.stem] = before
        if isinstance(error, DefinitionError):
            raise
        raise DefinitionError(_code_problem("E-FILE-005", f"{file.name} cannot be imported", error, file)) from error
    return module


def _name_taken(stem: str) -> str:
    """Why a worker would import something else under this name; empty when it would not."""
    if "." in stem:
        return "its name has a dot"
    ours = stem in ("idds_core", "idds_agents", "idds_learners")
    installed = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    if ours or stem in sys.stdlib_module_names or importlib.machinery.PathFinder.find_spec(stem, installed):
        return f"there is another module {stem}"
    return ""


def _code_problem(code: str, what: str, error: BaseException, file: Path) -> Problem:
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(file)]
    if isinstance(error, SyntaxError) and error.filename == str(file):
        lines.append(error.lineno)
    where = f"{file}:{lines[-1]}" if lines else str(file)
    fix = "Mend the file."
    if isinstance(error, ModuleNotFoundError):
        fix = f"Install {error.name}, or put it beside the file."
    why = f"{type(error).__name__}: {error.msg if isinstance(error, SyntaxError) else error}"
    return Problem(code, what, why, where, fix)


# ---------------------------------------------------------------------- define()
def _call(define: Callable[..., Any], settings: dict[str, str], file: Path) -> Loop | Workflow:
    """``define`` called with the settings; what it was called with becomes the definition's parameters."""
    signature = inspect.signature(define)
    _refuse_unknown(signature, settings, file)
    hints = _hints(define, signature)
    given = {name: _read(name, text, hints.get(name, str), file) for name, text in settings.items()}
    try:
        bound = signature.bind(**given)
    except TypeError as error:
        raise DefinitionError.of(
            "E-FILE-007", f"{file.name} cannot be defined", str(error), str(file), "Give it with --set NAME=VALUE."
        ) from error
    bound.apply_defaults()
    for name, value in bound.arguments.items():
        if isinstance(value, Path) or (isinstance(value, str) and hints.get(name) is Path):
            bound.arguments[name] = Path(value).resolve()
    try:
        definition = define(*bound.args, **bound.kwargs)
    except DefinitionError:
        raise
    except (Exception, SystemExit) as error:
        raise DefinitionError(_code_problem("E-FILE-008", f"define() of {file.name} failed", error, file)) from error
    if not isinstance(definition, (Loop, Workflow)):
        raise DefinitionError.of(
            "E-FILE-009", "define() returned no Loop", f"{type(definition).__name__}", str(file), "Return a Loop."
        )
    named = {k: v for k, v in bound.arguments.items() if signature.parameters[k].kind is not _ANY_NAME}
    further = [v for k, v in bound.arguments.items() if signature.parameters[k].kind is _ANY_NAME]
    for values in further:
        named.update(values)
    return _with_parameters(definition, {name: str(v) if isinstance(v, Path) else v for name, v in named.items()})


_ANY_NAME = inspect.Parameter.VAR_KEYWORD


def _refuse_unknown(signature: inspect.Signature, settings: Mapping[str, str], file: Path) -> None:
    kinds = {p.kind for p in signature.parameters.values()}
    names = [p.name for p in signature.parameters.values() if p.kind not in (_ANY_NAME, p.VAR_POSITIONAL)]
    unknown = sorted(set(settings) - set(names))
    if unknown and _ANY_NAME not in kinds:
        hints = [hint for name in unknown if (hint := did_you_mean(name, names))]
        raise DefinitionError.of(
            "E-FILE-006",
            f"--set {', '.join(unknown)} is no parameter of {file.name}",
            f"its parameters are {', '.join(names) or 'none'}",
            str(file),
            " ".join(hints) or "Use one of them.",
        )


def _hints(define: Callable[..., Any], signature: inspect.Signature) -> dict[str, Any]:
    """The type of each parameter: its annotation, or that of its default."""
    found = {n: type(p.default) for n, p in signature.parameters.items() if p.default not in (None, p.empty)}
    for name, annotation in getattr(define, "__annotations__", {}).items():
        one = types.SimpleNamespace(__annotations__={name: annotation})
        try:  # one by one: a name that only type checkers know must not hide the others
            found |= typing.get_type_hints(one, globalns=getattr(define, "__globals__", {}))
        except (NameError, TypeError, AttributeError, SyntaxError):
            continue
    return found


def _with_parameters(definition: Loop | Workflow, values: dict[str, Any]) -> Loop | Workflow:
    if isinstance(definition, Workflow):
        if not isinstance(definition.body, (list, tuple)) or not isinstance(definition.parameters, Mapping):
            return definition  # the validation says so
        own = {name: value for name, value in values.items() if name not in _names_inside(definition)}
        return replace(definition, parameters={**own, **definition.parameters})
    if not isinstance(definition.parameters, Mapping):
        return definition  # the validation says so
    return replace(definition, parameters={**values, **definition.parameters})


def _names_inside(workflow: Workflow) -> set[str]:
    """Parameters that loops of the workflow give themselves: theirs win."""
    loops = [e for _, e in workflow.elements() if isinstance(e, Loop)]
    return {name for loop in loops if isinstance(loop.parameters, Mapping) for name in loop.parameters}


def _read(name: str, text: str, annotation: Any, file: Path) -> Any:
    """The text as a value of the annotated type."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Literal:
        same = [choice for choice in arguments if str(choice) == text]
        if same:
            return same[0]
    for kind in arguments if origin in (Union, types.UnionType) else (annotation,):
        try:
            if kind is types.NoneType and text.lower() in ("none", "null", ""):
                return None
            if kind is bool and text.lower() in ("true", "false", "yes", "no", "1", "0"):
                return text.lower() in ("true", "yes", "1")
            if kind in (int, float, str, Path):
                return kind(text)
        except ValueError:
            continue
    raise DefinitionError.of(
        "E-FILE-010",
        f"--set {name}={text} cannot be read",
        f"{name} is {_type_name(annotation)}",
        str(file),
        "Give such a value.",
    )


def _type_name(annotation: Any) -> str:
    return annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
