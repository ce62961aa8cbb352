"""The schema's shared ground: one MetaData, the type of moments, the database's clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import BigInteger, Boolean, Dialect, MetaData, TypeDecorator
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.sql.operators import OperatorType

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)
"""Every area's `store.py` declares its tables here; the migrations make them."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """Return an aware datetime as whole microseconds since 1970 (UTC); exact, unlike a float's."""
    return (at - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """Return the aware UTC datetime for microseconds since 1970."""
    return _EPOCH + timedelta(microseconds=value)


class Moment(TypeDecorator[datetime]):
    """An aware UTC datetime, stored as whole microseconds since 1970: the same bytes and order on every store."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002
        return None if value is None else micros(value)

    def process_result_value(self, value: int | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else moment(value)


class database_now(FunctionElement[int]):  # noqa: N801 (SQL functions are written in lower case)
    """The database's clock, in microseconds since 1970: the one clock that all holders of leases share."""

    type = BigInteger()
    inherit_cache = True


@compiles(database_now, "sqlite")
def _sqlite_now(_element: database_now, _compiler: Any, **_options: Any) -> str:
    return "CAST((julianday('now') - 2440587.5) * 86400000000 AS INTEGER)"


@compiles(database_now, "postgresql")
def _postgresql_now(_element: database_now, _compiler: Any, **_options: Any) -> str:
    return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)"


class position_in(FunctionElement[int]):  # noqa: N801 (as above)
    """Where a text begins in another, counted from 1; 0 when it is not there. Takes (text, what to look for)."""

    type = BigInteger()
    inherit_cache = True


@compiles(position_in, "sqlite")
def _sqlite_position(element: position_in, compiler: Any, **options: Any) -> str:
    return f"instr({compiler.process(element.clauses, **options)})"


@compiles(position_in, "postgresql")
def _postgresql_position(element: position_in, compiler: Any, **options: Any) -> str:
    return f"strpos({compiler.process(element.clauses, **options)})"


class among(FunctionElement[bool]):  # noqa: N801 (as above)
    """Whether a text is one of many. Takes (text, a parameter that holds what `many` makes of them).

    Unlike IN, the statement is the same however many there are: compiled once, and one parameter to send.
    """

    type = Boolean()
    inherit_cache = True

    def self_group(self, against: OperatorType | None = None) -> among:  # noqa: ARG002 (SQLAlchemy names it)
        """Return this as it is: SQLAlchemy would ask SQLite whether it equals 1, and no index answers that."""
        return self


@compiles(among, "sqlite")
def _sqlite_among(element: among, compiler: Any, **options: Any) -> str:
    one, several = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{one} IN (SELECT value FROM json_each({several}))"  # noqa: S608 (compiled clauses, no values)


@compiles(among, "postgresql")
def _postgresql_among(element: among, compiler: Any, **options: Any) -> str:
    one, several = (compiler.process(clause, **options) for clause in element.clauses)
    return f"{one} = ANY({several})"


def many(dialect: str, texts: Sequence[str]) -> object:
    """Return texts as the one value of `among`'s parameter."""
    return list(texts) if dialect == "postgresql" else msgspec.json.encode(texts).decode()
