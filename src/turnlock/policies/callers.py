"""Whom a statement names: how the names of a Principal element stand for the one who calls.

A caller goes by several names. Which of them a resource policy uses decides what else must agree (IAM user guide, "Policy
evaluation for requests within a single account"):

    ACCOUNT   its account: the account may hand the right on, by policies of its identities
    ROLE      the role whose session it is: the boundary and the session's policies still narrow what is granted
    SELF      the user, the root user, the session itself, or everyone: granted, whatever else does not allow it
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from turnlock.core.arn import Arn
from turnlock.core.call import Principal, PrincipalKind
from turnlock.policies.document import Effect, PrincipalType, Statement


class Level(IntEnum):
    """By which of its names a caller was named, the weakest first."""

    NONE = 0
    ACCOUNT = 1
    ROLE = 2
    SELF = 3


@dataclass(frozen=True, slots=True)
class Caller:
    """The names that one caller goes by."""

    names: Mapping[tuple[PrincipalType, str], Level]


NOBODY: Final = Caller({})
"""Stands for the caller where no policy names principals."""


def caller_of(principal: Principal, role_arn: str | None = None) -> Caller:
    """Return a principal's names; `role_arn` is the ARN of the role whose session it is, path included, where known."""
    if principal.kind is PrincipalKind.SERVICE:
        return named_caller(PrincipalType.SERVICE, principal.arn)
    if principal.kind is PrincipalKind.WEB_IDENTITY:
        return named_caller(PrincipalType.FEDERATED, principal.arn)
    return _named(principal.kind, principal.account_id, principal.arn, principal.principal_id, role_arn)


def named_caller(kind: PrincipalType, name: str) -> Caller:
    """Return the names of a service or an identity provider, which is known by one alone."""
    return Caller({(kind, name): Level.SELF})


def role_of(principal: Principal) -> str | None:
    """Return the ARN, without a path, of the role whose session a principal is; None for what is no role's session."""
    return _role_arn(principal.arn) if principal.kind is PrincipalKind.ASSUMED_ROLE else None


def level_in(statement: Statement, caller: Caller) -> Level:
    """Return by which of its names a statement names the caller; SELF where the statement names everyone.

    With NotPrincipal an Allow is for whom it names by none of their names, and a Deny for whom it does not name by all:
    AWS may look at the account first, then the role, then the session ("AWS JSON policy elements: NotPrincipal").
    """
    named = [caller.names.get((one.type, one.name), Level.NONE) for one in statement.principals]
    anyone = any(one.type is PrincipalType.ANYONE for one in statement.principals)
    if not statement.principals_negated:
        return Level.SELF if anyone else max(named, default=Level.NONE)
    if statement.effect is Effect.ALLOW:
        return Level.NONE if anyone or any(named) else Level.SELF
    return Level.NONE if anyone or set(caller.names.values()) <= set(named) else Level.SELF


@lru_cache(maxsize=1024)
def _named(kind: PrincipalKind, account: str, arn: str, principal_id: str, role_arn: str | None) -> Caller:
    to_account = Level.SELF if kind is PrincipalKind.ROOT else Level.ACCOUNT
    names = {account: to_account, f"arn:aws:iam::{account}:root": to_account}
    names |= {arn: Level.SELF, principal_id: Level.SELF}
    if kind is PrincipalKind.ASSUMED_ROLE:
        names |= {role_arn or _role_arn(arn): Level.ROLE, principal_id.partition(":")[0]: Level.ROLE}
    return Caller({(PrincipalType.AWS, name): level for name, level in names.items()})


def _role_arn(session_arn: str) -> str:
    arn = Arn.parse(session_arn)
    return f"arn:{arn.partition}:iam::{arn.account_id}:role/{arn.resource.split('/')[1]}"
