"""Identities and policies as IAM answers them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from turnlock.accounts import Identity, Kind, ManagedPolicy, PolicyVersion, shown_policy
from turnlock.iam.policies.documents import shown
from turnlock.policies import Form
from turnlock.storage import Unit


def identity_members(unit: Unit, one: Identity, *, whole: bool = True) -> dict[str, Any]:
    """Return the User, Group or Role of an answer; lists leave tags and boundary out (`whole` False)."""
    noun = one.kind.value
    found: dict[str, Any] = {
        "Path": one.path,
        f"{noun}Name": one.name,
        f"{noun}Id": one.id,
        "Arn": one.arn,
        "CreateDate": one.created_at,
    }
    if one.kind is Kind.ROLE:
        found |= {
            "AssumeRolePolicyDocument": shown(
                shown_policy(unit, one.account_id, one.trust_policy or "", Form.TRUST)
            ),
            "Description": one.description,
            "MaxSessionDuration": one.max_session_seconds,
        }
    if whole and one.kind is not Kind.GROUP:
        found |= {"PermissionsBoundary": boundary_members(one), "Tags": tag_members(one.tags) or None}
    return found


def boundary_members(one: Identity) -> dict[str, str] | None:
    """Return the PermissionsBoundary of an answer; None where there is none."""
    if one.boundary is None:
        return None
    return {"PermissionsBoundaryType": "Policy", "PermissionsBoundaryArn": one.boundary}


def tag_members(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the Tags of an answer."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def version_members(policy: ManagedPolicy, version: PolicyVersion, *, document: bool) -> dict[str, Any]:
    """Return the PolicyVersion of an answer; lists leave the document out."""
    return {
        "VersionId": version.version_id,
        "IsDefaultVersion": version.number == policy.default_version,
        "CreateDate": version.created_at,
        "Document": shown(version.document) if document else None,
    }
