"""Attempts of which nobody knows whether the provider has them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from idds_core.errors import ProviderError
from idds_core.ports import Provider
from idds_core.store import Claim

__all__ = ["UNLISTED_S", "Doubts", "Settled", "told"]

_log = logging.getLogger(__name__)

#: seconds between the two listings without a job, at the least, before it is looked for by its key
UNLISTED_S = 10.0


@dataclass(frozen=True, slots=True)
class Settled:
    """An attempt of which it is known now.

    taken : whether the record says that the provider took it. restarted : whether an engine's death raised the doubt.
    handle : None when the provider positively has not got it.
    """

    claim: Claim
    taken: bool
    restarted: bool
    handle: str | None


class Doubts:
    """Unknown is unknown: the provider did not answer, lists a job no more, or an engine died beside the call.

    An attempt is taken for missing only when the provider has answered without it, after its listing lag was over.
    """

    def __init__(self, provider: Provider, now: Callable[[], float]) -> None:
        self._provider, self._now = provider, now
        self._open: dict[str, tuple[float, Claim, bool, bool]] = {}
        self._unlisted: dict[str, float] = {}  # handle -> since when the provider answers without it

    def __len__(self) -> int:
        return len(self._open)

    @property
    def claims(self) -> list[Claim]:
        """The attempts in doubt."""
        return [claim for _, claim, _, _ in self._open.values()]

    def keep(self, attempts: Collection[int]) -> None:
        """Only these are still ours."""
        self._open = {key: doubt for key, doubt in self._open.items() if doubt[1].attempt.id in attempts}

    def raise_for(self, claims: Iterable[Claim], *, taken: bool, restarted: bool = False) -> None:
        """Nobody knows of these from now on."""
        due = self._now() + self._provider.capabilities.listing_lag_s
        self._open.update({c.attempt.key: (due, c, taken, restarted) for c in claims})

    def unlisted(self, asked: Iterable[str], listed: Iterable[str]) -> list[str]:
        """Handles that were asked for and are not listed, for the second time, and long enough after the first."""
        now, known = self._now(), set(listed)
        wait = max(UNLISTED_S, self._provider.capabilities.listing_lag_s)
        self._unlisted = {handle: self._unlisted.get(handle, now) for handle in asked if handle not in known}
        return [handle for handle, since in self._unlisted.items() if now - since >= wait]

    def settle(self) -> list[Settled]:
        """Ask by key; what is known now leaves."""
        if not self._open:
            return []
        try:
            found = self._provider.find(list(self._open))
        except ProviderError:
            return []
        now, settled = self._now(), []
        for key, (due, claim, taken, restarted) in list(self._open.items()):
            if key in found or due <= now:
                del self._open[key]
                settled.append(Settled(claim, taken, restarted, found.get(key)))
        return settled


def told(act: Callable[[Sequence[str]], None], handles: Sequence[str]) -> bool:
    """Whether the provider has heard what it was asked to do; else it is told again later."""
    try:
        act(handles)
    except ProviderError as error:
        _log.warning("%s", error)
        return False
    return True
