"""The learner that needs no model: a Sobol sequence for ever."""

from __future__ import annotations

from dataclasses import dataclass

from idds_core.history import History
from idds_core.ports import Proposal
from idds_learners.level_set import Mapped, taken
from idds_learners.reasons import SEQUENCE, reasons_of

__all__ = ["Sobol"]


@dataclass(frozen=True)
class Sobol(Mapped):
    """A scrambled Sobol sequence of the allowed space; with targets it has the same map as :class:`LevelSet`.

    So conditions such as :class:`BoundaryConverged` work with it, and what active learning is worth can be measured.
    Parameters as for :class:`LevelSet`; `first` is of no consequence, since the sequence simply goes on.

    Examples
    --------
    >>> from idds_core import Real, Space
    >>> from idds_core.history import History
    >>> proposal = Sobol().ask(History(Space(x=Real(0, 1), y=Real(0, 1))), 3)
    >>> len(proposal.points), sorted(proposal.points[0])
    (3, ['x', 'y'])

    """

    def ask(self, history: History, n: int) -> Proposal:
        """The next n points of the sequence that do not exist yet."""
        from idds_learners.design import fill

        maps, _, _, diagnostics = self._look(history)
        points = fill(history.space, history.seed, taken(history), n)
        reason = "" if points or n <= 0 else "every point of the space has been proposed"
        why = reasons_of(maps, points, [(SEQUENCE, None)] * len(points))
        return Proposal(tuple(points), diagnostics, maps.state if maps else {}, reason, why)
