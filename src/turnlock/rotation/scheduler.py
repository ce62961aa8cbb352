"""The scheduler of one node: begins what is due, claims what can run, carries plans out step by step.

Any number of nodes do this on one store. Each plan runs under a lease on the database's clock; every write of a plan
proves that the lease's fencing number is still the newest, and a holder that cannot renew kills its function.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import structlog

from turnlock import functions, identity, secrets
from turnlock.core.call import Fence
from turnlock.errors import StaleFence, UnrecognizedClientException
from turnlock.functions import Invocation, InvocationResult
from turnlock.rotation.due import begin_due, begin_soon, reopen_if_due
from turnlock.rotation.model import (
    Decision,
    Outcome,
    Run,
    Step,
    StepFailed,
    StepSucceeded,
    Stop,
    Woken,
    decide,
    read_probe,
)
from turnlock.rotation.plans import apply_decision, facts_of
from turnlock.rotation.redaction import known_values
from turnlock.rotation.store import PlanRow, busy_hosts, find_row, runnable
from turnlock.rotation.token import rotation_token
from turnlock.storage import Database, Unit
from turnlock.storage.leases import claim, release, renew, require_current

log = structlog.get_logger(__name__)

RunFunction = Callable[..., InvocationResult]
"""`functions.Functions.invoke`: (invocation, *, abort) → result."""

Observer = Callable[[str, PlanRow, Step], None]
"""Told of each step, `decided` when it is about to run and `returned` when it has: for tests that need the very moment."""

POLL_SECONDS: Final = 1.0
CREDENTIAL_SECONDS: Final = 3600


def unobserved(_moment: str, _row: PlanRow, _step: Step) -> None:
    """Observe nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a node does at once."""

    lease_seconds: float = 10.0
    at_once: int = 4
    per_host: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claimed:
    """A plan that is ours for as long as its lease is."""

    row: PlanRow
    fence: Fence
    rotation_token: str = field(repr=False)
    abort: threading.Event = field(default_factory=threading.Event)


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
        self._pool = pool
        self._run = run or pool.invoke
        self._holder = holder
        self._limits = limits
        self._observe = observe
        self._threads = ThreadPoolExecutor(limits.at_once, "rotation")
        self._active: dict[str, _Claimed] = {}
        self._lock = threading.Lock()
        self._renewer = threading.Thread(target=self._renew_forever, name="lease-renewal", daemon=True)
        self._closing = threading.Event()
        self._renewer.start()
        self.wake: Callable[[], None] = lambda: None
        """Called when a place is free again; the loop that ticks sets it."""

    def tick(self) -> float:
        """Begin and claim what there is; return the seconds until the next look."""
        if self._database.read(begin_soon):
            begun = self._database.write(begin_due)
            if begun:
                log.info("rotations begun", action="rotations_begun", count=begun)
        free = self._limits.at_once - len(self._active)
        if free > 0 and self._database.read(lambda unit: runnable(unit, unit.now, 1)):
            for claimed in self._database.write(partial(self._claim, free)):
                with self._lock:
                    self._active[claimed.row.secret_arn] = claimed
                self._threads.submit(self._carry_out, claimed)
        return POLL_SECONDS

    def close(self) -> None:
        """Abort what runs: its steps are taken up by whoever claims the plans next."""
        self._closing.set()
        with self._lock:
            for claimed in self._active.values():
                claimed.abort.set()
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._renewer.join()

    def _claim(self, free: int, unit: Unit) -> list[_Claimed]:
        """Claim up to `free` plans, no more than `per_host` against one host over all nodes."""
        busy = Counter(busy_hosts(unit))
        mine: list[_Claimed] = []
        # More rows than places: those whose host is busy are passed over, not waited for.
        for row in runnable(unit, unit.now, free * 8 + 32):
            if len(mine) == free:
                break
            if row.host_key is not None and busy[row.host_key] >= self._limits.per_host:
                continue
            fence = claim(
                unit,
                row.account_id,
                row.region,
                row.lease,
                holder=self._holder,
                seconds=self._limits.lease_seconds,
            )
            if fence is None:
                continue
            self._refence(unit, row, fence)
            if row.host_key is not None:
                busy[row.host_key] += 1
            mine.append(_Claimed(row=row, fence=fence, rotation_token=rotation_token(unit, row, fence)))
        return mine

    def _refence(self, unit: Unit, row: PlanRow, fence: Fence) -> None:
        """Give a warm process's credentials the new fencing number, so that it can go on working for us."""
        access_key_id = self._pool.warm_access_key_id(row.function_arn, row.secret_arn)
        if access_key_id is None:
            return
        try:
            identity.refence(unit, access_key_id, fence)
        except UnrecognizedClientException:  # it expired and was removed: a new process gets new ones
            self._pool.forget(row.secret_arn)

    def _carry_out(self, claimed: _Claimed) -> None:
        """Decide, run, decide again, until the plan waits or is over; then let go of the lease."""
        outcome: Outcome = Woken()
        try:
            while not claimed.abort.is_set():
                decision = self._database.write(partial(self._decide, claimed, outcome))
                if not isinstance(decision, Run):
                    break
                self._observe("decided", claimed.row, decision.step)
                outcome = self._invoke(claimed, decision.step)
                if claimed.abort.is_set():
                    break
                self._observe("returned", claimed.row, decision.step)
        except StaleFence:
            log.warning(
                "a rotation was taken over by another node", action="rotation_taken_over", **_names(claimed)
            )
        except Exception:
            log.exception("a rotation could not be carried on", action="rotation_broken", **_names(claimed))
        finally:
            with self._lock:
                self._active.pop(claimed.row.secret_arn, None)
            self._let_go(claimed)
            self.wake()

    def _decide(self, claimed: _Claimed, outcome: Outcome, unit: Unit) -> Decision:
        """Take one transition in one transaction, under the fence."""
        require_current(unit, claimed.fence)
        row = find_row(unit, claimed.row)
        secret = secrets.find_secret(unit, claimed.row.reference) if row is not None else None
        if row is None or secret is None:
            return Stop(plan=claimed.row.plan)
        if isinstance(outcome, StepFailed):
            values = known_values(unit, secret)
            outcome = replace(outcome, message=functions.redact(outcome.message, values))
        secret, plan = reopen_if_due(unit, secret, row.plan)
        jitter = int.from_bytes(unit.entropy.bytes(2)) / 65_536
        decision = decide(plan, outcome, facts_of(unit, secret, row), now=unit.now, jitter=jitter)
        apply_decision(unit, secret, row, decision)
        return decision

    def _invoke(self, claimed: _Claimed, step: Step) -> Outcome:
        row = claimed.row
        event = {
            "Step": step.value,
            "SecretId": row.secret_arn,
            "ClientRequestToken": row.plan.token,
            "RotationToken": claimed.rotation_token,
        }
        invocation = Invocation(
            function_arn=row.function_arn,
            payload=event,
            secret_arn=row.secret_arn,
            credentials=partial(self._credentials, claimed),
            redact=partial(self._known_values, row),
        )
        began = time.monotonic()
        result = self._run(invocation, abort=claimed.abort)
        log.info(
            "rotation step",
            action="rotation_step",
            step=step.value,
            seconds=round(time.monotonic() - began, 4),
            cold=result.cold,
            failed=result.fault is not None,
            **_names(claimed),
        )
        if result.fault is not None:
            message = f"Error when executing lambda {row.function_arn} during {step.value} step: {result.fault.message}"
            return StepFailed(step=step, message=message)
        return read_probe(result.payload) if step is Step.PROBE else StepSucceeded(step=step)

    def _credentials(self, claimed: _Claimed) -> identity.TemporaryCredentials:
        """Issue what a new process works with: good for this secret, and only under our fencing number."""
        row = claimed.row
        return self._database.write(
            lambda unit: identity.issue_session(
                unit,
                account_id=row.account_id,
                role_name="SecretsManagerRotation",
                session_name=row.plan.token[:64],
                policy=identity.rotation_policy(row.secret_arn),
                seconds=CREDENTIAL_SECONDS,
                fence=claimed.fence,
            )
        )

    def _known_values(self, row: PlanRow) -> frozenset[str]:
        def work(unit: Unit) -> frozenset[str]:
            secret = secrets.find_secret(unit, row.reference)
            return frozenset() if secret is None else known_values(unit, secret)

        return self._database.read(work)

    def _let_go(self, claimed: _Claimed) -> None:
        try:
            self._database.write(lambda unit: release(unit, claimed.fence))
        except Exception:
            log.exception("a lease was not released; it runs out", action="lease_kept", **_names(claimed))

    def _renew_forever(self) -> None:
        """Renew every lease three times in its length; abort what could not be renewed in time.

        The monotonic clock stands in for the database's here, on the safe side: it starts before the renewal was asked.
        """
        alive: dict[str, float] = {}
        while not self._closing.wait(self._limits.lease_seconds / 3):
            with self._lock:
                active = dict(self._active)
            alive = {arn: alive.get(arn, time.monotonic()) for arn in active}
            for arn, claimed in active.items():
                asked = time.monotonic()
                if self._renewed(claimed):
                    alive[arn] = asked
                if time.monotonic() - alive[arn] >= self._limits.lease_seconds:
                    claimed.abort.set()

    def _renewed(self, claimed: _Claimed) -> bool:
        """Renew one lease; False when the store did not answer. A lease that another holds aborts its work at once."""
        try:
            ours = self._database.write(
                lambda unit: renew(unit, claimed.fence, seconds=self._limits.lease_seconds)
            )
        except Exception:
            log.exception("a lease could not be renewed", action="lease_not_renewed", **_names(claimed))
            return False
        if not ours:
            claimed.abort.set()
        return ours


def _names(claimed: _Claimed) -> dict[str, str]:
    return {"secret": claimed.row.secret_arn, "version_id": claimed.row.plan.token}
