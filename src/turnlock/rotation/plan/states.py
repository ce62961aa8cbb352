"""The values of a rotation plan: steps, purposes, states, events, outcomes, facts and decisions.

`model` has the transitions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Any, ClassVar


class Step(Enum):
    """What a rotation function is asked to do, as the event spells it."""

    CREATE = "createSecret"
    """Put a new value under the token, unless it has one."""
    SET = "setSecret"
    """Make the database accept the token's value."""
    TEST = "testSecret"
    """Log in with the token's value."""
    FINISH = "finishSecret"
    """Move AWSCURRENT to the token."""
    DISCARD = "discardPrevious"
    """Make AWSPREVIOUS invalid where a rotation has left it valid; hosted functions only."""
    PROBE = "probe"
    """Say which versions the database accepts, changing nothing; hosted functions only."""


class Login(Enum):
    """What the database answered to a login with one version's credential."""

    ACCEPTED = "accepted"
    """It logged in."""
    REFUSED = "refused"
    """The database judged the credential and said no."""
    UNREACHABLE = "unreachable"
    """It was not judged: no answer, no TLS, starting up, no free connection."""
    ABSENT = "absent"
    """There is no such version, or it has no value."""


class Purpose(Enum):
    """What a plan is for."""

    ROTATE = "rotate"
    """Replace the credential."""
    DISCARD = "discard"
    """Make AWSPREVIOUS invalid after its grace period: discardPrevious alone."""
    TEST = "test"
    """RotateImmediately=false: testSecret alone, on a copy of the current value under AWSPENDING."""


class PlanState(Enum):
    """The state of a plan."""

    RUNNING = "running"
    """It is carried out, or waits for its next attempt in this window."""
    SUCCEEDED = "succeeded"
    """The token holds AWSCURRENT (a test: testSecret passed)."""
    FAILED = "failed"
    """No success in this window; a rotation is tried again in the next one, a test is over."""
    CANCELLED = "cancelled"
    """CancelRotateSecret ended it."""
    ABANDONED = "abandoned"
    """A version made by hand, a label moved by hand, or a new rotation took AWSPENDING from the token."""


class EventName(Enum):
    """The service events of a rotation (CloudTrail, AwsServiceEvent)."""

    ROTATION_STARTED = "RotationStarted"
    """Once for each plan, however many windows it takes."""
    ROTATION_SUCCEEDED = "RotationSucceeded"
    """Once; it may follow a failed window."""
    ROTATION_FAILED = "RotationFailed"
    """Once for each window without success, also one in which nothing ran.

    Recorded at the window's end; at once for an error after AWSCURRENT has moved, and for a function that may not be
    run any more.
    """
    ROTATION_ABANDONED = "RotationAbandoned"
    """Once, when AWSPENDING was taken away."""
    DISCARD_SUCCEEDED = "PreviousCredentialDiscarded"
    """Turnlock's own: AWSPREVIOUS is not valid any more."""
    DISCARD_FAILED = "PreviousCredentialDiscardFailed"
    """Turnlock's own: AWSPREVIOUS could not be made invalid in a year, or AWSCURRENT was moved by hand."""
    TEST_STARTED = "TestRotationStarted"
    """Once for each configuration check."""
    TEST_SUCCEEDED = "TestRotationSucceeded"
    """testSecret passed."""
    TEST_FAILED = "TestRotationFailed"
    """testSecret failed, its window ended, or AWSPENDING was taken away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceEvent:
    """One event to record in the transaction that writes the plan."""

    name: EventName
    error_message: str | None = None
    """Redacted; only for failures."""


Events = tuple[ServiceEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSucceeded:
    """The function ended `step` without an error."""

    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed:
    """The function failed in `step`, or could not be run."""

    step: Step
    message: str
    """Already redacted: it is stored, shown and put into events."""
    denied: bool = False
    """The function was not run: its permission or its role is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeResult:
    """The function answered `probe`: what the database accepts."""

    pending: Login
    """The token's version."""
    current: Login
    previous: Login
    step: ClassVar[Step] = Step.PROBE


@dataclass(frozen=True, slots=True, kw_only=True)
class Woken:
    """A node has taken the plan's lease and no step runs. A step in flight was interrupted."""


Outcome = StepSucceeded | StepFailed | ProbeResult | Woken


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """The state of the secret, read in the transaction that writes the decision."""

    pending_labelled: bool
    """The token's version carries AWSPENDING."""
    pending_has_value: bool
    """The token's version has a value."""
    token_is_current: bool
    """The token's version carries AWSCURRENT; AWSPENDING beside it does not matter."""
    rotation_enabled: bool
    can_probe: bool
    """The function is a hosted one, which answers `probe`."""
    keeps_current: bool = False
    """setSecret leaves AWSCURRENT's credential valid: alternating users."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One rotation (or configuration check) of one secret; its token is the id of the new version."""

    token: str
    purpose: Purpose
    state: PlanState = PlanState.RUNNING
    step: Step
    """The step in flight or the next one. `probe` also means that the state of the database is not known."""
    in_flight: bool = False
    """The step was begun and its outcome is not known."""
    exposed: bool = False
    """The database may refuse AWSCURRENT."""
    attempts: int = 0
    """Failed attempts in this window; an interruption is none."""
    tried: bool = False
    """A step was begun in this window."""
    told: bool = False
    """This window's RotationFailed is recorded already."""
    next_attempt_at: datetime
    window_closes_at: datetime
    started_at: datetime
    last_error: str | None = None
    """Redacted text of the last failed attempt."""

    @property
    def finished(self) -> bool:
        """Whether the plan has ended for good."""
        over = self.state is PlanState.FAILED and self.purpose is not Purpose.ROTATE
        return over or self.state not in (PlanState.RUNNING, PlanState.FAILED)

    @property
    def drops_pending(self) -> bool:
        """Whether the token's version is removed: the copy of a finished configuration check."""
        return self.finished and self.purpose is Purpose.TEST

    def evolve(self, **changes: Any) -> Plan:
        """Return a copy with these fields changed."""
        return replace(self, **changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decision; its plan and events are written together before it is carried out."""

    plan: Plan
    events: Events = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Decision):
    """Invoke the function with `step`, then decide again with its outcome."""

    step: Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait(Decision):
    """Decide again, Woken, not before `until`."""

    until: datetime


class Succeed(Decision):
    """The plan succeeded: set LastRotatedDate and the next window."""


class Fail(Decision):
    """The window ended without success: choose the next one. A repair that cannot wait for it decides again, Woken."""


class Abandon(Decision):
    """The plan is over because somebody took AWSPENDING away."""


class Stop(Decision):
    """Nothing to do for this caller: finished, cancelled, failed until `reopen`, or an outcome that came too late."""
