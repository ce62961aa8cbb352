"""Where the root keys come from: providers, and the first start.

The file of `FileRootKey` is text, one root key a line, the newest last:

    turnlock-root-keys 1
    <id: 16 hex digits> <drawn at: 2026-11-23T22:01:02Z> <key: 32 bytes in base64>

An id is derived from its key, so a line that was damaged is noticed before anything is sealed under it.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from turnlock.core.ports import Clock, Entropy, RootKeyring
from turnlock.errors import ConfigurationError
from turnlock.root_keys.aead import KEY_BYTES
from turnlock.root_keys.keyring import Keyring, RootKey, draw_root_key
from turnlock.root_keys.private_file import write_private

FIRST_LINE: Final = "turnlock-root-keys 1"
_MOMENT: Final = "%Y-%m-%dT%H:%M:%SZ"
_LONGEST: Final = 65_536


class RootKeyProvider(Protocol):
    """Keeps the root keys outside the store. A provider whose keys cannot be read has a keyring of its own."""

    @property
    def named(self) -> str:
        """The operator's name for it, such as `file:/etc/turnlock/root.key`; nothing secret."""
        ...

    def load(self) -> RootKeyring | None:
        """Return a keyring over the root keys, None when there are none yet. Raises ConfigurationError."""
        ...

    def create(self) -> RootKeyring:
        """Make the first root key, durably, and return its keyring. Raises ConfigurationError."""
        ...

    def successor(self) -> RootKeyring:
        """Return a keyring over a newer root key alone, made durably unless an unfinished rotation made one.

        From then on `load` returns both. Raises ConfigurationError where this provider cannot make one.
        """
        ...

    def retire(self) -> None:
        """Delete all root keys but the newest, for good."""
        ...


def open_root_key(provider: RootKeyProvider, store_holds_keys: Callable[[], bool]) -> RootKeyring:
    """Return the provider's keyring; make the first root key when there is none and the store holds no keys.

    `store_holds_keys` is called only then. Raises ConfigurationError when the store holds keys but their root key is
    missing: a new root key could not open them, and would hide the loss.
    """
    keyring = provider.load()
    if keyring is not None:
        return keyring
    if store_holds_keys():
        raise ConfigurationError(
            "The store holds keys, but the root key that opens them is missing; put it back before starting."
        )
    return provider.create()


class GivenRootKey:
    """Base of providers whose keys an operator keeps elsewhere: they make and delete none."""

    named = ""

    def create(self) -> RootKeyring:
        """Raise ConfigurationError."""
        raise ConfigurationError(f"{self.named} gives no root key: make one of 32 random bytes there.")

    def successor(self) -> RootKeyring:
        """Raise ConfigurationError."""
        raise ConfigurationError(
            f"{self.named} cannot make a root key: put a new one somewhere and name it with --to."
        )

    def retire(self) -> None:
        """Do nothing: the operator removes the old root key."""


class FileRootKey:
    """Root keys in a file that only its owner may read."""

    def __init__(self, path: Path, *, clock: Clock, entropy: Entropy) -> None:
        self._path = path
        self._clock = clock
        self._entropy = entropy

    @property
    def named(self) -> str:
        """`file:` and the path."""
        return f"file:{self._path}"

    def load(self) -> Keyring | None:
        """Read the file; None when there is none.

        Raises ConfigurationError when it cannot be read, when others may read it, or when it is malformed.
        """
        text = _read_private(self._path)
        return None if text is None else Keyring(parse_root_keys(text, self._path), self._entropy)

    def create(self) -> Keyring:
        """Write a file with one new root key; if another process wrote one first, read that.

        Raises ConfigurationError when it cannot be written.
        """
        root = draw_root_key(self._entropy, self._clock.now())
        try:
            write_private(self._path, format_root_keys([root]), replace=False)
        except FileExistsError:
            keyring = self.load()
            if keyring is not None:
                return keyring
            raise ConfigurationError(f"The root key file {self._path} cannot be read.") from None
        except OSError as error:
            raise ConfigurationError(
                f"The root key file {self._path} cannot be written: {error.strerror}."
            ) from error
        return Keyring([root], self._entropy)

    def successor(self) -> Keyring:
        """Return a keyring over the file's newest root key, added to it unless there are two. Raises ConfigurationError."""
        roots = self._roots()
        if len(roots) == 1:
            roots.append(draw_root_key(self._entropy, self._clock.now()))
            self._replace(roots)
        return Keyring(roots[-1:], self._entropy)

    def retire(self) -> None:
        """Write the file with only the newest root key. Raises ConfigurationError."""
        self._replace(self._roots()[-1:])

    def _roots(self) -> list[RootKey]:
        text = _read_private(self._path)
        if text is None:
            raise ConfigurationError(f"There is no root key file {self._path}.")
        return parse_root_keys(text, self._path)

    def _replace(self, roots: list[RootKey]) -> None:
        try:
            write_private(self._path, format_root_keys(roots), replace=True)
        except OSError as error:
            raise ConfigurationError(
                f"The root key file {self._path} cannot be written: {error.strerror}."
            ) from error


def format_root_keys(roots: list[RootKey]) -> str:
    """Return the text of a root key file."""
    lines = (
        f"{root.key_id.hex()} {root.created_at.astimezone(UTC).strftime(_MOMENT)} {base64.b64encode(root.secret).decode()}"
        for root in roots
    )
    return "\n".join((FIRST_LINE, *lines, ""))


def parse_root_keys(text: str, path: Path) -> list[RootKey]:
    """Read the text of a root key file, strictly. Raises ConfigurationError that names `path` and a line, no content."""
    first, *lines = text.split("\n")
    if first != FIRST_LINE or len(lines) < 2 or lines[-1]:
        raise ConfigurationError(
            f"The file {path} is not a root key file of a format that this version reads."
        )
    roots: list[RootKey] = []
    for number, line in enumerate(lines[:-1], start=2):
        root = _parse_line(line)
        if root is None or any(root.secret == other.secret for other in roots):
            raise ConfigurationError(f"Line {number} of the root key file {path} is damaged.")
        roots.append(root)
    return roots


def _parse_line(line: str) -> RootKey | None:
    try:
        key_id, drawn_at, encoded = line.split(" ")
        secret = base64.b64decode(encoded, validate=True)
        created_at = datetime.strptime(drawn_at, _MOMENT).replace(tzinfo=UTC)
    except (ValueError, binascii.Error):
        return None
    if len(secret) != KEY_BYTES:
        return None
    root = RootKey(secret=secret, created_at=created_at)
    return root if root.key_id.hex() == key_id else None


def _read_private(path: Path) -> str | None:
    """Return the text of a regular file that nobody but its owner may read; the owner is this user or root."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"The root key file {path} cannot be read: {error.strerror}.") from error
    try:
        _check_private(path, os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            content = stream.read(_LONGEST + 1)
    finally:
        os.close(descriptor)
    if len(content) > _LONGEST or not content.isascii():
        raise ConfigurationError(
            f"The file {path} is not a root key file of a format that this version reads."
        )
    return content.decode("ascii")


def _check_private(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"The root key file {path} is not a regular file.")
    if stat.S_IMODE(status.st_mode) & 0o077 or status.st_uid not in (os.geteuid(), 0):
        raise ConfigurationError(
            f"Others may read the root key file {path}; make it yours alone (chmod 600) and restart."
        )
