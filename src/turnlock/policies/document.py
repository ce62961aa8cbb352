"""Policy documents as values: what the grammar of the IAM policy language says, and nothing of what it means for a call.

Pure: no store, no clock, no randomness. `policy_reader` makes these values, `exposure` decides a few things about them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Effect(Enum):
    """What a statement does to the calls that it applies to."""

    ALLOW = "Allow"
    """It allows them, where nothing denies."""
    DENY = "Deny"
    """It denies them, whatever allows."""


class PrincipalType(Enum):
    """What names a principal."""

    ANYONE = "*"
    """Nobody is named: everyone, also without credentials."""
    AWS = "AWS"
    """An account, a user, a role or a session."""
    SERVICE = "Service"
    """A service of AWS."""
    FEDERATED = "Federated"
    """An identity provider."""
    CANONICAL_USER = "CanonicalUser"
    """An account by its canonical user id."""


class Quantifier(Enum):
    """How a condition reads a key of the request that has many values."""

    ONE = ""
    """The key has one value."""
    ANY = "ForAnyValue"
    """One of them must match."""
    ALL = "ForAllValues"
    """All of them must match; true where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPrincipal:
    """One entry of a Principal or NotPrincipal element."""

    type: PrincipalType
    name: str
    """As it was written; `*` for ANYONE."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Patterns:
    """An Action, NotAction, Resource or NotResource element: texts in which `*` and `?` stand for others."""

    texts: Sequence[str]
    negated: bool
    """True for NotAction and NotResource: all that no text matches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One key of a Condition element with the values that it is compared with."""

    operator: str
    """Without quantifier and IfExists, such as `StringLike`."""
    quantifier: Quantifier
    if_exists: bool
    """True: it holds where the request has no such key."""
    key: str
    """As it was written; keys are compared without regard to case."""
    values: Sequence[str]
    """At least one; booleans and numbers as JSON spells them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement; its elements all hold for the calls that it applies to."""

    sid: str | None
    effect: Effect
    principals: Sequence[NamedPrincipal]
    """Empty in policies of identities, which name none."""
    principals_negated: bool
    """True for NotPrincipal: everyone but these."""
    actions: Patterns
    resources: Patterns
    conditions: Sequence[Condition]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A whole policy."""

    version: str
    """`2012-10-17`, or `2008-10-17` where it says so or nothing."""
    policy_id: str | None
    statements: Sequence[Statement]
    """At least one."""
