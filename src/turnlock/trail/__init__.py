"""CloudTrail: one record for each call, and for each thing that Turnlock does by itself.

What it does: makes records in CloudTrail's form, chains them by keyed hashes, verifies the chains, and makes records
durable: as rows of the transaction that made the change, or (reads on SQLite) in append-only segments. What it trusts:
the gate, which redacts by the service model. What it must never do: store a sensitive member, or let an answer out
before its record is durable.
"""

from turnlock.trail.budget import WriteBudget
from turnlock.trail.chain import Chain
from turnlock.trail.heads import SegmentHeads, key_context, key_of_unit, trail_keys
from turnlock.trail.journal import (
    BlockingJournal,
    GroupJournal,
    GroupWriter,
    Journal,
    OverlappedJournal,
    SegmentWriter,
    StoreWriter,
)
from turnlock.trail.kernel_sync import FileSync, KernelSync
from turnlock.trail.model import ApiEvent, api_event, cut_text, service_event
from turnlock.trail.store import TrailTable, record_service_event
from turnlock.trail.verifying import Finding, verify

__all__ = [
    "ApiEvent",
    "BlockingJournal",
    "Chain",
    "FileSync",
    "Finding",
    "GroupJournal",
    "GroupWriter",
    "Journal",
    "KernelSync",
    "OverlappedJournal",
    "SegmentHeads",
    "SegmentWriter",
    "StoreWriter",
    "TrailTable",
    "WriteBudget",
    "api_event",
    "cut_text",
    "key_context",
    "key_of_unit",
    "record_service_event",
    "service_event",
    "trail_keys",
    "verify",
]
