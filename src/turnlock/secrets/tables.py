"""The tables of secrets: every key starts with account, Region and the secret's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    Table,
    Text,
    bindparam,
)

from turnlock.core.arn import AccountId, Region
from turnlock.secrets.model import Secret
from turnlock.storage import Moment, SealedRows, Unit, among, many, metadata

OWNER = ("account_id", "region", "name")
"""The columns that name a secret."""


def _owner_columns() -> tuple[Column[str], Column[str], Column[str]]:
    return (
        Column("account_id", String(12), primary_key=True),
        Column("region", String(32), primary_key=True),
        Column("name", String(512), primary_key=True),
    )


secrets = Table(
    "secrets",
    metadata,
    *_owner_columns(),
    Column("suffix", String(6), nullable=False),
    Column("description", Text),
    Column("kms_key_id", Text),
    Column("created_at", Moment, nullable=False),
    Column("last_changed_at", Moment, nullable=False),
    Column("last_accessed_at", Moment),
    Column("last_rotated_at", Moment),
    Column("deleted_at", Moment),
    Column("deletion_at", Moment),
    Column("rotation_enabled", Boolean),
    Column("rotation_function_arn", Text),
    Column("rotation_rules", Text),
    Column("next_rotation_at", Moment),
    Column("rotation_opens_at", Moment),
    Column("rotation_starts_at", Moment, index=True),
    Column("secret_type", String(256)),
    Column("owning_service", String(128)),
    Column("external_metadata", Text),
    Column("external_role_arn", Text),
    Column("primary_region", String(32)),
    Column("terms", Text),
    Column("holds", Text),
    Column("mac", LargeBinary),
    Index("ix_secrets_created", "account_id", "region", "created_at", "name"),
    Index("ix_secrets_changed", "account_id", "region", "last_changed_at", "name"),
    Index("ix_secrets_accessed", "account_id", "region", "last_accessed_at", "name"),
)

SECRET_COLUMNS = tuple(column for column in secrets.c if column.name not in {"terms", "holds", "mac"})
"""The columns of a Secret: all except those for searching and those of `seals`."""

SEALED_COLUMNS = (*SECRET_COLUMNS, secrets.c.holds, secrets.c.mac)
"""The columns of a Secret, its digests and its MAC (`seals`)."""

secret_tags = Table(
    "secret_tags",
    metadata,
    *_owner_columns(),
    Column("tag_key", String(128), primary_key=True),
    Column("tag_value", String(256), nullable=False),
    Column("mac", LargeBinary),
    ForeignKeyConstraint(OWNER, [f"secrets.{c}" for c in OWNER], ondelete="CASCADE"),
)

resource_policies = Table(
    "resource_policies",
    metadata,
    *_owner_columns(),
    Column("policy", Text, nullable=False),
    Column("mac", LargeBinary, nullable=False),
    ForeignKeyConstraint(OWNER, [f"secrets.{c}" for c in OWNER], ondelete="CASCADE"),
)

secret_replicas = Table(
    "secret_replicas",
    metadata,
    *_owner_columns(),
    Column("replica_region", String(32), primary_key=True),
    Column("kms_key_id", Text),
    Column("status", String(16), nullable=False),
    Column("status_message", Text),
    Column("overwrite", Boolean, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("mac", LargeBinary),
    ForeignKeyConstraint(OWNER, [f"secrets.{c}" for c in OWNER], ondelete="CASCADE"),
)

secret_versions = Table(
    "secret_versions",
    metadata,
    *_owner_columns(),
    Column("version_id", String(64), primary_key=True),
    Column("kind", String(6)),
    Column("sealed", LargeBinary),
    Column("kms_key_id", Text),
    Column("created_at", Moment, nullable=False),
    Column("last_accessed_at", Moment),
    Column("mac", LargeBinary),
    ForeignKeyConstraint(OWNER, [f"secrets.{c}" for c in OWNER], ondelete="CASCADE"),
    CheckConstraint("(kind IS NULL) = (sealed IS NULL)", name="value_has_a_kind"),
)

staging_labels = Table(
    "staging_labels",
    metadata,
    *_owner_columns(),
    Column("label", String(256), primary_key=True),
    Column("version_id", String(64), nullable=False),
    Column("mac", LargeBinary, nullable=False),
    ForeignKeyConstraint(
        [*OWNER, "version_id"], [f"secret_versions.{c}" for c in (*OWNER, "version_id")], ondelete="CASCADE"
    ),
    Index("ix_staging_labels_version", *OWNER, "version_id"),
)

REPLICA_ROWS: Final = SealedRows(secret_replicas)
VERSION_ROWS: Final = SealedRows(secret_versions, free={"last_accessed_at"})
"""A version's MAC covers its sealed value too. Someone who gets a data key for this version could seal a value, but not
make its MAC."""

_BYTEWISE = String(512).with_variant(String(512, collation="C"), "postgresql")
"""Text ordered by its bytes on both stores, so that texts with the same beginning are neighbours."""

secret_terms = Table(
    "secret_terms",
    metadata,
    Column("account_id", String(12), primary_key=True),
    Column("region", String(32), primary_key=True),
    Column("kind", String(1), primary_key=True),
    Column("term", _BYTEWISE, primary_key=True),
    Column("name", String(512), primary_key=True),
    sqlite_with_rowid=False,
)
"""The terms of secrets, ordered by term; `secrets.terms` has the same as one text.

`indexing` deletes rows by their whole key, so the table needs neither an index by name nor a foreign key.
"""


def owner_of(secret: Secret) -> dict[str, str]:
    """Return the columns that name a secret, with its values."""
    return {"account_id": secret.account_id, "region": secret.region, "name": secret.name}


def owned_by(table: Table, secret: Secret) -> tuple[ColumnElement[bool], ...]:
    """Return the condition for a secret's rows of a table."""
    return tuple(table.c[name] == value for name, value in owner_of(secret).items())


def named(table: Table) -> tuple[ColumnElement[bool], ...]:
    """Return the condition for the rows of many secrets of one account and Region; `naming` gives its parameters."""
    return (
        table.c.account_id == bindparam("account_id"),
        table.c.region == bindparam("region"),
        among(table.c.name, bindparam("names")),
    )


def naming(unit: Unit, account_id: AccountId, region: Region, names: Sequence[str]) -> dict[str, object]:
    """Return the parameters of `named`."""
    return {"account_id": account_id, "region": region, "names": many(unit.dialect, names)}
