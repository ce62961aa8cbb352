"""What IAM and STS keep."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand: tables, and nullable columns of access keys and sessions."""
    _identities()
    _managed_policies()
    _devices_and_providers()
    op.add_column("access_keys", sa.Column("last_used_at", sa.BigInteger))
    op.add_column("access_keys", sa.Column("last_used_region", sa.String(32)))
    op.add_column("access_keys", sa.Column("last_used_service", sa.String(64)))
    op.create_index("ix_access_keys_principal", "access_keys", ["account_id", "principal_id"])
    op.add_column("sessions", sa.Column("context", sa.Text))
    # Policies decide by the tags of secrets, too. Tags of before have no MAC, and are not believed until they are put again.
    op.add_column("secret_tags", sa.Column("mac", sa.LargeBinary))


def _identities() -> None:
    op.create_table(
        "identities",
        _text("account_id", 12),
        _text("kind", 5),
        _text("name_key", 128),
        _text("id", 32),
        *_kept(),
        sa.PrimaryKeyConstraint("account_id", "kind", "name_key", name="pk_identities"),
    )
    op.create_index("ix_identities_id", "identities", ["account_id", "id"], unique=True)
    op.create_table(
        "group_memberships",
        _text("account_id", 12),
        _text("group_id", 32),
        _text("user_id", 32),
        sa.PrimaryKeyConstraint("account_id", "group_id", "user_id", name="pk_group_memberships"),
    )
    op.create_index("ix_group_memberships_user", "group_memberships", ["account_id", "user_id"])
    op.create_table(
        "policy_attachments",
        _text("account_id", 12),
        _text("policy_arn", 2048),
        _text("use", 8),
        _text("owner_id", 32),
        sa.PrimaryKeyConstraint("account_id", "policy_arn", "use", "owner_id", name="pk_policy_attachments"),
    )
    op.create_index("ix_policy_attachments_owner", "policy_attachments", ["account_id", "owner_id"])


def _managed_policies() -> None:
    op.create_table(
        "managed_policies",
        _text("account_id", 12),
        _text("name_key", 128),
        _text("id", 32),
        _text("arn", 2048),
        sa.Column("default_version", sa.Integer, nullable=False),
        *_kept(),
        sa.PrimaryKeyConstraint("account_id", "name_key", name="pk_managed_policies"),
    )
    op.create_index("ix_managed_policies_arn", "managed_policies", ["account_id", "arn"], unique=True)
    op.create_table(
        "managed_policy_versions",
        _text("account_id", 12),
        _text("policy_id", 32),
        sa.Column("number", sa.Integer, nullable=False),
        *_kept(),
        sa.PrimaryKeyConstraint("account_id", "policy_id", "number", name="pk_managed_policy_versions"),
    )


def _devices_and_providers() -> None:
    op.create_table(
        "login_profiles",
        _text("account_id", 12),
        _text("user_id", 32),
        *_kept(),
        sa.PrimaryKeyConstraint("account_id", "user_id", name="pk_login_profiles"),
    )
    op.create_table(
        "mfa_devices",
        _text("account_id", 12),
        _text("name_key", 226),
        sa.Column("user_id", sa.String(32)),
        *_kept(),
        sa.PrimaryKeyConstraint("account_id", "name_key", name="pk_mfa_devices"),
    )
    op.create_index("ix_mfa_devices_user", "mfa_devices", ["account_id", "user_id"])
    op.create_table(
        "oidc_providers",
        _text("account_id", 12),
        _text("url", 255),
        *_kept(),
        sa.PrimaryKeyConstraint("account_id", "url", name="pk_oidc_providers"),
    )


def _text(name: str, length: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=False)


def _kept() -> tuple[sa.Column[str], sa.Column[bytes]]:
    return sa.Column("body", sa.Text, nullable=False), sa.Column("mac", sa.LargeBinary, nullable=False)
