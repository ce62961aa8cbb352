"""What a server does about confinement before it serves: keeps its own files out of what children see, and says what holds here."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import structlog

from turnlock.confinement import assess, cgroups
from turnlock.errors import ConfigurationError


def refuse_in_sight(private: Iterable[Path]) -> None:
    """Raise ConfigurationError when a private file or directory lies where functions and local databases can read."""
    found = assess.shown_with(private)
    if found is not None:
        path, place = found
        raise ConfigurationError(
            f"{path} lies inside {place}, which functions and local databases can read. Choose another place for it."
        )


def settle_confinement() -> None:
    """Take the place in the cgroups from which children can be counted, and log once what the walls of this machine leave open.

    For the main process, before it starts others.
    """
    cgroups.settle()
    log = structlog.get_logger("turnlock.functions")
    missing = assess.missing()
    left = assess.left_open()
    own = cgroups.own()
    if own is not None:
        own.close()
    if missing is None:
        log.info("functions are confined", action="confinement", left_open=left)
        return
    log.warning(
        "functions of one's own cannot be confined here",
        action="confinement_missing",
        reason=missing,
        left_open=[assess.NO_PLACES, *left],
    )
