"""What is decided of a resource policy when it is put: whom it lets in, whom it locks out, whom it can name at all.

Pure. These are the checks of Secrets Manager's ValidateResourcePolicy (docs/aws-behaviour.md#public-resource-policies).
In doubt a policy is called public.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from turnlock.core.action import Subject
from turnlock.core.address import read_network
from turnlock.core.arn import Arn, account_id
from turnlock.core.call import Call
from turnlock.core.work import Work
from turnlock.policies.context import Holdings
from turnlock.policies.document import (
    Condition,
    Document,
    Effect,
    NamedPrincipal,
    PrincipalType,
    Quantifier,
    Statement,
)
from turnlock.policies.evaluation import Denied, decide_by_name

_POSITIVE: Final = frozenset(
    {"StringEquals", "StringEqualsIgnoreCase", "StringLike", "ArnEquals", "ArnLike", "IpAddress"}
)
"""Operators that hold for the values that they name, and for no others."""

_BROADEST: Final = {4: 8, 6: 32}
"""By IP version: the shortest prefix that still narrows (S3 user guide, "The meaning of public")."""

_RESOURCES: Final = {"iam": ("user/", "role/"), "sts": ("assumed-role/", "federated-user/")}
"""By service: the resources that can be principals, beside an account's root."""

_UNIQUE_IDS: Final = ("AIDA", "AROA")
"""How the unique ids of users and roles begin (IAM user guide, "IAM identifiers")."""


def is_public(document: Document) -> bool:
    """Tell whether a policy lets in callers that it does not name.

    It does when an Allow names everyone, or everyone but some, and no condition of it demands a fixed value that only
    some callers have. Denials elsewhere in the policy are not weighed against it.
    """
    return any(_lets_anyone_in(statement) for statement in document.statements)


def locks_out(
    call: Call, subject: Subject, policy: str, action: str, holdings: Holdings, *, work: Work | None = None
) -> bool:
    """Tell whether a policy, put on the call's subject instead of the one it has, denies the caller this action there.

    The action, such as `PutResourcePolicy`, is one that the caller may do now; `holdings` is what IAM holds for it, `work`
    what the request may still cost: a policy that takes more locks the caller out.
    """
    return isinstance(decide_by_name(call, action, replace(subject, policy=policy), holdings, work), Denied)


def has_unsupported_principal(document: Document) -> bool:
    """Tell whether a policy names a principal in a form that none has."""
    return any(
        not _is_supported(named)
        for statement in document.statements
        for named in statement.principals
        if named.type is not PrincipalType.SERVICE
    )


def has_invalid_service(document: Document) -> bool:
    """Tell whether a policy names a service in a form that none has."""
    return any(
        not _is_service(named.name)
        for statement in document.statements
        for named in statement.principals
        if named.type is PrincipalType.SERVICE
    )


def _lets_anyone_in(statement: Statement) -> bool:
    if statement.effect is not Effect.ALLOW:
        return False
    anyone = statement.principals_negated or any(
        named.type is PrincipalType.ANYONE or "*" in named.name for named in statement.principals
    )
    return anyone and not any(map(_narrows, statement.conditions))


def _narrows(condition: Condition) -> bool:
    """Tell whether a condition holds for fixed values of a key alone that callers cannot choose for themselves."""
    is_fixed = _NARROWING.get(condition.key.lower())
    return (
        is_fixed is not None
        and condition.operator in _POSITIVE
        and condition.quantifier is not Quantifier.ALL
        and not condition.if_exists
        and all(map(is_fixed, condition.values))
    )


def _is_fixed(value: str) -> bool:
    return bool(value) and not any(mark in value for mark in ("*", "?", "${"))


def _is_fixed_network(value: str) -> bool:
    network = read_network(value)
    return network is not None and network.prefixlen >= _BROADEST[network.version]


_NARROWING: Final[Mapping[str, Callable[[str], bool]]] = {
    **dict.fromkeys(("aws:sourcearn", "aws:sourcevpc", "aws:sourcevpce", "aws:sourceaccount"), _is_fixed),
    **dict.fromkeys(("aws:principalorgid", "aws:principalaccount", "aws:principalarn"), _is_fixed),
    "aws:sourceip": _is_fixed_network,
}
"""Condition keys that narrow a policy, and which of their values do (Secrets Manager and S3 user guides)."""


def _is_supported(named: NamedPrincipal) -> bool:
    if named.type is not PrincipalType.AWS:
        return named.type is PrincipalType.ANYONE
    name = named.name
    if name.isascii() and name.isalnum():
        return name.startswith(_UNIQUE_IDS) or _is_account(name)
    try:
        arn = Arn.parse(name)
    except ValueError:
        return False
    resources = _RESOURCES.get(arn.service, ())
    is_root = arn.service == "iam" and arn.resource == "root"
    is_named = any(arn.resource.startswith(start) and arn.resource != start for start in resources)
    return (
        _is_account(arn.account_id)
        and not arn.region
        and (is_root or is_named)
        and not ("*" in name or "?" in name)
    )


def _is_account(text: str) -> bool:
    try:
        account_id(text)
    except ValueError:
        return False
    return True


def _is_service(name: str) -> bool:
    host = name.removesuffix(".cn")
    labels = host.removesuffix(".amazonaws.com")
    allowed = "abcdefghijklmnopqrstuvwxyz0123456789-."
    return labels != host and bool(labels.strip(".")) and set(labels) <= set(allowed)
