"""Functions that a YAML file names as ``module:function``: found in the file's folder, or installed."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from idds_core.errors import did_you_mean
from idds_core.model import FunctionStep, step

__all__ = ["Functions", "NotFoundError", "details_of"]


class NotFoundError(ValueError):
    """A reference leads nowhere; `hint` says how to mend it."""

    def __init__(self, why: str, hint: str = "") -> None:
        super().__init__(why)
        self.hint = hint


class Functions:
    """The modules of one folder. Those that lie there are imported anew, once for each reader: a file may have changed.

    Parameters
    ----------
    folder : where the YAML file is; it comes first when modules are looked for, as it does for a worker.

    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._fresh: set[str] = set()

    def module(self, name: str) -> ModuleType:
        """The module.

        Raises
        ------
        NotFoundError
            When it cannot be imported.

        """
        top = name.partition(".")[0]
        here = (self._folder / f"{top}.py").is_file() or (self._folder / top).is_dir()
        if sys.path[:1] != [str(self._folder)]:
            sys.path.insert(0, str(self._folder))
        if here and top not in self._fresh:
            if top in sys.stdlib_module_names or top in ("idds_core", "idds_agents", "idds_learners"):
                raise NotFoundError(f"there is another module {top}", "Rename the file.")
            for known in [m for m in sys.modules if m == top or m.startswith(f"{top}.")]:
                del sys.modules[known]
            importlib.invalidate_caches()
            self._fresh.add(top)
        try:
            return importlib.import_module(name)
        except (Exception, SystemExit) as error:
            missing = isinstance(error, ModuleNotFoundError) and error.name in (name, top)
            hint = f"Put {top}.py beside the YAML file." if missing else f"Mend {top}.py, or install what it needs."
            raise NotFoundError(f"{type(error).__name__}: {error}", hint) from error

    def step(self, reference: str, name: str) -> FunctionStep:
        """The step that ``@step`` makes of a function; one that is decorated already brings its options.

        Raises
        ------
        NotFoundError
            When there is no such function.

        """
        module_name, _, qualname = reference.partition(":")
        if not (module_name and qualname):
            raise NotFoundError(f"{reference!r} is no module:function", "For example: analysis:limit.")
        found: Any = self.module(module_name)
        for part in qualname.split("."):
            if not hasattr(found, part):
                hint = did_you_mean(part, [n for n in vars(found) if not n.startswith("_")])
                raise NotFoundError(f"{module_name} has no {qualname}", hint or "Define it there.")
            found = getattr(found, part)
        made = details_of(found)
        if made is None:
            raise NotFoundError(f"{qualname} is a {type(found).__name__}", "Name a function.")
        if made.name != name:
            from dataclasses import replace

            made = replace(made, name=name)
        return made


def details_of(found: Any) -> FunctionStep | None:
    """A function, decorated or not, as a step; None when it is none."""
    if isinstance(found, FunctionStep):
        return found
    if not callable(found):
        return None
    try:
        return step(found)
    except (TypeError, ValueError):  # it has no signature
        return None
