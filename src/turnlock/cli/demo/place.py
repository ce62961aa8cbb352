"""The directory that a demo lives in: its own, wiped at every start, never shared by two."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from turnlock.errors import ConfigurationError

MARKER = "made-by-turnlock-demo"
"""The file that says who made the directory; whoever runs in it holds a lock on it."""

_PATIENCE = 10.0
"""Seconds for what a killed demo left running to end: the kernel has told it to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where the parts of a demo lie. Absolute."""

    root: Path

    @property
    def server(self) -> Path:
        """The server's data directory."""
        return self.root / "server"

    @property
    def credentials(self) -> Path:
        """The AWS shared-credentials file of the account's root user."""
        return self.server / "credentials"

    @property
    def log(self) -> Path:
        """What the server writes on its standard error."""
        return self.root / "server.log"

    @property
    def postgresql(self) -> Path:
        """The database cluster."""
        return self.root / "postgresql"


@contextmanager
def new_place(root: Path) -> Iterator[Place]:
    """Take `root` for one demo and yield it empty; it stays as it is afterwards, to be looked at.

    Raises ConfigurationError when it holds what no demo put there, when another demo runs in it, or when it cannot be
    written.
    """
    root = root.absolute()
    try:
        descriptor = _claim(root)
    except OSError as error:
        raise ConfigurationError(f"{root} cannot be used: {error.strerror}.") from None
    try:
        _wipe(root)
        yield Place(root=root)
    finally:
        os.close(descriptor)


def _claim(root: Path) -> int:
    """Make the directory unless an earlier demo did, and return the marker's descriptor, locked."""
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not (root / MARKER).exists() and any(root.iterdir()):
        raise ConfigurationError(
            f"{root} is not empty, and no earlier demo made it: give another --data-dir."
        )
    descriptor = os.open(root / MARKER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConfigurationError(f"Another demo is running in {root}: give another --data-dir.") from None
    return descriptor


def _wipe(root: Path) -> None:
    deadline = time.monotonic() + _PATIENCE
    for entry in root.iterdir():
        while entry.name != MARKER and os.path.lexists(entry):
            try:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
            except OSError as error:
                if time.monotonic() > deadline:
                    raise ConfigurationError(f"{entry} cannot be removed: {error.strerror}.") from None
                time.sleep(0.1)
