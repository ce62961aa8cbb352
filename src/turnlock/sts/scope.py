"""What of STS's model this server does not do yet, each with the reason: nothing is left out in silence."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_OTHER_PROVIDERS = "SAML providers are not served; OpenID Connect does the same for workloads"
_OUTBOUND = "this server issues no web identity tokens of its own"

STS_NOT_YET: Final[Mapping[str, str]] = MappingProxyType(
    {
        "AssumeRoleWithSAML": _OTHER_PROVIDERS,
        "AssumeRoot": "needs an organisation of accounts",
        "DecodeAuthorizationMessage": "denials name the statement that decides in clear text; none is encoded",
        "GetDelegatedAccessToken": _OUTBOUND,
        "GetFederationToken": "needs a principal of a kind of its own; AssumeRole with a session policy does the same",
        "GetWebIdentityToken": _OUTBOUND,
    }
)
"""Operations that have no handler, and why; with the handlers they are the whole model."""
