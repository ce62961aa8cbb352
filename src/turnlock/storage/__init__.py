"""The store: SQLite in the data directory, or PostgreSQL shared by many nodes, behind one interface.

What it does: runs units of work (read-only snapshots and atomic, durable changes), keeps leases on the database's own
clock, queues outbox jobs, and migrates the schema. What it trusts: the file system's fdatasync and PostgreSQL's commit.
What it must never do: report a change as kept before the commit returned, know what the rows of a room mean, or see a
plaintext secret (rooms seal before they store).

Only this room begins and commits transactions: a room's code gets a `Unit`.
"""

from turnlock.storage.database import Database, Outcome, RecordSink, open_database
from turnlock.storage.hot import HotQuery
from turnlock.storage.remembered import LARGEST_BLOB
from turnlock.storage.schema import Moment, among, many, metadata, micros, moment
from turnlock.storage.sealed_rows import SealedRows
from turnlock.storage.unit import Unit

__all__ = [
    "LARGEST_BLOB",
    "Database",
    "HotQuery",
    "Moment",
    "Outcome",
    "RecordSink",
    "SealedRows",
    "Unit",
    "among",
    "many",
    "metadata",
    "micros",
    "moment",
    "open_database",
]
