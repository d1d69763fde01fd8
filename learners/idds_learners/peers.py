"""Packages of others: whether they are there, told before anything runs."""

from __future__ import annotations

from importlib.util import find_spec

__all__ = ["need"]


def need(*modules: str, extra: str) -> list[str]:
    """A line for each module that is not installed.

    >>> need("json", "no_such_module", extra="hpo")
    ["no_such_module is not installed: pip install 'idds-core[hpo]'"]
    """
    missing = [m for m in modules if find_spec(m) is None]
    return [f"{m} is not installed: pip install 'idds-core[{extra}]'" for m in missing]
