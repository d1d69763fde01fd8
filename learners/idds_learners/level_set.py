"""The learner of exclusion contours, and what it shares with every learner that has a map.

Nothing heavy is imported here: a scan file imports this module only to state what it wants.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from idds_core.history import History
from idds_core.ports import Proposal
from idds_core.space import Space
from idds_core.states import PointState
from idds_learners.events import Events
from idds_learners.reasons import DESIGN, EXPLORE, REFINE, reasons_of

if TYPE_CHECKING:
    from idds_core.space import Space
    from idds_learners.acquisition import Field
    from idds_learners.design import Cloud
    from idds_learners.events import Prices
    from idds_learners.mapping import Maps
    from idds_learners.transform import Scale

__all__ = ["LevelSet", "Mapped"]

_REFERENCE = re.compile(r"[\w.]+:[A-Za-z_]\w*")
_EARLIER = re.compile(r"([a-z][a-z0-9_-]*)\.([A-Za-z_]\w*)")
_TRANSFORMS = ("probit", "log", "logit", "none")
_SIDES = ("below", "above")
_NAME = re.compile(r"[A-Za-z_]\w*")
STRATEGIES = ("emv", "straddle", "poisson_disc", "timse")
#: exploring begins when the expected misclassified share is below this part of the largest unexplored hole
HOLE = 0.05
#: points up to which a map must be exact: fewer than an eighth of them cannot be set aside
_FEWEST = 16
GOLDEN = 0.6180339887498949


def _reference(function: Any) -> Any:
    """A function at the top of a module by its name; anything else is left as it is."""
    return f"{function.__module__}:{function.__qualname__}" if callable(function) else function


@dataclass(frozen=True)
class Mapped:
    """What learners with a map have in common: the targets (one name or several) and how they are seen."""

    targets: Sequence[str] = ()
    level: float | str | Mapping[str, float | str | Mapping[str, float | str]] = 0.05
    transform: str | Mapping[str, str] = "probit"
    excluded: str | Mapping[str, str] = "below"
    first: int | None = None
    squash: float | None = 6.0
    near: float = 0.75
    trend: str | Mapping[str, str] | None = None
    exact: int = 2000

    def __post_init__(self) -> None:
        names = (self.targets,) if isinstance(self.targets, str) else tuple(self.targets)
        object.__setattr__(self, "targets", names)
        given: Any = self.trend
        named = {t: _reference(f) for t, f in given.items()} if isinstance(given, Mapping) else _reference(given)
        object.__setattr__(self, "trend", named)

    def _of(self, given: Any, target: str) -> Any:
        return given.get(target) if isinstance(given, Mapping) else given

    def problems(self) -> list[str]:
        """Everything that is wrong with the learner's fields."""
        found = []
        for target in self.targets:
            transform = self._of(self.transform, target)
            if transform not in _TRANSFORMS:
                found.append(f"transform {transform!r} of {target} is none of {', '.join(_TRANSFORMS)}")
            found += self._level_problems(target, transform)
            if self._of(self.excluded, target) not in _SIDES:
                found.append(f"excluded={self._of(self.excluded, target)!r} of {target} is neither below nor above")
            name = self._of(self.trend, target)
            if name is not None and not (
                isinstance(name, str) and (_REFERENCE.fullmatch(name) or _EARLIER.fullmatch(name))
            ):
                found.append(f"trend {name!r} of {target} is no module:function and no loop.target")
        if len(set(self.targets)) != len(self.targets):
            found.append(f"targets {', '.join(self.targets)} repeat a name")
        if self.first is not None and self.first < 1:
            found.append(f"first={self.first} is below 1")
        if self.squash is not None and self.squash <= 0:
            found.append(f"squash={self.squash} is not above 0")
        if not 0 < self.near <= 1:
            found.append(f"near={self.near} is no share above 0")
        if isinstance(self.exact, bool) or not isinstance(self.exact, int) or self.exact < _FEWEST:
            found.append(f"exact={self.exact!r} is no whole number from {_FEWEST} on")
        return found

    def _level_problems(self, target: str, transform: str) -> list[str]:
        given, found = self._of(self.level, target), []
        if isinstance(given, Mapping) and not given:
            found.append(f"level of {target} names no contour")
        if isinstance(given, Mapping):
            found += [f"contour {n!r} of {target} is no name" for n in given if not _NAME.fullmatch(str(n))]
        for name, level in self._named(target).items():
            if isinstance(level, str):
                continue  # what is wrong with an expression is told by `problems_in`, which knows the parameters
            if not isinstance(level, (int, float)) or isinstance(level, bool):
                found.append(f"level {level!r} of {name} is no number")
            elif (transform == "log" and level <= 0) or (transform in ("probit", "logit") and not 0 < level < 1):
                found.append(f"level {level} of {name} has no {transform}")
        return found

    def problems_in(self, space: Space) -> list[str]:
        """What is wrong with levels that are expressions, for the parameters of the space."""
        texts = [(n, v, self._of(self.transform, t)) for t in self.targets
                 for n, v in self._named(t).items() if isinstance(v, str)]  # fmt: skip
        if not texts or space.problems():
            return []
        from idds_learners.levels import level_problem

        return [found for n, text, transform in texts if (found := level_problem(n, text, transform, space))]

    def _named(self, target: str) -> dict[str, Any]:
        """Contour -> level of a target: named as the target, or ``target.name`` where it has several."""
        given = self._of(self.level, target)
        return {f"{target}.{n}": v for n, v in given.items()} if isinstance(given, Mapping) else {target: given}

    @property
    def reads(self) -> dict[str, tuple[str, ...]]:
        """Name of an earlier loop -> its targets that are trends of this learner's."""
        found: dict[str, tuple[str, ...]] = {}
        for target in self.targets:
            name = self._of(self.trend, target)
            if isinstance(name, str) and (match := _EARLIER.fullmatch(name)):
                loop, read = match.groups()
                found[loop] = tuple(dict.fromkeys((*found.get(loop, ()), read)))
        return found

    def scales(self) -> dict[str, Scale]:
        """How each contour's target is seen by its process."""
        from idds_learners.levels import Level
        from idds_learners.transform import Scale

        found = {}
        for t in self.targets:
            transform, below = self._of(self.transform, t), self._of(self.excluded, t) == "below"
            for name, level in self._named(t).items():
                varying = Level(level, transform) if isinstance(level, str) else None
                # a squash about a level that moves would bend what is learnt by the shape of the level
                smooth = transform == "none" or self._of(self.trend, t) or varying
                number = math.nan if varying else float(level)
                found[name] = Scale(transform, number, None if smooth else self.squash, below, self.near, t, varying)
        return found

    def surrogate(self, history: History) -> Maps | None:
        """The map of the history; None without targets or while fewer than three points are measured."""
        from idds_learners.mapping import learn

        if not self.targets:
            return None
        scales = {name: s.on(history.space) for name, s in self.scales().items()}
        named = {name: self._of(self.trend, s.target) for name, s in scales.items()}
        return learn(history, scales, {t: n for t, n in named.items() if n}, self.exact)

    def importance(self, history: History) -> dict[str, Any]:
        """Target -> which parameters matter, alone and in pairs; nothing while there is no map."""
        maps = self.surrogate(history)
        return maps.importance() if maps is not None else {}

    def first_design(self, dimension: int, n: int) -> int:
        """How many points the first design has when n are asked for: `first`, or by dimension 5, 6 to 10, 16, then 32.

        In two dimensions six points are enough to choose the next one by; a whole batch is chosen better with ten.
        """
        if self.first is not None:
            return self.first
        return {1: 5, 2: min(max(n, 6), 10), 3: 16}.get(dimension, 32)

    def _look(self, history: History) -> tuple[Maps | None, Cloud | None, dict[str, Any], dict[str, Any]]:
        """The map, the pool it was looked at on, the posteriors there, and the diagnostics."""
        maps = self.surrogate(history)
        if maps is None:
            return None, None, {}, {"n_measured": len(history.measured)}
        from idds_learners.design import pool
        from idds_learners.diagnosing import diagnose

        cloud = pool(history.space, history.seed)
        fields = maps.fields(cloud.unit)
        return maps, cloud, fields, diagnose(history, maps, cloud, fields)


def taken(history: History) -> set[tuple[Any, ...]]:
    """The keys of all points there are: none is proposed twice, whatever became of it."""
    from idds_learners.design import key_of

    return {key_of(p.parameters, history.space.names) for p in history.points}


@dataclass(frozen=True)
class LevelSet(Mapped):
    """Finds where targets cross their level: the exclusion contour.

    The first points are a Sobol design; then each batch takes most of the expected misclassified volume away, summed
    over the targets, each in shares of the region that it excludes, and, once the contour is known well beside what
    nobody has looked at, a share of maximin points looks there.

    Parameters
    ----------
    targets : names of the observation's values; one name or several
    level : the contour, in the target's own unit; one for all, or by target
        A number, or an expression of the parameters such as ``"0.37 * exp(-m / 420)"``: a theory cross section that the
        measured limit is compared with at each point. Several contours of one target have names, by target:
        ``{"limit": {"nominal": "xs(...)", "up": ..., "down": ...}}`` are ``limit.nominal``, ``limit.up`` and
        ``limit.down`` wherever a contour is told, all from the same evaluations.
    transform : {"probit", "log", "logit", "none"}, one for all or by target
        The quantity that is learnt: probit for CLs and other probabilities, log for signal-strength limits.
    excluded : {"below", "above"}
        On which side of the level a point is excluded.
    first : number of points of the first design; None: 10 in two dimensions (6 where points come one by one),
        16 in three, 32 in more. Ask for 24 or more where there may be islands.
    squash : width beyond which distance from the level is flattened, in units of the transformed target; None: never.
        A target with transform none is not squashed: its unit is the user's.
    near : share of the values, nearest to the level, that the surrogate takes at their word; of the others it need
        only be about right. 1: all.
    trend : ``module:function``, the function itself, or ``loop.target``; one for all targets or by target; None: none.
        A cheap approximation of the (transformed) target, such as the logarithm of a cross section: called with arrays
        of all parameters by name, it returns an array. Or a target of a loop that ran before this one, such as a fast
        simulation: the mean of a process of what was measured there, seen on this target's scale [Kennedy & O'Hagan,
        Biometrika 87 (2000) 1; Le Gratiet & Garnier, Int. J. Uncertain. Quantif. 4 (2014) 365]. The surrogate fits its
        factor and learns what is left; such a target is not squashed.
    exact : measured points up to which the map is an exact Gaussian process. Above, the first ones are seen through
        three quarters as many inducing points: time and memory of an ask stop growing with the square of their number,
        and the diagnostic `approximation` says what that costs. An exact one of n points keeps about 32 n^2 bytes.
    maximin : share of each batch that explores, once the expected misclassified share is below a twentieth of the
        largest ball that nobody has looked into; before that every point goes to the contour
    strategy : {"emv", "straddle", "poisson_disc", "timse"}
        How points that go to the contour are chosen, each with those before it taken as measured. emv: most expected
        misclassified volume taken away. straddle: largest 1.96 s - |m - c|, uncertain and near the level. poisson_disc:
        evenly over the band of 1.96 s about the contour, as far from each other and from all others as can be; best
        where values are noisy. timse: most mean squared error taken away, weighted by the density of the level.

    events : which parameter of the space is the number of events, and what they cost; None: none is
        It is chosen for each point, by the variance there that it takes away per core hour, and then the place by the
        expected misclassified volume per core hour; sigmas must be reported. See :class:`~idds_learners.events.Events`.

    Points that end infeasible teach where none can exist: what a place counts for is multiplied by the probability that
    it can, and a place that surely cannot is neither proposed nor part of any share, as if a constraint forbade it.

    Examples
    --------
    >>> LevelSet(["obs", "exp"], level=0.05).targets
    ('obs', 'exp')
    >>> LevelSet("mu", level=0.0, transform="log").problems()
    ['level 0.0 of mu has no log']
    >>> list(LevelSet("xs", level={"xs": {"up": "0.4 * exp(-m)", "down": "0.3 * exp(-m)"}})._named("xs"))
    ['xs.up', 'xs.down']

    """

    maximin: float = 0.5
    strategy: str = "emv"
    events: Events | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        given: Any = self.events
        if isinstance(given, Mapping):  # as YAML has it
            object.__setattr__(self, "events", Events(**given))

    def problems(self) -> list[str]:
        """Everything that is wrong with the learner's fields."""
        found = super().problems()
        if not self.targets:
            found.append("it has no targets")
        if not 0 <= self.maximin <= 1:
            found.append(f"maximin={self.maximin} is no share")
        if self.strategy not in STRATEGIES:
            found.append(f"strategy {self.strategy!r} is none of {', '.join(STRATEGIES)}")
        if self.events is not None:
            found += self.events.problems()
            if self.strategy != "emv":
                found.append(f"events are chosen with strategy emv, not {self.strategy}")
        return found

    def problems_in(self, space: Space) -> list[str]:
        """What is wrong with its levels and its events, for the parameters of the space."""
        wrong = self.events.space_problem(space) if self.events is not None else ""
        return [*super().problems_in(space), *([wrong] if wrong else [])]

    def surrogate(self, history: History) -> Maps | None:
        """The map of the history, over all parameters but the number of events."""
        return super().surrogate(self.events.without(history) if self.events is not None else history)

    def ask(self, history: History, n: int) -> Proposal:
        """At most n new points, the diagnostics of the map as it stands, and its hyper-parameters as state."""
        if self.events is None:
            return self._answer(history, n, None)
        from idds_learners.events import Prices

        prices = Prices(self.events, history)
        return prices.named(self._answer(self.events.without(history), n, prices))

    def _answer(self, history: History, n: int, prices: Prices | None) -> Proposal:
        from idds_learners.design import fill

        maps, cloud, fields, diagnostics = self._look(history)
        state = maps.state if maps else {}
        design = self.first_design(history.space.dimension, n) - len(history.measured) - len(history.pending)
        wanted = min(max(design, 0), n)
        if maps is None and wanted == 0:  # the first design is out, and nothing has come back to learn from
            wanted = n
        points = fill(history.space, history.seed, taken(history), wanted, maps.feasible if maps else None)
        kinds: list[tuple[str, float | None]] = [(DESIGN, None)] * len(points)
        if maps is not None and cloud is not None and len(points) < n:
            if prices is not None:
                prices.learn(maps)
            more, why = self._greedy(history, maps, cloud, fields, points, n - len(points), diagnostics, prices)
            points, kinds = points + more, kinds + why
        reason = "" if points or n <= 0 else "every point of the space has been proposed"
        return Proposal(tuple(points), diagnostics, state, reason, reasons_of(maps, points, kinds))

    def _greedy(
        self,
        history: History,
        maps: Maps,
        cloud: Cloud,
        fields: Mapping[str, Field],
        new: Sequence[Mapping[str, Any]],
        n: int,
        diagnostics: Mapping[str, Any],
        prices: Prices | None,
    ) -> tuple[list[dict[str, Any]], list[tuple[str, float | None]]]:
        """N pool points: most by the strategy, some by distance; and why each."""
        import numpy as np

        from idds_learners.acquisition import maximin, pick
        from idds_learners.design import key_of
        from idds_learners.feasibility import probability

        names = history.space.names
        keys = taken(history) | {key_of(p, names) for p in new}
        free = np.array([k not in keys for k in cloud.keys], dtype=bool)
        feasible = probability(maps.feasible, cloud.unit)
        if not feasible[free].any():  # what is left surely cannot exist: it is tried all the same
            feasible = np.ones(len(free))
        free &= feasible > 0
        ahead = history.space.to_unit(list(new))
        # what was looked at without a value: near it there is less to learn
        silent = (PointState.OPEN, PointState.INFEASIBLE, PointState.PRUNED)
        blind = [p for p in history.points if p.state in silent]
        explore = self._exploring(len(history.points) + len(new), n, diagnostics)
        scores: list[float] = []
        gaps: list[float] = []
        given = list(fields.values()), cloud.unit, free, np.vstack([history.unit(blind), ahead]), n - explore
        rng = history.rng("acquisition")
        if prices is None:
            chosen = pick(*given, rng, scores, self.strategy, feasible)
        else:
            chosen = prices.pick(*given, rng, feasible, scores)
        free[chosen] = False
        known = np.vstack([history.unit(history.points), ahead, cloud.unit[chosen]])
        far = maximin(cloud.unit, free, known, explore, gaps, feasible)
        if prices is not None:
            prices.explore(fields, far)
        why = REFINE if self.strategy == "emv" else self.strategy
        kinds: list[tuple[str, float | None]] = [*((why, score) for score in scores), *((EXPLORE, gap) for gap in gaps)]
        return [dict(cloud.points[i]) for i in [*chosen, *far]], kinds

    def _exploring(self, before: int, n: int, diagnostics: Mapping[str, Any]) -> int:
        """How many of the next n points explore: a share of them, once the contour is known better than the rest."""
        if HOLE * diagnostics["unexplored_volume"] <= diagnostics["emv"]:
            return 0
        # which ones: as even as can be over batches of any size, and a function of the history alone
        return sum(k * GOLDEN % 1.0 < self.maximin for k in range(before + 1, before + n + 1))
