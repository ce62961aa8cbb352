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


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Return the machine's time in UTC."""
        return datetime.now(UTC)


class SystemEntropy:
    """The kernel's random number generator."""

    def __init__(self) -> None:
        self.bytes: Callable[[int], bytes] = os.urandom
