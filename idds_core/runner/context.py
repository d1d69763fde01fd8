"""What a step function sees: its context, its files, and how to say that a point is infeasible.

Standard library only; nothing of ours is imported here (a worker may have nothing else).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Context", "File", "Infeasible"]


class Infeasible(Exception):
    """Raise it in a step when the point cannot exist: not a failure, never retried, learnt from."""


@dataclass(frozen=True, slots=True)
class File(os.PathLike[str]):
    """A file that a step made or receives.

    >>> import os
    >>> os.fspath(File("/tmp/events.npz"))
    '/tmp/events.npz'
    """

    path: str

    def __fspath__(self) -> str:
        return self.path


@dataclass(frozen=True, slots=True)
class Context:
    """What a function step gets as ``ctx`` when it asks for it.

    Attributes
    ----------
    folder : Path
        The attempt's own folder; files made here are kept. It is also the working directory.
    seed : int
        Seed of the job; a retry has the same one.
    parameters : Mapping
        Values of the point and of the definition.

    """

    folder: Path
    seed: int
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def file(self, name: str) -> File:
        """A file of that name in the attempt's folder."""
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            raise ValueError(f"{name!r} is outside the folder of the job")
        return File(str(path))

    def rng(self) -> np.random.Generator:
        """A numpy generator seeded with the job's seed."""
        import numpy as np

        return np.random.default_rng(self.seed)
