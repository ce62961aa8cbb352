"""The outbox: work that a transaction promises to do after it, kept in the same transaction.

Delivery is at least once: a job that was carried out but whose removal was lost is carried out again, so each kind of job
says in its handler why that is harmless. Payloads are sealed by the area that queues them.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog
from sqlalchemy import (
    Column,
    ColumnElement,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    delete,
    func,
    select,
    update,
)

from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Fence
from turnlock.errors import StaleFence
from turnlock.storage import leases
from turnlock.storage.database import Database
from turnlock.storage.schema import Moment, metadata
from turnlock.storage.unit import Unit

outbox = Table(
    "outbox",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("region", String(32), primary_key=True),
    Column("job_id", String(36), primary_key=True),
    Column("kind", String(64), nullable=False),
    Column("sealed_payload", LargeBinary, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("last_error", Text),
    Column("due_at", Moment, nullable=False, index=True),
    Column("created_at", Moment, nullable=False),
)

log = structlog.get_logger(__name__)

POLL_SECONDS = 5.0
BATCH = 32
LEASE_SECONDS = 60
LONGEST_DELAY = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One promise, claimed by this node."""

    account_id: AccountId
    region: Region
    job_id: str
    kind: str
    sealed_payload: bytes = field(repr=False)
    attempts: int
    fence: Fence


@dataclass(frozen=True, slots=True, kw_only=True)
class JobQueued:
    """A job was promised: announced inside the transaction that promises it, so that a deliverer can be woken after."""

    due_at: datetime


def queue(
    unit: Unit, account_id: AccountId, region: Region, *, kind: str, sealed_payload: bytes, due_at: datetime
) -> str:
    """Promise a job; it runs at or after `due_at` if this transaction commits. Return its id."""
    job_id = str(uuid.UUID(bytes=unit.entropy.bytes(16), version=4))
    unit.connection.execute(
        outbox.insert().values(
            account_id=account_id,
            region=region,
            job_id=job_id,
            kind=kind,
            sealed_payload=sealed_payload,
            attempts=0,
            due_at=due_at,
            created_at=unit.now,
        )
    )
    unit.announce(JobQueued(due_at=due_at))
    return job_id


def claim_due(unit: Unit, *, holder: str, limit: int) -> list[Job]:
    """Claim up to `limit` jobs that are due; each is ours until its lease of LEASE_SECONDS is over."""
    rows = unit.connection.execute(
        select(outbox).where(outbox.c.due_at <= unit.now).order_by(outbox.c.due_at).limit(limit)
    ).all()
    jobs: list[Job] = []
    for row in rows:
        fence = leases.claim(
            unit, row.account_id, row.region, _lease(row.job_id), holder=holder, seconds=LEASE_SECONDS
        )
        if fence is not None:
            jobs.append(
                Job(
                    account_id=row.account_id,
                    region=row.region,
                    job_id=row.job_id,
                    kind=row.kind,
                    sealed_payload=row.sealed_payload,
                    attempts=row.attempts + 1,
                    fence=fence,
                )
            )
    return jobs


def finish(unit: Unit, job: Job) -> None:
    """Remove a job that was carried out. Raises StaleFence when another node has claimed it since."""
    leases.require_current(unit, job.fence)
    unit.connection.execute(delete(outbox).where(*_row(job)))
    leases.forget(unit, job.account_id, job.region, _lease(job.job_id))


def postpone(unit: Unit, job: Job, *, error: str) -> None:
    """Put a failed job back, later the more often it failed (2 s, 4 s … up to LONGEST_DELAY)."""
    leases.require_current(unit, job.fence)
    delay = min(timedelta(seconds=2 ** min(job.attempts, 12)), LONGEST_DELAY)
    unit.connection.execute(
        update(outbox)
        .where(*_row(job))
        .values(attempts=job.attempts, last_error=error, due_at=unit.now + delay)
    )
    leases.release(unit, job.fence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backlog:
    """What the outbox has promised and not done."""

    due: int
    later: int
    """Jobs whose time has not come: a purge waits for weeks."""
    oldest_seconds: float
    """How long the oldest of those that are due has been; 0 without any."""


def backlog(unit: Unit) -> Backlog:
    """Return what is still to be done, of all accounts and Regions."""
    is_due = outbox.c.due_at <= unit.now
    count, due, oldest = unit.connection.execute(
        select(
            func.count(),
            func.count().filter(is_due),
            func.min(outbox.c.due_at).filter(is_due),
        )
    ).one()
    seconds = 0.0 if oldest is None else (unit.now - oldest).total_seconds()
    return Backlog(due=due, later=count - due, oldest_seconds=seconds)


def _lease(job_id: str) -> str:
    return f"outbox/{job_id}"


def _row(job: Job) -> tuple[ColumnElement[bool], ...]:
    return (
        outbox.c.account_id == job.account_id,
        outbox.c.region == job.region,
        outbox.c.job_id == job.job_id,
    )


JobHandler = Callable[[Unit, AccountId, Region, bytes], None]
"""Carries out one kind of job in a unit that writes: (unit, account, Region, sealed payload)."""


class Deliverer:
    """Carries out due jobs: claimed in one transaction, each done and removed in one of its own."""

    def __init__(self, database: Database, handlers: Mapping[str, JobHandler], holder: str) -> None:
        self._database = database
        self._handlers = handlers
        self._holder = holder

    def tick(self) -> float:
        """Carry out what is due; return how many seconds to wait before the next look."""
        if not self._database.read(_any_due):
            return POLL_SECONDS
        jobs = self._database.write(lambda unit: claim_due(unit, holder=self._holder, limit=BATCH))
        for job in jobs:
            self._carry_out(job)
        return 0.0 if len(jobs) == BATCH else POLL_SECONDS

    def _carry_out(self, job: Job) -> None:
        def work(unit: Unit) -> None:
            self._handlers[job.kind](unit, job.account_id, job.region, job.sealed_payload)
            finish(unit, job)

        try:
            self._database.write(work)
        except Exception as error:
            log.exception(
                "an outbox job failed", action="outbox_failed", kind=job.kind, attempts=job.attempts
            )
            failure = type(error).__name__
            with suppress(StaleFence):
                self._database.write(lambda unit: postpone(unit, job, error=failure))


def _any_due(unit: Unit) -> bool:
    return (
        unit.connection.execute(select(outbox.c.job_id).where(outbox.c.due_at <= unit.now).limit(1)).first()
        is not None
    )
