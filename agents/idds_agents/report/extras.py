"""Libraries that only some exports need: asked for where they are used, named clearly when they are missing."""

from __future__ import annotations

import warnings
from importlib import import_module
from typing import Any

from idds_core.errors import IddsError

__all__ = ["need"]


def need(module: str, extra: str, purpose: str) -> Any:
    """The module.

    Raises
    ------
    IddsError
        When it is not installed, or cannot be loaded; names the extra that brings it.

    """
    try:
        with warnings.catch_warnings():
            # hepdata-validator still builds its JSON schema resolver the old way; nobody here can mend it
            warnings.simplefilter("ignore", DeprecationWarning)
            return import_module(module)
    except ImportError as error:
        name = module.partition(".")[0].replace("_", "-")
        raise IddsError.of("E-EXTRA-001", f"{name} is not there", f"{purpose} needs it; {error}", "",
                           f"pip install 'idds-core[{extra}]'.") from error  # fmt: skip
