"""What temporary credentials carry beside their principal, policy and time: one value, stored as JSON in the session's row.

The session's secret is sealed for these very bytes, so that who changes them in the store is left with credentials that
open nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import msgspec

from turnlock.core.call import PrincipalKind


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionContext:
    """How a session came to be."""

    kind: PrincipalKind = PrincipalKind.ASSUMED_ROLE
    managed_policies: tuple[str, ...] = ()
    """JSON documents of managed policies that were passed as session policies, as they were then."""
    tags: Mapping[str, str] = field(default_factory=dict)
    transitive_tags: tuple[str, ...] = ()
    """Keys of the tags that go on to the next role of a chain."""
    source_identity: str | None = None
    mfa_at: datetime | None = None
    hosted: bool = False

    def encoded(self) -> str:
        """Return the JSON that is stored."""
        return msgspec.json.encode(self, order="deterministic").decode()

    @classmethod
    def read(cls, stored: str | None) -> SessionContext:
        """Return what `encoded` wrote; a session without it is a hosted function's."""
        return cls(hosted=True) if stored is None else msgspec.json.decode(stored, type=cls)
