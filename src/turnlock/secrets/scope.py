"""Operations and members of Secrets Manager's model that are not implemented, each with the reason."""

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
"""Operation → why it has no handler. With the handlers this is the whole model, and what AWS documents beyond it."""

MEMBERS_NOT_YET: Final[Mapping[str, str]] = MappingProxyType(
    {"CrossAccountPrimaryARN": "Replication between accounts"}
)
"""Member of CreateSecret → what it would ask for. Ignoring it would make another secret than was asked for."""


def refuse_members(request: Request) -> None:
    """Raise InvalidParameterException for a member in MEMBERS_NOT_YET."""
    for member, thing in MEMBERS_NOT_YET.items():
        if member in request:
            raise InvalidParameterException(f"{member}: {thing} is not supported by this server yet.")
