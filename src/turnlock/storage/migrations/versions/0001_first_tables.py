"""The first tables of every area.

Every key starts with (account_id, region), IAM's with account_id. Moments are microseconds since 1970, UTC.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Expand from nothing."""
    _identity()
    _keys()
    _secrets()
    _rotation()
    _trail()
    _storage()


def _moment(name: str, *, nullable: bool = True) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


def _identity() -> None:
    op.create_table(
        "accounts",
        sa.Column("account_id", sa.String(12)),
        _moment("created_at", nullable=False),
        sa.PrimaryKeyConstraint("account_id", name="pk_accounts"),
    )
    op.create_table(
        "access_keys",
        sa.Column("account_id", sa.String(12)),
        sa.Column("access_key_id", sa.String(32)),
        sa.Column("principal_arn", sa.Text, nullable=False),
        sa.Column("principal_id", sa.Text, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary, nullable=False),
        _moment("created_at", nullable=False),
        sa.PrimaryKeyConstraint("account_id", "access_key_id", name="pk_access_keys"),
        sa.UniqueConstraint("access_key_id", name="uq_access_keys_access_key_id"),
    )
    op.create_table(
        "sessions",
        sa.Column("account_id", sa.String(12)),
        sa.Column("access_key_id", sa.String(32)),
        sa.Column("principal_arn", sa.Text, nullable=False),
        sa.Column("principal_id", sa.Text, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary, nullable=False),
        sa.Column("token_digest", sa.LargeBinary, nullable=False),
        sa.Column("policy", sa.Text),
        _moment("issued_at", nullable=False),
        _moment("expires_at", nullable=False),
        sa.Column("fence_region", sa.String(32)),
        sa.Column("fence_lease", sa.Text),
        sa.Column("fence_number", sa.BigInteger),
        sa.PrimaryKeyConstraint("account_id", "access_key_id", name="pk_sessions"),
        sa.UniqueConstraint("access_key_id", name="uq_sessions_access_key_id"),
    )
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"])


def _keys() -> None:
    op.create_table(
        "kms_keys",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("key_id", sa.String(64)),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("key_owner", sa.String(16), nullable=False),
        _moment("created_at", nullable=False),
        sa.PrimaryKeyConstraint("account_id", "region", "key_id", name="pk_kms_keys"),
    )
    op.create_table(
        "kms_key_materials",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("key_id", sa.String(64)),
        sa.Column("material_id", sa.Integer),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        _moment("created_at", nullable=False),
        sa.PrimaryKeyConstraint("account_id", "region", "key_id", "material_id", name="pk_kms_key_materials"),
        sa.ForeignKeyConstraint(
            ["account_id", "region", "key_id"],
            ["kms_keys.account_id", "kms_keys.region", "kms_keys.key_id"],
            name="fk_kms_key_materials_kms_keys",
        ),
    )
    op.create_table(
        "kms_aliases",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("alias_name", sa.String(256)),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "region", "alias_name", name="pk_kms_aliases"),
        sa.ForeignKeyConstraint(
            ["account_id", "region", "key_id"],
            ["kms_keys.account_id", "kms_keys.region", "kms_keys.key_id"],
            name="fk_kms_aliases_kms_keys",
        ),
    )


def _secrets() -> None:
    op.create_table(
        "secrets",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("name", sa.String(512)),
        sa.Column("suffix", sa.String(6), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("kms_key_id", sa.Text),
        _moment("created_at", nullable=False),
        _moment("last_changed_at", nullable=False),
        _moment("last_accessed_at"),
        _moment("last_rotated_at"),
        _moment("deleted_at"),
        _moment("deletion_at"),
        sa.Column("rotation_enabled", sa.Boolean),
        sa.Column("rotation_function_arn", sa.Text),
        sa.Column("rotation_rules", sa.Text),
        _moment("next_rotation_at"),
        _moment("rotation_opens_at"),
        _moment("rotation_starts_at"),
        sa.PrimaryKeyConstraint("account_id", "region", "name", name="pk_secrets"),
    )
    op.create_index("ix_secrets_created", "secrets", ["account_id", "region", "created_at", "name"])
    op.create_index("ix_secrets_rotation_starts_at", "secrets", ["rotation_starts_at"])
    secret = ["account_id", "region", "name"]
    op.create_table(
        "secret_tags",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("name", sa.String(512)),
        sa.Column("tag_key", sa.String(128)),
        sa.Column("tag_value", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint(*secret, "tag_key", name="pk_secret_tags"),
        sa.ForeignKeyConstraint(
            secret, [f"secrets.{c}" for c in secret], name="fk_secret_tags_secrets", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "secret_versions",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("name", sa.String(512)),
        sa.Column("version_id", sa.String(64)),
        sa.Column("kind", sa.String(6)),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("kms_key_id", sa.Text),
        _moment("created_at", nullable=False),
        sa.PrimaryKeyConstraint(*secret, "version_id", name="pk_secret_versions"),
        sa.ForeignKeyConstraint(
            secret, [f"secrets.{c}" for c in secret], name="fk_secret_versions_secrets", ondelete="CASCADE"
        ),
        sa.CheckConstraint("(kind IS NULL) = (sealed IS NULL)", name="ck_secret_versions_value_has_a_kind"),
    )
    version = [*secret, "version_id"]
    op.create_table(
        "staging_labels",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("name", sa.String(512)),
        sa.Column("label", sa.String(256)),
        sa.Column("version_id", sa.String(64), nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint(*secret, "label", name="pk_staging_labels"),
        sa.ForeignKeyConstraint(
            version,
            [f"secret_versions.{c}" for c in version],
            name="fk_staging_labels_secret_versions",
            ondelete="CASCADE",
        ),
    )
    op.create_index("ix_staging_labels_version", "staging_labels", version)


def _rotation() -> None:
    op.create_table(
        "rotations",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("name", sa.String(512)),
        sa.Column("token", sa.String(64)),
        sa.Column("run", sa.Integer),
        sa.Column("secret_arn", sa.Text, nullable=False),
        sa.Column("function_arn", sa.Text, nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("host_key", sa.LargeBinary),
        _moment("next_attempt_at", nullable=False),
        _moment("started_at", nullable=False),
        _moment("finished_at"),
        sa.PrimaryKeyConstraint("account_id", "region", "name", "token", "run", name="pk_rotations"),
    )
    op.create_index(
        "uq_rotations_one_running",
        "rotations",
        ["account_id", "region", "name"],
        unique=True,
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )
    op.create_index(
        "ix_rotations_due",
        "rotations",
        ["next_attempt_at"],
        sqlite_where=sa.text("state = 'running'"),
        postgresql_where=sa.text("state = 'running'"),
    )


def _trail() -> None:
    op.create_table(
        "trail_records",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("event_id", sa.String(36)),
        sa.Column("event_name", sa.String(128), nullable=False),
        _moment("at", nullable=False),
        sa.Column("writer", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "region", "event_id", name="pk_trail_records"),
        sa.UniqueConstraint("writer", "sequence", name="uq_trail_records_writer_sequence"),
    )
    op.create_index("ix_trail_records_at", "trail_records", ["account_id", "region", "at"])


def _storage() -> None:
    op.create_table(
        "leases",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("name", sa.Text),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account_id", "region", "name", name="pk_leases"),
    )
    op.create_table(
        "outbox",
        sa.Column("account_id", sa.String(12)),
        sa.Column("region", sa.String(32)),
        sa.Column("job_id", sa.String(36)),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("sealed_payload", sa.LargeBinary, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text),
        _moment("due_at", nullable=False),
        _moment("created_at", nullable=False),
        sa.PrimaryKeyConstraint("account_id", "region", "job_id", name="pk_outbox"),
    )
    op.create_index("ix_outbox_due_at", "outbox", ["due_at"])
