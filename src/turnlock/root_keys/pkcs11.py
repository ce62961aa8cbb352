"""Root keys in a hardware module, by PKCS #11: they are generated there and never leave it.

A root key is two objects with one label and one CKA_ID: an AES key that wraps (CKM_AES_GCM), and a generic secret whose
CKM_SHA256_HMAC gives the keys of `mac`, one for each purpose, which are kept in memory. The CKA_ID is 8 bytes: when the
key was made, in microseconds since 1970. So the ids are in the order of the keys. Wrapped bytes name their root key by
it.
"""

from __future__ import annotations

import hmac
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from turnlock.core.ports import Clock, Entropy
from turnlock.errors import ConfigurationError, SealBroken
from turnlock.root_keys.envelope import (
    NONCE_BYTES,
    ROOT_KEY_ID_BYTES,
    ROOT_MARKER,
    RootSealed,
    associated_data,
)
from turnlock.storage import micros

_MAC: Final = "turnlock root mac 1"
_LIBRARIES: dict[Path, tuple[int, Any]] = {}
"""By path: the process that loaded a module, and the module. A module is not to be used across a fork (PKCS #11, 5.4)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pkcs11Place:
    """Where a root key is, by a URI as in RFC 7512."""

    token: str
    label: str
    module: Path
    pin_file: Path
    """The file with the PIN: an argument could be seen by every user of the machine."""

    @classmethod
    def parse(cls, text: str) -> Pkcs11Place:
        """Read `token=T;object=LABEL?module-path=FILE&pin-source=FILE`. Raises ConfigurationError."""
        path, _, query = text.partition("?")
        given = dict(part.split("=", 1) for part in path.split(";") if "=" in part)
        asked = dict(parse_qsl(query))
        known = {"token", "object"} == given.keys() and {"module-path", "pin-source"} == asked.keys()
        if not known:
            raise ConfigurationError(
                "--root-key pkcs11: must be token=TOKEN;object=LABEL?module-path=FILE&pin-source=FILE."
            )
        return cls(
            token=unquote(given["token"]),
            label=unquote(given["object"]),
            module=Path(asked["module-path"]),
            pin_file=Path(asked["pin-source"].removeprefix("file:")),
        )


@dataclass(frozen=True, slots=True)
class _Pair:
    """One root key's two objects."""

    key_id: bytes
    wrapping: Any
    authenticating: Any


class Pkcs11RootKey:
    """Root keys in a token."""

    def __init__(self, place: Pkcs11Place, *, clock: Clock, entropy: Entropy) -> None:
        self._place = place
        self._clock = clock
        self._entropy = entropy
        self.named = f"pkcs11:token={place.token};object={place.label}"

    def load(self) -> Pkcs11Keyring | None:
        """Find the token's root keys; None when there are none. Raises ConfigurationError."""
        with self._session() as session:
            pairs = self._pairs(session)
            return Pkcs11Keyring(pairs, self._entropy) if pairs else None

    def create(self) -> Pkcs11Keyring:
        """Make the first root key in the token. Raises ConfigurationError."""
        with self._session() as session:
            self._make(session)
            return Pkcs11Keyring(self._pairs(session)[:1], self._entropy)

    def successor(self) -> Pkcs11Keyring:
        """Return a keyring over the token's newest root key, made unless there are two. Raises ConfigurationError."""
        with self._session() as session:
            if len(self._pairs(session)) == 1:
                self._make(session)
            return Pkcs11Keyring(self._pairs(session)[-1:], self._entropy)

    def retire(self) -> None:
        """Destroy every root key of this label but the newest. Raises ConfigurationError."""
        with self._session() as session:
            for pair in self._pairs(session)[:-1]:
                pair.wrapping.destroy()
                pair.authenticating.destroy()

    def _make(self, session: Any) -> None:
        import pkcs11  # noqa: PLC0415 (an extra)

        inside = {pkcs11.Attribute.SENSITIVE: True, pkcs11.Attribute.EXTRACTABLE: False}
        made = {"id": micros(self._clock.now()).to_bytes(ROOT_KEY_ID_BYTES), "label": self._place.label}
        uses = pkcs11.MechanismFlag.SIGN | pkcs11.MechanismFlag.VERIFY
        session.generate_key(
            pkcs11.KeyType.GENERIC_SECRET,
            256,
            store=True,
            capabilities=uses,
            mechanism=pkcs11.Mechanism.GENERIC_SECRET_KEY_GEN,
            template=inside,
            **made,
        )
        uses = pkcs11.MechanismFlag.ENCRYPT | pkcs11.MechanismFlag.DECRYPT
        session.generate_key(pkcs11.KeyType.AES, 256, store=True, capabilities=uses, template=inside, **made)

    def _pairs(self, session: Any) -> list[_Pair]:
        """Return the complete pairs, the oldest first. Half a pair was left by a crash and never used."""
        import pkcs11  # noqa: PLC0415

        asked = {
            pkcs11.Attribute.CLASS: pkcs11.ObjectClass.SECRET_KEY,
            pkcs11.Attribute.LABEL: self._place.label,
        }
        found: dict[bytes, dict[Any, Any]] = {}
        for key in session.get_objects(asked):
            found.setdefault(bytes(key.id), {})[key.key_type] = key
        kinds = (pkcs11.KeyType.AES, pkcs11.KeyType.GENERIC_SECRET)
        return [
            _Pair(key_id, *(found[key_id][kind] for kind in kinds))
            for key_id in sorted(found)
            if len(key_id) == ROOT_KEY_ID_BYTES and all(kind in found[key_id] for kind in kinds)
        ]

    @contextmanager
    def _session(self) -> Iterator[Any]:
        """Open a session that stays open as long as the process: the keyring's objects belong to it."""
        try:
            import pkcs11  # noqa: PLC0415
        except ImportError:
            raise ConfigurationError("PKCS #11 needs the extra: pip install turnlock[hsm].") from None
        try:
            yield _open_session(self._place)
        except pkcs11.PKCS11Error as error:
            raise ConfigurationError(
                f"The token {self._place.token} cannot be used: {type(error).__name__} {error}".rstrip() + "."
            ) from None


class Pkcs11Keyring:
    """Implements `core.ports.RootKeyring` inside the token."""

    def __init__(self, pairs: Sequence[_Pair], entropy: Entropy) -> None:
        self._pairs = {pair.key_id: pair for pair in pairs}
        self._newest = pairs[-1]
        self._macs_with = pairs[0]
        self._entropy = entropy
        self._mac_keys: dict[str, bytes] = {}
        self._lock = Lock()
        """Only one thread at a time may use a session."""

    def wrap(self, plaintext: bytes, *, context: bytes) -> bytes:
        """Seal a key under the newest root key, bound to `context`."""
        nonce = self._entropy.bytes(NONCE_BYTES)
        parameters = _gcm(nonce, self._newest.key_id, context)
        with self._lock:
            body = bytes(self._newest.wrapping.encrypt(plaintext, **parameters))
        return RootSealed(root_key_id=self._newest.key_id, body=nonce + body).pack()

    def unwrap(self, sealed: bytes, *, context: bytes) -> bytes:
        """Open what `wrap` sealed for this context under any of the root keys; SealBroken otherwise."""
        from pkcs11 import PKCS11Error  # noqa: PLC0415

        blob = RootSealed.parse(sealed)
        pair = self._pairs.get(blob.root_key_id)
        if pair is None:
            raise SealBroken("Sealed under a root key that this server does not have.")
        nonce, body = blob.body[:NONCE_BYTES], blob.body[NONCE_BYTES:]
        try:
            with self._lock:
                return bytes(pair.wrapping.decrypt(body, **_gcm(nonce, pair.key_id, context)))
        except PKCS11Error:
            # Tokens differ in the error for a wrong tag, and one that is gone opens nothing either.
            raise SealBroken from None

    def mac(self, purpose: str, message: bytes) -> bytes:
        """Return HMAC-SHA256 of `message` under the key of this purpose, which the token makes once: 32 bytes."""
        key = self._mac_keys.get(purpose)
        if key is None:
            from pkcs11 import Mechanism  # noqa: PLC0415

            with self._lock:
                made = self._macs_with.authenticating.sign(
                    associated_data(_MAC, purpose), mechanism=Mechanism.SHA256_HMAC
                )
            key = self._mac_keys[purpose] = bytes(made)
        return hmac.digest(key, message, "sha256")

    def settle(self, fits: Callable[[], bool]) -> bool:
        """Make `mac` use the root key under which `fits` holds; False, and the oldest, when it holds under none."""
        for pair in (*self._pairs.values(), next(iter(self._pairs.values()))):
            self._macs_with = pair
            self._mac_keys.clear()
            if fits():
                return True
        return False


def _gcm(nonce: bytes, key_id: bytes, context: bytes) -> Mapping[str, Any]:
    from pkcs11 import GCMParams, Mechanism  # noqa: PLC0415

    aad = associated_data(ROOT_MARKER, key_id, context)
    return {"mechanism": Mechanism.AES_GCM, "mechanism_param": GCMParams(nonce, aad, 128)}


def _open_session(place: Pkcs11Place) -> Any:
    import pkcs11  # noqa: PLC0415

    try:
        pin = place.pin_file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigurationError(f"The PIN file {place.pin_file} cannot be read: {error.strerror}.") from None
    token = _library(place.module).get_token(token_label=place.token)
    try:
        return token.open(rw=True, user_pin=pin)
    except pkcs11.UserAlreadyLoggedIn:
        return token.open(rw=True)


def _library(path: Path) -> Any:
    """Load a module; after a fork, initialise it again. Raises ConfigurationError."""
    import pkcs11  # noqa: PLC0415

    loaded = _LIBRARIES.get(path)
    if loaded is None:
        try:
            library = pkcs11.lib(str(path))
        except (RuntimeError, OSError):
            raise ConfigurationError(f"The PKCS #11 module {path} cannot be loaded.") from None
    else:
        library = loaded[1]
        if loaded[0] != os.getpid():
            library.reinitialize()
    _LIBRARIES[path] = (os.getpid(), library)
    return library
