"""How large a request's body may be, before anybody proved who sends it."""

from __future__ import annotations

import re
from typing import Final

from turnlock.errors import RequestEntityTooLargeException, ThrottlingException

MAX_BODY: Final = 1024 * 1024
"""Bytes of a request's body: the largest value is 64 KiB, and JSON escapes a byte with at most six."""

LARGE_BODY: Final = 70 * 1024 * 1024
"""Bytes where packages of functions come in: 50 MiB in Base64."""

LARGE_EVENT: Final = 7 * 1024 * 1024
"""Bytes where events of functions come in: they may have 6 MiB, and who sends a little more is told so in Lambda's words."""

LARGE_BODIES: Final = 4
"""How many larger than MAX_BODY are read at once: nobody has proved yet who they are."""


class LargeBodies:
    """The few bodies beyond MAX_BODY that one worker reads at once, and only where packages and events come in."""

    PACKAGES = re.compile(r"/2015-03-31/functions(/[^/]+/code)?/?")
    """CreateFunction and UpdateFunctionCode."""
    EVENTS = re.compile(r"/2015-03-31/functions/[^/]+/invocations/?")

    def __init__(self) -> None:
        self._places = LARGE_BODIES

    def take(self, path: str, length: int) -> None:
        """Take a place to read a body beyond MAX_BODY. Raises RequestEntityTooLargeException, ThrottlingException when all are taken."""
        if length > self._most(path):
            raise RequestEntityTooLargeException
        if not self._places:
            raise ThrottlingException
        self._places -= 1

    def give_back(self) -> None:
        """Give back a place: the body was read, or will not come."""
        self._places += 1

    def _most(self, path: str) -> int:
        if self.PACKAGES.fullmatch(path):
            return LARGE_BODY
        return LARGE_EVENT if self.EVENTS.fullmatch(path) else MAX_BODY
