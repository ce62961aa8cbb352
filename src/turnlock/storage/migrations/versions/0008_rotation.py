"""What the herd, the dead-man events, rehearsals and the master secrets of rotations keep."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand: a new table, a nullable column with its index."""
    op.add_column("rotations", sa.Column("overdue_at", sa.BigInteger))
    unfinished = sa.text("state = 'running'")
    op.create_index(
        "ix_rotations_overdue",
        "rotations",
        ["overdue_at"],
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )
    op.create_table(
        "rotation_masters",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("name", sa.String(512)),
        sa.Column("secret_arn", sa.Text, nullable=False),
        sa.Column("master_arn", sa.Text, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "region", "name", name="pk_rotation_masters"),
    )
    op.create_table(
        "rehearsals",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("name", sa.String(512)),
        sa.Column("secret_arn", sa.Text, nullable=False),
        sa.Column("requested_at", sa.BigInteger),
        sa.Column("done_at", sa.BigInteger),
        sa.Column("sealed_report", sa.LargeBinary),
        sa.PrimaryKeyConstraint("account_id", "region", "name", name="pk_rehearsals"),
    )
    asked_for = sa.text("requested_at IS NOT NULL")
    op.create_index(
        "ix_rehearsals_requested",
        "rehearsals",
        ["requested_at"],
        sqlite_where=asked_for,
        postgresql_where=asked_for,
    )
