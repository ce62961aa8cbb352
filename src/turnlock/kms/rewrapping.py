"""Rotation of the root key: all materials are wrapped anew and all MACs made anew, in one transaction.

    1. A new root key is made beside the old one. From then on both are loaded, and either opens the store.
    2. In one transaction, each material and each MAC of the store is checked under the old key and written under the new one.
       A row that fits neither key ends the rotation, and nothing has changed: a forged row must not get a good MAC.
    3. Proof: the whole store is read again, and every row must fit the new key.
    4. The old root key is deleted.

A crash before the commit of (2) leaves the whole store under the old key, one after it the whole store under the new
key. `settle` finds out which from the rows. A rotation that is run again continues where the last one ended.

No server may run meanwhile: it would have the old key in memory.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Select, Table, bindparam, func, select, update

from turnlock.core.ports import RootKeyring
from turnlock.errors import ConfigurationError, SealBroken
from turnlock.kms.model import material_context
from turnlock.kms.tables import ALIAS_ROWS, GRANT_ROWS, KEY_ROWS, POLICY_ROWS, kms_key_materials
from turnlock.root_keys import RootMacs, RootWraps, row_macs
from turnlock.storage import Database, Unit

_BATCH: Final = 1_000
"""Rows that are read and written at a time."""


MACS: Final = row_macs(KEY_ROWS, ALIAS_ROWS, POLICY_ROWS, GRANT_ROWS)
"""KMS's own tables with MACs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a rotation is with one table."""

    table: str
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What was read after a rotation: every row was checked, and fits the new root key."""

    materials: int
    macs: int


Report = Callable[[Progress], None]


def rewrap(
    database: Database,
    old: RootKeyring,
    new: RootKeyring,
    macs: Sequence[RootMacs],
    report: Report,
    *,
    wraps: Sequence[RootWraps] = (),
) -> None:
    """Put the whole store under `new`, in one transaction. Raises ConfigurationError for a row that fits neither key."""

    def work(unit: Unit) -> None:
        old.settle(lambda: _fits_some_row(_under(unit, old)))
        for wrapped in (_MATERIALS, *wraps):
            _rewrap(unit, old, new, wrapped, report)
        for one in macs:
            _remake(unit, old, new, one, report)

    database.write(work)


def prove(
    database: Database, new: RootKeyring, macs: Sequence[RootMacs], wraps: Sequence[RootWraps] = ()
) -> Proof:
    """Read the whole store and return how much fits `new`. Raises ConfigurationError for a row that does not."""

    def work(unit: Unit) -> Proof:
        counts = [_require_all_opened(unit, new, one) for one in (_MATERIALS, *wraps)]
        inside = _under(unit, new)
        checked = sum(_check(inside, one) for one in macs)
        return Proof(materials=counts[0], macs=checked)

    return database.read(work)


def settle_macs(unit: Unit) -> None:
    """Find out under which of its root keys the store's MACs are. Raises ConfigurationError for none."""
    if not unit.keyring.settle(lambda: _fits_some_row(unit)):
        raise ConfigurationError(
            "The root key does not open this store; start with the root key that the store was made with."
        )


def _under(unit: Unit, keyring: RootKeyring) -> Unit:
    """Return the same unit of work with another keyring."""
    other = copy(unit)
    other.keyring = keyring
    return other


def _fits_some_row(unit: Unit) -> bool:
    """Tell whether any key's row has its MAC under the keyring; true where there is no row.

    One row is enough: a single forged row must be reported as forged, and must not keep the whole store from opening.
    """
    rows = unit.connection.execute(select(KEY_ROWS.table).limit(100)).mappings().all()
    return not rows or any(KEY_ROWS.fits(unit.keyring, row) for row in rows)


def _rewrap(unit: Unit, old: RootKeyring, new: RootKeyring, wraps: RootWraps, report: Report) -> None:
    done, total = 0, _count(unit, wraps.table)
    for batch in _batches(unit, select(wraps.table)):
        changed = []
        for row in batch:
            if _opened(new, wraps, row) is None:
                sealed = new.wrap(_require_opened(old, wraps, row), context=wraps.context_of(row))
                changed.append({**_key(wraps.table, row), "sealed": sealed})
        _write(unit, wraps.table, changed)
        done += len(batch)
        report(Progress(table=wraps.table.name, done=done, total=total))


def _require_all_opened(unit: Unit, keyring: RootKeyring, wraps: RootWraps) -> int:
    count = 0
    for batch in _batches(unit, select(wraps.table)):
        for row in batch:
            _require_opened(keyring, wraps, row)
        count += len(batch)
    return count


def _remake(unit: Unit, old: RootKeyring, new: RootKeyring, macs: RootMacs, report: Report) -> None:
    before, after = _under(unit, old), _under(unit, new)
    done, total = 0, _count(unit, macs.table)
    for batch in _batches(unit, _rows(macs)):
        changed = []
        for row in batch:
            wanted = macs.mac_of(after, row)
            if hmac.compare_digest(wanted, bytes(row["mac"] or b"")):
                continue
            if not hmac.compare_digest(macs.mac_of(before, row), bytes(row["mac"] or b"")):
                raise _forged(macs.table, row)
            changed.append({**_key(macs.table, row), "mac": wanted})
        _write(unit, macs.table, changed)
        done += len(batch)
        report(Progress(table=macs.table.name, done=done, total=total))


def _check(unit: Unit, macs: RootMacs) -> int:
    checked = 0
    for batch in _batches(unit, _rows(macs)):
        for row in batch:
            if not hmac.compare_digest(macs.mac_of(unit, row), bytes(row["mac"] or b"")):
                raise _forged(macs.table, row)
        checked += len(batch)
    if checked != _count(unit, macs.table):
        raise ConfigurationError(
            f"Some rows of {macs.table.name} belong to nothing and could not be checked."
        )
    return checked


def _rows(macs: RootMacs) -> Select[Any]:
    return select(macs.table) if macs.rows is None else macs.rows


def _batches(unit: Unit, statement: Select[Any]) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Yield all rows in batches. They are read first: not every store reads on while rows are written."""
    rows = [dict(row) for row in unit.connection.execute(statement).mappings()]
    for start in range(0, len(rows), _BATCH):
        yield rows[start : start + _BATCH]


def _count(unit: Unit, table: Table) -> int:
    return int(unit.connection.execute(select(func.count()).select_from(table)).scalar_one())


def _opened(keyring: RootKeyring, wraps: RootWraps, row: Mapping[str, Any]) -> bytes | None:
    try:
        return keyring.unwrap(bytes(row["sealed"]), context=wraps.context_of(row))
    except SealBroken:
        return None


def _require_opened(keyring: RootKeyring, wraps: RootWraps, row: Mapping[str, Any]) -> bytes:
    material = _opened(keyring, wraps, row)
    if material is None:
        raise _forged(wraps.table, row)
    return material


_MATERIALS: Final = RootWraps(
    table=kms_key_materials,
    context_of=lambda row: material_context(
        row["account_id"], row["region"], row["key_id"], row["material_id"]
    ),
)


def _key(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    return {f"_{column.name}": row[column.name] for column in table.primary_key.columns}


def _write(unit: Unit, table: Table, changed: Sequence[Mapping[str, Any]]) -> None:
    if not changed:
        return
    names = [column.name for column in table.primary_key.columns]
    value = "sealed" if "sealed" in changed[0] else "mac"
    statement = (
        update(table)
        .where(*(table.c[name] == bindparam(f"_{name}") for name in names))
        .values({value: bindparam(f"_new_{value}")})
    )
    rows = [{**{k: v for k, v in row.items() if k != value}, f"_new_{value}": row[value]} for row in changed]
    unit.connection.execute(statement, rows)


def _forged(table: Table, row: Mapping[str, Any]) -> ConfigurationError:
    place = ", ".join(str(row[column.name]) for column in table.primary_key.columns)
    return ConfigurationError(f"A row of {table.name} fits neither root key ({place}); nothing was changed.")
