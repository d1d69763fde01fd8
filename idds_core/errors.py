"""Errors a person can act on: code, what, why, where, fix, in one line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

__all__ = ["DefinitionError", "IddsError", "Problem", "ProviderError", "StoreError", "did_you_mean"]


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """A question that names the nearest known name; empty when none is near.

    >>> did_you_mean("m_zq", ["m_zp", "m_a"]), did_you_mean("tan_beta", ["m_zp", "m_a"])
    ("Did you mean 'm_zp'?", '')
    """
    import difflib

    near = difflib.get_close_matches(str(name), sorted(set(known)), n=1)
    return f"Did you mean {near[0]!r}?" if near else ""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, in the words of who has to mend it.

    >>> print(Problem("E-SPACE-002", "m_zp has no range", "low 5 is not below high 5", "space.m_zp", "Raise high."))
    E-SPACE-002 m_zp has no range: low 5 is not below high 5 (space.m_zp). Raise high.
    """

    code: str
    what: str
    why: str = ""
    where: str = ""
    fix: str = ""

    def __str__(self) -> str:
        text = f"{self.code} {self.what}"
        if self.why:
            text += f": {self.why}"
        if self.where:
            text += f" ({self.where})"
        if not text.endswith("."):
            text += "."
        if self.fix:
            text += f" {self.fix}"
        return " ".join(text.split()).encode("utf-8", "backslashreplace").decode()


class IddsError(Exception):
    """The root of all errors of this package; carries at least one :class:`Problem`."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems: tuple[Problem, ...] = problems

    @classmethod
    def of(cls, code: str, what: str, why: str = "", where: str = "", fix: str = "") -> Self:
        """An error of this class with a single problem."""
        return cls(Problem(code, what, why, where, fix))

    @property
    def code(self) -> str:
        """Code of the first problem."""
        return self.problems[0].code if self.problems else "E-UNKNOWN"

    def __str__(self) -> str:
        return "\n".join(str(p) for p in self.problems)


class DefinitionError(IddsError):
    """A definition is wrong; carries *all* its mistakes."""

    @classmethod
    def all(cls, problems: Iterable[Problem]) -> Self:
        """An error that lists every problem given."""
        return cls(*problems)


class StoreError(IddsError):
    """The store cannot do what was asked: locked, corrupt, full, read-only."""


class ProviderError(IddsError):
    """A provider failed as a whole (not one of its jobs).

    Attributes
    ----------
    transient : bool
        True when waiting may mend it, False when a person has to.

    """

    def __init__(self, *problems: Problem, transient: bool = True) -> None:
        super().__init__(*problems)
        self.transient = transient
