"""Keeping leases: renewed for as long as work goes on under them, given up for lost before another can have them.

Two threads, because a renewal can wait long for its store just when it matters most: one renews, the other only looks at
the clock. That clock is monotonic, and counted from before a lease was asked for: it stands in for the database's on the
safe side.
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
"""The part of a lease after which it counts as lost; the rest is there to end what runs under it."""

LOOKS: Final = 20
"""How often the clock is looked at in a lease's length."""

_CLOSE_SECONDS: Final = 5.0


@dataclass(slots=True, kw_only=True, eq=False)
class Hold:
    """A lease that is ours, for as long as `lost` is not set."""

    fence: Fence
    sure_until: float
    """On the monotonic clock, in seconds."""
    lost: threading.Event = field(default_factory=threading.Event)
    """Set when another may hold the lease, or when this node closes: what runs under it must end at once."""


class LeaseKeeper:
    """Renews the leases of one node, each `seconds` long; `close` it."""

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
        """Begin to renew a lease; `asked_at` is the monotonic clock from before it was claimed."""
        hold = Hold(fence=fence, sure_until=asked_at + SURE * self._seconds)
        with self._lock:
            self._kept[fence] = hold
            if self._ending:
                hold.lost.set()
        return hold

    def leave(self, hold: Hold) -> None:
        """Stop renewing a lease, and let it run out by itself."""
        with self._lock:
            self._kept.pop(hold.fence, None)

    def let_go(self, hold: Hold) -> None:
        """Stop renewing a lease and release it, if it is still ours; a store that does not answer lets it run out."""
        self.leave(hold)
        try:
            self._database.write(lambda unit: release(unit, hold.fence))
        except Exception:
            log.exception(
                "a lease was not released; it runs out", action="lease_kept", lease=hold.fence.lease
            )

    def lose_all(self) -> None:
        """Tell everything that runs under a lease of this node to end, and what would begin now, not to."""
        with self._lock:
            self._ending = True
            for hold in self._kept.values():
                hold.lost.set()

    def close(self) -> None:
        """Stop renewing; what is still held runs out. Waits a bounded time for a renewal that hangs."""
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
        """Renew all in one transaction. A lease that another holds is lost at once; one that nobody could renew, in time."""
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
