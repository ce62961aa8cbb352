"""What stands beside roles and functions: instance profiles and log groups."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand: two tables."""
    op.create_table(
        "instance_profiles",
        _text("account_id", 12),
        _text("name_key", 128),
        sa.Column("role_id", sa.String(32)),
        *_kept(),
        sa.PrimaryKeyConstraint("account_id", "name_key", name="pk_instance_profiles"),
    )
    op.create_index("ix_instance_profiles_role", "instance_profiles", ["account_id", "role_id"])
    op.create_table(
        "log_groups",
        _text("account_id", 12),
        _text("region", 32),
        _text("log_group", 512),
        *_kept(),
        sa.PrimaryKeyConstraint("account_id", "region", "log_group", name="pk_log_groups"),
    )


def _text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def _kept() -> tuple[sa.Column[str], sa.Column[bytes]]:
    return sa.Column("body", sa.Text, nullable=False), sa.Column("mac", sa.LargeBinary, nullable=False)
