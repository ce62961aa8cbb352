"""What of Secrets Manager's model this server does not do yet, each with the reason: nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from turnlock.core.action import Request
from turnlock.errors import InvalidParameterException

_CROSS_ACCOUNT = "needs replication between accounts"

NOT_YET: Final[Mapping[str, str]] = MappingProxyType(
    {
        "AssociateCrossAccountReplica": _CROSS_ACCOUNT,
        "DisassociateCrossAccountReplica": _CROSS_ACCOUNT,
    }
)
"""Operations that have no handler, and why; with the handlers they are the whole model and what AWS documents beyond it."""

MEMBERS_NOT_YET: Final[Mapping[str, str]] = MappingProxyType(
    {"CrossAccountPrimaryARN": "Replication between accounts"}
)
"""Members of CreateSecret that would change what the secret is, and what they ask for."""


def refuse_members(request: Request) -> None:
    """Raise InvalidParameterException for a member of MEMBERS_NOT_YET: ignoring it would promise what is not done."""
    for member, thing in MEMBERS_NOT_YET.items():
        if member in request:
            raise InvalidParameterException(f"{member}: {thing} is not supported by this server yet.")
