"""The only truth: one schema, one door for each move."""

from idds_core.store.filesystem import is_network, kind_of
from idds_core.store.iterations import Decision
from idds_core.store.lease import HeartbeatLock
from idds_core.store.maintenance import back_up, check_file, restore
from idds_core.store.mending import Mend
from idds_core.store.queue import IMPORTED, Asked, Waiting
from idds_core.store.records import (
    Attempt,
    Claim,
    Command,
    EventRecord,
    Iteration,
    Job,
    JobResult,
    LoopRecord,
    Message,
    Outcome,
    Place,
    Progress,
    ResultFile,
    Taken,
    TopUp,
    WorkflowRecord,
    place_of,
)
from idds_core.store.retention import Freed
from idds_core.store.reuse import Known, PlainJob
from idds_core.store.revision_rows import How, NewLoop, NewPoint, OldJob, OldPoint
from idds_core.store.store import OwnerLock, Store, open_store, upgrade_store

__all__ = [
    "IMPORTED",
    "Asked",
    "Attempt",
    "Claim",
    "Command",
    "Decision",
    "EventRecord",
    "Freed",
    "HeartbeatLock",
    "How",
    "Iteration",
    "Job",
    "JobResult",
    "Known",
    "LoopRecord",
    "Mend",
    "Message",
    "NewLoop",
    "NewPoint",
    "OldJob",
    "OldPoint",
    "Outcome",
    "OwnerLock",
    "Place",
    "PlainJob",
    "Progress",
    "ResultFile",
    "Store",
    "Taken",
    "TopUp",
    "Waiting",
    "WorkflowRecord",
    "back_up",
    "check_file",
    "is_network",
    "kind_of",
    "open_store",
    "place_of",
    "restore",
    "upgrade_store",
]
