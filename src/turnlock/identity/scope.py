"""What of STS's model this server does not do yet, each with the reason: nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_USERS = "needs IAM users, which come with IAM"
_PROVIDERS = "needs identity providers, which come with IAM"

STS_NOT_YET: Final[Mapping[str, str]] = MappingProxyType(
    {
        "AssumeRoleWithSAML": _PROVIDERS,
        "AssumeRoleWithWebIdentity": _PROVIDERS,
        "AssumeRoot": "needs an organisation of accounts",
        "DecodeAuthorizationMessage": "needs encoded denials, which come with IAM's policies",
        "GetAccessKeyInfo": _USERS,
        "GetDelegatedAccessToken": _PROVIDERS,
        "GetFederationToken": _USERS,
        "GetSessionToken": _USERS,
        "GetWebIdentityToken": _PROVIDERS,
    }
)
"""Operations that have no handler, and why; with the handlers they are the whole model."""
