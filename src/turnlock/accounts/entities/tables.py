"""IAM's tables: global to an account.

A row that decides anything keeps its whole value in `body` (JSON) under `mac`; the other columns only find it, and are
compared with the body when it is read. `group_memberships` and `policy_attachments` answer the question the other way
round (who is in a group, what uses a policy): what counts is in the identity's own body.
"""

from __future__ import annotations

from sqlalchemy import Column, Index, Integer, LargeBinary, String, Table, Text

from turnlock.storage import metadata


def _account() -> Column[str]:
    return Column("account_id", String(12), primary_key=True)


def _kept() -> tuple[Column[str], Column[bytes]]:
    return Column("body", Text, nullable=False), Column("mac", LargeBinary, nullable=False)


identities = Table(
    "identities",
    metadata,
    _account(),
    Column("kind", String(5), primary_key=True),
    Column("name_key", String(128), primary_key=True),
    Column("id", String(32), nullable=False),
    *_kept(),
    Index("ix_identities_id", "account_id", "id", unique=True),
)

group_memberships = Table(
    "group_memberships",
    metadata,
    _account(),
    Column("group_id", String(32), primary_key=True),
    Column("user_id", String(32), primary_key=True),
    Index("ix_group_memberships_user", "account_id", "user_id"),
)

policy_attachments = Table(
    "policy_attachments",
    metadata,
    _account(),
    Column("policy_arn", String(2048), primary_key=True),
    Column("use", String(8), primary_key=True),
    Column("owner_id", String(32), primary_key=True),
    Index("ix_policy_attachments_owner", "account_id", "owner_id"),
)

managed_policies = Table(
    "managed_policies",
    metadata,
    _account(),
    Column("name_key", String(128), primary_key=True),
    Column("id", String(32), nullable=False),
    Column("arn", String(2048), nullable=False),
    Column("default_version", Integer, nullable=False),
    *_kept(),
    Index("ix_managed_policies_arn", "account_id", "arn", unique=True),
)

managed_policy_versions = Table(
    "managed_policy_versions",
    metadata,
    _account(),
    Column("policy_id", String(32), primary_key=True),
    Column("number", Integer, primary_key=True),
    *_kept(),
)

login_profiles = Table(
    "login_profiles",
    metadata,
    _account(),
    Column("user_id", String(32), primary_key=True),
    *_kept(),
)

mfa_devices = Table(
    "mfa_devices",
    metadata,
    _account(),
    Column("name_key", String(226), primary_key=True),
    Column("user_id", String(32)),
    *_kept(),
    Index("ix_mfa_devices_user", "account_id", "user_id"),
)

instance_profiles = Table(
    "instance_profiles",
    metadata,
    _account(),
    Column("name_key", String(128), primary_key=True),
    Column("role_id", String(32)),
    *_kept(),
    Index("ix_instance_profiles_role", "account_id", "role_id"),
)

oidc_providers = Table(
    "oidc_providers",
    metadata,
    _account(),
    Column("url", String(255), primary_key=True),
    *_kept(),
)
