"""The trail's table, and the sink that fills it inside the transactions of others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    RowMapping,
    String,
    Table,
    UniqueConstraint,
)

from turnlock.core.arn import AccountId, Region
from turnlock.core.record import TrailEntry
from turnlock.storage import Moment, Unit, metadata, micros
from turnlock.storage.database import Surroundings
from turnlock.trail.chain import Chain
from turnlock.trail.heads import held_key, save_head
from turnlock.trail.model import service_event

trail_records = Table(
    "trail_records",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("region", String(32), primary_key=True),
    Column("event_id", String(36), primary_key=True),
    Column("event_name", String(128), nullable=False),
    Column("at", Moment, nullable=False),
    Column("writer", String(64), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    UniqueConstraint("writer", "sequence"),
    Index("ix_trail_records_at", "account_id", "region", "at"),
)


class TrailTable:
    """One writer's sink (`storage.RecordSink`): rows of the transaction that made the change."""

    def __init__(self, writer: str) -> None:
        self._writer = writer
        self._begun: tuple[bytes, Chain] | None = None
        """The trail's key and the chain, once something was recorded for good."""

    def write(
        self, connection: Connection, entries: Sequence[TrailEntry], around: Surroundings
    ) -> Callable[[], None]:
        """Insert the entries, chained, and the chain's head; it moves here when the store says that they are committed."""
        if not entries:
            return _nothing
        if self._begun is None:
            key = held_key(connection, around.keyring, around.entropy, around.clock.now())
            begun = key, Chain(self._writer, key)
        else:
            begun = self._begun
        key, chain = begun
        rows = [_row(entry) for entry in entries]
        links = chain.extend([covered_bytes(row) for row in rows])
        for row, link in zip(rows, links, strict=True):
            row.update(writer=self._writer, sequence=link.sequence, digest=link.digest)
        connection.execute(trail_records.insert(), rows)
        save_head(connection, key, self._writer, links[-1])

        def committed() -> None:
            chain.advance(links)
            self._begun = begun

        return committed


def covered_bytes(row: Mapping[str, Any] | RowMapping) -> bytes:
    """Return what a row's digest covers: its record, and the columns that find it."""
    found = [row["account_id"], row["region"], row["event_id"], row["event_name"], micros(row["at"])]
    return msgspec.json.encode(found) + bytes(row["body"])


def _row(entry: TrailEntry) -> dict[str, Any]:
    return {
        "account_id": entry.account_id,
        "region": entry.region,
        "event_id": entry.event_id,
        "event_name": entry.event_name,
        "at": entry.at,
        "body": entry.body,
    }


def _nothing() -> None:
    """Advance nothing."""


def record_service_event(
    unit: Unit,
    *,
    account_id: AccountId,
    region: Region,
    name: str,
    secret_arn: str,
    request_id: str,
    error: str | None = None,
) -> None:
    """Record, in this unit, something that Turnlock did by itself; `error` must be free of values."""
    unit.record(
        service_event(
            account_id=account_id,
            region=region,
            name=name,
            secret_arn=secret_arn,
            request_id=request_id,
            at=unit.now,
            event_id=unit.entropy.bytes(16),
            error=error,
        )
    )
