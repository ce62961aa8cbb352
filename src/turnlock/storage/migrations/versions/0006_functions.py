"""What Lambda and its logs keep."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def _keys(*names: tuple[str, int]) -> list[sa.Column[str]]:
    home = [("account_id", 12), ("region", 32)]
    return [sa.Column(name, sa.String(length)) for name, length in (*home, *names)]


def _kept() -> list[sa.Column[object]]:
    return [sa.Column("body", sa.Text, nullable=False), sa.Column("mac", sa.LargeBinary, nullable=False)]


def upgrade() -> None:
    """Expand: new tables only."""
    home = ("account_id", "region")
    op.create_table(
        "functions",
        *_keys(("name", 64)),
        *_kept(),
        sa.PrimaryKeyConstraint(*home, "name", name="pk_functions"),
    )
    op.create_table(
        "function_versions",
        *_keys(("name", 64), ("version", 16)),
        sa.Column("code_id", sa.String(64), nullable=False),
        *_kept(),
        sa.PrimaryKeyConstraint(*home, "name", "version", name="pk_function_versions"),
    )
    op.create_index("ix_function_versions_code", "function_versions", [*home, "code_id"])
    op.create_table(
        "function_aliases",
        *_keys(("name", 64), ("alias", 128)),
        *_kept(),
        sa.PrimaryKeyConstraint(*home, "name", "alias", name="pk_function_aliases"),
    )
    op.create_table(
        "function_policies",
        *_keys(("name", 64), ("qualifier", 128)),
        *_kept(),
        sa.PrimaryKeyConstraint(*home, "name", "qualifier", name="pk_function_policies"),
    )
    op.create_table(
        "function_code",
        *_keys(("code_id", 64)),
        sa.Column("content", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(*home, "code_id", name="pk_function_code"),
    )
    op.create_table(
        "function_events",
        *_keys(("event_id", 36)),
        sa.Column("sealed_event", sa.LargeBinary, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(*home, "event_id", name="pk_function_events"),
    )
    op.create_index("ix_function_events_due_at", "function_events", ["due_at"])
    op.create_table(
        "function_logs",
        *_keys(("log_group", 128), ("stream", 256)),
        sa.Column("position", sa.BigInteger),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint(*home, "log_group", "stream", "position", name="pk_function_logs"),
    )
    op.create_index("ix_function_logs_at", "function_logs", [*home, "log_group", "position"])
