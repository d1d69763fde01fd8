"""What a learner knows: points with their observations, the iterations that proposed them, and a digest of it all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from idds_core.space import Space
from idds_core.states import PointState

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["History", "IterationRecord", "Observation", "Point", "canonical_json", "derive_seed", "strict_json"]


# Made once: a new encoder for each call costs more than the encoding.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), allow_nan=False).encode
_STRICT = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode


def strict_json(value: object) -> str:
    """JSON in the order given, without blanks; refuses NaN and infinities."""
    return _STRICT(value)


def canonical_json(value: object) -> str:
    """JSON with sorted keys, no blanks, floats by repr; refuses NaN and infinities."""
    return _CANONICAL(value)


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from the parts (a job's: loop seed, point number, step); an attempt never changes it."""
    text = "\x1f".join(str(p) for p in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


@dataclass(frozen=True, slots=True)
class Observation:
    """What was measured at a point: finite numbers only.

    values : target -> value.
    sigmas : target -> standard deviation of the measurement, where one was reported.
    extras : other numbers the last step returned.
    censored : target -> "above" or "below", where the value is only a bound, and the truth lies on that side of it.
    """

    values: Mapping[str, float]
    sigmas: Mapping[str, float] = field(default_factory=dict)
    extras: Mapping[str, float] = field(default_factory=dict)
    censored: Mapping[str, str] = field(default_factory=dict)

    @property
    def said(self) -> dict[str, float | str]:
        """Target -> value, or the text of a bound.

        >>> Observation({"mu_up": 100.0}, censored={"mu_up": "above"}).said
        {'mu_up': '> 100'}
        """
        signs = {"above": ">", "below": "<"}
        return {t: f"{signs[self.censored[t]]} {v:.4g}" if t in self.censored else v for t, v in self.values.items()}

    def to_json(self) -> dict[str, Any]:
        """The observation as JSON; `censored` is there only when something is."""
        found = {"values": dict(self.values), "sigmas": dict(self.sigmas), "extras": dict(self.extras)}
        return {**found, "censored": dict(self.censored)} if self.censored else found

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Observation:
        """From :meth:`to_json`."""
        return cls(data["values"], data.get("sigmas", {}), data.get("extras", {}), data.get("censored", {}))


@dataclass(frozen=True, slots=True)
class Point:
    """One set of parameter values, and what became of it.

    number : from 1, in the order of proposal, dense.
    iteration : number of the iteration that proposed it.
    ingest_no : in steady mode, from 1, the order in which points ended, dense; None while it is pending.
    last_report : (step, value) with which a PRUNED point ended; None when it had reported nothing.
    adds : of a point that tops up another: ``{"to": 7, "replicate": True}``, measured there once more, or
        ``{"to": 7, "more": {"events": 40000}}``, made of all that point 7 is made of and of so many more.
    """

    number: int
    iteration: int
    parameters: Mapping[str, Any]
    state: PointState = PointState.OPEN
    observation: Observation | None = None
    failure_class: str | None = None
    ingest_no: int | None = None
    last_report: tuple[int, float] | None = None
    adds: Mapping[str, Any] | None = None

    @property
    def replaces(self) -> int | None:
        """Number of the point whose observation this one's holds and more, so that it counts in its place."""
        return int(self.adds["to"]) if self.adds and self.adds.get("more") else None

    def to_json(self) -> dict[str, Any]:
        """The point as JSON."""
        found = {
            "number": self.number,
            "iteration": self.iteration,
            "parameters": dict(self.parameters),
            "state": str(self.state),
            "observation": self.observation.to_json() if self.observation else None,
            "failure_class": self.failure_class,
            **({"last_report": list(self.last_report)} if self.last_report else {}),
            **({"adds": dict(self.adds)} if self.adds else {}),
        }
        return found if self.ingest_no is None else {**found, "ingest_no": self.ingest_no}

    def as_pending(self) -> Point:
        """The point as it was before it ended."""
        return Point(self.number, self.iteration, self.parameters, adds=self.adds)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Point:
        """From :meth:`to_json`."""
        seen = data.get("observation")
        return cls(
            data["number"],
            data["iteration"],
            data["parameters"],
            PointState(data["state"]),
            Observation.from_json(seen) if seen else None,
            data.get("failure_class"),
            data.get("ingest_no"),
            last_report=(last[0], last[1]) if (last := data.get("last_report")) else None,
            adds=data.get("adds"),
        )


@dataclass(frozen=True, slots=True)
class IterationRecord:
    """The decision record of a closed iteration: what the learner and the conditions said when it had closed.

    state : what the learner asked to find again (fitted hyper-parameters).
    diagnostics : what it wanted to be known.
    elapsed_s, core_hours : since the start of the loop, frozen when the iteration closed.
    ingested_upto : in steady mode, the last ingest number that was known when the iteration closed; None in batch mode.
    """

    number: int
    state: Mapping[str, Any] = field(default_factory=dict)
    diagnostics: Mapping[str, Any] = field(default_factory=dict)
    elapsed_s: float = 0.0
    core_hours: float = 0.0
    ingested_upto: int | None = None

    def to_json(self) -> dict[str, Any]:
        """The record as JSON."""
        found = {
            "number": self.number,
            "state": dict(self.state),
            "diagnostics": dict(self.diagnostics),
            "elapsed_s": self.elapsed_s,
            "core_hours": self.core_hours,
        }
        return found if self.ingested_upto is None else {**found, "ingested_upto": self.ingested_upto}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> IterationRecord:
        """From :meth:`to_json`."""
        return cls(
            data["number"],
            data["state"],
            data["diagnostics"],
            data["elapsed_s"],
            data["core_hours"],
            data.get("ingested_upto"),
        )


@dataclass(frozen=True)
class History:
    """All that a learner or a condition may look at: a pure value.

    Attributes
    ----------
    space : Space
    seed : int
        The loop's seed.
    targets : names of the targets every observation has.
    points : all points written so far, ordered by number.
    iterations : the closed iterations, ordered by number. The last one has just closed; its `state` and
        `diagnostics` are empty until the learner has been asked. In steady mode an iteration closes when the next
        question is asked, whether its own points have ended or not.
    earlier : name -> history of the loops before this one that its learner reads; they have ended, so they stay as
        they are. They are shown without their seed and their iterations.

    """

    space: Space
    seed: int = 0
    targets: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    iterations: tuple[IterationRecord, ...] = ()
    earlier: Mapping[str, History] = field(default_factory=dict)

    def rng(self, *purpose: str) -> np.random.Generator:
        """The generator of the iteration that is asked for: from the loop's seed, its number and the purpose."""
        import numpy as np

        return np.random.default_rng(derive_seed(self.seed, "iteration", len(self.iterations) + 1, *purpose))

    @cached_property
    def measured(self) -> tuple[Point, ...]:
        """Points whose observation counts, ordered by number: all that were measured but those that were replaced."""
        return tuple(p for p in self.points if p.state is PointState.MEASURED and p.number not in self.replaced)

    @cached_property
    def replaced(self) -> Mapping[int, int]:
        """Number of a point -> number of the one that was measured to count in its place: it holds more of the same."""
        ended = (p for p in self.points if p.adds and p.state is PointState.MEASURED)
        return {p.replaces: p.number for p in ended if p.replaces is not None}

    @property
    def current(self) -> tuple[Point, ...]:
        """All points but those that were replaced, ordered by number."""
        return tuple(p for p in self.points if p.number not in self.replaced) if self.replaced else self.points

    @cached_property
    def pending(self) -> tuple[Point, ...]:
        """Points that have not ended."""
        return tuple(p for p in self.points if p.state is PointState.OPEN)

    @cached_property
    def infeasible(self) -> tuple[Point, ...]:
        """Points that cannot exist."""
        return tuple(p for p in self.points if p.state is PointState.INFEASIBLE)

    def unit(self, points: Sequence[Point]) -> NDArray[np.float64]:
        """(n, d) unit-cube coordinates of points."""
        return self.space.to_unit([p.parameters for p in points])

    def values(self, target: str) -> NDArray[np.float64]:
        """(n,) values of a target at the measured points."""
        import numpy as np

        return np.array([p.observation.values[target] for p in self.measured if p.observation], dtype=float)

    def sigmas(self, target: str) -> NDArray[np.float64]:
        """(n,) standard deviations of a target at the measured points; 0 where none was reported."""
        import numpy as np

        return np.array([p.observation.sigmas.get(target, 0.0) for p in self.measured if p.observation], dtype=float)

    def with_diagnostics(self, diagnostics: Mapping[str, Any], state: Mapping[str, Any]) -> History:
        """The same history after the learner was asked: the last closed iteration has its diagnostics and state."""
        if not self.iterations:
            return self
        last = replace(self.iterations[-1], diagnostics=dict(diagnostics), state=dict(state))
        return replace(self, iterations=(*self.iterations[:-1], last))

    def as_asked(self, number: int) -> History:
        """What the learner was shown when the iteration of that number had closed (0: at the first question).

        What came later is left out: the points of later iterations, what had not been ingested yet (such points were
        pending), and what was answered. So a question can be asked again at any time, after a crash or by a replay.
        """
        records = tuple(r for r in self.iterations if r.number <= number)
        upto = records[-1].ingested_upto if records else None
        points = tuple(p for p in self.points if p.iteration <= number)
        if upto is not None:
            points = tuple(p if p.ingest_no is not None and p.ingest_no <= upto else p.as_pending() for p in points)
        if records:
            records = (*records[:-1], replace(records[-1], state={}, diagnostics={}))
        return replace(self, points=points, iterations=records)

    @cached_property
    def digest(self) -> str:
        """sha256 of canonical JSON, ordered by point number, of (parameters, state, failure class, values, sigmas).

        A point that tops up another says so in it, and one with a value that is only a bound. No times, paths, attempts
        or definition: equal digests mean equal physics.
        """
        rows = [
            [
                p.number,
                dict(p.parameters),
                str(p.state),
                p.failure_class,
                dict(p.observation.values) if p.observation else None,
                dict(p.observation.sigmas) if p.observation else None,
                *([dict(p.adds)] if p.adds else []),
                *([{"censored": dict(p.observation.censored)}] if p.observation and p.observation.censored else []),
            ]
            for p in sorted(self.points, key=lambda p: p.number)
        ]
        return hashlib.sha256(canonical_json(rows).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The history as JSON."""
        return {
            "space": self.space.to_json(),
            "seed": self.seed,
            "targets": list(self.targets),
            "points": [p.to_json() for p in self.points],
            "iterations": [i.to_json() for i in self.iterations],
            **({"earlier": {name: h.to_json() for name, h in self.earlier.items()}} if self.earlier else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> History:
        """From :meth:`to_json`."""
        return cls(
            Space.from_json(data["space"]),
            data["seed"],
            tuple(data["targets"]),
            tuple(Point.from_json(p) for p in data["points"]),
            tuple(IterationRecord.from_json(i) for i in data["iterations"]),
            {name: cls.from_json(h) for name, h in data.get("earlier", {}).items()},
        )
