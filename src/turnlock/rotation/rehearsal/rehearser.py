"""Carrying out rehearsals: those that somebody asked for, and each night those of the rotations that are due next.

A rehearsal runs the hosted function's step `rehearse` under the lease of the secret's rotations, so that no rotation
runs at the same time. Its credentials may only read.
"""

from __future__ import annotations

import threading
import uuid
from functools import partial
from typing import Final

import structlog

from turnlock import accounts, functions, secrets, trail
from turnlock.core.action import Action, Answer, Request
from turnlock.core.call import Call, Fence
from turnlock.core.credentials import TemporaryCredentials
from turnlock.errors import InvalidRequestException, StoreError
from turnlock.functions import Invocation
from turnlock.rotation.managed import databases_of, function_of
from turnlock.rotation.masters import allowed_master
from turnlock.rotation.rehearsal import store as rehearsals
from turnlock.rotation.rehearsal.store import Report, Turn, failed_report, read_report
from turnlock.rotation.runner.carrier import RunFunction
from turnlock.rotation.runner.redaction import known_values
from turnlock.rotation.store import lease_name
from turnlock.secrets import Secret, require_writable, secret_subject
from turnlock.storage import Database, Unit
from turnlock.storage.leases import claim, release, require_current

log = structlog.get_logger(__name__)

POLL_SECONDS: Final = 2.0
NIGHTLY_SECONDS: Final = 600.0
"""How often a node looks for rotations that are due next."""

BATCH: Final = 20
LEASE_SECONDS: Final = 60.0
"""Longer than a function may run: the lease is not renewed."""

FAILED_EVENT: Final = "RotationRehearsalFailed"


def rehearse_rotation(call: Call, request: Request, unit: Unit) -> Answer:
    """RehearseRotation, an action of Turnlock's own: ask for a rehearsal, with RotateSecret's input and right.

    The report is read from the store.
    """
    secret = require_writable(call, request, unit)
    if not _can_rehearse(secret):
        raise InvalidRequestException(_why_not(secret))
    rehearsals.ask(unit, secret)
    return {"ARN": secret.arn, "Name": secret.name}


REHEARSE = Action(
    name="RehearseRotation",
    handler=rehearse_rotation,
    subject=secret_subject,
    mutates=True,
    permission="RotateSecret",
)


class Rehearser:
    """One node's part in rehearsing; `tick` is called again and again by one thread."""

    def __init__(
        self,
        database: Database,
        pool: functions.Functions,
        holder: str,
        run: RunFunction | None = None,
    ) -> None:
        self._database = database
        self._pool = pool
        self._run = run or pool.invoke
        self._holder = holder
        self._until_night = 0.0

    def tick(self) -> float:
        """Carry out the requested rehearsals, then a batch of the nightly ones; return the seconds until the next look."""
        for turn in self._database.read(partial(rehearsals.requested, limit=BATCH)):
            self._carry_out(turn)
        self._until_night -= POLL_SECONDS
        if self._until_night > 0:
            return POLL_SECONDS
        turns = self._database.read(partial(rehearsals.nightly, limit=BATCH))
        for turn in turns:
            self._carry_out(turn)
        self._until_night = 0.0 if len(turns) == BATCH else NIGHTLY_SECONDS
        return POLL_SECONDS

    def _carry_out(self, turn: Turn) -> None:
        """Rehearse one. An error of one secret does not stop the others."""
        try:
            claimed = self._database.write(partial(self._claim, turn))
            if claimed is None:
                return
            secret, fence = claimed
            report = self._rehearse(secret, fence)
            self._database.write(partial(_keep, turn, secret, fence, report))
            log.info(
                "rotation rehearsed",
                action="rotation_rehearsed",
                secret=secret.arn,
                problems=len(report.problems),
            )
        except StoreError:
            log.exception(
                "a rehearsal was interrupted", action="rehearsal_interrupted", secret=turn.reference.name
            )
        except Exception:
            log.exception("a rehearsal broke", action="rehearsal_broken", secret=turn.reference.name)

    def _claim(self, turn: Turn, unit: Unit) -> tuple[Secret, Fence] | None:
        """Take the lease of the secret's rotations; None when a rotation runs, or there is nothing to rehearse."""
        secret = secrets.find_secret(unit, turn.reference)
        if secret is None:
            rehearsals.forget(unit, turn.reference)
            return None
        if not _can_rehearse(secret):
            rehearsals.save(unit, secret, failed_report(_why_not(secret)))
            return None
        fence = claim(
            unit,
            secret.account_id,
            secret.region,
            lease_name(secret.name),
            holder=self._holder,
            seconds=LEASE_SECONDS,
        )
        return None if fence is None else (secret, fence)

    def _rehearse(self, secret: Secret, fence: Fence) -> Report:
        # A process that may only read must not be met by a rotation, nor one that may write by a rehearsal.
        self._pool.forget(secret.arn)
        invocation = Invocation(
            function_arn=str(function_of(secret)),
            payload={
                "Step": "rehearse",
                "SecretId": secret.arn,
                "ClientRequestToken": f"rehearsal-{uuid.uuid4()}",
            },
            secret_arn=secret.arn,
            credentials=lambda: self._database.write(partial(_credentials, secret, fence)),
            redact=partial(self._known_values, secret),
        )
        try:
            result = self._run(invocation, abort=threading.Event())
        except StoreError:
            raise
        except Exception as error:
            log.exception("a function could not be run", action="function_not_run", secret=secret.arn)
            return failed_report(f"The function could not be run: {type(error).__name__}")
        finally:
            self._pool.forget(secret.arn)
        return (
            failed_report(result.fault.message) if result.fault is not None else read_report(result.payload)
        )

    def _known_values(self, secret: Secret) -> frozenset[str]:
        return self._database.read(lambda unit: known_values(unit, secret))


def _can_rehearse(secret: Secret) -> bool:
    hosted = functions.find_hosted(function_of(secret) or "")
    return hosted is not None and hosted.supports_probe


def _why_not(secret: Secret) -> str:
    """Return what keeps a secret from a rehearsal, and what to do."""
    if function_of(secret) is None:
        return (
            "The secret has no rotation function. Set one first, without rotating: RotateSecret with RotationLambdaARN,"
            " RotationRules and RotateImmediately false."
        )
    return (
        "Only the rotation by a hosted function can be rehearsed, and this secret's is another. To run a function of your own"
        " on a secret made for it, use turnlock functions try."
    )


def _credentials(secret: Secret, fence: Fence, unit: Unit) -> TemporaryCredentials:
    """Issue a rehearsal's credentials: it may read the secret, its master secret and where the database is."""
    policy = accounts.rotation_policy(
        secret.arn, allowed_master(unit, secret), databases_of(unit, secret), reads_only=True
    )
    return accounts.issue_session(
        unit,
        account_id=secret.account_id,
        role_name="SecretsManagerRehearsal",
        session_name="rehearsal",
        policy=policy,
        seconds=int(LEASE_SECONDS),
        fence=fence,
    )


def _keep(turn: Turn, secret: Secret, fence: Fence, report: Report, unit: Unit) -> None:
    """Store the report; a nightly rehearsal that found a problem is a service event too."""
    require_current(unit, fence)
    hidden = known_values(unit, secret)
    findings = [
        rehearsals.Finding(one.check, one.outcome, functions.redact(one.words, hidden))
        for one in report.findings
    ]
    clean = Report(findings=findings, would=functions.redact(report.would, hidden))
    rehearsals.save(unit, secret, clean)
    release(unit, fence)
    if clean.problems and not turn.requested:
        trail.record_service_event(
            unit,
            account_id=secret.account_id,
            region=secret.region,
            name=FAILED_EVENT,
            secret_arn=secret.arn,
            request_id=f"Rehearsal-{secret.arn}-{unit.now:%Y%m%dT%H%M%SZ}",
            error="; ".join(f"{one.check}: {one.words}" for one in clean.problems)[:1024],
        )
