"""The tables of KMS: every primary key starts with account, Region and, except for aliases, the KMS key's id.

A material is stored encrypted under the root keyring and bound to its row. Every other row that decides something has a
MAC.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Column, ForeignKeyConstraint, Index, Integer, LargeBinary, String, Table, Text

from turnlock.storage import Moment, SealedRows, metadata

KEY: Final = ("account_id", "region", "key_id")
"""The columns that name a KMS key."""


def _place() -> tuple[Column[str], Column[str], Column[str]]:
    return (
        Column("account_id", String(12), primary_key=True),
        Column("region", String(32), primary_key=True),
        Column("key_id", String(64), primary_key=True),
    )


def _of_a_key() -> ForeignKeyConstraint:
    return ForeignKeyConstraint(KEY, [f"kms_keys.{name}" for name in KEY], ondelete="CASCADE")


kms_keys = Table(
    "kms_keys",
    metadata,
    *_place(),
    Column("description", Text, nullable=False),
    Column("state", String(32), nullable=False),
    Column("key_owner", String(16), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("key_usage", String(32), nullable=False),
    Column("key_spec", String(32), nullable=False),
    Column("current_material", Integer, nullable=False),
    Column("deletion_at", Moment),
    Column("pending_days", Integer),
    Column("rotation_days", Integer),
    Column("next_rotation_at", Moment),
    Column("tags", Text, nullable=False),
    Column("mac", LargeBinary, nullable=False),
)

kms_key_materials = Table(
    "kms_key_materials",
    metadata,
    *_place(),
    Column("material_id", Integer, primary_key=True),
    Column("sealed", LargeBinary, nullable=False),
    Column("rotation_type", String(16)),
    Column("created_at", Moment, nullable=False),
    _of_a_key(),
)

kms_aliases = Table(
    "kms_aliases",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("region", String(32), primary_key=True),
    Column("alias_name", String(256), primary_key=True),
    Column("key_id", String(64), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("updated_at", Moment, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    _of_a_key(),
    Index("ix_kms_aliases_key", *KEY),
)

kms_key_policies = Table(
    "kms_key_policies",
    metadata,
    *_place(),
    Column("policy", Text, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    _of_a_key(),
)

kms_grants = Table(
    "kms_grants",
    metadata,
    *_place(),
    Column("grant_id", String(64), primary_key=True),
    Column("retiring_principal", Text),
    Column("body", Text, nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    _of_a_key(),
    Index("ix_kms_grants_retiring", "retiring_principal"),
)

KEY_ROWS: Final = SealedRows(kms_keys)
ALIAS_ROWS: Final = SealedRows(kms_aliases)
POLICY_ROWS: Final = SealedRows(kms_key_policies)
GRANT_ROWS: Final = SealedRows(kms_grants)
