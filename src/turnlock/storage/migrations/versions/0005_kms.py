"""Keys that callers make: their usage, state, policies, aliases, grants, and a MAC on every row that decides something.

A store that was made before this revision holds keys without a MAC, which nothing can vouch for. No release ever made one.
"""

import sqlalchemy as sa
from alembic import op

from turnlock.errors import ConfigurationError

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_KEY = ["account_id", "region", "key_id"]


def upgrade() -> None:
    """Make the tables of keys anew: they are empty, or nothing is changed. Raises ConfigurationError."""
    if op.get_bind().execute(sa.text("SELECT 1 FROM kms_keys LIMIT 1")).first() is not None:
        raise ConfigurationError("The store was made by a Turnlock that was never released; make a new one.")
    for table in ("kms_aliases", "kms_key_materials", "kms_keys"):
        op.drop_table(table)
    _keys()
    _grants()


def _keys() -> None:
    op.create_table(
        "kms_keys",
        *_place(),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("key_owner", sa.String(16), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("key_usage", sa.String(32), nullable=False),
        sa.Column("key_spec", sa.String(32), nullable=False),
        sa.Column("current_material", sa.Integer, nullable=False),
        sa.Column("deletion_at", sa.BigInteger),
        sa.Column("pending_days", sa.Integer),
        sa.Column("rotation_days", sa.Integer),
        sa.Column("next_rotation_at", sa.BigInteger),
        sa.Column("tags", sa.Text, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, name="pk_kms_keys"),
    )
    op.create_table(
        "kms_key_materials",
        *_place(),
        sa.Column("material_id", sa.Integer),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("rotation_type", sa.String(16)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, "material_id", name="pk_kms_key_materials"),
        _key_of("kms_key_materials"),
    )
    op.create_table(
        "kms_aliases",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("alias_name", sa.String(256)),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "region", "alias_name", name="pk_kms_aliases"),
        _key_of("kms_aliases"),
    )
    op.create_index("ix_kms_aliases_key", "kms_aliases", _KEY)


def _grants() -> None:
    op.create_table(
        "kms_key_policies",
        *_place(),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, name="pk_kms_key_policies"),
        _key_of("kms_key_policies"),
    )
    op.create_table(
        "kms_grants",
        *_place(),
        sa.Column("grant_id", sa.String(64)),
        sa.Column("retiring_principal", sa.Text),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(*_KEY, "grant_id", name="pk_kms_grants"),
        _key_of("kms_grants"),
    )
    op.create_index("ix_kms_grants_retiring", "kms_grants", ["retiring_principal"])


def _place() -> tuple[sa.Column[str], sa.Column[str], sa.Column[str]]:
    return (
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("key_id", sa.String(64)),
    )


def _key_of(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        _KEY, [f"kms_keys.{c}" for c in _KEY], name=f"fk_{table}_kms_keys", ondelete="CASCADE"
    )
