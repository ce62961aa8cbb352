"""MACs of whole rows: over the table's name and every column but the MAC itself, so that no row can be edited or moved."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
import structlog
from sqlalchemy import Table

from turnlock.core.ports import RootKeyring
from turnlock.errors import SealBroken
from turnlock.storage import Unit, micros

log = structlog.get_logger(__name__)

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
    place = {column.name: row[column.name] for column in table.primary_key.columns}
    log.error("a row is not what was written", action="seal_broken", table=table.name, **place)
    raise SealBroken(f"A row of {table.name} was not written by this server.")


def _plain(value: object) -> object:
    return micros(value) if isinstance(value, datetime) else value
