"""IAM's values: identities, managed policies, and the limits that IAM sets them.

Pure: no store, no clock, no randomness. Limits are those of the IAM user guide, "IAM and AWS STS quotas".
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Any, Final

from turnlock.core.arn import AccountId

ACCESS_KEYS: Final = 2
"""Access keys of one user."""
ATTACHMENTS: Final = 10
"""Managed policies of one identity, and groups of one user."""
VERSIONS: Final = 5
"""Versions of one managed policy."""
TAGS: Final = 50
POLICY_CHARACTERS: Final = 6_144
"""Characters of a managed policy; white space is not counted, here and below."""
TRUST_CHARACTERS: Final = 2_048


class Kind(Enum):
    """What an identity is; the value is its word in AWS's names."""

    USER = "User"
    GROUP = "Group"
    ROLE = "Role"

    @property
    def noun(self) -> str:
        """The word in ARNs and sentences."""
        return self.value.lower()


PREFIXES: Final[Mapping[Kind, str]] = {Kind.USER: "AIDA", Kind.GROUP: "AGPA", Kind.ROLE: "AROA"}
"""What a unique id begins with (IAM user guide, "Unique identifiers")."""

INLINE_CHARACTERS: Final[Mapping[Kind, int]] = {Kind.USER: 2_048, Kind.GROUP: 5_120, Kind.ROLE: 10_240}
"""Characters of all inline policies of one identity together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A user, group or role, with everything that decides for it: one row under one MAC, so that no part can go unseen."""

    account_id: AccountId
    kind: Kind
    id: str
    """The unique id: never used again, also for another identity of the same name."""
    name: str
    """As it was given; names are compared without regard to case."""
    path: str
    created_at: datetime
    boundary: str | None = None
    """The ARN of the permissions boundary."""
    tags: Mapping[str, str] = field(default_factory=dict)
    inline: Mapping[str, str] = field(default_factory=dict)
    """By name: inline policies as they were put."""
    attached: tuple[str, ...] = ()
    """ARNs of managed policies."""
    groups: tuple[str, ...] = ()
    """Ids of a user's groups."""
    trust_policy: str | None = None
    """Who may assume a role; None for what is no role."""
    description: str | None = None
    max_session_seconds: int = 3_600

    @property
    def arn(self) -> str:
        """`arn:aws:iam::ACCOUNT:user/PATH/NAME`."""
        return identity_arn(self.account_id, self.kind, self.name, self.path)

    def evolve(self, **changes: Any) -> Identity:
        """Return a copy with these members changed."""
        return replace(self, **changes)


def identity_arn(account_id: AccountId, kind: Kind, name: str, path: str = "/") -> str:
    """Return the ARN of an identity of this name and path."""
    return f"arn:aws:iam::{account_id}:{kind.noun}{path}{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedPolicy:
    """A customer managed policy without its documents."""

    account_id: AccountId
    id: str
    name: str
    path: str
    created_at: datetime
    updated_at: datetime
    default_version: int
    newest_version: int
    """The number that was given last; numbers are not used again."""
    description: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def arn(self) -> str:
        """`arn:aws:iam::ACCOUNT:policy/PATH/NAME`."""
        return policy_arn(self.account_id, self.name, self.path)

    def evolve(self, **changes: Any) -> ManagedPolicy:
        """Return a copy with these members changed."""
        return replace(self, **changes)


def policy_arn(account_id: AccountId, name: str, path: str = "/") -> str:
    """Return the ARN of a customer managed policy."""
    return f"arn:aws:iam::{account_id}:policy{path}{name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyVersion:
    """One version of a managed policy."""

    account_id: AccountId
    policy_id: str
    number: int
    document: str
    created_at: datetime

    @property
    def version_id(self) -> str:
        """Such as `v1`."""
        return f"v{self.number}"


def counted(document: str) -> int:
    """Return how many characters of a policy count towards IAM's limits: all but white space."""
    return sum(not character.isspace() for character in document)


def spoken(key: str) -> str:
    """Return a name as it is compared: IAM's names are unique without regard to case."""
    return key.lower()
