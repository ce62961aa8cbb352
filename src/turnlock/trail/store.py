"""The trail's table, and the sink that fills it inside the transactions of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import BigInteger, Column, Connection, Index, LargeBinary, String, Table, UniqueConstraint

from turnlock.core.arn import AccountId, Region
from turnlock.core.record import TrailEntry
from turnlock.storage import Moment, Unit, metadata
from turnlock.trail.chain import Chain
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
        self._chain = Chain(writer)

    def write(self, connection: Connection, entries: Sequence[TrailEntry]) -> Callable[[], None]:
        """Insert the entries, chained; the chain's head moves when the store says that they are committed."""
        links = self._chain.extend([entry.body for entry in entries])
        if entries:
            connection.execute(
                trail_records.insert(),
                [
                    {
                        "account_id": entry.account_id,
                        "region": entry.region,
                        "event_id": entry.event_id,
                        "event_name": entry.event_name,
                        "at": entry.at,
                        "writer": self._chain.writer,
                        "sequence": link.sequence,
                        "digest": link.digest,
                        "body": entry.body,
                    }
                    for entry, link in zip(entries, links, strict=True)
                ],
            )
        return lambda: self._chain.advance(links)


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
