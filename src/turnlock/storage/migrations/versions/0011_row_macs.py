"""MACs on the rows that steer: plans, versions, replicas, credentials, accounts, leases."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

_TABLES = (
    "rotations",
    "secret_versions",
    "secret_replicas",
    "access_keys",
    "sessions",
    "accounts",
    "leases",
)


def upgrade() -> None:
    """Expand: a nullable column for each table. The first start with the root key fills it for the rows that are there."""
    for table in _TABLES:
        op.add_column(table, sa.Column("mac", sa.LargeBinary))
