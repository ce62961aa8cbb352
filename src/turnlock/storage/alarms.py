"""The alarm: what is stored is not what was written. Told once, where it was found, with the name of what it is."""

from __future__ import annotations

from typing import NoReturn

import structlog

from turnlock.errors import SealBroken

log = structlog.get_logger(__name__)


def broken(row: str, how: str = "was not written by this server", /, **place: str) -> NoReturn:
    """Raise SealBroken for what is stored, with a line in the log.

    `row` names it in a sentence that `how` ends, `place` in columns. Whoever meets the error does not tell of it again.
    """
    alarm(row, **place)
    raise SealBroken(f"{row} {how}.", row=row)


def alarm(row: str, /, **place: str) -> None:
    """Tell of something that is not what was written, where that is not answered with SealBroken."""
    log.error("what is stored is not what was written", action="seal_broken", row=row, **place)
