"""The state machines, as one table. States in capitals are terminal and never change."""

from __future__ import annotations

from enum import StrEnum
from types import MappingProxyType

__all__ = [
    "MOVES",
    "TERMINAL",
    "AttemptState",
    "FailureClass",
    "JobState",
    "LoopState",
    "PointState",
    "VerdictKind",
    "Wish",
    "WorkflowState",
    "may_move",
]


class Wish(StrEnum):
    """What the user wants of a workflow or loop; never a state."""

    RUN = "run"
    HOLD = "hold"
    CANCEL = "cancel"


class WorkflowState(StrEnum):
    """Where a workflow stands."""

    ACTIVE = "active"
    HELD = "held"
    FINISHED = "FINISHED"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class LoopState(StrEnum):
    """Where a loop stands."""

    WAITING = "waiting"
    ACTIVE = "active"
    HELD = "held"
    CONVERGED = "CONVERGED"
    EXHAUSTED = "EXHAUSTED"
    STALLED = "STALLED"
    NOTHING_FEASIBLE = "NOTHING_FEASIBLE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class PointState(StrEnum):
    """Where a point stands. FAILED teaches a learner nothing; INFEASIBLE does."""

    OPEN = "open"
    MEASURED = "MEASURED"
    INFEASIBLE = "INFEASIBLE"
    PRUNED = "PRUNED"
    FAILED = "FAILED"
    DROPPED = "DROPPED"


class JobState(StrEnum):
    """Where a job stands: waiting for its inputs, ready, running, or ended."""

    WAITING = "waiting"
    READY = "ready"
    RUNNING = "running"
    DONE = "DONE"
    FAILED = "FAILED"
    CANCELLED = "CANCELLED"


class AttemptState(StrEnum):
    """Where an attempt stands. INTENT is written before the provider is called."""

    INTENT = "intent"
    SUBMITTED = "submitted"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    LOST = "LOST"
    CANCELLED = "CANCELLED"
    ABANDONED = "ABANDONED"


class FailureClass(StrEnum):
    """Who can mend a failure: the site, the user, or nobody by trying again."""

    INFRA = "INFRA"
    USER = "USER"
    FATAL = "FATAL"


class VerdictKind(StrEnum):
    """Why a loop stops, strongest first (the precedence of ``|``)."""

    CONVERGED = "converged"
    NOTHING_FEASIBLE = "nothing feasible"
    STALLED = "stalled"
    BUDGET = "budget"
    GO_ON = "go on"


_W, _L, _P, _J, _A = WorkflowState, LoopState, PointState, JobState, AttemptState
_LOOP_ENDS = frozenset({_L.CONVERGED, _L.EXHAUSTED, _L.STALLED, _L.NOTHING_FEASIBLE, _L.FAILED, _L.CANCELLED})
_ATTEMPT_ENDS = frozenset({_A.SUCCEEDED, _A.FAILED, _A.LOST, _A.CANCELLED})

#: entity -> state -> the states it may move to.
MOVES: MappingProxyType[str, dict[str, frozenset[str]]] = MappingProxyType(
    {
        "workflow": {
            _W.ACTIVE: frozenset({_W.HELD, _W.FINISHED, _W.FAILED, _W.CANCELLED}),
            _W.HELD: frozenset({_W.ACTIVE, _W.FINISHED, _W.FAILED, _W.CANCELLED}),
        },
        "loop": {
            _L.WAITING: frozenset({_L.ACTIVE, _L.CANCELLED}),
            _L.ACTIVE: frozenset({_L.HELD}) | _LOOP_ENDS,
            _L.HELD: frozenset({_L.ACTIVE}) | _LOOP_ENDS,
        },
        "point": {
            _P.OPEN: frozenset({_P.MEASURED, _P.INFEASIBLE, _P.PRUNED, _P.FAILED, _P.DROPPED}),
        },
        "job": {
            _J.WAITING: frozenset({_J.READY, _J.CANCELLED}),
            _J.READY: frozenset({_J.RUNNING, _J.DONE, _J.FAILED, _J.CANCELLED}),  # DONE: with a known result
            _J.RUNNING: frozenset({_J.READY, _J.DONE, _J.FAILED, _J.CANCELLED}),
        },
        "attempt": {
            _A.INTENT: frozenset({_A.SUBMITTED, _A.ABANDONED}) | _ATTEMPT_ENDS,
            _A.SUBMITTED: _ATTEMPT_ENDS | {_A.ABANDONED},
        },
    }
)

#: entity -> its terminal states.
TERMINAL: MappingProxyType[str, frozenset[str]] = MappingProxyType(
    {
        "workflow": frozenset({_W.FINISHED, _W.FAILED, _W.CANCELLED}),
        "loop": _LOOP_ENDS,
        "point": frozenset(_P) - {_P.OPEN},
        "job": frozenset({_J.DONE, _J.FAILED, _J.CANCELLED}),
        "attempt": _ATTEMPT_ENDS | {_A.ABANDONED},
    }
)


def may_move(entity: str, old: str, new: str) -> bool:
    """Whether `entity` may go from `old` to `new`.

    >>> may_move("point", "open", "MEASURED"), may_move("point", "MEASURED", "open")
    (True, False)
    """
    return new in MOVES[entity].get(old, frozenset())
