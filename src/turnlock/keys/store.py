"""The tables of KMS keys, their materials and aliases, and the queries on them.

A material is stored sealed under the root keyring and bound to its row; this module neither opens nor makes one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import (
    Column,
    ForeignKeyConstraint,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    and_,
    bindparam,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

from turnlock.core.arn import AccountId, Region
from turnlock.keys.model import KeyOwner, KeyState, KmsKey, material_context
from turnlock.storage import HotQuery, Moment, Unit, metadata

_KEY: Final = ("account_id", "region", "key_id")
_KEY_COLUMNS: Final = [f"kms_keys.{name}" for name in _KEY]

kms_keys = Table(
    "kms_keys",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("region", String(32), primary_key=True),
    Column("key_id", String(64), primary_key=True),
    Column("description", Text, nullable=False),
    Column("state", String(32), nullable=False),
    Column("key_owner", String(16), nullable=False),
    Column("created_at", Moment, nullable=False),
)

kms_key_materials = Table(
    "kms_key_materials",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("region", String(32), primary_key=True),
    Column("key_id", String(64), primary_key=True),
    Column("material_id", Integer, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", Moment, nullable=False),
    ForeignKeyConstraint(_KEY, _KEY_COLUMNS),
)

kms_aliases = Table(
    "kms_aliases",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("region", String(32), primary_key=True),
    Column("alias_name", String(256), primary_key=True),
    Column("key_id", String(64), nullable=False),
    ForeignKeyConstraint(_KEY, _KEY_COLUMNS),
)

_HERE = (kms_keys.c.account_id == bindparam("account_id"), kms_keys.c.region == bindparam("region"))
_BY_ID = (*_HERE, kms_keys.c.key_id == bindparam("key_id"))
_FOUND = select(kms_keys.c.key_id, kms_keys.c.state, kms_keys.c.key_owner)
_WITH_MATERIAL = select(kms_keys.c.state, kms_key_materials.c.material_id, kms_key_materials.c.sealed).join(
    kms_key_materials, and_(*(kms_keys.c[name] == kms_key_materials.c[name] for name in _KEY))
)

_KEY_BY_ID = HotQuery(_FOUND.where(*_BY_ID))
_KEY_BY_ALIAS = HotQuery(
    _FOUND.join(kms_aliases, and_(*(kms_keys.c[name] == kms_aliases.c[name] for name in _KEY))).where(
        *_HERE, kms_aliases.c.alias_name == bindparam("alias_name")
    )
)
_MATERIAL = HotQuery(
    _WITH_MATERIAL.where(*_BY_ID, kms_key_materials.c.material_id == bindparam("material_id"))
)
_MATERIALS_NEWEST_FIRST = HotQuery(
    _WITH_MATERIAL.where(*_BY_ID).order_by(kms_key_materials.c.material_id.desc())
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """One sealed key material, and the state of its key as of the same read."""

    state: KeyState
    material_id: int
    sealed: bytes = field(repr=False)


def find_key(unit: Unit, account_id: AccountId, region: Region, key_id: str) -> KmsKey | None:
    """Return a key by its id, or None."""
    rows = _KEY_BY_ID.rows(unit, {"account_id": account_id, "region": region, "key_id": key_id})
    return _key(account_id, region, rows)


def find_alias(unit: Unit, account_id: AccountId, region: Region, alias_name: str) -> KmsKey | None:
    """Return the key that an alias points at, or None."""
    rows = _KEY_BY_ALIAS.rows(unit, {"account_id": account_id, "region": region, "alias_name": alias_name})
    return _key(account_id, region, rows)


def find_material(
    unit: Unit, account_id: AccountId, region: Region, key_id: str, material_id: int
) -> Material | None:
    """Return one material of a key, or None."""
    place = {"account_id": account_id, "region": region, "key_id": key_id, "material_id": material_id}
    return _material(_MATERIAL.rows(unit, place))


def newest_material(unit: Unit, key: KmsKey) -> Material | None:
    """Return the material that a key encrypts under, or None."""
    place = {"account_id": key.account_id, "region": key.region, "key_id": key.key_id}
    return _material(_MATERIALS_NEWEST_FIRST.rows(unit, place))


def any_material(unit: Unit) -> tuple[bytes, bytes] | None:
    """Return what the store's newest material is bound to and its sealed bytes, or None when there is none."""
    columns = kms_key_materials.c
    row = unit.connection.execute(
        select(columns.account_id, columns.region, columns.key_id, columns.material_id, columns.sealed)
        .order_by(columns.created_at.desc())
        .limit(1)
    ).first()
    return None if row is None else (material_context(*row[:4]), row[4])


def insert_key(unit: Unit, key: KmsKey, *, description: str, sealed_material: bytes) -> None:
    """Insert a key with its first material, number 1."""
    place = {"account_id": key.account_id, "region": key.region, "key_id": key.key_id}
    unit.connection.execute(
        kms_keys.insert().values(
            **place,
            description=description,
            state=key.state.value,
            key_owner=key.owner.value,
            created_at=unit.now,
        )
    )
    unit.connection.execute(
        kms_key_materials.insert().values(**place, material_id=1, sealed=sealed_material, created_at=unit.now)
    )


def insert_alias(unit: Unit, key: KmsKey, alias_name: str) -> None:
    """Point a new alias at a key.

    When another node's transaction made the alias meanwhile, ON CONFLICT makes PostgreSQL report a serialization
    failure (manual, 13.2.2), for which the store runs the unit again; a plain INSERT would report a duplicate.
    """
    insert = sqlite.insert if unit.dialect == "sqlite" else postgresql.insert
    unit.connection.execute(
        insert(kms_aliases)
        .values(account_id=key.account_id, region=key.region, alias_name=alias_name, key_id=key.key_id)
        .on_conflict_do_nothing()
    )


def _key(account_id: AccountId, region: Region, rows: list[tuple[str, str, str]]) -> KmsKey | None:
    for key_id, state, owner in rows:
        return KmsKey(
            account_id=account_id, region=region, key_id=key_id, state=KeyState(state), owner=KeyOwner(owner)
        )
    return None


def _material(rows: list[tuple[str, int, bytes]]) -> Material | None:
    for state, material_id, sealed in rows:
        return Material(state=KeyState(state), material_id=material_id, sealed=sealed)
    return None
