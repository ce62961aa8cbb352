"""AES-256-GCM, and the rules for its nonces.

Every nonce is 96 random bits. NIST SP 800-38D, section 8.3, then allows at most 2^32 encryptions under one key: the
chance of two equal nonces stays below 2^-32. How the keys stay within that:

    a data key             is used once
    a KMS key's material   wraps one data key for each sealed value; at 100 values a second 2^32 last 16 months, and
                           a rotation of the key adds a material for newer values
    a root key             wraps one material for each KMS key
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from turnlock.core.ports import Entropy
from turnlock.errors import SealBroken
from turnlock.root_keys.envelope import NONCE_BYTES, TAG_BYTES

KEY_BYTES: Final = 32


def encrypt(cipher: AESGCM, entropy: Entropy, plaintext: bytes, aad: bytes) -> bytes:
    """Return nonce, ciphertext and tag of `plaintext` under a fresh random nonce, bound to `aad`."""
    nonce = entropy.bytes(NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plaintext, aad)


def decrypt(cipher: AESGCM, sealed: bytes, aad: bytes) -> bytes:
    """Return the plaintext; SealBroken when a bit of the nonce, the ciphertext, the tag or `aad` is another."""
    if len(sealed) < NONCE_BYTES + TAG_BYTES:
        raise SealBroken
    try:
        return cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], aad)
    except InvalidTag:
        raise SealBroken from None
