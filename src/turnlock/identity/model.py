"""Who may do what: credentials as values, session policies, and the decision over one call.

Pure: no store, no clock, no randomness.

An action of `ALWAYS_ALLOWED` is allowed to whoever proved to be somebody, whatever the policies say. For all others `decide`
walks three obligations; a call is allowed when all of them hold:

    1. The call, and the resource that it names, belong to the principal's own account.
    2. A session policy, where there is one, allows the action on the resource.
    3. The principal has authority of its own: it is the account's root user, or a role's session that (2) allowed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from turnlock.core.action import Action, Subject
from turnlock.core.arn import AccountId, Arn
from turnlock.core.call import Call, Principal, PrincipalKind, Session

LONGEST_POLICY: Final = 2_048
"""Characters of a session policy (STS API reference, AssumeRole, "Policy")."""

DESCRIBES: Final = {"secretsmanager": "DescribeSecret"}
"""By service: the action whose right lets a denial show the ARN of what was found."""

ALWAYS_ALLOWED: Final = frozenset({("sts", "GetCallerIdentity")})
"""Actions, by service, that need no permission and that no policy can deny (STS API reference, GetCallerIdentity)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCredentials:
    """A new long-term access key: the only moment at which its secret is seen."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A stored access key as one request found it, its token already checked."""

    principal: Principal
    session: Session
    sealed_secret: bytes = field(repr=False)
    """The secret access key, sealed for the principal's ARN and `part`."""
    part: str
    """What the secret is sealed for beside its owner. It covers the row, so that a changed row opens nothing."""


@dataclass(frozen=True, slots=True)
class Allowed:
    """The call may go on."""


@dataclass(frozen=True, slots=True)
class Denied:
    """The call may not go on."""

    reason: str
    """The message of the AccessDeniedException."""


Decision = Allowed | Denied


def decide(call: Call, action: Action, subject: Subject) -> Decision:
    """Decide whether the caller may carry out this action on this subject; anything unknown is denied."""
    missing = _missing(call, action.name, subject)
    if missing is None:
        return _ALLOWED
    named = f"{call.service}:{action.name}"
    return Denied(
        f"User: {call.principal.arn} is not authorized to perform: {named}"
        f" on resource: {_shown(call, subject)} because no {missing} policy allows the {named} action"
    )


_ALLOWED: Final = Allowed()


def _missing(call: Call, action: str, subject: Subject) -> str | None:
    """Return the kind of policy that would have to allow the call, None when nothing is missing."""
    principal, policy = call.principal, call.session.policy
    if (call.service, action) in ALWAYS_ALLOWED:
        return None
    # Obligation (1).
    if not call.account_id == principal.account_id == _account_of(call, subject):
        return "resource-based"
    # Obligation (2).
    if policy is not None and not _allows(policy, f"{call.service}:{action}", subject):
        return "session"
    # Obligation (3).
    if principal.kind is PrincipalKind.ROOT:
        return None
    if principal.kind is PrincipalKind.ASSUMED_ROLE and policy is not None:
        return None
    return "identity-based"


def _account_of(call: Call, subject: Subject) -> str:
    """Return the account that the resource is in, found or not: both must be answered alike."""
    try:
        return Arn.parse(subject.arn or subject.named).account_id
    except ValueError:
        return call.account_id


def _shown(call: Call, subject: Subject) -> str:
    """Return what a denial may show: the ARN to who may describe the resource, else the caller's own words."""
    describe = DESCRIBES.get(call.service)
    if subject.arn is None or describe is None or _missing(call, describe, subject) is not None:
        return subject.named
    return subject.arn


def _allows(policy: str, action: str, subject: Subject) -> bool:
    grants = _grants(policy)
    if grants is None:
        return False
    return (action, subject.named if subject.arn is None else subject.arn) in grants


@lru_cache(maxsize=256)
def _grants(policy: str) -> frozenset[tuple[str, str]] | None:
    """Return the pairs of action and resource that a session policy allows; None when it is not understood.

    Understood are documents of version 2012-10-17 whose statements allow actions and resources by their full names
    (or `*` as a whole resource: the one of actions without resources). Anything else makes the whole document allow
    nothing: half understood, it could allow what its author denied.
    """
    if len(policy) > LONGEST_POLICY:
        return None
    try:
        document = json.loads(policy, object_pairs_hook=_object)
        if document.keys() != {"Version", "Statement"} or document["Version"] != "2012-10-17":
            return None
        statements = document["Statement"]
        return frozenset(
            grant for statement in _listed(statements, dict) for grant in _statement_grants(statement)
        )
    except (ValueError, TypeError, AttributeError, RecursionError):
        return None


def _statement_grants(statement: dict[str, Any]) -> list[tuple[str, str]]:
    """Return a statement's pairs; ValueError unless it is an Allow without wildcards or conditions."""
    if statement.keys() - {"Sid"} != {"Effect", "Action", "Resource"} or statement["Effect"] != "Allow":
        raise ValueError("not a plain Allow statement")
    actions = _listed(statement["Action"], str)
    resources = _listed(statement["Resource"], str)
    if any(_is_pattern(text) for text in actions) or any(
        _is_pattern(text) for text in resources if text != "*"
    ):
        raise ValueError("a wildcard or a variable")
    return [(action, resource) for action in actions for resource in resources]


def _is_pattern(text: str) -> bool:
    return any(mark in text for mark in ("*", "?", "${"))


def _listed(value: object, kind: type) -> list[Any]:
    """Return the values of a list, or one value as a list; ValueError unless all are of this type."""
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, kind) for each in values):
        raise ValueError("a value of another type")
    return values


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice")
    return found


def rotation_policy(secret_arn: str) -> str:
    """Return the session policy of a rotation function: the calls of its four steps, on its one secret.

    The actions are those of the execution role in the user guide, "Permissions for rotation".
    """
    actions = ("DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage")
    statements = [
        {
            "Effect": "Allow",
            "Action": [f"secretsmanager:{action}" for action in actions],
            "Resource": secret_arn,
        },
        {"Effect": "Allow", "Action": "secretsmanager:GetRandomPassword", "Resource": "*"},
    ]
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
