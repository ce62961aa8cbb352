"""What a rotation of the root key must know of each table whose rows have a MAC, or a key, under it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, Table

from turnlock.storage import SealedRows, Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class RootMacs:
    """One table whose rows have a MAC under the root key."""

    table: Table
    mac_of: Callable[[Unit, Mapping[str, Any]], bytes]
    """Returns the MAC that a row of `rows` must have, by the unit's keyring."""
    rows: Select[Any] | None = None
    """Reads every row with its key, its MAC, and what `mac_of` needs; None for the table's own columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RootWraps:
    """One table whose column `sealed` is wrapped by the root keyring."""

    table: Table
    context_of: Callable[[Mapping[str, Any]], bytes]
    """Returns what a row's key is bound to."""


def row_macs(*sealed: SealedRows) -> tuple[RootMacs, ...]:
    """Return what a rotation of the root key must know of tables with sealed rows."""
    return tuple(_row_macs(rows) for rows in sealed)


def _row_macs(rows: SealedRows) -> RootMacs:
    return RootMacs(table=rows.table, mac_of=lambda unit, row: rows.mac(unit.keyring, row))
