"""The unit of work: everything an action may touch, for as long as one transaction lasts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, TypeVar, cast

import msgspec
import structlog
from sqlalchemy import Connection

from turnlock.core.arn import Region
from turnlock.core.ports import Entropy, RootKeyring
from turnlock.core.record import TrailEntry
from turnlock.core.work import Work
from turnlock.storage.remembered import RememberedRows

Subscribers = Mapping[type, Sequence[Callable[["Unit", Any], None]]]
"""By the type of a domain event: the functions that areas registered for it, in order."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


def joined(*tables: Subscribers) -> Subscribers:
    """Return what several areas subscribed to as one table; those of an earlier table hear an event first."""
    return {
        event: tuple(one for table in tables for one in table.get(event, ()))
        for event in dict.fromkeys(event for table in tables for event in table)
    }


class Unit(msgspec.Struct, kw_only=True):
    """One transaction as an area sees it. Made by the store, thrown away after the commit or rollback.

    An area reads and writes through `connection`, takes the time from `now` and randomness from `entropy`, tells other
    areas what it did with `announce`, and asks for work after the commit with `after_commit`. It never commits.
    """

    connection: Connection
    driver: Any
    """The driver's own connection, for queries compiled once (`HotQuery`)."""
    dialect: str
    """`sqlite` or `postgresql`."""
    now: datetime
    """The injected clock, read once when the unit began (UTC)."""
    entropy: Entropy
    keyring: RootKeyring
    writes: bool
    subscribers: Subscribers = msgspec.field(default_factory=dict)
    regions: frozenset[Region] = frozenset()
    """The Regions that this deployment serves."""
    memo: dict[Hashable, Any] = msgspec.field(default_factory=dict)
    """What this unit has read and may read again; whoever changes a row forgets its entry."""
    work: Work = msgspec.field(default_factory=Work)
    """What the request may still cost where policies are weighed."""
    entries: list[TrailEntry] = msgspec.field(default_factory=list)
    """Trail records that must be durable before the answer leaves."""
    committed: list[Callable[[], None]] = msgspec.field(default_factory=list)
    remembered: RememberedRows | None = None
    """Rows that hot queries need not ask for again; None where nothing validates them."""
    _savepoints: int = 0

    def derived(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` derives from the store alone, made once while that holds: in a unit that only reads, to its end.

        Where rows are remembered, what is returned may be shared with other units: nobody changes it.
        """
        if self.remembered is not None:
            return self.remembered.value(key, make)
        if self.writes:
            return make()
        if key not in self.memo:
            self.memo[key] = make()
        return cast("T", self.memo[key])

    def announce(self, event: object) -> None:
        """Tell the areas that subscribed to this type of event, now, inside this transaction."""
        for subscriber in self.subscribers.get(type(event), ()):
            subscriber(self, event)

    def record(self, entry: TrailEntry) -> None:
        """Add a trail record to what this unit makes durable."""
        self.entries.append(entry)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Call `callback` once the commit is durable; never after a rollback. It must not raise or wait."""
        self.committed.append(callback)

    @contextmanager
    def savepoint(self) -> Iterator[None]:
        """Undo what happens inside when it raises: rows, records, callbacks and remembered reads."""
        self._savepoints += 1
        name = f"unit_{self._savepoints}"
        entries, committed = len(self.entries), len(self.committed)
        self.connection.exec_driver_sql(f"SAVEPOINT {name}")
        try:
            yield
        except BaseException:
            self.connection.exec_driver_sql(f"ROLLBACK TO SAVEPOINT {name}")
            self.connection.exec_driver_sql(f"RELEASE SAVEPOINT {name}")
            self.memo.clear()
            del self.entries[entries:], self.committed[committed:]
            raise
        self.connection.exec_driver_sql(f"RELEASE SAVEPOINT {name}")


def call_back(unit: Unit) -> None:
    """Run a committed unit's callbacks, each whatever the others do: the change is kept, and the store goes on."""
    for callback in unit.committed:
        try:
            callback()
        except Exception:
            log.exception("a callback after a commit failed", action="callback_failed")
