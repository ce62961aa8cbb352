"""Root keys that an operator keeps elsewhere: in an environment variable, or behind a command.

Both give the text of a root key file, or plain keys: 32 bytes in Base64 each, the oldest first, separated by white
space. A command can read a TPM, a systemd credential or any vault.
"""

from __future__ import annotations

import base64
import binascii
import os
import shlex
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from turnlock.core.ports import Entropy
from turnlock.errors import ConfigurationError
from turnlock.root_keys.aead import KEY_BYTES
from turnlock.root_keys.keyring import Keyring, RootKey
from turnlock.root_keys.provider import FIRST_LINE, GivenRootKey, parse_root_keys

COMMAND_SECONDS: Final = 30.0
"""How long a command may take."""

LARGEST_OUTPUT: Final = 65_536
"""Bytes of a command's output."""

_UNKNOWN: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""When a plain key was made: not known."""


class EnvironmentRootKey(GivenRootKey):
    """Root keys in an environment variable."""

    def __init__(self, name: str, entropy: Entropy) -> None:
        self._name = name
        self._entropy = entropy
        self.named = f"env:{name}"

    def load(self) -> Keyring:
        """Read the variable. Raises ConfigurationError where it is not set, or holds no root key."""
        text = os.environ.get(self._name)
        if not text:
            raise ConfigurationError(
                f"The environment variable {self._name}, which is to hold the root key, is not set."
            )
        return Keyring(read_given_keys(text, f"The environment variable {self._name}"), self._entropy)


class CommandRootKey(GivenRootKey):
    """Root keys on a command's standard output. It is run without a shell, with this process's environment."""

    def __init__(self, command: str, entropy: Entropy, seconds: float = COMMAND_SECONDS) -> None:
        try:
            self._arguments = shlex.split(command)
        except ValueError as error:
            raise ConfigurationError(f"--root-key command: cannot be read: {error}.") from None
        if not self._arguments:
            raise ConfigurationError("--root-key command: names no command.")
        self._entropy = entropy
        self._seconds = seconds
        self.named = f"command:{Path(self._arguments[0]).name}"

    def load(self) -> Keyring:
        """Run the command. Raises ConfigurationError where it fails, takes too long, or gives no root key."""
        name = self._arguments[0]
        try:
            done = subprocess.run(  # noqa: S603 (the operator's own command, without a shell)
                self._arguments,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ConfigurationError(
                f"The command {name}, which is to give the root key, took longer than {self._seconds:g} s."
            ) from None
        except OSError as error:
            raise ConfigurationError(f"The command {name} cannot be run: {error.strerror}.") from None
        if done.returncode != 0:
            raise ConfigurationError(
                f"The command {name}, which is to give the root key, ended with status {done.returncode}."
            )
        if len(done.stdout) > LARGEST_OUTPUT or not done.stdout.isascii():
            raise ConfigurationError(f"The command {name} gave no root key.")
        return Keyring(read_given_keys(done.stdout.decode("ascii"), f"The command {name}"), self._entropy)


def read_given_keys(text: str, giver: str) -> list[RootKey]:
    """Read the keys, strictly. Raises ConfigurationError, which names the source and never the content."""
    if text.startswith(FIRST_LINE):
        return parse_root_keys(text if text.endswith("\n") else f"{text}\n", Path(giver))
    roots: list[RootKey] = []
    for encoded in text.split():
        try:
            secret = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            secret = b""
        if len(secret) != KEY_BYTES or any(secret == root.secret for root in roots):
            raise ConfigurationError(f"{giver} does not hold a root key: {KEY_BYTES} random bytes in Base64.")
        roots.append(RootKey(secret=secret, created_at=_UNKNOWN))
    if not roots:
        raise ConfigurationError(f"{giver} does not hold a root key: {KEY_BYTES} random bytes in Base64.")
    return roots
