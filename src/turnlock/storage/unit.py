"""The unit of work: everything an action may touch, for as long as one transaction lasts."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from turnlock.core.ports import Entropy, RootKeyring
from turnlock.core.record import TrailEntry

Subscribers = Mapping[type, Sequence[Callable[["Unit", Any], None]]]
"""By the type of a domain event: the functions that areas registered for it, in order."""


@dataclass(slots=True, kw_only=True)
class Unit:
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
    subscribers: Subscribers = field(default_factory=dict)
    memo: dict[Hashable, Any] = field(default_factory=dict)
    """What this unit has read and may read again; whoever changes a row forgets its entry."""
    entries: list[TrailEntry] = field(default_factory=list)
    """Trail records that must be durable before the answer leaves."""
    committed: list[Callable[[], None]] = field(default_factory=list)
    _savepoints: int = 0

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
