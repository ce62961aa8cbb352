"""Carries logs to the store behind the invocations' backs."""

from __future__ import annotations

import time
from collections import deque
from functools import partial
from typing import Final

import structlog

from turnlock.functions.logs import groups, store
from turnlock.functions.model import LogBatch
from turnlock.storage import Database

WAITING: Final = 1000
"""How many invocations' logs may wait; of more, the oldest are lost. The server's own log has them."""
FLUSH_SECONDS: Final = 0.5
PRUNE_SECONDS: Final = 600.0

log = structlog.get_logger(__name__)


class LogShipper:
    """`publish` from any thread never waits; `flush` is called again and again by one."""

    def __init__(self) -> None:
        self._waiting: deque[LogBatch] = deque(maxlen=WAITING)
        self._pruned_at = time.monotonic()

    def publish(self, batch: LogBatch) -> None:
        """Take what an invocation left."""
        self._waiting.append(batch)

    def flush(self, database: Database) -> float:
        """Write what waits; return the seconds until the next time."""
        batches = [self._waiting.popleft() for _ in range(len(self._waiting))]
        if batches:
            database.write(partial(store.append, batches=batches))
        if time.monotonic() - self._pruned_at > PRUNE_SECONDS:
            self._pruned_at = time.monotonic()
            database.write(groups.prune)
        return FLUSH_SECONDS
