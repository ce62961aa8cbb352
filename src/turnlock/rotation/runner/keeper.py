"""Renewing leases while work runs under them, and giving them up before another node can take them.

Two threads, because a renewal may wait long for a slow store: one renews, the other only watches the clock. It is the
monotonic clock, read before the lease was asked for. So a lease counts as lost here before it ends on the database's
clock.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Final

import structlog

from turnlock.core.call import Fence
from turnlock.storage import Database
from turnlock.storage.leases import release, renew

log = structlog.get_logger(__name__)

RENEWALS: Final = 3
"""How often a lease is renewed in its length: two renewals may fail before it is lost."""

SURE: Final = 0.85
"""The fraction of a lease after which it counts as lost. The rest of the time is for ending what runs under it."""

LOOKS: Final = 20
"""How often in a lease's length the clock is read."""

_CLOSE_SECONDS: Final = 5.0


@dataclass(slots=True, kw_only=True, eq=False)
class Hold:
    """A lease that this node holds until `lost` is set."""

    fence: Fence
    sure_until: float
    """On the monotonic clock, in seconds."""
    lost: threading.Event = field(default_factory=threading.Event)
    """Set when another node may hold the lease, or when this node closes. What runs under it must end at once."""


class LeaseKeeper:
    """Renews the leases of one node, each `seconds` long. The owner calls `close`."""

    def __init__(self, database: Database, *, seconds: float) -> None:
        self._database = database
        self._seconds = seconds
        self._kept: dict[Fence, Hold] = {}
        self._lock = threading.Lock()
        self._ending = False
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("lease-renewal", self._renew_forever), ("lease-watch", self._watch_forever))
        ]
        for thread in self._threads:
            thread.start()

    def keep(self, fence: Fence, *, asked_at: float) -> Hold:
        """Begin to renew a lease; `asked_at` is the monotonic clock before it was claimed."""
        hold = Hold(fence=fence, sure_until=asked_at + SURE * self._seconds)
        with self._lock:
            self._kept[fence] = hold
            if self._ending:
                hold.lost.set()
        return hold

    def leave(self, hold: Hold) -> None:
        """Stop renewing a lease without releasing it: it expires."""
        with self._lock:
            self._kept.pop(hold.fence, None)

    def let_go(self, hold: Hold) -> None:
        """Stop renewing a lease and release it if it is still held. If the store does not answer, it expires."""
        self.leave(hold)
        try:
            self._database.write(lambda unit: release(unit, hold.fence))
        except Exception:
            log.exception(
                "a lease was not released; it runs out", action="lease_kept", lease=hold.fence.lease
            )

    def lose_all(self) -> None:
        """End everything that runs under a lease of this node, and refuse new work."""
        with self._lock:
            self._ending = True
            for hold in self._kept.values():
                hold.lost.set()

    def close(self) -> None:
        """Stop renewing; held leases expire. Waits a bounded time for a renewal that hangs."""
        self._closing.set()
        self.lose_all()
        for thread in self._threads:
            thread.join(_CLOSE_SECONDS)

    def _holds(self) -> list[Hold]:
        with self._lock:
            return list(self._kept.values())

    def _watch_forever(self) -> None:
        while not self._closing.wait(self._seconds / LOOKS):
            for hold in self._holds():
                if time.monotonic() >= hold.sure_until:
                    hold.lost.set()

    def _renew_forever(self) -> None:
        while not self._closing.wait(self._seconds / RENEWALS):
            if holds := self._holds():
                self._renew(holds)

    def _renew(self, holds: list[Hold]) -> None:
        """Renew all in one transaction.

        A lease that another node holds is lost at once, one that could not be renewed when SURE of its length has passed.
        """
        asked_at = time.monotonic()
        try:
            ours = self._database.write(
                lambda unit: [renew(unit, hold.fence, seconds=self._seconds) for hold in holds]
            )
        except Exception:
            log.exception("leases could not be renewed", action="leases_not_renewed", count=len(holds))
            return
        for hold, renewed in zip(holds, ours, strict=True):
            if renewed:
                hold.sure_until = asked_at + SURE * self._seconds
            else:
                hold.lost.set()
