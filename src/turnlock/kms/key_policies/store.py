"""Key policies: stored ones, the default, and those of AWS managed keys."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy import bindparam, delete, select

from turnlock.core.arn import AccountId, partition_of
from turnlock.kms.model import KeyOwner, KmsKey
from turnlock.kms.tables import KEY, POLICY_ROWS, kms_key_policies
from turnlock.storage import HotQuery, Unit
from turnlock.storage.alarms import broken

_COLUMNS: Final = tuple(column.name for column in kms_key_policies.c)
_OF_KEY = HotQuery(
    select(kms_key_policies).where(*(kms_key_policies.c[name] == bindparam(name) for name in KEY))
)


def policy_of(unit: Unit, key: KmsKey) -> str:
    """Return a key's policy (JSON). Raises SealBroken for one that was forged or removed: every key has one."""
    if key.owner is KeyOwner.AWS:
        return managed_policy(key)
    place = {"account_id": key.account_id, "region": key.region, "key_id": key.key_id}

    def read() -> str:
        found = _OF_KEY.rows(unit, place)
        if not found:
            broken(f"The policy of {key.arn}", "is gone", table=kms_key_policies.name, **place)
        row = dict(zip(_COLUMNS, found[0], strict=True))
        POLICY_ROWS.check(unit, row)
        return str(row["policy"])

    return unit.derived(("kms policy", *place.values()), read)


def save_policy(unit: Unit, key: KmsKey, policy: str) -> None:
    """Make this the key's policy."""
    row = {"account_id": key.account_id, "region": key.region, "key_id": key.key_id, "policy": policy}
    unit.connection.execute(
        delete(kms_key_policies).where(*(kms_key_policies.c[name] == row[name] for name in KEY))
    )
    POLICY_ROWS.insert(unit, row)


def default_policy(account_id: AccountId, region: str) -> str:
    """Return the policy of a key made without one: the account decides, by its identities' policies."""
    statement = {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": _root(account_id, region)},
        "Action": "kms:*",
        "Resource": "*",
    }
    return _document("key-default-1", statement)


def managed_policy(key: KmsKey) -> str:
    """Return the policy of aws/secretsmanager: its account uses it, through Secrets Manager alone.

    Source: docs/aws-behaviour.md#kms-keys-of-secrets.
    """
    through_service = {
        "Sid": "Allow access through AWS Secrets Manager for all principals in the account that are authorized to"
        " use AWS Secrets Manager",
        "Effect": "Allow",
        "Principal": {"AWS": "*"},
        "Action": [
            "kms:Decrypt",
            "kms:ReEncrypt*",
            "kms:GenerateDataKey*",
            "kms:CreateGrant",
            "kms:DescribeKey",
        ],
        "Resource": "*",
        "Condition": {
            "StringEquals": {
                "kms:CallerAccount": key.account_id,
                "kms:ViaService": f"secretsmanager.{key.region}.amazonaws.com",
            }
        },
    }
    direct = {
        "Sid": "Allow direct access to key metadata to the account",
        "Effect": "Allow",
        "Principal": {"AWS": _root(key.account_id, key.region)},
        "Action": ["kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant"],
        "Resource": "*",
    }
    return _document("auto-secretsmanager-1", through_service, direct)


def _root(account_id: AccountId, region: str) -> str:
    return f"arn:{partition_of(region)}:iam::{account_id}:root"


def _document(policy_id: str, *statements: Mapping[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Id": policy_id, "Statement": list(statements)})
