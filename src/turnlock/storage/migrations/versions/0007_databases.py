"""What RDS keeps: the registry of instances and clusters."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_OWNER = ["account_id", "region", "kind", "identifier"]


def _owner_columns() -> list[sa.Column[str]]:
    return [
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("kind", sa.String(8)),
        sa.Column("identifier", sa.String(63)),
    ]


def upgrade() -> None:
    """Expand: new tables only."""
    op.create_table(
        "databases",
        *_owner_columns(),
        sa.Column("resource_id", sa.String(40), nullable=False),
        sa.Column("engine", sa.String(32), nullable=False),
        sa.Column("engine_version", sa.String(32)),
        sa.Column("status", sa.String(48), nullable=False),
        sa.Column("status_message", sa.Text),
        sa.Column("master_username", sa.String(64)),
        sa.Column("dbname", sa.String(64)),
        sa.Column("host", sa.String(255)),
        sa.Column("reader_host", sa.String(255)),
        sa.Column("port", sa.Integer),
        sa.Column("cluster_id", sa.String(63)),
        sa.Column("writer", sa.Boolean, nullable=False),
        sa.Column("source_id", sa.String(63)),
        sa.Column("secret_arn", sa.Text),
        sa.Column("local", sa.Boolean, nullable=False),
        sa.Column("node_id", sa.String(36)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("sealed_password", sa.LargeBinary),
        sa.Column("sealed_internal", sa.LargeBinary),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(*_OWNER, name="pk_databases"),
    )
    op.create_index("ix_databases_cluster", "databases", ["account_id", "region", "cluster_id"])
    op.create_index("ix_databases_source", "databases", ["account_id", "region", "source_id"])
    local = sa.text("local")
    op.create_index(
        "ix_databases_local", "databases", ["node_id"], sqlite_where=local, postgresql_where=local
    )
    op.create_table(
        "database_tags",
        *_owner_columns(),
        sa.Column("tag_key", sa.String(128)),
        sa.Column("tag_value", sa.String(256), nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(*_OWNER, "tag_key", name="pk_database_tags"),
        sa.ForeignKeyConstraint(
            _OWNER,
            [f"databases.{c}" for c in _OWNER],
            name="fk_database_tags_databases",
            ondelete="CASCADE",
        ),
    )
