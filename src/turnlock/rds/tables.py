"""The tables of the registry: DB instances and clusters, and their tags."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    Boolean,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    text,
)

from turnlock.storage import Moment, SealedRows, metadata

OWNER = ("account_id", "region", "kind", "identifier")
"""The columns that name a resource."""


def _owner_columns() -> tuple[Column[str], ...]:
    return (
        Column("account_id", String(12), primary_key=True),
        Column("region", String(32), primary_key=True),
        Column("kind", String(8), primary_key=True),
        Column("identifier", String(63), primary_key=True),
    )


databases = Table(
    "databases",
    metadata,
    *_owner_columns(),
    Column("resource_id", String(40), nullable=False),
    Column("engine", String(32), nullable=False),
    Column("engine_version", String(32)),
    Column("status", String(48), nullable=False),
    Column("status_message", Text),
    Column("master_username", String(64)),
    Column("dbname", String(64)),
    Column("host", String(255)),
    Column("reader_host", String(255)),
    Column("port", Integer),
    Column("cluster_id", String(63)),
    Column("writer", Boolean, nullable=False),
    Column("source_id", String(63)),
    Column("secret_arn", Text),
    Column("local", Boolean, nullable=False),
    Column("node_id", String(36)),
    Column("created_at", Moment, nullable=False),
    Column("settings", Text, nullable=False),
    Column("sealed_password", LargeBinary),
    Column("sealed_internal", LargeBinary),
    Column("mac", LargeBinary, nullable=False),
    Index("ix_databases_cluster", "account_id", "region", "cluster_id"),
    Index("ix_databases_source", "account_id", "region", "source_id"),
    Index("ix_databases_local", "node_id", sqlite_where=text("local"), postgresql_where=text("local")),
)

database_tags = Table(
    "database_tags",
    metadata,
    *_owner_columns(),
    Column("tag_key", String(128), primary_key=True),
    Column("tag_value", String(256), nullable=False),
    Column("mac", LargeBinary, nullable=False),
    ForeignKeyConstraint(OWNER, [f"databases.{c}" for c in OWNER], ondelete="CASCADE"),
)

DATABASE_ROWS: Final = SealedRows(databases)
TAG_ROWS: Final = SealedRows(database_tags)
