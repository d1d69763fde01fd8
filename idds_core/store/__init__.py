"""The only truth: one schema, one door for each move."""

from idds_core.store.iterations import Decision
from idds_core.store.queue import IMPORTED, Waiting
from idds_core.store.records import (
    Attempt,
    Claim,
    Command,
    EventRecord,
    Iteration,
    Job,
    LoopRecord,
    Outcome,
    ResultFile,
    WorkflowRecord,
)
from idds_core.store.reuse import Known, PlainJob
from idds_core.store.revisions import NewPoint, OldJob, OldPoint
from idds_core.store.store import OwnerLock, Store, open_store

__all__ = [
    "IMPORTED",
    "Attempt",
    "Claim",
    "Command",
    "Decision",
    "EventRecord",
    "Iteration",
    "Job",
    "Known",
    "LoopRecord",
    "NewPoint",
    "OldJob",
    "OldPoint",
    "Outcome",
    "OwnerLock",
    "PlainJob",
    "ResultFile",
    "Store",
    "Waiting",
    "WorkflowRecord",
    "open_store",
]
