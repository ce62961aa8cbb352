"""Encryption directly under a symmetric key's material: up to 4096 bytes of a caller, or a data key.

A ciphertext is bound to its header, to the row of its material and to the encryption context.
"""

from __future__ import annotations

from turnlock.errors import InvalidCiphertextException, SealBroken
from turnlock.kms import store
from turnlock.kms.cryptography.materials import cipher_of
from turnlock.kms.model import KmsKey, material_context
from turnlock.kms.store import Material
from turnlock.root_keys import Ciphertext, associated_data, ciphertext_header, decrypt, encrypt
from turnlock.storage import Unit


def encrypt_under(unit: Unit, material: Material, plaintext: bytes, context: bytes) -> Ciphertext:
    """Return a plaintext's ciphertext under a material; `context` is the canonical encryption context."""
    key, number = material.key, material.material_id
    aad = ciphertext_aad(key, number, context)
    body = encrypt(cipher_of(unit, material), unit.entropy, plaintext, aad)
    return Ciphertext(key_arn=key.arn, material_id=number, body=body)


def decrypt_under(unit: Unit, key: KmsKey, ciphertext: Ciphertext, context: bytes) -> bytes:
    """Return the plaintext. Raises InvalidCiphertextException for what is not this key's ciphertext for this context.

    That is the caller's mistake. SealBroken means that the material in the store is not what was written.
    """
    number = ciphertext.material_id
    material = store.find_material(unit, key.account_id, key.region, key.key_id, number)
    if material is None or ciphertext.key_arn != key.arn:
        raise InvalidCiphertextException
    cipher = cipher_of(unit, material)
    try:
        return decrypt(cipher, ciphertext.body, ciphertext_aad(key, number, context))
    except SealBroken:
        raise InvalidCiphertextException from None


def ciphertext_aad(key: KmsKey, material_id: int, context: bytes) -> bytes:
    """Return the associated data of a ciphertext. Its first part separates it from other uses of a material."""
    place = material_context(key.account_id, key.region, key.key_id, material_id)
    return associated_data("kms-ciphertext", ciphertext_header(key.arn, material_id), place, context)
