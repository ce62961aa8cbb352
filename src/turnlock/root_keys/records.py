"""Rows whose whole value is in `body`, under a MAC that is checked on reading.

    1. The MAC covers the table's name and the body: a row is not valid in another table.
    2. The body has its account and its keys, which are compared with the row's columns: a row is not valid under another key.

Whoever can write the store can therefore delete a row or put back an older one. Nothing else goes unnoticed.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec
from sqlalchemy import ColumnElement, Table, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from turnlock.errors import ApiError
from turnlock.root_keys.macs import RootMacs
from turnlock.storage import Unit
from turnlock.storage.alarms import broken

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Records(Generic[T]):
    """The rows of one table as values of type T."""

    table: Table
    kind: type[T]
    columns: Callable[[T], Mapping[str, object]]
    """The columns beside body and mac that a value has, `account_id` among them."""

    def read(self, unit: Unit, body: str, mac: bytes, **found: object) -> T:
        """Return the value of a row; `found` are columns of it that must fit the value. Raises SealBroken."""
        if not hmac.compare_digest(self._mac(unit, body), bytes(mac)):
            broken(f"A row of {self.table.name}")
        value = msgspec.json.decode(body, type=self.kind)
        columns = self.columns(value)
        if any(columns[name] != column for name, column in found.items()):
            broken(f"A row of {self.table.name} in another's place: it")
        return value

    def all(self, unit: Unit, *where: ColumnElement[bool], most: int | None = None) -> list[T]:
        """Return the values of all rows that meet `where`, or of the first `most`, in the order of the table's key.

        Raises SealBroken.
        """
        statement = select(self.table).where(*where).order_by(*self.table.primary_key.columns).limit(most)
        found = []
        for row in unit.connection.execute(statement).mappings():
            columns = dict(row)
            found.append(self.read(unit, columns.pop("body"), columns.pop("mac"), **columns))
        return found

    def behind(
        self,
        unit: Unit,
        column: ColumnElement[str],
        after: str | None,
        most: int,
        *where: ColumnElement[bool],
    ) -> list[T]:
        """Return the first `most` values that meet `where` and whose key, of which `column` is the last part, comes after `after`."""
        beyond = () if after is None else (column > after,)
        return self.all(unit, *where, *beyond, most=most)

    def count(self, unit: Unit, *where: ColumnElement[bool]) -> int:
        """Return how many rows meet `where`, without reading what is in them: what counts decides nothing."""
        return unit.connection.execute(
            select(func.count()).select_from(self.table).where(*where)
        ).scalar_one()

    def find(self, unit: Unit, **keys: object) -> T | None:
        """Return the value whose columns are these, or None. Raises SealBroken."""
        # No name has a NUL, and PostgreSQL takes none in a text: what a caller wrote may have one.
        if any(isinstance(key, str) and "\0" in key for key in keys.values()):
            return None
        return next(iter(self.all(unit, *self._where(keys))), None)

    def insert(self, unit: Unit, value: T, *, taken: ApiError) -> None:
        """Insert a value. Raises `taken` where its key exists: each service has its own error."""
        try:
            with unit.savepoint():
                unit.connection.execute(insert(self.table).values(**self._row(unit, value)))
        except IntegrityError:
            raise taken from None

    def replace(self, unit: Unit, before: T, after: T) -> None:
        """Write a value over the one that was read before."""
        statement = update(self.table).where(*self._where(self._key(before)))
        unit.connection.execute(statement.values(**self._row(unit, after)))

    def delete(self, unit: Unit, value: T) -> None:
        """Delete a value's row."""
        unit.connection.execute(delete(self.table).where(*self._where(self._key(value))))

    def _row(self, unit: Unit, value: T) -> dict[str, object]:
        body = msgspec.json.encode(value, order="deterministic").decode()
        return {**self.columns(value), "body": body, "mac": self._mac(unit, body)}

    def _key(self, value: T) -> dict[str, object]:
        columns = self.columns(value)
        return {column.name: columns[column.name] for column in self.table.primary_key.columns}

    def _where(self, keys: Mapping[str, object]) -> Iterable[ColumnElement[bool]]:
        return [self.table.c[name] == value for name, value in keys.items()]

    def _mac(self, unit: Unit, body: str) -> bytes:
        return body_mac(unit, self.table, body)


def root_macs_of(table: Table) -> RootMacs:
    """Return what a rotation of the root key needs for a table of records."""
    return RootMacs(table=table, mac_of=lambda unit, row: body_mac(unit, table, row["body"]))


def body_mac(unit: Unit, table: Table, body: str) -> bytes:
    """Return the MAC that a row with this body must have."""
    return unit.keyring.mac(_PURPOSE, f"{table.name}\0{body}".encode())


_PURPOSE: Final = "iam-row"

Row = Mapping[str, Any]
