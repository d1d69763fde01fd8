"""The learner of optima: expected improvement on a Gaussian process, in batches, with what is pending in mind.

Nothing heavy is imported here: a scan file imports this module only to state what it wants.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from idds_core.history import History
from idds_core.ports import Proposal
from idds_core.supporting import Supports
from idds_learners.objectives import Objectives, taken

__all__ = ["Optimum"]


@dataclass(frozen=True)
class Optimum(Objectives):
    """Where an objective is smallest or largest; of several objectives, their front.

    A scrambled Sobol design, then points where the improvement that a Gaussian process expects is largest, with those
    that are pending or of the same batch taken as measured, and as good as the best. Values are bent until they look
    normal, so outliers and long tails do no harm; reported standard deviations are noise; infeasible points are learnt;
    a pruned point counts as a bad one. Several objectives: each point goes for another random weighting of them
    [Knowles, IEEE Trans. Evol. Comput. 10 (2006) 50].

    Parameters
    ----------
    objective : one target or several; by default the loop's targets
    direction : "min" or "max", for all or by objective
    first : points of the first design; by default 2 d + 2 for d parameters, at most 10

    Examples
    --------
    >>> from idds_core import Integer, Log, Space
    >>> from idds_core.history import History
    >>> space = Space(rate=Log(1e-4, 1), depth=Integer(1, 9))
    >>> proposal = Optimum("accuracy", "max").ask(History(space, targets=("accuracy",)), 4)
    >>> len(proposal.points), sorted(proposal.points[0])
    (4, ['depth', 'rate'])

    """

    first: int | None = None

    supports: ClassVar[Supports] = Supports()

    def problems(self) -> list[str]:
        """Everything that is wrong with the learner's fields."""
        found = super().problems()
        return [*found, f"first={self.first} is below 1"] if self.first is not None and self.first < 1 else found

    def first_design(self, dimension: int) -> int:
        """How many points the first design has."""
        return self.first if self.first is not None else min(2 * dimension + 2, 10)

    def importance(self, history: History) -> dict[str, Any]:
        """Objective -> which parameters matter, alone and in pairs; nothing while too little is measured."""
        from idds_learners.searching import Search

        search = Search.of(history, self)
        return search.importance() if search is not None else {}

    def ask(self, history: History, n: int) -> Proposal:
        """At most n new points, and where the search stands: best value, expected improvement, bound of the regret."""
        from idds_learners.design import fill
        from idds_learners.searching import Search

        self.names(history)  # an objective that nobody can see is told at the first question
        diagnostics: dict[str, Any] = self.standing(history)
        search = Search.of(history, self)
        known, design = taken(history), self.first_design(history.space.dimension)
        wanted = min(max(design - len(history.measured) - len(history.pending), 0), n)
        if search is None:
            points = fill(history.space, history.seed, known, n)
            return Proposal(tuple(points), diagnostics, {}, _why(points, n))
        points = fill(history.space, history.seed, known, wanted)
        diagnostics |= {"n_used": search.used, **search.diagnostics}
        points += search.points(points, n - len(points))
        return Proposal(tuple(points), diagnostics, search.state, _why(points, n))


def _why(points: list[dict[str, Any]], n: int) -> str:
    return "" if points or n <= 0 else "every point of the space has been proposed"
