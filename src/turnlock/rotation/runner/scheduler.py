"""The scheduler of one node: begins rotations that are due, claims plans that can run, and has them carried out.

Any number of nodes do this on one store. Each plan runs under a lease on the database's clock. Each write of a plan
checks that the lease's fencing number is still the newest. A holder that cannot renew its lease kills its function.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import structlog

from turnlock import accounts, functions
from turnlock.core.call import Fence
from turnlock.errors import StaleFence, StoreError, UnrecognizedClientException
from turnlock.rotation.runner.carrier import (
    Carrier,
    Claimed,
    Observer,
    RunFunction,
    WarmProcesses,
    unobserved,
)
from turnlock.rotation.runner.due import begin_due, begin_soon
from turnlock.rotation.runner.keeper import LeaseKeeper
from turnlock.rotation.runner.overdue import close_overdue
from turnlock.rotation.runner.places import Places, Work
from turnlock.rotation.runner.token import rotation_token
from turnlock.rotation.store import Among, PlanRow, any_overdue, any_runnable, busy_hosts, runnable
from turnlock.storage import Database, Unit
from turnlock.storage.leases import claim

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 1.0
OVERDUE_LOOKS: Final = timedelta(seconds=10)
"""Seconds between two looks for overdue windows. Windows are an hour long or more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a node does at once."""

    lease_seconds: float = 10.0
    at_once: int = 4
    """Rotations that are carried out at the same time; slow ones are counted apart (`places`)."""
    per_host: int = 2
    """Rotations against one database host, over all nodes."""

    @property
    def processes(self) -> int:
        """How many function processes a node may need at the same time, with some for rehearsals."""
        return Places(at_once=self.at_once).most + self.at_once


class Scheduler:
    """One node's part in rotating; `tick` is called again and again by one thread."""

    def __init__(
        self,
        *,
        database: Database,
        pool: functions.Functions,
        holder: str,
        limits: Limits,
        observe: Observer = unobserved,
        run: RunFunction | None = None,
    ) -> None:
        self._database = database
        self._processes: WarmProcesses = pool
        self._holder = holder
        self._limits = limits
        self._carrier = Carrier(database, run or pool.invoke, pool, observe)
        self._keeper = LeaseKeeper(database, seconds=limits.lease_seconds)
        self._places = Places(at_once=limits.at_once)
        self._newest = False
        """Whether the next free place goes to the plan that became due last."""
        self._threads = ThreadPoolExecutor(self._places.most, "rotation")
        self._active: dict[Fence, Claimed] = {}
        self._lock = threading.Lock()
        self._overdue_look = datetime.min.replace(tzinfo=UTC)
        """On the store's clock."""
        self.wake: Callable[[], None] = lambda: None
        """Called when a place becomes free; the loop that ticks sets it."""

    @property
    def busy(self) -> int:
        """How many plans this node is carrying out."""
        return len(self._active)

    def tick(self) -> float:
        """Begin and claim what is due; return the seconds until the next look."""
        with self._lock:
            self._places.look(time.monotonic())
        due, overdue, claimable, slow_waits, now = self._database.read(self._look)
        if now >= self._overdue_look:
            self._overdue_look = now + OVERDUE_LOOKS
        if overdue:
            self._database.write(lambda unit: close_overdue(unit, self._holder))
        begun = self._database.write(begin_due) if due else 0
        if begun:
            log.info("rotations begun", action="rotations_begun", count=begun)
        if (claimable or begun) and (self._places.free() or self._places.free_for_slow()):
            asked_at = time.monotonic()
            for row, fence, token in self._database.write(self._claim):
                self._start(row, fence, token, asked_at)
        if (claimable and not self._places.free()) or slow_waits:
            self._send_back(slow_waits=slow_waits)
        with self._lock:
            return min(POLL_SECONDS, max(0.05, self._places.next_look(time.monotonic())))

    def close(self) -> None:
        """Abort what runs. The next node that claims a plan continues it."""
        self._keeper.lose_all()
        self._threads.shutdown(wait=True, cancel_futures=True)
        for claimed in list(self._active.values()):  # claimed, and cancelled before a thread took it
            self._keeper.let_go(claimed.hold)
        self._keeper.close()

    def _look(self, unit: Unit) -> tuple[bool, bool, bool, bool, datetime]:
        """Tell whether a rotation can begin, a window is over unheard, a plan waits for a place, one for the slow's, and the time.

        Looks at indexes alone as long as nothing is due.
        """
        claimable, slow_waits = any_runnable(unit, unit.now), False
        if claimable:
            full, slow = self._full(busy_hosts(unit)), self._places.known_slow()
            claimable = any_runnable(unit, unit.now, Among(passing_over=full, but=slow))
            if not claimable and (ready := self._places.claimable_slow()):
                claimable = any_runnable(unit, unit.now, Among(passing_over=full, only=ready))
            if slow and not self._places.free_for_slow():
                slow_waits = any_runnable(unit, unit.now, Among(passing_over=full, only=slow))
        overdue = unit.now >= self._overdue_look and any_overdue(unit, unit.now)
        return begin_soon(unit), overdue, claimable, slow_waits, unit.now

    def _claim(self, unit: Unit) -> list[tuple[PlanRow, Fence, str]]:
        """Claim plans for the free places, no more than `per_host` against one host over all nodes.

        While slow plans have places, every other place goes to the plan that became due last. So a rotation that was
        just asked for does not wait for all plans whose functions hang.
        """
        with self._lock:
            free, for_slow = self._places.free(), self._places.free_for_slow()
            known, ready, mixed = (
                self._places.known_slow(),
                self._places.claimable_slow(),
                self._places.any_slow(),
            )
        busy = Counter(busy_hosts(unit))
        mine: list[tuple[PlanRow, Fence, str]] = []
        for _ in range(free if mixed else min(free, 1)):
            self._newest = mixed and not self._newest
            wanted = 1 if mixed else free
            among = Among(but=known, newest_first=self._newest)
            mine += self._claim_of(unit, wanted, busy, among)
        for target, room in ready.items():
            claimed = self._claim_of(unit, min(for_slow, room), busy, Among(only=[target]))
            mine, for_slow = mine + claimed, for_slow - len(claimed)
        return mine

    def _claim_of(
        self, unit: Unit, free: int, busy: Counter[bytes], among: Among
    ) -> list[tuple[PlanRow, Fence, str]]:
        """Claim up to `free` plans of those that are meant."""
        mine: list[tuple[PlanRow, Fence, str]] = []
        for _ in range(free):  # each round fills at least one place, or nothing is left to claim
            meant = replace(among, passing_over=self._full(busy))
            rows = runnable(unit, unit.now, free - len(mine), meant)
            for row in rows:
                if row.host_key is not None and busy[row.host_key] >= self._limits.per_host:
                    continue
                fence = self._take(unit, row)
                if fence is not None:
                    mine.append((row, fence, rotation_token(unit, row, fence)))
                    busy.update([row.host_key] if row.host_key is not None else [])
            if not rows or len(mine) == free:
                break
        return mine

    def _send_back(self, *, slow_waits: bool) -> None:
        """End steps of functions that hang while others wait for their places; the plans are claimed again later."""
        with self._lock:
            now = time.monotonic()
            works = self._places.to_send_back(now)
            if slow_waits and not works:
                works = self._places.to_take_turns(now)
            for claimed in self._active.values():
                if any(claimed.work is work for work in works) and not claimed.hold.lost.is_set():
                    log.info(
                        "a slow rotation gives its place up", action="rotation_sent_back", **claimed.names
                    )
                    claimed.hold.lost.set()

    def _full(self, busy: dict[bytes, int]) -> list[bytes]:
        return [host for host, count in busy.items() if count >= self._limits.per_host]

    def _take(self, unit: Unit, row: PlanRow) -> Fence | None:
        """Claim one plan's lease, and give a warm process's credentials the new fencing number."""
        fence = claim(
            unit,
            row.account_id,
            row.region,
            row.lease,
            holder=self._holder,
            seconds=self._limits.lease_seconds,
        )
        if row.plan.attempts:
            # A new process gets a new session, which names the master secret that may be read by now.
            self._processes.forget(row.secret_arn)
        access_key_id = self._processes.warm_access_key_id(row.function_arn, row.secret_arn)
        if fence is not None and access_key_id is not None:
            try:
                accounts.refence(unit, access_key_id, fence)
            except UnrecognizedClientException:  # it expired and was removed: a new process gets new ones
                self._processes.forget(row.secret_arn)
        return fence

    def _start(self, row: PlanRow, fence: Fence, token: str, asked_at: float) -> None:
        hold = self._keeper.keep(fence, asked_at=asked_at)
        claimed = Claimed(row=row, hold=hold, rotation_token=token, work=Work(target=row.target))
        with self._lock:
            self._active[fence] = claimed
            self._places.take(claimed.work)
        self._threads.submit(self._carry_out, claimed)

    def _carry_out(self, claimed: Claimed) -> None:
        """Carry one plan out on a thread of the pool, then release its lease.

        After an unexpected error the lease is left to expire: so the plan is claimed again after a lease's length and
        not at once, by this node or another.
        """
        finish = self._keeper.leave
        try:
            self._carrier.carry(claimed)
            finish = self._keeper.let_go
        except StaleFence:
            log.warning("a rotation was taken over", action="rotation_taken_over", **claimed.names)
        except StoreError:
            finish = self._keeper.let_go
            log.exception("the store did not answer", action="rotation_interrupted", **claimed.names)
        except Exception:
            log.exception("a rotation could not be carried on", action="rotation_broken", **claimed.names)
        finally:
            finish(claimed.hold)
            with self._lock:
                self._active.pop(claimed.hold.fence, None)
                self._places.leave(claimed.work, time.monotonic())
            self.wake()
