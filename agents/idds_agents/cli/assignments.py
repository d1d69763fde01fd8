"""``--set NAME=VALUE`` as names and values."""

from __future__ import annotations

from collections.abc import Sequence

from idds_agents.cli.problems import InputError

__all__ = ["assignments"]


def assignments(given: Sequence[str]) -> dict[str, str]:
    """What was given, by name.

    >>> assignments(["max_points=60"])
    {'max_points': '60'}
    """
    found = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError.of("E-USAGE-002", f"--set {text} cannot be read", "it is no NAME=VALUE", "",
                                "For example --set max_points=60.")  # fmt: skip
        found[name.strip()] = value
    return found
