"""How much work one request may make policies: a number that is counted down, and nothing that is measured.

What a step costs depends on the sizes of what it looks at and not on a clock or on what is remembered: the same request is
decided the same way on every machine, at any time.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

LIMIT: Final = 400_000
"""Units of work that one request may spend. A unit is about 50 ns on a machine of 2024: about 20 ms together."""


class WorkSpent(Exception):
    """The policies of one request take more work than a request may cost."""


class Work:
    """What one request may still spend."""

    __slots__ = ("_left", "kept", "paid")

    def __init__(self, limit: int = LIMIT) -> None:
        self._left = limit
        self.paid: set[Hashable] = set()
        """What was charged once, and does not cost again."""
        self.kept: dict[Hashable, Any] = {}
        """What was made for the request's work and serves again in it."""

    @property
    def left(self) -> int:
        """Units that may still be spent; below 0 once a step asked for more."""
        return self._left

    def charge(self, units: int) -> None:
        """Count a step before it is taken. Raises WorkSpent, and again at every step after that."""
        self._left -= units
        if self._left < 0:
            self._left = -1
            raise WorkSpent

    def charge_once(self, what: Hashable, units: int) -> None:
        """Count what is done once in a request, however often it is needed. Raises WorkSpent."""
        if what not in self.paid:
            self.charge(units)
            self.paid.add(what)
