"""The only truth: one schema, one door for each move."""

from idds_core.store.iterations import Decision
from idds_core.store.records import (
    Attempt,
    Claim,
    Command,
    EventRecord,
    Iteration,
    Job,
    JobResult,
    LoopRecord,
    Outcome,
    ResultFile,
    WorkflowRecord,
)
from idds_core.store.store import OwnerLock, Store, open_store

__all__ = [
    "Attempt",
    "Claim",
    "Command",
    "Decision",
    "EventRecord",
    "Iteration",
    "Job",
    "JobResult",
    "LoopRecord",
    "Outcome",
    "OwnerLock",
    "ResultFile",
    "Store",
    "WorkflowRecord",
    "open_store",
]
