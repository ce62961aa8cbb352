"""One process's part of Lambda: the pools, the functions of one's own, the logs, and what works on them unasked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

from turnlock.confinement import assess
from turnlock.core.action import Action
from turnlock.functions.api.actions import actions
from turnlock.functions.api.invoking import Invoking
from turnlock.functions.code.catalogue import Catalogue
from turnlock.functions.events import Events
from turnlock.functions.logs.shipper import LogShipper
from turnlock.functions.runtime.pool import PoolLimits
from turnlock.functions.runtime.runner import Functions
from turnlock.storage import Database

INVOKED_AT_ONCE: Final = 8
"""Processes for callers of Invoke and their events; rotations have a pool of their own."""


class LambdaService:
    """`endpoint` and the files are as for `Functions`. `close` it before the store."""

    def __init__(
        self,
        database: Database,
        holder: str,
        *,
        endpoint: str,
        database_ca_file: Path | None = None,
        allow_unconfined: bool = False,
        rotation_limits: PoolLimits | None = None,
    ) -> None:
        self._database = database
        self._catalogue = Catalogue(database, allow_unconfined=allow_unconfined)
        self._logs = LogShipper()
        self._missing = None if allow_unconfined else assess.missing()
        make = partial(
            Functions,
            endpoint,
            database_ca_file=database_ca_file,
            find=self._catalogue.find,
            publish=self._logs.publish,
        )
        self.rotating = make(limits=rotation_limits)
        """Runs the steps of rotations."""
        self._invoked = make(limits=PoolLimits(processes=INVOKED_AT_ONCE))
        self._invoking = Invoking(self._invoked, database)
        self._events = Events(database, self._invoking.run, holder)

    def actions(self) -> tuple[Action, ...]:
        """Return Lambda's actions."""
        return actions(self._invoking, missing=self._missing)

    def loops(self) -> Mapping[str, Callable[[], float]]:
        """Return what is to be called again and again, by name; each returns the seconds until the next time."""
        return {
            "function events": self._events.tick,
            "function logs": partial(self._logs.flush, self._database),
        }

    def close(self) -> None:
        """End every process, write the logs that wait, remove what was unpacked."""
        self._invoked.close()
        self._events.close()
        self.rotating.close()
        self._logs.flush(self._database)
        self._catalogue.close()
