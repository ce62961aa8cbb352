"""Carrying out one claimed plan: decide, run the step, decide again, until the plan waits or has ended."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Protocol

import structlog

from turnlock import accounts, functions, secrets
from turnlock.core.credentials import TemporaryCredentials
from turnlock.errors import StoreError, TurnlockError, ValidationException
from turnlock.functions import Invocation, InvocationResult
from turnlock.rotation.managed import databases_of
from turnlock.rotation.masters import allowed_master
from turnlock.rotation.plan.machine import cancel, decide, read_probe
from turnlock.rotation.plan.states import Decision, Outcome, Run, Step, StepFailed, StepSucceeded, Stop, Woken
from turnlock.rotation.plans import apply_decision, facts_of, record_late_error
from turnlock.rotation.runner.due import reopen_if_due
from turnlock.rotation.runner.invocable import REFUSAL, refuses
from turnlock.rotation.runner.keeper import Hold
from turnlock.rotation.runner.places import Work
from turnlock.rotation.runner.redaction import known_values
from turnlock.rotation.store import PlanRow, find_row, save_plan
from turnlock.storage import Database, Unit
from turnlock.storage.leases import require_current

log = structlog.get_logger(__name__)

RunFunction = Callable[..., InvocationResult]
"""`functions.Functions.invoke`: (invocation, *, abort) → result."""

Observer = Callable[[str, PlanRow, Step], None]
"""Called for each step with `decided` before it runs and `returned` after it. For tests that need this moment."""

CREDENTIAL_SECONDS: Final = 3600

_NOT_IN_SESSION_NAMES = re.compile(r"[^A-Za-z0-9_+=,.@-]")


def unobserved(_moment: str, _row: PlanRow, _step: Step) -> None:
    """Observe nothing."""


class WarmProcesses(Protocol):
    """What the carrier needs of a node's function processes, to reuse them under a new fencing number."""

    def warm_access_key_id(self, function_arn: str, secret_arn: str) -> str | None:
        """Return the access key of the idle process that would be used next; None when one must be started."""
        ...

    def forget(self, secret_arn: str) -> None:
        """End the processes that run for a secret."""
        ...

    def log_refusal(self, function_arn: str, sentence: str) -> None:
        """Write into a function's own log why it was not run."""
        ...


class RoleGone(TurnlockError):
    """The role of a function is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A plan whose lease this node holds."""

    row: PlanRow
    hold: Hold
    rotation_token: str = field(repr=False)
    work: Work

    @property
    def names(self) -> dict[str, str]:
        """The fields of a log line about it."""
        return {"secret": self.row.secret_arn, "version_id": self.row.plan.token}


class Carrier:
    """Carries plans out, each on its caller's thread."""

    def __init__(
        self, database: Database, run: RunFunction, processes: WarmProcesses, observe: Observer
    ) -> None:
        self._database = database
        self._run = run
        self._processes = processes
        self._observe = observe

    def carry(self, claimed: Claimed) -> None:
        """Carry a plan out while it has a step to run and the lease is held.

        Raises StaleFence when another node took the plan over, StoreError when the store did not answer, and whatever
        reading a broken secret raises. Then nothing was decided, and the row says which step may have run.
        """
        outcome: Outcome = Woken()
        while not claimed.hold.lost.is_set():
            decision = self._database.write(partial(self._decide, claimed, outcome))
            if not isinstance(decision, Run):
                return
            self._observe("decided", claimed.row, decision.step)
            claimed.work.begin(time.monotonic(), exposed=decision.plan.exposed)
            outcome = self._invoke(claimed, decision.step)
            claimed.work.step_began = None
            if not claimed.hold.lost.is_set():
                self._observe("returned", claimed.row, decision.step)

    def _decide(self, claimed: Claimed, outcome: Outcome, unit: Unit) -> Decision:
        """Make one transition of the plan, in one transaction that checks the fencing number."""
        require_current(unit, claimed.hold.fence)
        row = find_row(unit, claimed.row)
        if row is None:
            return Stop(plan=claimed.row.plan)
        secret = secrets.find_secret(unit, row.reference)
        if secret is not None and isinstance(outcome, StepFailed):
            message = functions.redact(outcome.message, known_values(unit, secret))
            outcome = replace(outcome, message=message)
        if row.plan.finished:
            if secret is not None:
                record_late_error(unit, secret, row.plan, outcome)
            return Stop(plan=row.plan)
        if secret is None:
            plan = cancel(row.plan)
            save_plan(unit, row, plan, look_at=plan.next_attempt_at)
            return Stop(plan=plan)
        secret, plan = reopen_if_due(unit, secret, row.plan)
        jitter = int.from_bytes(unit.entropy.bytes(2)) / 65_536
        decision = decide(plan, outcome, facts_of(unit, secret, row), now=unit.now, jitter=jitter)
        apply_decision(unit, secret, row, decision)
        return decision

    def _invoke(self, claimed: Claimed, step: Step) -> Outcome:
        row = claimed.row
        place = row.account_id, row.secret_arn, row.function_arn
        if self._database.read(lambda unit: refuses(unit, *place)):
            return self._denied(row, step, REFUSAL)
        failed = f"Error when executing lambda {row.function_arn} during {step.value} step"
        invocation = Invocation(
            function_arn=row.function_arn,
            payload={
                "Step": step.value,
                "SecretId": row.secret_arn,
                "ClientRequestToken": row.plan.token,
                "RotationToken": claimed.rotation_token,
            },
            secret_arn=row.secret_arn,
            credentials=partial(self._credentials, claimed),
            redact=partial(self._known_values, row),
            started=claimed.work.started,
        )
        began = time.monotonic()
        try:
            result = self._run(invocation, abort=claimed.hold.lost)
        except StoreError:
            raise
        except RoleGone as error:
            return self._denied(row, step, f"{failed}: {error.message}")
        except Exception as error:
            log.exception("a function could not be run", action="function_not_run", **claimed.names)
            return StepFailed(step=step, message=f"{failed}: {type(error).__name__}")
        log.info(
            "rotation step",
            action="rotation_step",
            step=step.value,
            seconds=round(time.monotonic() - began, 4),
            cold=result.cold,
            failed=result.fault is not None,
            **claimed.names,
        )
        if result.fault is not None:
            return StepFailed(step=step, message=f"{failed}: {result.fault.message}")
        return read_probe(result.payload) if step is Step.PROBE else StepSucceeded(step=step)

    def _denied(self, row: PlanRow, step: Step, sentence: str) -> StepFailed:
        """Return the outcome of a step that may not be run, and write it into the function's log."""
        self._processes.log_refusal(row.function_arn, f"{step.value} of {row.secret_arn}: {sentence}")
        return StepFailed(step=step, message=sentence, denied=True)

    def _credentials(self, claimed: Claimed) -> TemporaryCredentials:
        """Issue a new process's credentials, bound to the lease's fencing number.

        A function with a role gets the role's. A hosted function has no role: it gets the rights on this secret and its
        master secret.
        """
        row, fence = claimed.row, claimed.hold.fence

        def issue(unit: Unit) -> TemporaryCredentials:
            try:
                own = functions.role_credentials(
                    unit, row.function_arn, seconds=CREDENTIAL_SECONDS, fence=fence
                )
            except ValidationException as error:
                raise RoleGone(error.message) from None
            if own is not None:
                return own
            secret = secrets.find_secret(unit, row.reference)
            master = None if secret is None else allowed_master(unit, secret)
            databases = [] if secret is None else databases_of(unit, secret)
            return accounts.issue_session(
                unit,
                account_id=row.account_id,
                role_name="SecretsManagerRotation",
                session_name=_NOT_IN_SESSION_NAMES.sub("-", row.plan.token)[:64],
                policy=accounts.rotation_policy(row.secret_arn, master, databases),
                seconds=CREDENTIAL_SECONDS,
                fence=fence,
            )

        return self._database.write(issue)

    def _known_values(self, row: PlanRow) -> frozenset[str]:
        def work(unit: Unit) -> frozenset[str]:
            secret = secrets.find_secret(unit, row.reference)
            return frozenset() if secret is None else known_values(unit, secret)

        return self._database.read(work)
