"""PutKeyPolicy, GetKeyPolicy and ListKeyPolicies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

from turnlock.core.action import Answer, Request
from turnlock.core.arn import AccountId
from turnlock.core.call import Call
from turnlock.errors import (
    AccessDeniedException,
    LimitExceededException,
    MalformedPolicyDocumentException,
    NotFoundException,
    UnsupportedOperationException,
)
from turnlock.kms.key_policies.store import default_policy, policy_of, save_policy
from turnlock.kms.lookup import ADMINISTERED, require_customers, require_lasting
from turnlock.kms.model import KmsKey
from turnlock.storage import Unit


class Principals(Protocol):
    """Translates principals in policies and grants: stored by unique id, shown by ARN. `app` passes in IAM's."""

    def saved_policy(self, unit: Unit, text: str) -> str:
        """Return a resource policy as it is kept. Raises ValueError, saying what is wrong."""

    def shown_policy(self, unit: Unit, account_id: AccountId, text: str) -> str:
        """Return a policy of an account's resource as it is shown."""

    def saved_name(self, unit: Unit, arn: str) -> str:
        """Return the ARN of a principal as it is kept. Raises ValueError for one that is not there."""

    def shown_names(self, unit: Unit, account_id: AccountId, names: set[str]) -> Mapping[str, str]:
        """Return the ARNs of the kept names whose principals are there."""


_DEFAULT: Final = "default"
"""The only name that a key policy can have."""

_LONGEST: Final = 32_768
"""Characters of a key policy (KMS developer guide, "Quotas")."""


def put_key_policy(principals: Principals, call: Call, request: Request, unit: Unit) -> Answer:
    """PutKeyPolicy: replace the key's policy.

    Raises MalformedPolicyDocumentException for what is no policy, and for one that would not let the caller change it
    again, unless BypassPolicyLockoutSafetyCheck is true.
    """
    key = ADMINISTERED.require(call, request, unit)
    require_customers(key)
    require_lasting(key)
    if request.get("PolicyName", _DEFAULT) != _DEFAULT:
        raise UnsupportedOperationException("The only policy name that is supported is default.")
    put_checked_policy(principals, call, unit, key, request)
    return {}


def get_key_policy(principals: Principals, call: Call, request: Request, unit: Unit) -> Answer:
    """GetKeyPolicy: the policy as it was put, but for principals that are gone."""
    key = ADMINISTERED.require(call, request, unit)
    if request.get("PolicyName", _DEFAULT) != _DEFAULT:
        raise NotFoundException("No such policy exists")
    shown = principals.shown_policy(unit, key.account_id, policy_of(unit, key))
    return {"Policy": shown, "PolicyName": _DEFAULT}


def list_key_policies(call: Call, request: Request, unit: Unit) -> Answer:
    """ListKeyPolicies: `default`, always."""
    ADMINISTERED.require(call, request, unit)
    return {"PolicyNames": [_DEFAULT], "Truncated": False}


def put_checked_policy(principals: Principals, call: Call, unit: Unit, key: KmsKey, request: Request) -> None:
    """Write a key's policy, then ask the gate whether its caller could write it again: a full evaluation."""
    policy = request.get("Policy", default_policy(call.account_id, call.region))
    if len(policy) > _LONGEST:
        raise LimitExceededException(f"A key policy can have at most {_LONGEST} characters.")
    try:
        saved = principals.saved_policy(unit, policy)
    except ValueError as error:
        raise MalformedPolicyDocumentException(f"The policy is not valid. {error}") from None
    save_policy(unit, key, saved)
    if request.get("BypassPolicyLockoutSafetyCheck", False):
        return
    try:
        call.gate.require("PutKeyPolicy", {"KeyId": key.key_id, "Policy": policy})
    except AccessDeniedException:
        raise MalformedPolicyDocumentException(
            "The new key policy will not allow you to update the key policy in the future."
        ) from None
