"""What a step function sees: its context, its files, and how to say that a point is infeasible.

Standard library only (a worker may have nothing else).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex

from idds_core.runner.channel import Channel, Pruned

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Context", "File", "Infeasible", "Pruned"]


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
    job_folder : Path or None
        Where the checkpoint lives: the same for every attempt of the job. None: in `folder`.

    """

    folder: Path
    seed: int
    parameters: Mapping[str, Any] = field(default_factory=dict)
    job_folder: Path | None = None
    channel: Channel | None = field(default=None, repr=False, compare=False)

    @property
    def checkpoint(self) -> Path:
        """A folder of the job, not of the attempt: what one attempt leaves there, the next one finds.

        It survives any kill; it is removed when the job is DONE, unless the step says ``keep_checkpoint=True``. Write
        so that a kill never leaves half a file: :meth:`save`, or write beside and then ``os.replace``.
        """
        folder = self.job_folder or self.folder / "checkpoint"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def save(self, name: str, data: bytes | str) -> None:
        """Write a file of the checkpoint whole or not at all; once this returns, it survives a power cut.

        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     ctx = Context(Path(folder), seed=1)
        ...     print(ctx.load("state.json"))
        ...     ctx.save("state.json", '{"epoch": 3}')
        ...     print(ctx.load("state.json"))
        None
        b'{"epoch": 3}'
        """
        path = self._inside(name)
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with partial.open("wb") as file:
                file.write(data.encode() if isinstance(data, str) else data)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def load(self, name: str) -> bytes | None:
        """What :meth:`save` wrote, in this attempt or in an earlier one; None when there is nothing."""
        try:
            return self._inside(name).read_bytes()
        except FileNotFoundError:
            return None

    def _inside(self, name: str) -> Path:
        if not name or name != os.path.basename(name) or name.startswith("."):  # noqa: PTH119 -- a name, not a path
            raise ValueError(f"{name!r} is no file name")
        return self.checkpoint / name

    def progress(self, fraction: SupportsFloat, text: str = "") -> None:
        """Say how far the job is (0 to 1), and in words what it does; ``show``, ``why`` and the display tell it."""
        if self.channel is not None:
            self.channel.progress(fraction, text)

    def report(self, step: SupportsIndex, value: SupportsFloat) -> None:
        """Report a value on the way: after `step` (an epoch, a number of events; growing) the value stands at `value`.

        The first value of a step counts, so an attempt that repeats steps changes nothing.

        Raises
        ------
        Pruned
            When the loop's rule has found the point not worth going on with. Let it pass.

        """
        if self.channel is not None:
            self.channel.report(step, value)

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
