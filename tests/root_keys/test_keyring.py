"""The root keys in memory."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import NOON
from turnlock.core.ports import SystemEntropy
from turnlock.errors import ConfigurationError, SealBroken
from turnlock.root_keys import Keyring, NoKeyring, RootKey, associated_data, draw_root_key

ENTROPY = SystemEntropy()
OLD, NEW = (draw_root_key(ENTROPY, NOON) for _ in range(2))
contexts = st.binary(max_size=40)


def naive_hkdf(secret: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 in its own words: extract with a salt of zeros, expand."""
    pseudorandom = hmac.digest(bytes(32), secret, "sha256")
    block = hmac.new(pseudorandom, info + b"\x01", hashlib.sha256).digest()
    return block[:length]


@given(st.binary(max_size=100), contexts)
def test_what_was_wrapped_is_unwrapped_for_the_same_context(plaintext: bytes, context: bytes) -> None:
    keyring = Keyring([OLD], ENTROPY)
    sealed = keyring.wrap(plaintext, context=context)
    assert sealed.startswith(b"TLKR\x01" + OLD.key_id)
    assert keyring.unwrap(sealed, context=context) == plaintext


@given(contexts, contexts)
def test_another_context_breaks_the_seal(context: bytes, other: bytes) -> None:
    keyring = Keyring([OLD], ENTROPY)
    if context != other:
        with pytest.raises(SealBroken):
            keyring.unwrap(keyring.wrap(bytes(32), context=context), context=other)


def test_a_flipped_bit_at_every_place_breaks_the_seal() -> None:
    keyring = Keyring([OLD, NEW], ENTROPY)
    sealed = keyring.wrap(bytes(32), context=b"place")
    for position in range(len(sealed)):
        changed = bytearray(sealed)
        changed[position] ^= 1
        with pytest.raises(SealBroken):
            keyring.unwrap(bytes(changed), context=b"place")


def test_the_newest_root_key_wraps_and_every_one_unwraps() -> None:
    before = Keyring([OLD], ENTROPY).wrap(b"old", context=b"")
    rotated = Keyring([OLD, NEW], ENTROPY)
    after = rotated.wrap(b"new", context=b"")
    assert (rotated.unwrap(before, context=b""), rotated.unwrap(after, context=b"")) == (b"old", b"new")
    assert Keyring([NEW], ENTROPY).unwrap(after, context=b"") == b"new"
    with pytest.raises(SealBroken, match="does not have"):
        Keyring([NEW], ENTROPY).unwrap(before, context=b"")


@given(st.text(max_size=20), st.binary(max_size=100))
def test_a_mac_is_hmac_under_the_hkdf_key_of_its_purpose(purpose: str, message: bytes) -> None:
    key = naive_hkdf(OLD.secret, associated_data("turnlock root mac 1", purpose), 32)
    assert Keyring([OLD], ENTROPY).mac(purpose, message) == hmac.digest(key, message, "sha256")


def test_macs_of_different_purposes_and_messages_differ_and_stay_after_a_new_root_key() -> None:
    keyring = Keyring([OLD], ENTROPY)
    assert len({keyring.mac("a", b"x"), keyring.mac("b", b"x"), keyring.mac("a", b"y")}) == 3
    assert Keyring([OLD, NEW], ENTROPY).mac("a", b"x") == keyring.mac("a", b"x")
    assert Keyring([NEW], ENTROPY).mac("a", b"x") != keyring.mac("a", b"x")


def test_a_root_key_shows_nothing_of_itself() -> None:
    root = RootKey(secret=b"S" * 32, created_at=NOON)
    assert "SSSS" not in repr(root)
    assert root.key_id == naive_hkdf(root.secret, associated_data("turnlock root id 1"), 8)


def test_a_keyring_needs_a_root_key() -> None:
    with pytest.raises(ValueError, match="root key"):
        Keyring([], ENTROPY)


@pytest.mark.parametrize(
    "use",
    [
        lambda: NoKeyring().wrap(b"", context=b""),
        lambda: NoKeyring().unwrap(b"", context=b""),
        lambda: NoKeyring().mac("", b""),
    ],
)
def test_a_server_without_a_root_key_can_neither_wrap_nor_unwrap_nor_authenticate(
    use: Callable[[], bytes],
) -> None:
    with pytest.raises(ConfigurationError, match="no root key yet"):
        use()
