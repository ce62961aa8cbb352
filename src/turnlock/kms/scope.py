"""Operations of KMS's model that are not implemented, each with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

_STORES = "custom key stores belong to AWS CloudHSM and external proxies; here an HSM holds the root key"
_IMPORT = "every material is drawn here and sealed under the root key; none is imported"
_REGIONS = "a key of many Regions is one material in many places; replicas of secrets have keys of their own"
_ENCAPSULATION = "needs ML-KEM, which `cryptography` does not have on every platform"
_AGREEMENT = "needs keys for key agreement, which nothing here uses"

NOT_YET: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ConnectCustomKeyStore": _STORES,
        "CreateCustomKeyStore": _STORES,
        "Decapsulate": _ENCAPSULATION,
        "DeleteCustomKeyStore": _STORES,
        "DeleteImportedKeyMaterial": _IMPORT,
        "DeriveSharedSecret": _AGREEMENT,
        "DescribeCustomKeyStores": _STORES,
        "DisconnectCustomKeyStore": _STORES,
        "Encapsulate": _ENCAPSULATION,
        "GetKeyLastUsage": "needs the trail's index, which comes with CloudTrail",
        "GetParametersForImport": _IMPORT,
        "ImportKeyMaterial": _IMPORT,
        "ReplicateKey": _REGIONS,
        "UpdateCustomKeyStore": _STORES,
        "UpdatePrimaryRegion": _REGIONS,
    }
)
"""Operation → why it has no handler. With the handlers this is the whole model."""
