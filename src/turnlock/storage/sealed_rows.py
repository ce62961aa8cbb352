"""Rows under a MAC: over the table's name and every column that decides something, so that no row can be edited or moved.

    1. Whoever writes a row writes it as `sealed` gives it, or by `insert` and `change`.
    2. Whoever reads one checks it before it decides by it.
    3. A column that is `free` is not covered: it is written without the rest being read, and decides nothing. SECURITY.md lists
       these columns, and a test holds the list.
    4. Bytes are covered by their SHA-256: a value of 64 KiB costs a hash and no copy.

What a MAC does not tell: that a row is gone, or that it is an older one of the same place.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, RowMapping, Table, insert, select, update

from turnlock.core.ports import RootKeyring
from turnlock.storage.alarms import broken
from turnlock.storage.schema import micros
from turnlock.storage.unit import Unit

PURPOSE: Final = "row"
"""Of the MACs, for the root keyring."""

Row = Mapping[str, Any] | RowMapping


class SealedRows:
    """The rows of one table, which has a column `mac`."""

    def __init__(self, table: Table, *, free: Collection[str] = ()) -> None:
        self.table = table
        self._covered = tuple(column.name for column in table.c if column.name not in {"mac", *free})

    def mac(self, keyring: RootKeyring, row: Row) -> bytes:
        """Return the MAC that a row must have; values as either store's driver or SQLAlchemy gives them or takes them."""
        values = [_plain(row[name]) for name in self._covered]
        return keyring.mac(PURPOSE, msgspec.json.encode([str(self.table.name), *values]))

    def fits(self, keyring: RootKeyring, row: Row) -> bool:
        """Tell whether a row has the MAC that it must have."""
        return row["mac"] is not None and hmac.compare_digest(self.mac(keyring, row), bytes(row["mac"]))

    def check(self, unit: Unit, row: Row) -> None:
        """Raise SealBroken, with a line in the log, unless a row is as this server wrote it."""
        if not self.fits(unit.keyring, row):
            place = {column.name: str(row[column.name]) for column in self.table.primary_key.columns}
            broken(f"A row of {self.table.name}", table=self.table.name, **place)

    def sealed(self, unit: Unit, row: Row) -> dict[str, Any]:
        """Return a row with its MAC, ready to be written; a covered column that it lacks is NULL."""
        whole = {**dict.fromkeys(self._covered), **row}
        return {**whole, "mac": self.mac(unit.keyring, whole)}

    def insert(self, unit: Unit, row: Row) -> None:
        """Insert a row with its MAC."""
        unit.connection.execute(insert(self.table).values(self.sealed(unit, row)))

    def change(self, unit: Unit, where: Sequence[ColumnElement[bool]], **values: Any) -> bool:
        """Change some columns of one row; False where there is none.

        The row is checked first, so that nothing forged becomes good. Raises SealBroken.
        """
        found = unit.connection.execute(select(self.table).where(*where)).mappings().first()
        if found is None:
            return False
        self.check(unit, found)
        mac = self.mac(unit.keyring, {**found, **values})
        unit.connection.execute(update(self.table).where(*where).values(**values, mac=mac))
        return True


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return micros(value)
    if isinstance(value, bool):
        return int(value)
    return hashlib.sha256(value).hexdigest() if isinstance(value, bytes | memoryview) else value
