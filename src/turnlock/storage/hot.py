"""Queries of the hot path: written in SQLAlchemy Core, compiled to SQL text once, run on the driver's cursor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from sqlite3 import Error as SqliteError
from typing import Any, cast

from psycopg import Error as PostgresqlError
from sqlalchemy import Dialect, Select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from turnlock.storage.unit import Unit


class HotQuery:
    """A SELECT compiled for each store at import. Rows come as the driver's tuples: moments are still microseconds.

    Worth its raw values only where a request cannot do without it: a Core execution costs about 21 µs, this about 8.
    """

    __slots__ = ("_compiled",)

    def __init__(self, statement: Select[Any]) -> None:
        dialects: tuple[Dialect, ...] = (
            sqlite.dialect(paramstyle="qmark"),
            postgresql.dialect(paramstyle="pyformat"),  # type: ignore[no-untyped-call]  # SQLAlchemy's own gap
        )
        self._compiled: dict[str, tuple[str, tuple[str, ...] | None, Mapping[str, object]]] = {}
        for dialect in dialects:
            compiled = statement.compile(dialect=dialect)
            names = tuple(cast("Sequence[str]", compiled.positiontup)) if compiled.positional else None
            literals = {name: value for name, value in compiled.params.items() if value is not None}
            self._compiled[dialect.name] = (str(compiled), names, literals)

    def rows(self, unit: Unit, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """Return every row; `parameters` are the names of the statement's bindparams.

        Raises DBAPIError, as a Core execution does: a lost serialisation conflict must be known as one.
        """
        if unit.remembered is None:
            return self.fresh(unit, parameters)
        key = (self, *parameters.items())
        rows = unit.remembered.find(key)
        if rows is None:
            rows = self.fresh(unit, parameters)
            unit.remembered.keep(key, rows)
        return rows

    def fresh(self, unit: Unit, parameters: Mapping[str, object]) -> list[tuple[Any, ...]]:
        """Return the same, asked of the store in any case and not remembered: for whole lists, which would fill a memory."""
        sql, names, literals = self._compiled[unit.dialect]
        if literals:  # values that the statement itself holds, such as a limit
            parameters = {**literals, **parameters}
        arguments = parameters if names is None else [parameters[name] for name in names]
        try:
            return cast("list[tuple[Any, ...]]", unit.driver.execute(sql, arguments).fetchall())
        except (SqliteError, PostgresqlError) as error:
            raise DBAPIError(sql, None, error, hide_parameters=True) from error
