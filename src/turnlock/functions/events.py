"""Asynchronous invocations: promised in a transaction, carried out by whichever node claims them, tried three times.

Delivery is at least once, as on Lambda: a node that dies between a function's end and the removal of its event leaves the
event to another one.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import delete, select, update

from turnlock import kms
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Fence
from turnlock.errors import SealBroken, StaleFence, StoreError
from turnlock.functions.api.tables import function_events
from turnlock.functions.model import FaultKind, InvocationResult
from turnlock.storage import Database, Unit, leases
from turnlock.storage.alarms import alarm

RETRIES: Final = (timedelta(minutes=1), timedelta(minutes=2))
"""How long after a failure it is tried again (Developer Guide, "Asynchronous invocation")."""
FORGED_DELAY: Final = timedelta(hours=1)
LEASE_SECONDS: Final = 15 * 60 + 120
"""Longer than the longest function runs and waits for a process."""
POLL_SECONDS: Final = 1.0
AT_ONCE: Final = 4

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One promised invocation."""

    account_id: AccountId
    region: Region
    arn: str
    payload: bytes = field(repr=False)
    """JSON."""
    event_id: str = ""
    attempts: int = 0


class _Kept(msgspec.Struct):
    """What is sealed of an event."""

    arn: str
    payload: msgspec.Raw


def promise(unit: Unit, event: Event) -> None:
    """Keep an event; it runs soon after this transaction's commit."""
    event_id = str(uuid.UUID(bytes=unit.entropy.bytes(16), version=4))
    text = msgspec.json.encode(_Kept(arn=event.arn, payload=msgspec.Raw(event.payload)))
    unit.connection.execute(
        function_events.insert().values(
            account_id=event.account_id,
            region=event.region,
            event_id=event_id,
            sealed_event=kms.seal_field(unit, event.account_id, text, owner=event_id, part=_PART),
            attempts=0,
            due_at=unit.now,
            created_at=unit.now,
        )
    )


class Events:
    """One node's part in carrying events out; `tick` is called again and again by one thread."""

    def __init__(
        self, database: Database, run: Callable[[str, bytes], InvocationResult], holder: str
    ) -> None:
        self._database = database
        self._run = run
        self._holder = holder
        self._running: list[Future[None]] = []
        self._threads = ThreadPoolExecutor(AT_ONCE, "function-events")

    def tick(self) -> float:
        """Claim what is due and have it carried out; return the seconds until the next look."""
        self._running = [one for one in self._running if not one.done()]
        free = AT_ONCE - len(self._running)
        if free and self._database.read(_any_due):
            for event, fence in self._database.write(partial(self._claim, free)):
                self._running.append(self._threads.submit(self._carry_out, event, fence))
        return POLL_SECONDS

    def close(self) -> None:
        """Begin nothing more. What runs ends with its pool, and its event is another node's after the lease."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _claim(self, free: int, unit: Unit) -> list[tuple[Event, Fence]]:
        rows = unit.connection.execute(
            select(function_events)
            .where(function_events.c.due_at <= unit.now)
            .order_by(function_events.c.due_at)
            .limit(free)
        ).all()
        claimed = []
        for row in rows:
            event = _event_or_later(unit, row)
            if event is None:
                continue
            fence = leases.claim(
                unit,
                row.account_id,
                row.region,
                _lease(row.event_id),
                holder=self._holder,
                seconds=LEASE_SECONDS,
            )
            if fence is not None:
                claimed.append((event, fence))
                # Nobody looks at it again before its lease is over.
                _move(unit, row.event_id, unit.now + timedelta(seconds=LEASE_SECONDS), row.attempts)
        return claimed

    def _carry_out(self, event: Event, fence: Fence) -> None:
        try:
            fault = self._run(event.arn, event.payload).fault
            reason = None if fault is None else fault.error_type
            aborted = fault is not None and fault.kind is FaultKind.ABORTED
            if not aborted:
                self._database.write(partial(_settle, event, fence, reason))
        except StaleFence:
            log.warning("an event was taken over", action="event_taken_over", function=event.arn)
        except StoreError:
            log.exception("the store did not answer", action="event_interrupted", function=event.arn)
        except Exception:
            log.exception("an event could not be carried out", action="event_failed", function=event.arn)
            self._database.write(partial(_settle, event, fence, "Turnlock.NotRun"))


def _settle(event: Event, fence: Fence, reason: str | None, unit: Unit) -> None:
    """Remove an event that is done or was tried often enough; else put it back."""
    leases.require_current(unit, fence)
    if reason is None or event.attempts >= len(RETRIES):
        if reason is not None:
            log.warning(
                "an event was given up", action="event_given_up", function=event.arn, error_type=reason
            )
        unit.connection.execute(delete(function_events).where(function_events.c.event_id == event.event_id))
        leases.forget(unit, event.account_id, event.region, _lease(event.event_id))
        return
    _move(unit, event.event_id, unit.now + RETRIES[event.attempts], event.attempts + 1)
    leases.release(unit, fence)


def _move(unit: Unit, event_id: str, due_at: Any, attempts: int) -> None:
    unit.connection.execute(
        update(function_events)
        .where(function_events.c.event_id == event_id)
        .values(due_at=due_at, attempts=attempts)
    )


def _event_or_later(unit: Unit, row: Any) -> Event | None:
    """Read an event; None for one that was forged, which must not keep the others waiting: it is looked at again in an hour."""
    try:
        return _event(unit, row)
    except SealBroken as error:
        if error.row is None:
            alarm(f"The event {row.event_id} of a function")
        _move(unit, row.event_id, unit.now + FORGED_DELAY, row.attempts)
        return None


def _event(unit: Unit, row: Any) -> Event:
    """Read an event. Raises SealBroken."""
    text = kms.unseal_field(unit, row.account_id, row.sealed_event, owner=row.event_id, part=_PART)
    kept = msgspec.json.decode(text, type=_Kept)
    return Event(
        account_id=row.account_id,
        region=row.region,
        event_id=row.event_id,
        attempts=row.attempts,
        arn=kept.arn,
        payload=bytes(kept.payload),
    )


def _any_due(unit: Unit) -> bool:
    due = select(function_events.c.event_id).where(function_events.c.due_at <= unit.now).limit(1)
    return unit.connection.execute(due).first() is not None


def _lease(event_id: str) -> str:
    return f"function-event/{event_id}"


_PART: Final = "function-event"
