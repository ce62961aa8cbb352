"""MACs of whole rows: over the table's name and every column but the MAC itself, so that no row can be edited or moved."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Table

from turnlock.core.ports import RootKeyring
from turnlock.keys.alarms import broken
from turnlock.storage import Unit, micros

PURPOSE = "kms-row"


def row_mac(keyring: RootKeyring, table: Table, row: Mapping[str, Any]) -> bytes:
    """Return the MAC that a row must have; moments may be datetimes or microseconds, other values texts or integers."""
    values = [_plain(row[column.name]) for column in table.c if column.name != "mac"]
    return keyring.mac(PURPOSE, msgspec.json.encode([str(table.name), *values]))


def signed(unit: Unit, table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a whole row with its MAC, ready to be written."""
    return {**row, "mac": row_mac(unit.keyring, table, row)}


def check_row(unit: Unit, table: Table, row: Mapping[str, Any]) -> None:
    """Raise SealBroken, with a line in the log, unless a row is as this server wrote it."""
    if hmac.compare_digest(row_mac(unit.keyring, table, row), bytes(row["mac"])):
        return
    place = {column.name: str(row[column.name]) for column in table.primary_key.columns}
    broken(f"A row of {table.name}", table=table.name, **place)


def _plain(value: object) -> object:
    return micros(value) if isinstance(value, datetime) else value
