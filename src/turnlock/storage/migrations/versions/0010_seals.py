"""What a secret has, by digest, and the MAC over it and the secret's row."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand: two nullable columns. The first start with the root key fills them for the rows that are there.

    Each start asks whether a row lacks its MAC: by an index of those that do, mostly empty, and not by reading them all.
    """
    op.add_column("secrets", sa.Column("holds", sa.Text))
    op.add_column("secrets", sa.Column("mac", sa.LargeBinary))
    unsealed = sa.text("mac IS NULL")
    op.create_index(
        "ix_secrets_unsealed",
        "secrets",
        ["account_id", "region", "name"],
        sqlite_where=unsealed,
        postgresql_where=unsealed,
    )
