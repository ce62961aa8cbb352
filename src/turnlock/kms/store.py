"""Queries on KMS keys, their materials and aliases; each row's MAC is checked when it is read.

A material is stored encrypted under the root keyring and bound to its row. This module neither opens nor makes one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec
from sqlalchemy import Select, and_, bindparam, delete, select, update
from sqlalchemy.dialects import postgresql, sqlite

from turnlock.core.arn import AccountId, Region
from turnlock.kms.model import Alias, KeyOwner, KeyState, KeyUsage, KmsKey, material_context
from turnlock.kms.tables import ALIAS_ROWS, KEY, KEY_ROWS, kms_aliases, kms_key_materials, kms_keys
from turnlock.storage import HotQuery, Unit, moment

_COLUMNS: Final = tuple(column.name for column in kms_keys.c)
_BY_ID = tuple(kms_keys.c[name] == bindparam(name) for name in KEY)
_WITH_MATERIAL = (
    select(*kms_keys.c, kms_key_materials.c.material_id, kms_key_materials.c.sealed)
    .join(kms_key_materials, and_(*(kms_keys.c[name] == kms_key_materials.c[name] for name in KEY)))
    .where(*_BY_ID)
)

_KEY_BY_ID = HotQuery(select(kms_keys).where(*_BY_ID))
_MATERIAL = HotQuery(_WITH_MATERIAL.where(kms_key_materials.c.material_id == bindparam("material_id")))
_CURRENT = HotQuery(_WITH_MATERIAL.where(kms_key_materials.c.material_id == kms_keys.c.current_material))
_ALIAS = HotQuery(
    select(kms_aliases).where(
        *(kms_aliases.c[name] == bindparam(name) for name in ("account_id", "region", "alias_name"))
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """One sealed key material, and its key as of the same read."""

    key: KmsKey
    material_id: int
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class MaterialHead:
    """A material without its bytes, for ListKeyRotations."""

    material_id: int
    rotation_type: str | None
    """`AUTOMATIC` or `ON_DEMAND`; None for the first."""
    created_at: datetime


def find_key(unit: Unit, account_id: AccountId, region: Region, key_id: str) -> KmsKey | None:
    """Return a key by its id, or None. Raises SealBroken for a row that was forged."""
    place = _place(account_id, region, key_id)

    def read() -> KmsKey | None:
        return next((_key(unit, row) for row in _KEY_BY_ID.rows(unit, place)), None)

    return unit.derived(("kms key", account_id, region, key_id), read)


def find_alias(unit: Unit, account_id: AccountId, region: Region, alias_name: str) -> Alias | None:
    """Return an alias by its name, or None. Raises SealBroken for a row that was forged."""
    asked = {"account_id": account_id, "region": region, "alias_name": alias_name}

    def read() -> Alias | None:
        names = [column.name for column in kms_aliases.c]
        return next(
            (_alias(unit, dict(zip(names, row, strict=True))) for row in _ALIAS.rows(unit, asked)), None
        )

    return unit.derived(("kms alias", account_id, region, alias_name), read)


def key_of_alias(unit: Unit, account_id: AccountId, region: Region, alias_name: str) -> KmsKey | None:
    """Return the key that an alias points at, or None."""
    alias = find_alias(unit, account_id, region, alias_name)
    return None if alias is None else find_key(unit, account_id, region, alias.key_id)


def find_material(
    unit: Unit, account_id: AccountId, region: Region, key_id: str, material_id: int
) -> Material | None:
    """Return one material of a key, or None."""
    place = {**_place(account_id, region, key_id), "material_id": material_id}
    return unit.derived(
        ("kms material", *place.values()), lambda: _material(unit, _MATERIAL.rows(unit, place))
    )


def current_material(unit: Unit, key: KmsKey) -> Material | None:
    """Return the material that a key encrypts under, or None."""
    return _material(unit, _CURRENT.rows(unit, _place(key.account_id, key.region, key.key_id)))


def any_material(unit: Unit) -> tuple[bytes, bytes] | None:
    """Return the context and the sealed bytes of the store's newest material, or None when there is none."""
    columns = kms_key_materials.c
    row = unit.connection.execute(
        select(columns.account_id, columns.region, columns.key_id, columns.material_id, columns.sealed)
        .order_by(columns.created_at.desc())
        .limit(1)
    ).first()
    return None if row is None else (material_context(*row[:4]), row[4])


def insert_key(unit: Unit, key: KmsKey, *, sealed_material: bytes) -> None:
    """Insert a key with its first material."""
    KEY_ROWS.insert(unit, _row(key))
    insert_material(unit, key, sealed=sealed_material, rotation_type=None)


def insert_material(unit: Unit, key: KmsKey, *, sealed: bytes, rotation_type: str | None) -> None:
    """Insert the material that is the key's current one."""
    unit.connection.execute(
        kms_key_materials.insert().values(
            **_place(key.account_id, key.region, key.key_id),
            material_id=key.current_material,
            sealed=sealed,
            rotation_type=rotation_type,
            created_at=unit.now,
        )
    )


def update_key(unit: Unit, key: KmsKey) -> None:
    """Write a key as it now is."""
    row = KEY_ROWS.sealed(unit, _row(key))
    unit.connection.execute(update(kms_keys).where(*_is(key)).values(row))


def delete_key(unit: Unit, key: KmsKey) -> None:
    """Delete a key with its materials, aliases, policy and grants, for good."""
    unit.connection.execute(delete(kms_keys).where(*_is(key)))


def keys_after(
    unit: Unit, account_id: AccountId, region: Region, key_id: str | None, limit: int
) -> list[KmsKey]:
    """Return up to `limit` keys in the order of their ids, after one of them."""
    statement = select(kms_keys).where(kms_keys.c.account_id == account_id, kms_keys.c.region == region)
    if key_id is not None:
        statement = statement.where(kms_keys.c.key_id > key_id)
    return [_key_of_row(unit, row) for row in _rows(unit, statement.order_by(kms_keys.c.key_id).limit(limit))]


def materials_of(unit: Unit, key: KmsKey) -> list[MaterialHead]:
    """Return the heads of a key's materials, the newest first."""
    columns = kms_key_materials.c
    rows = unit.connection.execute(
        select(columns.material_id, columns.rotation_type, columns.created_at)
        .where(*(columns[name] == value for name, value in _place_of(key).items()))
        .order_by(columns.material_id.desc())
    )
    return [MaterialHead(**row) for row in rows.mappings()]


def save_alias(unit: Unit, alias: Alias) -> None:
    """Insert an alias, or point one that is there at another key."""
    gone = delete(kms_aliases).where(
        kms_aliases.c.account_id == alias.account_id,
        kms_aliases.c.region == alias.region,
        kms_aliases.c.alias_name == alias.name,
    )
    unit.connection.execute(gone)
    insert_alias(unit, alias)


def insert_alias(unit: Unit, alias: Alias) -> None:
    """Insert a new alias.

    When another node's transaction made the alias meanwhile, ON CONFLICT makes PostgreSQL report a serialization
    failure (manual, 13.2.2), for which the store runs the unit again; a plain INSERT would report a duplicate.
    """
    insert = sqlite.insert if unit.dialect == "sqlite" else postgresql.insert
    row = {
        "account_id": alias.account_id,
        "region": alias.region,
        "alias_name": alias.name,
        "key_id": alias.key_id,
        "created_at": alias.created_at,
        "updated_at": alias.updated_at,
    }
    unit.connection.execute(insert(kms_aliases).values(ALIAS_ROWS.sealed(unit, row)).on_conflict_do_nothing())


def delete_alias(unit: Unit, alias: Alias) -> None:
    """Delete an alias; its key stays."""
    unit.connection.execute(
        delete(kms_aliases).where(
            kms_aliases.c.account_id == alias.account_id,
            kms_aliases.c.region == alias.region,
            kms_aliases.c.alias_name == alias.name,
        )
    )


def aliases_after(
    unit: Unit,
    account_id: AccountId,
    region: Region,
    *,
    after: str | None = None,
    limit: int | None = None,
    key_id: str | None = None,
) -> list[Alias]:
    """Return aliases in the order of their names: those after one of them, of one key where it is named."""
    columns = kms_aliases.c
    statement = select(kms_aliases).where(columns.account_id == account_id, columns.region == region)
    if after is not None:
        statement = statement.where(columns.alias_name > after)
    if key_id is not None:
        statement = statement.where(columns.key_id == key_id)
    rows = _rows(unit, statement.order_by(columns.alias_name).limit(limit))
    return [_alias(unit, row) for row in rows]


def _rows(unit: Unit, statement: Select[Any]) -> Sequence[Mapping[str, Any]]:
    return [dict(row) for row in unit.connection.execute(statement).mappings()]


def _place(account_id: AccountId, region: Region, key_id: str) -> dict[str, str]:
    return {"account_id": account_id, "region": region, "key_id": key_id}


def _place_of(key: KmsKey) -> dict[str, str]:
    return _place(key.account_id, key.region, key.key_id)


def _is(key: KmsKey) -> tuple[Any, ...]:
    return tuple(kms_keys.c[name] == value for name, value in _place_of(key).items())


def _row(key: KmsKey) -> dict[str, Any]:
    return {
        **_place_of(key),
        "description": key.description,
        "state": key.state.value,
        "key_owner": key.owner.value,
        "created_at": key.created_at,
        "key_usage": key.usage.value,
        "key_spec": key.spec,
        "current_material": key.current_material,
        "deletion_at": key.deletion_at,
        "pending_days": key.pending_days,
        "rotation_days": key.rotation_days,
        "next_rotation_at": key.next_rotation_at,
        "tags": msgspec.json.encode(dict(key.tags)).decode(),
    }


def _key(unit: Unit, values: Sequence[Any]) -> KmsKey:
    return _key_of_row(unit, dict(zip(_COLUMNS, values, strict=True)))


def _key_of_row(unit: Unit, row: Mapping[str, Any]) -> KmsKey:
    KEY_ROWS.check(unit, row)
    return KmsKey(
        account_id=row["account_id"],
        region=row["region"],
        key_id=row["key_id"],
        state=KeyState(row["state"]),
        owner=KeyOwner(row["key_owner"]),
        created_at=_moment(row["created_at"]),
        description=row["description"],
        usage=KeyUsage(row["key_usage"]),
        spec=row["key_spec"],
        current_material=row["current_material"],
        deletion_at=_maybe(row["deletion_at"]),
        pending_days=row["pending_days"],
        rotation_days=row["rotation_days"],
        next_rotation_at=_maybe(row["next_rotation_at"]),
        tags=msgspec.json.decode(row["tags"], type=dict[str, str]),
    )


def _material(unit: Unit, rows: list[tuple[Any, ...]]) -> Material | None:
    for row in rows:
        return Material(key=_key(unit, row[:-2]), material_id=row[-2], sealed=row[-1])
    return None


def _alias(unit: Unit, row: Mapping[str, Any]) -> Alias:
    ALIAS_ROWS.check(unit, row)
    return Alias(
        account_id=row["account_id"],
        region=row["region"],
        name=row["alias_name"],
        key_id=row["key_id"],
        created_at=_moment(row["created_at"]),
        updated_at=_moment(row["updated_at"]),
    )


def _moment(value: datetime | int) -> datetime:
    return moment(value) if isinstance(value, int) else value


def _maybe(value: datetime | int | None) -> datetime | None:
    return None if value is None else _moment(value)
