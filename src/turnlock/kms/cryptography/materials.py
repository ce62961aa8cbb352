"""Key materials: generated, stored under the root keyring, and opened for one call at a time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Final, cast

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from turnlock.core.ports import Entropy, RootKeyring
from turnlock.core.recent import Recent
from turnlock.errors import SealBroken
from turnlock.kms import store
from turnlock.kms.cryptography.specs import KeySpec
from turnlock.kms.model import KmsKey, material_context
from turnlock.root_keys import associated_data
from turnlock.storage import Unit
from turnlock.storage.alarms import broken

_CIPHERS: Final = Recent[AESGCM](1024)
"""Opened symmetric materials. One KMS key serves many values, and each would need a second decryption."""

_CURVES: Final[Mapping[str, ec.EllipticCurve]] = {
    "ECC_NIST_P256": ec.SECP256R1(),
    "ECC_NIST_P384": ec.SECP384R1(),
    "ECC_NIST_P521": ec.SECP521R1(),
    "ECC_SECG_P256K1": ec.SECP256K1(),
}

KeyPair = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
"""The private keys that a material can be."""


def draw_material(spec: KeySpec, entropy: Entropy) -> bytes:
    """Return a new material of a symmetric or HMAC key: random bytes."""
    return entropy.bytes(spec.bits // 8)


def draw_pair(spec: KeySpec) -> KeyPair:
    """Return a new private key, drawn by `cryptography` from the kernel."""
    if spec.bits:
        return rsa.generate_private_key(65537, spec.bits)
    curve = _CURVES.get(spec.name)
    return ed25519.Ed25519PrivateKey.generate() if curve is None else ec.generate_private_key(curve)


def private_bytes(pair: KeyPair) -> bytes:
    """Return a private key in PKCS #8 (DER)."""
    return pair.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def public_bytes(pair: KeyPair) -> bytes:
    """Return the public key of a pair as SubjectPublicKeyInfo (DER)."""
    return pair.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def open_pair(unit: Unit, key: KmsKey) -> KeyPair:
    """Return the private key of an asymmetric KMS key. Raises SealBroken."""
    pair: PrivateKeyTypes = load_der_private_key(open_secret(unit, key), password=None)
    return cast("KeyPair", pair)


def open_secret(unit: Unit, key: KmsKey) -> bytes:
    """Return a key's current material. Raises SealBroken."""
    material = store.current_material(unit, key)
    if material is None:
        broken(f"The material of {key.arn}", "is gone", owner=key.arn)
    return _unwrapped(unit.keyring, material)


def cipher_of(unit: Unit, material: store.Material) -> AESGCM:
    """Return the cipher of a symmetric key's material, from a cache keyed by the row's content. Raises SealBroken."""
    entry = (unit.keyring, material.sealed, _place(material.key, material.material_id))
    return _CIPHERS.get(entry, lambda: AESGCM(_unwrapped(unit.keyring, material)))


def _unwrapped(keyring: RootKeyring, material: store.Material) -> bytes:
    key = material.key
    try:
        return keyring.unwrap(material.sealed, context=_place(key, material.material_id))
    except SealBroken:
        broken(f"The material of {key.arn}", "is not what was sealed", owner=key.arn)


def wrap_material(unit: Unit, key: KmsKey, material: bytes) -> bytes:
    """Encrypt a key's new material under the root keyring, bound to its row."""
    return unit.keyring.wrap(material, context=_place(key, key.current_material))


def _place(key: KmsKey, material_id: int) -> bytes:
    return material_context(key.account_id, key.region, key.key_id, material_id)


def material_name(key: KmsKey, material_id: int) -> str:
    """Return a material's KeyMaterialId: 64 hexadecimal digits, which reveal nothing of the material."""
    return hashlib.sha256(associated_data("kms-material-id", key.arn, str(material_id))).hexdigest()
