"""Reading a list of secrets in its order from a position, at a bounded cost for each page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import BigInteger, ColumnElement, Select, func, select, tuple_, type_coerce

from turnlock.core.arn import AccountId, Region
from turnlock.secrets.model import Secret
from turnlock.secrets.store import secret_of
from turnlock.secrets.tables import SECRET_COLUMNS, secrets
from turnlock.storage import HotQuery, Unit, micros

SCAN: Final = 2_500
"""The most secrets that are read for one page."""

_SORT: Final = {
    "name": secrets.c.name,
    "created-date": secrets.c.created_at,
    "last-changed-date": secrets.c.last_changed_at,
    "last-accessed-date": secrets.c.last_accessed_at,
}
_FIELDS: Final = tuple(type_coerce(c, BigInteger) if c.name.endswith("_at") else c for c in SECRET_COLUMNS)


class Position(msgspec.Struct, array_like=True):
    """The end of a page: the last secret's sort value (microseconds; None where it has none) and name.

    Without a name it is before all secrets that have no sort value.
    """

    value: int | None
    name: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """The order of a list; secrets without a sort value come last, in either direction."""

    by: str
    """A SortBy of ListSecrets."""
    ascending: bool

    def position(self, secret: Secret) -> Position:
        """Return the position after a secret."""
        at = {
            "created-date": secret.created_at,
            "last-changed-date": secret.last_changed_at,
            "last-accessed-date": secret.last_accessed_at,
        }.get(self.by)
        return Position(None if at is None else micros(at), secret.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A part of the list that one index has in order."""

    columns: tuple[ColumnElement[Any], ...]
    """The columns that order it."""
    within: tuple[ColumnElement[bool], ...]
    """The condition that its secrets meet."""
    after: tuple[Any, ...] | None
    """It begins after these values of `columns`."""
    ascending: bool


def segments(order: Order, position: Position | None) -> Iterator[Segment]:
    """Yield the rest of a list after a position: one segment, or two where some secrets have no sort value."""
    column, name = _SORT[order.by], secrets.c.name
    if column is name:
        after = None if position is None else (position.name,)
        yield Segment(columns=(name,), within=(), after=after, ascending=order.ascending)
        return
    raw = type_coerce(column, BigInteger)
    nullable = bool(column.nullable)
    if position is None or position.value is not None:
        yield Segment(
            columns=(raw, name),
            within=(column.is_not(None),) if nullable else (),
            after=None if position is None else (position.value, position.name),
            ascending=order.ascending,
        )
        position = None
    if nullable:
        after = None if position is None or position.name is None else (position.name,)
        yield Segment(columns=(name,), within=(column.is_(None),), after=after, ascending=order.ascending)


_INDEXES_ALONE: Final = HotQuery(
    select(
        *(
            func.set_config(f"enable_{way}", "off", True)
            for way in ("seqscan", "bitmapscan", "hashjoin", "mergejoin")
        ),
        func.set_config("plan_cache_mode", "force_custom_plan", True),
    )
)


def keep_to_indexes(unit: Unit) -> None:
    """Make this transaction's queries use indexes only. SQLite always does.

    PostgreSQL assumes that searching a text is cheap (`procost` 1), and would rather search every row than look up a
    thousand names. Plans are made for the given values: a generic plan does not know how rare a term is.
    """
    if unit.dialect == "postgresql":
        _INDEXES_ALONE.rows(unit, {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """Reading one segment."""

    unit: Unit
    account_id: AccountId
    region: Region
    segment: Segment

    def rows(
        self, conditions: Sequence[ColumnElement[bool]], few: Select[Any] | None, *, limit: int
    ) -> tuple[list[Secret], Position | None]:
        """Return at most `limit` secrets that meet the conditions, and where the reading stopped.

        That is None at the segment's end, and where only `few` names are read.
        """
        statement = self._ordered(select(*_FIELDS), sort=few is not None)
        end = None
        if few is not None:
            statement = statement.where(secrets.c.name.in_(few))
        elif conditions:
            end = self._end()
            if end is not None:
                statement = statement.where(self._up_to(end))
        found = self.unit.connection.execute(statement.where(*conditions).limit(limit))
        position = None if end is None else Position(end[0] if len(end) == 2 else None, end[-1])
        return [secret_of(tuple(row)) for row in found], position

    def _end(self) -> tuple[Any, ...] | None:
        """Return the sort values of the SCANth secret from here; None when there are fewer."""
        row = self.unit.connection.execute(
            self._ordered(select(*self.segment.columns)).limit(1).offset(SCAN - 1)
        ).first()
        return None if row is None else tuple(row)

    def _ordered(self, statement: Select[Any], *, sort: bool = False) -> Select[Any]:
        """Return the statement on this segment, in its order.

        With `sort`, rows are sorted after they are found: else a planner might read the whole list in order for a few
        names.
        """
        segment = self.segment
        statement = statement.where(
            secrets.c.account_id == self.account_id, secrets.c.region == self.region, *segment.within
        )
        columns = [func.coalesce(column, column) if sort else column for column in segment.columns]
        if segment.after is not None:
            here, end = tuple_(*columns), tuple_(*segment.after)
            statement = statement.where(here > end if segment.ascending else here < end)
        return statement.order_by(*(c if segment.ascending else c.desc() for c in columns))

    def _up_to(self, end: tuple[Any, ...]) -> ColumnElement[bool]:
        """Return the condition for rows up to these values of the segment's columns."""
        here = tuple_(*self.segment.columns)
        return here <= tuple_(*end) if self.segment.ascending else here >= tuple_(*end)
