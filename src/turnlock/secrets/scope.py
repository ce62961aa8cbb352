"""What of Secrets Manager's model this server does not do yet, each with the reason: nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_POLICIES = "needs the evaluation of resource policies, which comes with identities other than root"
_CROSS_ACCOUNT = "newer than the oldest botocore that is supported, and needs replication between accounts"

NOT_YET: Final[Mapping[str, str]] = MappingProxyType(
    {
        "AssociateCrossAccountReplica": _CROSS_ACCOUNT,
        "DeleteResourcePolicy": _POLICIES,
        "DisassociateCrossAccountReplica": _CROSS_ACCOUNT,
        "GetResourcePolicy": _POLICIES,
        "ListResourcePolicies": _CROSS_ACCOUNT,
        "PutResourcePolicy": _POLICIES,
        "ValidateResourcePolicy": _POLICIES,
    }
)
"""Operations that have no handler, and why; with the handlers they are the whole model and what AWS documents beyond it."""
