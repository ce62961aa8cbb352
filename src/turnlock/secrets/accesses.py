"""When a secret was last read, to the day, without a write for each read.

A read that is the first of its day announces it; the process keeps that in memory, and a loop writes what was kept every
few seconds. What a process did not come to write is lost, and that is harmless: the trail has every read, and the next
one of the day is announced again.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, or_, update

from turnlock.core.arn import AccountId, Region
from turnlock.secrets.model import Secret, Version
from turnlock.secrets.tables import OWNER, secret_versions, secrets
from turnlock.storage import Database, Unit

FLUSH_SECONDS: Final = 2.0
BATCH: Final = 500
"""Accesses written in one transaction: short enough that nobody waits for it."""

MOST_KEPT: Final = 100_000
"""Accesses kept in memory while the store takes none; beyond it they are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRead:
    """A version was read for the first time on a day, as far as the store knows."""

    account_id: AccountId
    region: Region
    name: str
    suffix: str
    version_id: str
    day: datetime
    """Midnight, UTC."""


def note_access(unit: Unit, secret: Secret, version: Version) -> None:
    """Announce a read of a version unless the store knows of one on this day. On the hot path: mostly one comparison."""
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


class AccessNotes:
    """The accesses that one process has seen and not written yet. Any thread may note; one flushes."""

    def __init__(self) -> None:
        self._noted: set[VersionRead] = set()

    def note(self, _unit: Unit, access: VersionRead) -> None:
        """Keep an access; a subscriber's form."""
        if len(self._noted) < MOST_KEPT:
            self._noted.add(access)

    def flush(self, database: Database) -> float:
        """Write what was noted; return how many seconds to wait before the next time."""
        batch = [self._noted.pop() for _ in range(min(BATCH, len(self._noted)))]
        if batch:
            database.write(lambda unit: _write(unit, batch))
        return FLUSH_SECONDS if len(batch) < BATCH else 0.0


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
