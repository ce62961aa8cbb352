"""A root key that is derived from a passphrase by Argon2id (RFC 9106).

A file beside the store has the parameters and salts, which are not secret; one line for each root key, the newest last:

    turnlock-root-passphrase 1
    <id: 16 hex digits> <drawn at> argon2id <passes> <memory in KiB> <lanes> <salt: 16 bytes in Base64>

An id is derived from its key, so a wrong passphrase is noticed before anything is opened or sealed. During a rotation
of the root key both keys are derived from the same passphrase, each with its own salt.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from argon2.low_level import Type, hash_secret_raw

from turnlock.core.ports import Clock, Entropy
from turnlock.errors import ConfigurationError
from turnlock.root_keys.aead import KEY_BYTES
from turnlock.root_keys.keyring import Keyring, RootKey
from turnlock.root_keys.private_file import write_private

_FIRST_LINE: Final = "turnlock-root-passphrase 1"
_MOMENT: Final = "%Y-%m-%dT%H:%M:%SZ"

PASSES, MEMORY_KIB, LANES, SALT_BYTES = 3, 65_536, 4, 16
"""RFC 9106, section 4: the second recommended option, for where 2 GiB are too much."""

MOST_MEMORY_KIB: Final = 4 * 1024 * 1024
"""The most memory that the file may ask for: whoever can write the file must not be able to exhaust the machine's memory."""

SHORTEST: Final = 12
"""Characters of a passphrase for a new root key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Derivation:
    """How one root key comes from the passphrase."""

    key_id: str
    created_at: datetime
    passes: int
    memory_kib: int
    lanes: int
    salt: bytes

    def derive(self, passphrase: str) -> RootKey:
        """Return the root key. It takes about a tenth of a second and 64 MiB."""
        secret = hash_secret_raw(
            passphrase.encode(),
            self.salt,
            time_cost=self.passes,
            memory_cost=self.memory_kib,
            parallelism=self.lanes,
            hash_len=KEY_BYTES,
            type=Type.ID,
        )
        return RootKey(secret=secret, created_at=self.created_at)


class PassphraseRootKey:
    """Root keys derived from a passphrase that only the operator knows."""

    def __init__(self, path: Path, passphrase: str, *, clock: Clock, entropy: Entropy) -> None:
        self._path = path
        self._passphrase = passphrase
        self._clock = clock
        self._entropy = entropy
        self.named = "passphrase"

    def load(self) -> Keyring | None:
        """Derive the root keys; None when there is no file yet. Raises ConfigurationError for another passphrase."""
        if not self._path.exists():
            return None
        return Keyring([self._derived(one) for one in self._read()], self._entropy)

    def create(self) -> Keyring:
        """Write the file for a first root key. Raises ConfigurationError for a short passphrase, or where it cannot."""
        made = self._drawn()
        try:
            write_private(self._path, _formatted([made]), replace=False)
        except FileExistsError:
            keyring = self.load()
            assert keyring is not None
            return keyring
        except OSError as error:
            raise self._unwritable(error) from error
        return Keyring([self._derived(made)], self._entropy)

    def successor(self) -> Keyring:
        """Return a keyring over a root key with a salt of its own, added unless there are two. Raises ConfigurationError."""
        derivations = self._read()
        if len(derivations) == 1:
            derivations.append(self._drawn())
            self._replace(derivations)
        return Keyring([self._derived(derivations[-1])], self._entropy)

    def retire(self) -> None:
        """Delete the lines of all root keys but the newest."""
        self._replace(self._read()[-1:])

    def _drawn(self) -> Derivation:
        if len(self._passphrase) < SHORTEST:
            raise ConfigurationError(f"The passphrase must have at least {SHORTEST} characters.")
        draft = Derivation(
            key_id="",
            created_at=self._clock.now(),
            passes=PASSES,
            memory_kib=MEMORY_KIB,
            lanes=LANES,
            salt=self._entropy.bytes(SALT_BYTES),
        )
        root = draft.derive(self._passphrase)
        return Derivation(
            key_id=root.key_id.hex(),
            created_at=draft.created_at,
            passes=PASSES,
            memory_kib=MEMORY_KIB,
            lanes=LANES,
            salt=draft.salt,
        )

    def _derived(self, derivation: Derivation) -> RootKey:
        root = derivation.derive(self._passphrase)
        if root.key_id.hex() != derivation.key_id:
            raise ConfigurationError("The passphrase is not the one that the root key was made with.")
        return root

    def _read(self) -> list[Derivation]:
        try:
            first, *lines = self._path.read_text(encoding="ascii").split("\n")
        except (OSError, UnicodeDecodeError):
            raise ConfigurationError(f"The file {self._path} cannot be read.") from None
        found = [_parsed(line) for line in lines[:-1]]
        if first != _FIRST_LINE or not found or lines[-1]:
            raise ConfigurationError(f"The file {self._path} is not of a format that this version reads.")
        whole = [one for one in found if one is not None]
        if len(whole) != len(found):
            raise ConfigurationError(f"The file {self._path} is damaged.")
        return whole

    def _replace(self, derivations: list[Derivation]) -> None:
        try:
            write_private(self._path, _formatted(derivations), replace=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> ConfigurationError:
        return ConfigurationError(f"The file {self._path} cannot be written: {error.strerror}.")


def _formatted(derivations: list[Derivation]) -> str:
    lines = (
        f"{one.key_id} {one.created_at.astimezone(UTC).strftime(_MOMENT)} argon2id"
        f" {one.passes} {one.memory_kib} {one.lanes} {base64.b64encode(one.salt).decode()}"
        for one in derivations
    )
    return "\n".join((_FIRST_LINE, *lines, ""))


def _parsed(line: str) -> Derivation | None:
    try:
        key_id, drawn_at, kind, passes, memory, lanes, encoded = line.split(" ")
        found = Derivation(
            key_id=key_id,
            created_at=datetime.strptime(drawn_at, _MOMENT).replace(tzinfo=UTC),
            passes=int(passes),
            memory_kib=int(memory),
            lanes=int(lanes),
            salt=base64.b64decode(encoded, validate=True),
        )
    except (ValueError, binascii.Error):
        return None
    sane = 1 <= found.passes <= 100 and 1 <= found.lanes <= 64 and 8 <= found.memory_kib <= MOST_MEMORY_KIB
    return found if sane and kind == "argon2id" and len(found.salt) == SALT_BYTES else None
