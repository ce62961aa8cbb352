"""Protocols for what pure code must be given: the time and randomness."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        ...


class Entropy(Protocol):
    """Draws unpredictable bytes."""

    def bytes(self, count: int) -> bytes:
        """Return `count` bytes that nobody can predict."""
        ...


class RootKeyring(Protocol):
    """Wraps keys under the root key, and makes MACs. `kms` builds everything else on it."""

    def wrap(self, plaintext: bytes, *, context: bytes) -> bytes:
        """Seal a short plaintext (a key) under the newest root key, bound to `context`."""
        ...

    def unwrap(self, sealed: bytes, *, context: bytes) -> bytes:
        """Open what `wrap` sealed for the same context; SealBroken otherwise."""
        ...

    def mac(self, purpose: str, message: bytes) -> bytes:
        """Return a 32-byte MAC of `message` under a key derived from the root key for this purpose alone."""
        ...

    def settle(self, fits: Callable[[], bool]) -> bool:
        """Make `mac` use the root key under which `fits` holds, of those that there are; False when it holds under none."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's time in UTC."""
        return datetime.now(UTC)


class SystemEntropy:
    """The kernel's random number generator."""

    def __init__(self) -> None:
        self.bytes: Callable[[int], bytes] = os.urandom
