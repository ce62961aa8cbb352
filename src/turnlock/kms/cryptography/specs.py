"""The kinds of KMS keys that can be made, and what each can do (KMS developer guide, "Key spec reference").

Pure: a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from turnlock.errors import UnsupportedOperationException, ValidationException
from turnlock.kms.model import SYMMETRIC, KeyUsage

_OAEP = ("RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256")
_RSA_SIGNATURES = tuple(
    f"{scheme}_SHA_{bits}" for scheme in ("RSASSA_PSS", "RSASSA_PKCS1_V1_5") for bits in (256, 384, 512)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySpec:
    """One kind of key."""

    name: str
    algorithms: Mapping[KeyUsage, tuple[str, ...]]
    """Usage → the algorithms for it."""
    bits: int
    """The size of an RSA modulus or of a secret; 0 for other kinds."""

    @property
    def asymmetric(self) -> bool:
        """Whether it is a pair of keys."""
        return self.name.startswith(("RSA", "ECC"))


def _hmac(bits: int) -> KeySpec:
    return KeySpec(
        name=f"HMAC_{bits}", algorithms={KeyUsage.GENERATE_VERIFY_MAC: (f"HMAC_SHA_{bits}",)}, bits=bits
    )


def _rsa(bits: int) -> KeySpec:
    usages = {KeyUsage.ENCRYPT_DECRYPT: _OAEP, KeyUsage.SIGN_VERIFY: _RSA_SIGNATURES}
    return KeySpec(name=f"RSA_{bits}", algorithms=usages, bits=bits)


def _curve(name: str, algorithm: str) -> KeySpec:
    return KeySpec(name=f"ECC_{name}", algorithms={KeyUsage.SIGN_VERIFY: (algorithm,)}, bits=0)


SPECS: Final[Mapping[str, KeySpec]] = MappingProxyType(
    {
        spec.name: spec
        for spec in (
            KeySpec(name=SYMMETRIC, algorithms={KeyUsage.ENCRYPT_DECRYPT: (SYMMETRIC,)}, bits=256),
            *(_hmac(bits) for bits in (224, 256, 384, 512)),
            *(_rsa(bits) for bits in (2048, 3072, 4096)),
            _curve("NIST_P256", "ECDSA_SHA_256"),
            _curve("NIST_P384", "ECDSA_SHA_384"),
            _curve("NIST_P521", "ECDSA_SHA_512"),
            _curve("SECG_P256K1", "ECDSA_SHA_256"),
            _curve("NIST_EDWARDS25519", "ED25519_SHA_512"),
        )
    }
)
"""By name. SM2, ML-DSA and ML-KEM are missing: `cryptography` does not have them on every platform."""


def spec_of(name: str) -> KeySpec:
    """Return a kind of key by its name. Raises UnsupportedOperationException for one that cannot be made."""
    spec = SPECS.get(name)
    if spec is None:
        raise UnsupportedOperationException(f"The KeySpec {name} is not supported by this server.")
    return spec


def usage_of(spec: KeySpec, asked: str | None) -> KeyUsage:
    """Return what a new key is for. Raises ValidationException where that is not said, or cannot be."""
    if asked is None and spec.name == SYMMETRIC:
        return KeyUsage.ENCRYPT_DECRYPT
    if asked is None:
        raise ValidationException(
            "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."
        )
    usage = next((one for one in spec.algorithms if one.value == asked), None)
    if usage is None:
        raise ValidationException(f"KeyUsage {asked} is not compatible with KeySpec {spec.name}")
    return usage
