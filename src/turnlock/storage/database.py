"""The surface of a store, and the choice between the two."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar, cast

import msgspec
from sqlalchemy import Connection

from turnlock.core.arn import Region
from turnlock.core.ports import Clock, Entropy, RootKeyring
from turnlock.core.record import TrailEntry
from turnlock.storage.unit import Subscribers, Unit

T = TypeVar("T")


class RecordSink(Protocol):
    """Where a transaction's trail records go: rows of the same transaction."""

    def write(
        self, connection: Connection, entries: Sequence[TrailEntry], around: Surroundings
    ) -> Callable[[], None]:
        """Insert the entries in order, under the keyring of `around`; the store calls what is returned once they are committed, and only then."""
        ...


class NoRecords:
    """A sink for stores that are used before or without a trail (migrations, tests of one room)."""

    def write(
        self,
        connection: Connection,  # noqa: ARG002
        entries: Sequence[TrailEntry],  # noqa: ARG002
        around: Surroundings,  # noqa: ARG002
    ) -> Callable[[], None]:
        """Drop the entries."""
        return lambda: None


class Outcome(msgspec.Struct, Generic[T]):
    """What became of one unit of work."""

    value: T | None
    failure: Exception | None
    entries: list[TrailEntry]
    """The unit's trail records; empty after a failure."""

    def result(self) -> T:
        """Return the value, or raise the failure."""
        if self.failure is not None:
            raise self.failure
        return cast("T", self.value)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """What a store is given from outside: time, randomness, the root keyring, subscribers, Regions, and the trail."""

    clock: Clock
    entropy: Entropy
    keyring: RootKeyring
    subscribers: Subscribers = field(default_factory=dict)
    regions: frozenset[Region] = frozenset()
    """The Regions that this deployment serves, as its units tell whoever asks."""
    sink: Callable[[], RecordSink] = NoRecords
    """Makes the sink of one writer: a hash chain has one writer."""


class Database(Protocol):
    """A place to run units of work.

    A unit that raises leaves nothing behind. What `submit` promises (its Future resolves) is durable: it survives the
    loss of the process and of the machine's power.
    """

    @property
    def dialect(self) -> str:
        """`sqlite` or `postgresql`."""
        ...

    @property
    def reads_inline(self) -> bool:
        """Whether a read is quick enough to run on the event loop's own thread."""
        ...

    def read(self, work: Callable[[Unit], T]) -> T:
        """Run `work` on one snapshot, in this thread; it cannot write."""
        ...

    def read_each(self, works: Sequence[Callable[[Unit], T]]) -> list[Outcome[T]]:
        """Run each of `works` in a unit of its own, in order, in this thread: what one raises is its own outcome.

        Each sees every commit from before this call; some may share a snapshot.
        """
        ...

    def submit(self, work: Callable[[Unit], T]) -> Future[T]:
        """Queue `work` for a durable commit. The Future holds its result, what it raised, or CommitFailed."""
        ...

    def write(self, work: Callable[[Unit], T]) -> T:
        """Run `work` to its durable commit and return its result; waits."""
        ...

    def close(self) -> None:
        """Finish what is queued and let go of the store."""
        ...


def open_database(*, url: str | None, data_dir: Path, surroundings: Surroundings) -> Database:
    """Open the PostgreSQL store at `url`, or the SQLite store inside `data_dir` when there is none.

    Raises ConfigurationError when the store cannot be opened, SchemaTooNew when a newer Turnlock has migrated it.
    The schema is brought up to date first.
    """
    from turnlock.storage.postgresql import PostgresqlDatabase  # noqa: PLC0415 (each driver only where it is used)
    from turnlock.storage.sqlite import SqliteDatabase  # noqa: PLC0415

    if url is not None:
        return PostgresqlDatabase(url, surroundings)
    return SqliteDatabase(data_dir / "turnlock.db", surroundings)
