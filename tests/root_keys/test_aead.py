"""AES-256-GCM with its nonce before it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from turnlock.core.ports import SystemEntropy
from turnlock.errors import SealBroken
from turnlock.root_keys.aead import decrypt, encrypt

keys = st.binary(min_size=32, max_size=32)


@given(keys, st.binary(max_size=200), st.binary(max_size=50))
def test_what_was_encrypted_is_decrypted_under_the_same_key_and_data(
    key: bytes, plaintext: bytes, aad: bytes
) -> None:
    sealed = encrypt(AESGCM(key), SystemEntropy(), plaintext, aad)
    assert len(sealed) == 12 + len(plaintext) + 16
    assert decrypt(AESGCM(key), sealed, aad) == plaintext


@given(keys, st.binary(max_size=40), st.data())
def test_any_flipped_bit_breaks_the_seal(key: bytes, plaintext: bytes, data: st.DataObject) -> None:
    sealed = bytearray(encrypt(AESGCM(key), SystemEntropy(), plaintext, b"aad"))
    bit = data.draw(st.integers(0, len(sealed) * 8 - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SealBroken) as caught:
        decrypt(AESGCM(key), bytes(sealed), b"aad")
    assert caught.value.__suppress_context__


@given(keys, st.binary(max_size=20), st.binary(max_size=20))
def test_other_associated_data_breaks_the_seal(key: bytes, aad: bytes, other: bytes) -> None:
    sealed = encrypt(AESGCM(key), SystemEntropy(), b"value", aad)
    if aad != other:
        with pytest.raises(SealBroken):
            decrypt(AESGCM(key), sealed, other)


def test_each_encryption_draws_a_nonce_of_its_own() -> None:
    cipher = AESGCM(bytes(32))
    assert len({encrypt(cipher, SystemEntropy(), b"", b"")[:12] for _ in range(500)}) == 500


@pytest.mark.parametrize("length", range(28))
def test_bytes_too_short_for_a_nonce_and_a_tag_break_the_seal(length: int) -> None:
    with pytest.raises(SealBroken):
        decrypt(AESGCM(bytes(32)), bytes(length), b"")
