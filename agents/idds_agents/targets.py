"""Who is told: targets of messages as a person writes them, and what sends to them. Secrets stay in memory."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from idds_core.errors import DefinitionError, Problem

__all__ = ["Send", "name_of", "read_targets"]

#: (title, body) -> whether the target took it.
Send = Callable[[str, str], bool]
_FIX = "Give a URL of apprise such as mailto://..., json://host:port, or env:NAME or file:PATH that hold one."


def name_of(given: str) -> str:
    """What a target is called on record: a reference is its own name, a URL (it may hold a secret) has a fingerprint.

    >>> name_of("env:TEAM_CHAT"), name_of("json://me:secret@localhost")
    ('env:TEAM_CHAT', 'json#89fcefa4')
    """
    if given.startswith(("env:", "file:")):
        return given
    return f"{given.partition('://')[0][:20]}#{hashlib.sha256(given.encode()).hexdigest()[:8]}"


def read_targets(given: Sequence[str]) -> dict[str, Send]:
    """Name -> how to send to it.

    Raises
    ------
    DefinitionError
        With a line for each target that cannot be used; no line holds a secret.

    """
    if not given:
        return {}
    try:
        import apprise
    except ImportError:
        raise DefinitionError.of("E-NOTIFY-001", "messages cannot be sent", "apprise is not installed", "notify",
                                 "pip install 'idds-core[notify]'.") from None  # fmt: skip
    log = logging.getLogger("apprise")  # it would print what went wrong with which URL
    log.addHandler(logging.NullHandler())
    log.propagate = False
    problems: list[Problem] = []
    found: dict[str, Send] = {}
    for target in dict.fromkeys(given):
        name = name_of(target)
        try:
            url = _url(target)
        except ValueError as error:
            problems.append(Problem("E-NOTIFY-002", f"target {name} cannot be read", str(error), "notify", _FIX))
            continue
        if apprise.Apprise.instantiate(url, suppress_exceptions=True) is None:
            problems.append(Problem("E-NOTIFY-003", f"target {name} is no URL that apprise knows", "", "notify", _FIX))
            continue
        found[name] = _sender(url)
    if problems:
        raise DefinitionError.all(problems)
    return found


def _sender(url: str) -> Send:
    def send(title: str, body: str) -> bool:
        import apprise

        messenger = apprise.Apprise()
        messenger.add(url)
        return bool(messenger.notify(title=title, body=body))

    return send


def _url(target: str, environment: Mapping[str, str] = os.environ) -> str:
    """The URL itself. Raises ValueError."""
    kind, _, rest = target.partition(":")
    if kind == "env":
        if rest not in environment:
            raise ValueError(f"there is no variable {rest}")
        return environment[rest].strip()
    if kind != "file":
        return target.strip()
    path = Path(rest).expanduser()
    try:
        if stat.S_IMODE(path.stat().st_mode) & 0o077:
            raise ValueError("others may read the file; chmod 600 it")
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(error.strerror or "it cannot be read") from None
