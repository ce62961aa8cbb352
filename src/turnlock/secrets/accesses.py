"""LastAccessedDate: the day on which a secret was last read, without a write for each read.

The first read of a version on a day is announced as an event. `AccessNotes` keeps it in memory, and a background loop
writes what is kept a few times a second. Answers of this process include what is not written yet; other processes see
it after the write. A process that crashes loses what it kept. That costs nothing else: the trail has every read, and
the next read of the day is announced again.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import Final

from sqlalchemy import bindparam, or_, update

from turnlock.core.arn import AccountId, Region
from turnlock.secrets.model import Secret, Version
from turnlock.secrets.tables import OWNER, secret_versions, secrets
from turnlock.storage import Database, Unit
from turnlock.storage.unit import Subscribers

FLUSH_SECONDS: Final = 0.2
"""How long the first read of a quiet time waits to be written, at most."""

REST_SECONDS: Final = 2.0
"""The wait after a write: each one makes every process of the store forget the rows that it remembers."""

BATCH: Final = 500
"""Accesses written in one transaction. A short transaction lets others write soon."""

MOST_KEPT: Final = 100_000
"""Accesses kept in memory while the store takes none; beyond it they are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRead:
    """A version was read for the first time on a day."""

    account_id: AccountId
    region: Region
    name: str
    suffix: str
    version_id: str
    day: datetime
    """Midnight, UTC."""


def note_access(unit: Unit, secret: Secret, version: Version) -> None:
    """Announce a read of a version, unless the store has one of this day. Usually this is one comparison."""
    known = version.last_accessed_at
    if known is None or known.date() < unit.now.date():
        unit.announce(
            VersionRead(
                account_id=secret.account_id,
                region=secret.region,
                name=secret.name,
                suffix=secret.suffix,
                version_id=version.version_id,
                day=unit.now.replace(hour=0, minute=0, second=0, microsecond=0),
            )
        )


OwnerKey = tuple[AccountId, Region, str, str]
"""Account, Region, name and suffix of a secret."""

NotedReads = Mapping[OwnerKey, Mapping[str, datetime]]
"""By secret and version id: the newest day on which a read was noted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadsAsked:
    """Asks the subscribers which reads of these secrets they have noted, including those that are not written yet."""

    secrets: tuple[OwnerKey, ...]
    found: dict[OwnerKey, dict[str, datetime]] = field(default_factory=dict)
    """The subscriber's answer."""


def owner_key(secret: Secret) -> OwnerKey:
    """Return the key of a secret in `NotedReads`."""
    return secret.account_id, secret.region, secret.name, secret.suffix


def noted_reads(unit: Unit, secrets_: Sequence[Secret]) -> NotedReads:
    """Return the reads of secrets that this process has noted; they may not be in the store yet."""
    asked = ReadsAsked(secrets=tuple(map(owner_key, secrets_)))
    unit.announce(asked)
    return asked.found


def last_read(secret: Secret, noted: NotedReads) -> datetime | None:
    """Return the day on which a secret was last read, from the store and from what is noted."""
    found = secret.last_accessed_at
    for day in noted.get(owner_key(secret), {}).values():
        found = later(found, day)
    return found


def later(one: datetime | None, other: datetime | None) -> datetime | None:
    """Return the later of two moments; None is earlier than any."""
    return max((at for at in (one, other) if at is not None), default=None)


class AccessNotes:
    """The accesses that one process has seen and not written yet. Any thread may note and ask; one flushes.

    What was written is remembered until the flush after the next: a unit of work that began before may not see it in the store.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._noted: dict[VersionRead, None] = {}
        self._written: tuple[list[VersionRead], list[VersionRead]] = ([], [])
        """The batches of the last two flushes, the newer one first."""
        self._days: dict[OwnerKey, dict[str, datetime]] = {}
        """The days in `_written`, by secret and version."""

    def subscribers(self) -> Subscribers:
        """Return the events to subscribe to, with their subscribers."""
        return {VersionRead: (self.note,), ReadsAsked: (self.tell,)}

    def note(self, _unit: Unit, access: VersionRead) -> None:
        """Keep an access. Subscribes to VersionRead."""
        with self._lock:
            if access in self._noted or len(self._noted) >= MOST_KEPT:
                return
            self._noted[access] = None
            self._remember(access)

    def tell(self, _unit: Unit, asked: ReadsAsked) -> None:
        """Answer a question. Subscribes to ReadsAsked."""
        with self._lock:
            for key in asked.secrets:
                if key in self._days:
                    asked.found[key] = dict(self._days[key])

    def flush(self, database: Database) -> float:
        """Write what was noted; return how many seconds to wait before the next time. What cannot be written is dropped."""
        with self._lock:
            batch = list(islice(self._noted, BATCH))
            for access in batch:
                del self._noted[access]
            gone, self._written = self._written[1], (batch, self._written[0])
            if gone:
                self._days = {}
                for access in (*self._written[1], *batch, *self._noted):
                    self._remember(access)
        if batch:
            database.write(lambda unit: _write(unit, batch))
        if len(batch) == BATCH:
            return 0.0
        return REST_SECONDS if batch else FLUSH_SECONDS

    def _remember(self, access: VersionRead) -> None:
        days = self._days.setdefault((access.account_id, access.region, access.name, access.suffix), {})
        days[access.version_id] = max(access.day, days.get(access.version_id, access.day))


_OWNED: Final = {f"_{name}": name for name in OWNER}
_VERSION_READ: Final = (
    update(secret_versions)
    .where(
        *(secret_versions.c[name] == bindparam(bound) for bound, name in _OWNED.items()),
        secret_versions.c.version_id == bindparam("_version_id"),
        or_(
            secret_versions.c.last_accessed_at.is_(None),
            secret_versions.c.last_accessed_at < bindparam("_day"),
        ),
    )
    .values(last_accessed_at=bindparam("_day"))
)
_SECRET_READ: Final = (
    update(secrets)
    .where(
        *(secrets.c[name] == bindparam(bound) for bound, name in _OWNED.items()),
        secrets.c.suffix == bindparam("_suffix"),
        or_(secrets.c.last_accessed_at.is_(None), secrets.c.last_accessed_at < bindparam("_day")),
    )
    .values(last_accessed_at=bindparam("_day"))
)


def _write(unit: Unit, batch: list[VersionRead]) -> None:
    owned = [
        {"_account_id": read.account_id, "_region": read.region, "_name": read.name, "_day": read.day}
        for read in batch
    ]
    unit.connection.execute(
        _SECRET_READ, [{**row, "_suffix": read.suffix} for row, read in zip(owned, batch, strict=True)]
    )
    unit.connection.execute(
        _VERSION_READ,
        [{**row, "_version_id": read.version_id} for row, read in zip(owned, batch, strict=True)],
    )
