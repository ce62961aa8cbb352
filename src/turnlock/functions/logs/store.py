"""Log lines in their table: appended in batches, read in order, removed by age and number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import BigInteger, Column, ColumnElement, Index, String, Table, Text, delete, func, select

from turnlock.core.arn import AccountId, Region
from turnlock.functions.model import LogBatch
from turnlock.storage import Moment, Unit, metadata, micros

KEPT_DAYS: Final = 14
KEPT_LINES: Final = 20_000
"""Of one group."""

function_logs = Table(
    "function_logs",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("region", String(32), primary_key=True),
    Column("log_group", String(128), primary_key=True),
    Column("stream", String(256), primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("at", Moment, nullable=False),
    Column("message", Text, nullable=False),
    Index("ix_function_logs_at", "account_id", "region", "log_group", "position"),
)
"""`position` orders the lines of a group: the microsecond of a batch, then the line in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a log."""

    stream: str
    position: int
    at: datetime
    message: str


def append(unit: Unit, batches: Iterable[LogBatch]) -> None:
    """Append the lines of invocations."""
    rows = [
        {
            "account_id": batch.account_id,
            "region": batch.region,
            "log_group": batch.group,
            "stream": batch.stream,
            "position": micros(batch.at) * 1000 + min(number, 999),
            "at": batch.at,
            "message": message,
        }
        for batch in batches
        for number, message in enumerate(_within_a_batch(batch.messages))
    ]
    if rows:
        unit.connection.execute(function_logs.insert(), rows)


def _within_a_batch(messages: Sequence[str]) -> Sequence[str]:
    """Return at most 1000 lines, the first and the last ones: a position has three digits for them."""
    if len(messages) <= _BATCH:
        return messages
    half = _BATCH // 2
    return [*messages[: half - 1], f"[{len(messages) - _BATCH + 1} lines left out]", *messages[-half:]]


def groups(unit: Unit, account_id: AccountId, region: Region, prefix: str) -> list[tuple[str, datetime, int]]:
    """Return the groups whose names begin with `prefix`: name, first line's moment, characters."""
    found = unit.connection.execute(
        select(
            function_logs.c.log_group,
            func.min(function_logs.c.at),
            func.sum(func.length(function_logs.c.message)),
        )
        .where(
            function_logs.c.account_id == account_id,
            function_logs.c.region == region,
            function_logs.c.log_group.startswith(prefix, autoescape=True),
        )
        .group_by(function_logs.c.log_group)
        .order_by(function_logs.c.log_group)
    )
    return [(row[0], row[1], int(row[2])) for row in found]


def streams(
    unit: Unit, account_id: AccountId, region: Region, group: str
) -> list[tuple[str, datetime, datetime]]:
    """Return the streams of a group: name, moments of the first and the last line."""
    found = unit.connection.execute(
        select(function_logs.c.stream, func.min(function_logs.c.at), func.max(function_logs.c.at))
        .where(*_in_group(account_id, region, group))
        .group_by(function_logs.c.stream)
        .order_by(function_logs.c.stream)
    )
    return [(row[0], row[1], row[2]) for row in found]


def lines(
    unit: Unit,
    account_id: AccountId,
    region: Region,
    group: str,
    *,
    where: Sequence[ColumnElement[bool]] = (),
    after: int | None = None,
    before: int | None = None,
    limit: int,
    newest: bool = False,
) -> list[Line]:
    """Return up to `limit` lines in order: the oldest that meet the conditions, or the `newest`."""
    statement = select(function_logs).where(*_in_group(account_id, region, group), *where)
    if after is not None:
        statement = statement.where(function_logs.c.position > after)
    if before is not None:
        statement = statement.where(function_logs.c.position < before)
    order = function_logs.c.position.desc() if newest else function_logs.c.position
    rows = unit.connection.execute(statement.order_by(order, function_logs.c.stream).limit(limit)).all()
    return [_line(row) for row in (reversed(rows) if newest else rows)]


def prune(unit: Unit) -> None:
    """Remove lines that are older than KEPT_DAYS, and those of a group beyond its newest KEPT_LINES."""
    oldest = unit.now - timedelta(days=KEPT_DAYS)
    unit.connection.execute(delete(function_logs).where(function_logs.c.position < micros(oldest) * 1000))
    owner = (function_logs.c.account_id, function_logs.c.region, function_logs.c.log_group)
    crowded = select(*owner).group_by(*owner).having(func.count() > KEPT_LINES)
    for account_id, region, group in unit.connection.execute(crowded).all():
        last = unit.connection.execute(
            select(function_logs.c.position)
            .where(*_in_group(account_id, region, group))
            .order_by(function_logs.c.position.desc())
            .offset(KEPT_LINES)
            .limit(1)
        ).scalar_one()
        unit.connection.execute(
            delete(function_logs).where(
                *_in_group(account_id, region, group), function_logs.c.position <= last
            )
        )


def _line(row: Any) -> Line:
    return Line(stream=row.stream, position=row.position, at=row.at, message=row.message)


def _in_group(account_id: str, region: str, group: str) -> tuple[ColumnElement[bool], ...]:
    return (
        function_logs.c.account_id == account_id,
        function_logs.c.region == region,
        function_logs.c.log_group == group,
    )


_BATCH: Final = 1000
