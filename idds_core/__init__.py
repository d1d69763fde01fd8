"""idds-core: an active-learning workflow engine.

What a scan file needs is importable from here; nothing heavy is loaded until it is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from idds_core.model import Loop, Requirements, Retry, Step, Workflow, chain, command, step
    from idds_core.runner.context import Context, File, Infeasible, Pruned
    from idds_core.space import Categorical, Integer, Log, Ordered, Real, Space
    from idds_core.yaml import to_yaml

__all__ = [
    "Categorical",
    "Context",
    "File",
    "Infeasible",
    "Integer",
    "Log",
    "Loop",
    "Ordered",
    "Pruned",
    "Real",
    "Requirements",
    "Retry",
    "Space",
    "Step",
    "Workflow",
    "chain",
    "command",
    "step",
    "to_yaml",
]

_HOME = {
    "idds_core.space": ("Categorical", "Integer", "Log", "Ordered", "Real", "Space"),
    "idds_core.model": ("Loop", "Requirements", "Retry", "Step", "Workflow", "chain", "command", "step"),
    "idds_core.runner.context": ("Context", "File", "Infeasible", "Pruned"),
    "idds_core.yaml": ("to_yaml",),
}
_WHERE = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
