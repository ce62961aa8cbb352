"""Credentials and principals as values, and the session policy of hosted functions.

Pure: no store, no clock, no randomness.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from turnlock.core.arn import AccountId
from turnlock.core.call import Principal, PrincipalKind, Session

LONGEST_POLICY: Final = 2_048
"""Characters of a session policy (STS API reference, AssumeRole, "Policy")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCredentials:
    """A new long-term access key: the only moment at which its secret is seen."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class LastUse:
    """When, where and for what an access key was last used, to the quarter of an hour."""

    at: datetime
    region: str
    service: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A stored access key as one request found it, its token already checked."""

    principal: Principal
    session: Session
    sealed_secret: bytes = field(repr=False)
    """The secret access key, sealed for `sealed_for` and `part`."""
    sealed_for: str
    """The ARN for which the secret is sealed: the principal's when the key was made."""
    part: str
    """What the secret is sealed for beside its owner. It covers the row, so that a changed row opens nothing."""
    last_used: LastUse | None = None
    """When a long-term key was last used, as far as the store knows."""


def rotation_policy(
    secret_arn: str,
    master_arn: str | None = None,
    databases: Sequence[str] = (),
    *,
    reads_only: bool = False,
) -> str:
    """Return the session policy of a rotation function: the calls of its four steps, on its one secret.

    The actions are those of the execution role in the user guide, "Permissions for rotation". Keys serve it through Secrets
    Manager alone, which knows but the one secret; with a master secret, that one's value may be read as well, and the DB
    instances and clusters (ARNs) of `databases` described. A rehearsal's `reads_only`.
    """
    actions = ["DescribeSecret", "GetSecretValue"]
    if not reads_only:
        actions += ["PutSecretValue", "UpdateSecretVersionStage"]
    statements = [
        {
            "Effect": "Allow",
            "Action": [f"secretsmanager:{action}" for action in actions],
            "Resource": secret_arn,
        },
        {"Effect": "Allow", "Action": "secretsmanager:GetRandomPassword", "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": ["kms:Decrypt", "kms:GenerateDataKey"],
            "Resource": "*",
            "Condition": {"StringLike": {"kms:ViaService": "secretsmanager.*"}},
        },
    ]
    if master_arn is not None:
        reads = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
        statements.append({"Effect": "Allow", "Action": reads, "Resource": master_arn})
    if databases:
        describes = ["rds:DescribeDBClusters", "rds:DescribeDBInstances"]
        statements.append({"Effect": "Allow", "Action": describes, "Resource": list(databases)})
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def root_principal(account_id: AccountId) -> Principal:
    """Return an account's root user."""
    return Principal(
        kind=PrincipalKind.ROOT,
        arn=f"arn:aws:iam::{account_id}:root",
        account_id=account_id,
        principal_id=account_id,
    )


def role_session(account_id: AccountId, *, role_name: str, role_id: str, session_name: str) -> Principal:
    """Return the principal of a role's session."""
    return Principal(
        kind=PrincipalKind.ASSUMED_ROLE,
        arn=f"arn:aws:sts::{account_id}:assumed-role/{role_name}/{session_name}",
        account_id=account_id,
        principal_id=f"{role_id}:{session_name}",
    )
