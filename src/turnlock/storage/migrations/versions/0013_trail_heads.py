"""The trail's key, and where each of its chains ends."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand: two tables. Chains from before have no head; they stay, and a verification says so."""
    op.create_table(
        "trail_keys",
        sa.Column("key_id", sa.String(8)),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("key_id", name="pk_trail_keys"),
    )
    op.create_table(
        "trail_heads",
        sa.Column("writer", sa.String(64)),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("writer", name="pk_trail_heads"),
    )
