"""What the rest of Secrets Manager keeps: resource policies, replicas, external secrets' metadata."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_SECRET = ["account_id", "region", "name"]


def upgrade() -> None:
    """Expand: nullable columns and new tables only."""
    for column in (
        sa.Column("secret_type", sa.String(256)),
        sa.Column("owning_service", sa.String(128)),
        sa.Column("external_metadata", sa.Text),
        sa.Column("external_role_arn", sa.Text),
        sa.Column("primary_region", sa.String(32)),
    ):
        op.add_column("secrets", column)
    op.create_table(
        "resource_policies",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("name", sa.String(512)),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(*_SECRET, name="pk_resource_policies"),
        sa.ForeignKeyConstraint(
            _SECRET,
            [f"secrets.{c}" for c in _SECRET],
            name="fk_resource_policies_secrets",
            ondelete="CASCADE",
        ),
    )
    op.create_table(
        "secret_replicas",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("name", sa.String(512)),
        sa.Column("replica_region", sa.String(32)),
        sa.Column("kms_key_id", sa.Text),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("status_message", sa.Text),
        sa.Column("overwrite", sa.Boolean, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(*_SECRET, "replica_region", name="pk_secret_replicas"),
        sa.ForeignKeyConstraint(
            _SECRET, [f"secrets.{c}" for c in _SECRET], name="fk_secret_replicas_secrets", ondelete="CASCADE"
        ),
    )
