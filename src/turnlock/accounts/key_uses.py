"""When an access key was last used, to the quarter of an hour, without a write for each request.

A use that is the first of its quarter announces itself; the process keeps that in memory, and a loop writes what was kept.
What a process did not come to write is lost, and that is harmless: the trail has every request.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import bindparam, or_, update

from turnlock.accounts.model import Credential
from turnlock.accounts.store import access_keys
from turnlock.core.arn import AccountId, Region
from turnlock.storage import Database, Unit

QUARTER: Final = timedelta(minutes=15)
"""How old a stored use may be before the next one is written."""

FLUSH_SECONDS: Final = 2.0
MOST_KEPT: Final = 10_000
"""Uses kept in memory while the store takes none; beyond it they are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyUsed:
    """A long-term access key was used, and the store knows of no use in the last quarter of an hour."""

    account_id: AccountId
    access_key_id: str
    at: datetime
    region: Region
    service: str


def note_use(unit: Unit, credential: Credential, *, region: Region, service: str) -> None:
    """Announce a use of a long-term key unless the store knows of a recent one. On the hot path: one comparison."""
    known = credential.last_used
    if credential.session.created_at is None and (known is None or unit.now - known.at >= QUARTER):
        unit.announce(
            KeyUsed(
                account_id=credential.principal.account_id,
                access_key_id=credential.session.access_key_id,
                at=unit.now,
                region=region,
                service=service,
            )
        )


class KeyUses:
    """The uses that one process has seen and not written yet. Any thread may note; one flushes."""

    def __init__(self) -> None:
        self._noted: dict[str, KeyUsed] = {}

    def note(self, _unit: Unit, use: KeyUsed) -> None:
        """Keep a use; a subscriber's form."""
        if len(self._noted) < MOST_KEPT:
            self._noted.setdefault(use.access_key_id, use)

    def flush(self, database: Database) -> float:
        """Write what was noted; return how many seconds to wait before the next time."""
        batch = [self._noted.pop(key) for key in list(self._noted)]
        if batch:
            database.write(lambda unit: _write(unit, batch))
        return FLUSH_SECONDS


_USED: Final = (
    update(access_keys)
    .where(
        access_keys.c.account_id == bindparam("_account_id"),
        access_keys.c.access_key_id == bindparam("_access_key_id"),
        or_(access_keys.c.last_used_at.is_(None), access_keys.c.last_used_at < bindparam("_at")),
    )
    .values(
        last_used_at=bindparam("_at"),
        last_used_region=bindparam("_region"),
        last_used_service=bindparam("_service"),
    )
)


def _write(unit: Unit, batch: list[KeyUsed]) -> None:
    unit.connection.execute(
        _USED,
        [
            {
                "_account_id": use.account_id,
                "_access_key_id": use.access_key_id,
                "_at": use.at,
                "_region": use.region,
                "_service": use.service,
            }
            for use in batch
        ],
    )
