"""AWS's shared credentials file (SDKs and Tools Reference Guide, "Shared config and credentials files")."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from turnlock.accounts.model import NewCredentials
from turnlock.errors import ConfigurationError
from turnlock.root_keys import write_private

FILE_NAME: Final = "credentials"

_PROFILE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def profile_text(name: str, credentials: NewCredentials) -> str:
    """Return one profile as the file spells it, secret included. ConfigurationError for a name it cannot hold."""
    if not _PROFILE.fullmatch(name):
        raise ConfigurationError("A profile's name has 1 to 64 letters, digits, or any of _.-")
    return (
        f"[{name}]\n"
        f"aws_access_key_id = {credentials.access_key_id}\n"
        f"aws_secret_access_key = {credentials.secret_access_key}\n"
    )


def write_credentials(directory: Path, profiles: Mapping[str, NewCredentials]) -> Path:
    """Write `directory`/credentials with these profiles, mode 0600, in place of any older one; return its path.

    A reader sees the old file or the new one, whole, and it is durable on return. Raises ConfigurationError when it
    cannot be written.
    """
    path = directory / FILE_NAME
    text = "\n".join(profile_text(name, credentials) for name, credentials in profiles.items())
    try:
        write_private(path, text, replace=True)
    except OSError as error:
        raise ConfigurationError(
            f"The credentials file {path} cannot be written: {error.strerror}."
        ) from error
    return path
