"""Every table.

Every key starts with (account_id, region), IAM's with account_id. Moments are microseconds since 1970, UTC.
"""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001_tables"
down_revision = None
branch_labels = None
depends_on = None

_SECRET = ("account_id", "region", "name")
_KMS_KEY = ("account_id", "region", "key_id")
_DATABASE = ("account_id", "region", "kind", "identifier")


def upgrade() -> None:
    """Make the tables in an empty store."""
    _accounts()
    _identities()
    _kms()
    _secrets()
    _rotation()
    _functions()
    _rds()
    _trail()
    _storage()


def _table(
    name: str,
    *parts: sa.schema.SchemaItem,
    owner: tuple[str, Sequence[str]] | None = None,
    **options: Any,
) -> None:
    """Make a table; its rows go with the row of their `owner`, named by a table and the columns of its key."""
    constraints: list[sa.Constraint] = [sa.PrimaryKeyConstraint(name=f"pk_{name}")]
    if owner is not None:
        table, columns = owner
        constraints.append(
            sa.ForeignKeyConstraint(
                columns, [f"{table}.{c}" for c in columns], name=f"fk_{name}_{table}", ondelete="CASCADE"
            )
        )
    op.create_table(name, *parts, *constraints, **options)


def _index(name: str, table: str, *columns: str, unique: bool = False, where: str | None = None) -> None:
    condition = None if where is None else sa.text(where)
    op.create_index(
        name, table, list(columns), unique=unique, sqlite_where=condition, postgresql_where=condition
    )


def _key(**lengths: int) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.String(length), primary_key=True) for name, length in lengths.items()]


def _sealed_body() -> tuple[sa.Column[str], sa.Column[bytes]]:
    return sa.Column("body", sa.Text, nullable=False), sa.Column("mac", sa.LargeBinary, nullable=False)


def _accounts() -> None:
    _table(
        "accounts",
        *_key(account_id=12),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary),
    )
    _table(
        "access_keys",
        *_key(account_id=12, access_key_id=32),
        sa.Column("principal_arn", sa.Text, nullable=False),
        sa.Column("principal_id", sa.Text, nullable=False),
        sa.Column("active", sa.Boolean, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_used_at", sa.BigInteger),
        sa.Column("last_used_region", sa.String(32)),
        sa.Column("last_used_service", sa.String(64)),
        sa.Column("mac", sa.LargeBinary),
        sa.UniqueConstraint("access_key_id", name="uq_access_keys_access_key_id"),
    )
    _index("ix_access_keys_principal", "access_keys", "account_id", "principal_id")
    _table(
        "sessions",
        *_key(account_id=12, access_key_id=32),
        sa.Column("principal_arn", sa.Text, nullable=False),
        sa.Column("principal_id", sa.Text, nullable=False),
        sa.Column("sealed_secret", sa.LargeBinary, nullable=False),
        sa.Column("token_digest", sa.LargeBinary, nullable=False),
        sa.Column("policy", sa.Text),
        sa.Column("issued_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("fence_region", sa.String(32)),
        sa.Column("fence_lease", sa.Text),
        sa.Column("fence_number", sa.BigInteger),
        sa.Column("context", sa.Text),
        sa.Column("mac", sa.LargeBinary),
        sa.UniqueConstraint("access_key_id", name="uq_sessions_access_key_id"),
    )
    _index("ix_sessions_expires_at", "sessions", "expires_at")


def _identities() -> None:
    _table(
        "identities",
        *_key(account_id=12, kind=5, name_key=128),
        sa.Column("id", sa.String(32), nullable=False),
        *_sealed_body(),
    )
    _index("ix_identities_id", "identities", "account_id", "id", unique=True)
    _table(
        "group_memberships",
        *_key(account_id=12, group_id=32, user_id=32),
    )
    _index("ix_group_memberships_user", "group_memberships", "account_id", "user_id")
    _table(
        "login_profiles",
        *_key(account_id=12, user_id=32),
        *_sealed_body(),
    )
    _table(
        "mfa_devices",
        *_key(account_id=12, name_key=226),
        sa.Column("user_id", sa.String(32)),
        *_sealed_body(),
    )
    _index("ix_mfa_devices_user", "mfa_devices", "account_id", "user_id")
    _table(
        "oidc_providers",
        *_key(account_id=12, url=255),
        *_sealed_body(),
    )
    _table(
        "instance_profiles",
        *_key(account_id=12, name_key=128),
        sa.Column("role_id", sa.String(32)),
        *_sealed_body(),
    )
    _index("ix_instance_profiles_role", "instance_profiles", "account_id", "role_id")
    _table(
        "managed_policies",
        *_key(account_id=12, name_key=128),
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("arn", sa.String(2048), nullable=False),
        sa.Column("default_version", sa.Integer, nullable=False),
        *_sealed_body(),
    )
    _index("ix_managed_policies_arn", "managed_policies", "account_id", "arn", unique=True)
    _table(
        "managed_policy_versions",
        *_key(account_id=12, policy_id=32),
        sa.Column("number", sa.Integer, primary_key=True),
        *_sealed_body(),
    )
    _table(
        "policy_attachments",
        *_key(account_id=12, policy_arn=2048, use=8, owner_id=32),
    )
    _index("ix_policy_attachments_owner", "policy_attachments", "account_id", "owner_id")


def _kms() -> None:
    _table(
        "kms_keys",
        *_key(account_id=12, region=32, key_id=64),
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
    )
    _table(
        "kms_key_materials",
        *_key(account_id=12, region=32, key_id=64),
        sa.Column("material_id", sa.Integer, primary_key=True),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("rotation_type", sa.String(16)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        owner=("kms_keys", _KMS_KEY),
    )
    _table(
        "kms_key_policies",
        *_key(account_id=12, region=32, key_id=64),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        owner=("kms_keys", _KMS_KEY),
    )
    _table(
        "kms_aliases",
        *_key(account_id=12, region=32, alias_name=256),
        sa.Column("key_id", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("updated_at", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        owner=("kms_keys", _KMS_KEY),
    )
    _index("ix_kms_aliases_key", "kms_aliases", *_KMS_KEY)
    _table(
        "kms_grants",
        *_key(account_id=12, region=32, key_id=64, grant_id=64),
        sa.Column("retiring_principal", sa.Text),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        owner=("kms_keys", _KMS_KEY),
    )
    _index("ix_kms_grants_retiring", "kms_grants", "retiring_principal")


def _secrets() -> None:
    _table(
        "secrets",
        *_key(account_id=12, region=32, name=512),
        sa.Column("suffix", sa.String(6), nullable=False),
        sa.Column("description", sa.Text),
        sa.Column("kms_key_id", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_changed_at", sa.BigInteger, nullable=False),
        sa.Column("last_accessed_at", sa.BigInteger),
        sa.Column("last_rotated_at", sa.BigInteger),
        sa.Column("deleted_at", sa.BigInteger),
        sa.Column("deletion_at", sa.BigInteger),
        sa.Column("rotation_enabled", sa.Boolean),
        sa.Column("rotation_function_arn", sa.Text),
        sa.Column("rotation_rules", sa.Text),
        sa.Column("next_rotation_at", sa.BigInteger),
        sa.Column("rotation_opens_at", sa.BigInteger),
        sa.Column("rotation_starts_at", sa.BigInteger),
        sa.Column("secret_type", sa.String(256)),
        sa.Column("owning_service", sa.String(128)),
        sa.Column("external_metadata", sa.Text),
        sa.Column("external_role_arn", sa.Text),
        sa.Column("primary_region", sa.String(32)),
        sa.Column("terms", sa.Text),
        sa.Column("holds", sa.Text),
        sa.Column("mac", sa.LargeBinary),
    )
    _index("ix_secrets_accessed", "secrets", "account_id", "region", "last_accessed_at", "name")
    _index("ix_secrets_changed", "secrets", "account_id", "region", "last_changed_at", "name")
    _index("ix_secrets_created", "secrets", "account_id", "region", "created_at", "name")
    _index("ix_secrets_rotation_starts_at", "secrets", "rotation_starts_at")
    _table(
        "secret_tags",
        *_key(account_id=12, region=32, name=512, tag_key=128),
        sa.Column("tag_value", sa.String(256), nullable=False),
        sa.Column("mac", sa.LargeBinary),
        owner=("secrets", _SECRET),
    )
    _table(
        "secret_versions",
        *_key(account_id=12, region=32, name=512, version_id=64),
        sa.Column("kind", sa.String(6)),
        sa.Column("sealed", sa.LargeBinary),
        sa.Column("kms_key_id", sa.Text),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("last_accessed_at", sa.BigInteger),
        sa.Column("mac", sa.LargeBinary),
        sa.CheckConstraint("(kind IS NULL) = (sealed IS NULL)", name="ck_secret_versions_value_has_a_kind"),
        owner=("secrets", _SECRET),
    )
    _table(
        "staging_labels",
        *_key(account_id=12, region=32, name=512, label=256),
        sa.Column("version_id", sa.String(64), nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        owner=("secret_versions", (*_SECRET, "version_id")),
    )
    _index("ix_staging_labels_version", "staging_labels", *_SECRET, "version_id")
    _table(
        "resource_policies",
        *_key(account_id=12, region=32, name=512),
        sa.Column("policy", sa.Text, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        owner=("secrets", _SECRET),
    )
    _table(
        "secret_replicas",
        *_key(account_id=12, region=32, name=512, replica_region=32),
        sa.Column("kms_key_id", sa.Text),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("status_message", sa.Text),
        sa.Column("overwrite", sa.Boolean, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary),
        owner=("secrets", _SECRET),
    )
    _table(
        "secret_terms",
        *_key(account_id=12, region=32, kind=1),
        sa.Column(
            "term", sa.String(512).with_variant(sa.String(512, collation="C"), "postgresql"), primary_key=True
        ),
        *_key(name=512),
        sqlite_with_rowid=False,
    )


def _rotation() -> None:
    _table(
        "rotations",
        *_key(account_id=12, region=32, name=512, token=64),
        sa.Column("run", sa.Integer, primary_key=True),
        sa.Column("secret_arn", sa.Text, nullable=False),
        sa.Column("function_arn", sa.Text, nullable=False),
        sa.Column("purpose", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("host_key", sa.LargeBinary),
        sa.Column("next_attempt_at", sa.BigInteger, nullable=False),
        sa.Column("started_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger),
        sa.Column("overdue_at", sa.BigInteger),
        sa.Column("mac", sa.LargeBinary),
    )
    _index("ix_rotations_due", "rotations", "next_attempt_at", where="state = 'running'")
    _index("ix_rotations_overdue", "rotations", "overdue_at", where="state = 'running'")
    _index("uq_rotations_one_running", "rotations", *_SECRET, unique=True, where="state = 'running'")
    _table(
        "rotation_masters",
        *_key(account_id=12, region=32, name=512),
        sa.Column("secret_arn", sa.Text, nullable=False),
        sa.Column("master_arn", sa.Text, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    _table(
        "rehearsals",
        *_key(account_id=12, region=32, name=512),
        sa.Column("secret_arn", sa.Text, nullable=False),
        sa.Column("requested_at", sa.BigInteger),
        sa.Column("done_at", sa.BigInteger),
        sa.Column("sealed_report", sa.LargeBinary),
    )
    _index("ix_rehearsals_requested", "rehearsals", "requested_at", where="requested_at IS NOT NULL")


def _functions() -> None:
    _table(
        "functions",
        *_key(account_id=12, region=32, name=64),
        *_sealed_body(),
    )
    _table(
        "function_versions",
        *_key(account_id=12, region=32, name=64, version=16),
        sa.Column("code_id", sa.String(64), nullable=False),
        *_sealed_body(),
    )
    _index("ix_function_versions_code", "function_versions", "account_id", "region", "code_id")
    _table(
        "function_aliases",
        *_key(account_id=12, region=32, name=64, alias=128),
        *_sealed_body(),
    )
    _table(
        "function_policies",
        *_key(account_id=12, region=32, name=64, qualifier=128),
        *_sealed_body(),
    )
    _table(
        "function_code",
        *_key(account_id=12, region=32, code_id=64),
        sa.Column("content", sa.LargeBinary, nullable=False),
    )
    _table(
        "function_events",
        *_key(account_id=12, region=32, event_id=36),
        sa.Column("sealed_event", sa.LargeBinary, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    _index("ix_function_events_due_at", "function_events", "due_at")
    _table(
        "function_logs",
        *_key(account_id=12, region=32, log_group=128, stream=256),
        sa.Column("position", sa.BigInteger, primary_key=True),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
    )
    _index("ix_function_logs_at", "function_logs", "account_id", "region", "log_group", "position")
    _table(
        "log_groups",
        *_key(account_id=12, region=32, log_group=512),
        *_sealed_body(),
    )


def _rds() -> None:
    _table(
        "databases",
        *_key(account_id=12, region=32, kind=8, identifier=63),
        sa.Column("resource_id", sa.String(40), nullable=False),
        sa.Column("engine", sa.String(32), nullable=False),
        sa.Column("engine_version", sa.String(32)),
        sa.Column("status", sa.String(48), nullable=False),
        sa.Column("status_message", sa.Text),
        sa.Column("master_username", sa.String(64)),
        sa.Column("dbname", sa.String(64)),
        sa.Column("host", sa.String(255)),
        sa.Column("reader_host", sa.String(255)),
        sa.Column("port", sa.Integer),
        sa.Column("cluster_id", sa.String(63)),
        sa.Column("writer", sa.Boolean, nullable=False),
        sa.Column("source_id", sa.String(63)),
        sa.Column("secret_arn", sa.Text),
        sa.Column("local", sa.Boolean, nullable=False),
        sa.Column("node_id", sa.String(36)),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("sealed_password", sa.LargeBinary),
        sa.Column("sealed_internal", sa.LargeBinary),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )
    _index("ix_databases_cluster", "databases", "account_id", "region", "cluster_id")
    _index("ix_databases_local", "databases", "node_id", where="local")
    _index("ix_databases_source", "databases", "account_id", "region", "source_id")
    _table(
        "database_tags",
        *_key(account_id=12, region=32, kind=8, identifier=63, tag_key=128),
        sa.Column("tag_value", sa.String(256), nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
        owner=("databases", _DATABASE),
    )


def _trail() -> None:
    _table(
        "trail_records",
        *_key(account_id=12, region=32, event_id=36),
        sa.Column("event_name", sa.String(128), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("writer", sa.String(64), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("writer", "sequence", name="uq_trail_records_writer_sequence"),
    )
    _index("ix_trail_records_at", "trail_records", "account_id", "region", "at")
    _table(
        "trail_keys",
        *_key(key_id=8),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
    _table(
        "trail_heads",
        *_key(writer=64),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )


def _storage() -> None:
    _table(
        "leases",
        *_key(account_id=12, region=32),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("fence", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("mac", sa.LargeBinary),
    )
    _table(
        "outbox",
        *_key(account_id=12, region=32, job_id=36),
        sa.Column("kind", sa.String(64), nullable=False),
        sa.Column("sealed_payload", sa.LargeBinary, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("last_error", sa.Text),
        sa.Column("due_at", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.BigInteger, nullable=False),
    )
    _index("ix_outbox_due_at", "outbox", "due_at")
