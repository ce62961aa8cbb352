"""The root keys in memory. They wrap other keys and authenticate rows.

HKDF-SHA256 (RFC 5869) derives separate keys from each root key: one for wrapping, and one for each purpose of `mac`. A
MAC of one purpose is not valid for another, and a derived key reveals nothing of the others.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from turnlock.core.ports import Entropy
from turnlock.errors import ConfigurationError, SealBroken
from turnlock.root_keys.aead import KEY_BYTES, decrypt, encrypt
from turnlock.root_keys.envelope import ROOT_KEY_ID_BYTES, ROOT_MARKER, RootSealed, associated_data

_WRAP: Final = "turnlock root wrap 1"
_MAC: Final = "turnlock root mac 1"
_ID: Final = "turnlock root id 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class RootKey:
    """One root key: 32 random bytes, and when they were drawn."""

    secret: bytes = field(repr=False)
    created_at: datetime

    @property
    def key_id(self) -> bytes:
        """The 8 bytes that name the key. Derived from it, so that a key damaged by an editor no longer fits its id."""
        return _derived(self.secret, ROOT_KEY_ID_BYTES, _ID)


def draw_root_key(entropy: Entropy, created_at: datetime) -> RootKey:
    """Return a new root key."""
    return RootKey(secret=entropy.bytes(KEY_BYTES), created_at=created_at)


class Keyring:
    """Implements `core.ports.RootKeyring` over one or more root keys, the oldest first.

    The newest key wraps, each one unwraps. MACs are compared by computing them, so all of a store's MACs are under one
    root key: the oldest, until `settle` has found out which. `root_rotation` writes them under the newest.
    """

    def __init__(self, roots: Sequence[RootKey], entropy: Entropy) -> None:
        if not roots:
            raise ValueError("a keyring needs a root key")
        self._entropy = entropy
        self._roots = {root.key_id: root for root in roots}
        self._wrappers = {root.key_id: AESGCM(_derived(root.secret, KEY_BYTES, _WRAP)) for root in roots}
        self._newest = roots[-1].key_id
        self._macs_with = roots[0].key_id
        self._mac_keys: dict[str, bytes] = {}

    def wrap(self, plaintext: bytes, *, context: bytes) -> bytes:
        """Encrypt a key under the newest root key, bound to `context`."""
        aad = _aad(self._newest, context)
        body = encrypt(self._wrappers[self._newest], self._entropy, plaintext, aad)
        return RootSealed(root_key_id=self._newest, body=body).pack()

    def unwrap(self, sealed: bytes, *, context: bytes) -> bytes:
        """Decrypt what `wrap` returned for this context, under any of the root keys. Raises SealBroken."""
        blob = RootSealed.parse(sealed)
        cipher = self._wrappers.get(blob.root_key_id)
        if cipher is None:
            raise SealBroken("Sealed under a root key that this server does not have.")
        return decrypt(cipher, blob.body, _aad(blob.root_key_id, context))

    def mac(self, purpose: str, message: bytes) -> bytes:
        """Return HMAC-SHA256 of `message` under the key of this purpose: 32 bytes."""
        key = self._mac_keys.get(purpose)
        if key is None:
            secret = self._roots[self._macs_with].secret
            key = self._mac_keys[purpose] = _derived(secret, KEY_BYTES, _MAC, purpose)
        return hmac.digest(key, message, "sha256")

    def settle(self, fits: Callable[[], bool]) -> bool:
        """Make `mac` use the root key under which `fits` holds; False, and the oldest, when it holds under none."""
        for key_id in (*self._roots, next(iter(self._roots))):
            self._macs_with = key_id
            self._mac_keys.clear()
            if fits():
                return True
        return False

    def newest(self) -> Keyring:
        """Return a keyring over the newest root key alone."""
        return Keyring([self._roots[self._newest]], self._entropy)

    @property
    def size(self) -> int:
        """How many root keys there are: two while a rotation is under way."""
        return len(self._roots)


class NoKeyring:
    """The keyring of a server without a root key: it can open a store only to see whether that has keys."""

    def wrap(self, plaintext: bytes, *, context: bytes) -> bytes:  # noqa: ARG002
        """Raise ConfigurationError."""
        raise ConfigurationError("There is no root key yet.")

    def unwrap(self, sealed: bytes, *, context: bytes) -> bytes:  # noqa: ARG002
        """Raise ConfigurationError."""
        raise ConfigurationError("There is no root key yet.")

    def mac(self, purpose: str, message: bytes) -> bytes:  # noqa: ARG002
        """Raise ConfigurationError."""
        raise ConfigurationError("There is no root key yet.")

    def settle(self, fits: Callable[[], bool]) -> bool:  # noqa: ARG002
        """Return False: there is no root key."""
        return False


def _derived(secret: bytes, length: int, *info: str) -> bytes:
    # No salt: the root key is uniformly random already (RFC 5869, section 3.3 and 3.1).
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=associated_data(*info)).derive(secret)


def _aad(root_key_id: bytes, context: bytes) -> bytes:
    return associated_data(ROOT_MARKER, root_key_id, context)
