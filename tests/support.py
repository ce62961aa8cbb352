"""What the tests of several rooms share: clocks that can be set, and stores that can be opened more than once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from turnlock.core.arn import Region
from turnlock.core.ports import Clock, RootKeyring, SystemClock, SystemEntropy
from turnlock.root_keys import Keyring, draw_root_key
from turnlock.storage import Database, open_database
from turnlock.storage.database import NoRecords, RecordSink, Surroundings
from turnlock.storage.unit import Subscribers

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class SettableClock:
    """A clock that stands still until it is told to move."""

    def __init__(self, now: datetime = NOON) -> None:
        self._now = now

    def now(self) -> datetime:
        return self._now

    def set(self, now: datetime) -> None:
        self._now = now

    def advance(self, span: timedelta) -> None:
        self._now += span


def fresh_keyring() -> Keyring:
    """Return a keyring over a new root key."""
    entropy = SystemEntropy()
    return Keyring([draw_root_key(entropy, NOON)], entropy)


@dataclass(kw_only=True)
class StorePlace:
    """One empty, migrated store of a test: each `open` is another node on it, and all are closed after the test."""

    url: str | None
    data_dir: Path
    keyring: RootKeyring = field(default_factory=fresh_keyring)
    opened: list[Database] = field(default_factory=list)

    @property
    def dialect(self) -> str:
        return "sqlite" if self.url is None else "postgresql"

    def open(
        self,
        *,
        clock: Clock | None = None,
        keyring: RootKeyring | None = None,
        subscribers: Subscribers | None = None,
        sink: Callable[[], RecordSink] = NoRecords,
        regions: frozenset[Region] = frozenset(),
    ) -> Database:
        """Open the store: on the machine's clock and this place's keyring unless others are given."""
        surroundings = Surroundings(
            clock=clock or SystemClock(),
            entropy=SystemEntropy(),
            keyring=keyring or self.keyring,
            subscribers=subscribers or {},
            regions=regions,
            sink=sink,
        )
        database = open_database(url=self.url, data_dir=self.data_dir, surroundings=surroundings)
        self.opened.append(database)
        return database

    def close(self) -> None:
        while self.opened:
            self.opened.pop().close()
