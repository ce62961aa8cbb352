"""The rotation plan: what to do next in one rotation. Pure.

A plan is a row. It is written with `in_flight` set *before* its step runs. A row with `in_flight` means that the step
may have run, wholly, partly or not at all. `decide` is the one transition, `(plan, outcome, facts, now) -> decision`.
The scheduler writes the decision's plan and events in the transaction that read the facts, and only then acts:

    createSecret -> setSecret -> testSecret -> finishSecret -> success
    a step failed or was interrupted: probe (or createSecret again, where the function has no probe)

finishSecret moves AWSCURRENT, but the rotation has succeeded only when finishSecret returns. An error after the move is
a failed attempt, and all steps run again; RotationFailed is recorded at once, because applications have the new version
already. The transaction that records the success takes AWSPENDING away.

After a probe the plan follows the database. The first version in this order that is not refused decides:

    the token is pending:     pending accepted -> testSecret;  current, then previous accepted -> setSecret
    the token is AWSCURRENT:  current accepted -> success;     previous accepted -> setSecret, then probe again
    no value under the token: createSecret, whatever the answers are
    unreachable: wait and probe again; nothing changes
    all refused: a failed attempt

The second row is a database that lost a finished change, restored from a backup for example. A hosted function then
gets `setSecret` for a token that has AWSCURRENT: it logs in with AWSPREVIOUS and sets that value again.

A plan is `exposed` while the database may refuse AWSCURRENT: setSecret began, by a function that does not leave
AWSCURRENT valid, and no probe has shown since that it is; or a probe has shown that it is not. Applications are then
locked out. So the end of the window reports the failure but does not stop a hosted function: it goes on, spaced by the
back-off, until AWSCURRENT can log in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from turnlock.rotation.plan.states import (
    Abandon,
    Decision,
    EventName,
    Events,
    Facts,
    Fail,
    Login,
    Outcome,
    Plan,
    PlanState,
    ProbeResult,
    Purpose,
    Run,
    ServiceEvent,
    Step,
    StepFailed,
    Stop,
    Succeed,
    Wait,
    Woken,
)

FIRST_DELAY: Final = timedelta(seconds=30)
URGENT_DELAY: Final = timedelta(seconds=1)
"""The longest wait after the first failed attempt, and that of an `exposed` plan; it doubles with each further one."""

LONGEST_DELAY: Final = timedelta(hours=1)
"""The longest wait. A window of 1 hour has room for 7 attempts, a whole day for MOST_ATTEMPTS."""

DISCARD_WINDOW: Final = timedelta(days=365)
"""How long discarding an old credential is tried, at most once an hour. A rotation ends it sooner."""

MOST_ATTEMPTS: Final = 30
"""Failed attempts in one window; AWS says "multiple times" and no number (user guide, "Rotation windows")."""

_STEPS: Final[Mapping[Purpose, tuple[Step, ...]]] = {
    Purpose.ROTATE: (Step.CREATE, Step.SET, Step.TEST, Step.FINISH),
    Purpose.TEST: (Step.TEST,),
    Purpose.DISCARD: (Step.DISCARD,),
}
_RECOVERY: Final = {Purpose.ROTATE: Step.PROBE, Purpose.TEST: Step.TEST, Purpose.DISCARD: Step.DISCARD}
_ATTEMPTS: Final = {Purpose.ROTATE: MOST_ATTEMPTS, Purpose.TEST: 1, Purpose.DISCARD: 1_000_000}
_EVENTS: Final[Mapping[tuple[Purpose, PlanState], EventName]] = {
    (Purpose.ROTATE, PlanState.RUNNING): EventName.ROTATION_STARTED,
    (Purpose.ROTATE, PlanState.SUCCEEDED): EventName.ROTATION_SUCCEEDED,
    (Purpose.ROTATE, PlanState.FAILED): EventName.ROTATION_FAILED,
    (Purpose.ROTATE, PlanState.ABANDONED): EventName.ROTATION_ABANDONED,
    (Purpose.DISCARD, PlanState.SUCCEEDED): EventName.DISCARD_SUCCEEDED,
    (Purpose.DISCARD, PlanState.FAILED): EventName.DISCARD_FAILED,
    (Purpose.DISCARD, PlanState.ABANDONED): EventName.DISCARD_FAILED,
    (Purpose.TEST, PlanState.RUNNING): EventName.TEST_STARTED,
    (Purpose.TEST, PlanState.SUCCEEDED): EventName.TEST_SUCCEEDED,
    (Purpose.TEST, PlanState.FAILED): EventName.TEST_FAILED,
    (Purpose.TEST, PlanState.ABANDONED): EventName.TEST_FAILED,
}


def begin(
    *, token: str, purpose: Purpose, now: datetime, starts_at: datetime, window_closes_at: datetime
) -> tuple[Plan, Events]:
    """Return a new plan, whose first step may run from `starts_at` on, and its event."""
    plan = Plan(
        token=token,
        purpose=purpose,
        step=_STEPS[purpose][0],
        next_attempt_at=starts_at,
        window_closes_at=window_closes_at,
        started_at=now,
    )
    return plan, (ServiceEvent(name=_EVENTS[purpose, plan.state]),)


def discard(*, token: str, now: datetime, starts_at: datetime) -> Plan:
    """Return the plan that makes the credential before `token` invalid, from `starts_at` on."""
    return Plan(
        token=token,
        purpose=Purpose.DISCARD,
        step=Step.DISCARD,
        next_attempt_at=starts_at,
        window_closes_at=starts_at + DISCARD_WINDOW,
        started_at=now,
    )


def reopen(plan: Plan, *, starts_at: datetime, window_closes_at: datetime) -> Plan:
    """Return a failed rotation as running in a new window, with the same token; any other plan unchanged.

    Call it when the window has opened: before, a failed plan may still be repairing. A repair in flight stays in
    flight, and its outcome counts in the new window.
    """
    if plan.finished or plan.state is not PlanState.FAILED:
        return plan
    reopened = plan.evolve(
        state=PlanState.RUNNING, attempts=0, tried=False, told=False, window_closes_at=window_closes_at
    )
    return reopened if plan.in_flight else reopened.evolve(step=Step.PROBE, next_attempt_at=starts_at)


def cancel(plan: Plan) -> Plan:
    """Return the plan after CancelRotateSecret: cancelled at once, even with a step in flight; a finished one unchanged."""
    return plan if plan.finished else plan.evolve(state=PlanState.CANCELLED, in_flight=False)


def lose_window(plan: Plan) -> Fail:
    """Return the decision for a running plan whose window is over; a repair continues."""
    ran = plan.tried or plan.in_flight or plan.attempts > 0
    if plan.in_flight:
        plan = plan.evolve(step=_RECOVERY[plan.purpose])
    message = plan.last_error or "The rotation window ended before the rotation was complete."
    if not ran:
        message = not_attempted(plan.window_closes_at)
    lost = _end(Fail, plan, PlanState.FAILED, message)
    return replace(lost, events=()) if plan.told else lost


def not_attempted(closes_at: datetime) -> str:
    """Return the error message of a window in which nothing ran."""
    return (
        f"No attempt could run in the rotation window that ended at {closes_at:%Y-%m-%dT%H:%M:%SZ}: every server was down or"
        " had no place free."
    )


def decide(plan: Plan, outcome: Outcome, facts: Facts, *, now: datetime, jitter: float = 0.0) -> Decision:
    """Return the decision that follows from `outcome`; defined for each outcome in each state, and raises nothing.

    `jitter`, in [0, 1), shortens a wait by up to half. Outcomes for a finished plan, or for another step than the one
    in flight, change nothing.
    """
    if plan.finished:
        return Stop(plan=plan)
    if not facts.rotation_enabled:
        return Stop(plan=cancel(plan))
    if not facts.token_is_current and (plan.purpose is Purpose.DISCARD or not facts.pending_labelled):
        label = "AWSCURRENT" if plan.purpose is Purpose.DISCARD else "AWSPENDING"
        message = f"The staging label {label} was taken from the new version."
        return _end(Abandon, plan, PlanState.ABANDONED, message)
    if not isinstance(outcome, Woken) and not (plan.in_flight and outcome.step is plan.step):
        return Stop(plan=plan)
    if not plan.in_flight:
        return _continue(plan, facts, now)
    tells = _tells_at_once(plan, outcome, facts)
    plan = _record(
        plan.evolve(in_flight=False, tried=True, told=plan.told or tells), outcome, facts, now, jitter
    )
    decision = _continue(plan, facts, now)
    if not tells:
        return decision
    event = ServiceEvent(name=EventName.ROTATION_FAILED, error_message=plan.last_error)
    return replace(decision, events=(event, *decision.events))


def supersede(plan: Plan) -> Succeed | Abandon:
    """Return how a rotation whose token is AWSCURRENT ends, when RotateSecret asks for the next one.

    AWSPENDING on the AWSCURRENT version is no rotation in progress (API reference, RotateSecret). With finishSecret
    running and no error since the move it has succeeded; else the next rotation takes its place.
    """
    if plan.step is Step.FINISH and plan.in_flight and not plan.told:
        return _end(Succeed, plan.evolve(exposed=False), PlanState.SUCCEEDED, None)
    return _end(
        Abandon, plan, PlanState.ABANDONED, "A new rotation was asked for before this one was complete."
    )


def read_probe(answer: Any) -> ProbeResult | StepFailed:
    """Read a function's answer to `probe`, parsed JSON. An answer that is not three Logins is a failed step.

    Its message does not repeat the answer.
    """
    try:
        return ProbeResult(**{name: Login(answer[name]) for name in ("pending", "current", "previous")})
    except (KeyError, TypeError, ValueError):
        return StepFailed(step=Step.PROBE, message="The function's answer to probe could not be read.")


def _tells_at_once(plan: Plan, outcome: Outcome, facts: Facts) -> bool:
    """Tell whether RotationFailed is recorded now and not only at the window's end.

    It is after the label has moved, and where the function may not be run any more, which no further attempt changes.
    """
    failed = isinstance(outcome, StepFailed) and outcome.step is not Step.PROBE
    if plan.told or not failed or (plan.purpose, plan.state) != (Purpose.ROTATE, PlanState.RUNNING):
        return False
    return facts.token_is_current or (isinstance(outcome, StepFailed) and outcome.denied)


def _record(plan: Plan, outcome: Outcome, facts: Facts, now: datetime, jitter: float) -> Plan:
    """Return the plan with its step's outcome written into it."""
    steps = _STEPS[plan.purpose]
    if isinstance(outcome, Woken):
        return plan.evolve(step=_RECOVERY[plan.purpose], next_attempt_at=now)
    if isinstance(outcome, StepFailed):
        return _missed(plan, outcome.message, now, jitter)
    if isinstance(outcome, ProbeResult):
        return _believe(plan, outcome, facts, now, jitter)
    if plan.step not in steps:
        return _missed(plan, "The function gave no answer to probe.", now, jitter)
    if plan.step is Step.SET and facts.token_is_current and facts.can_probe:
        return plan.evolve(step=Step.PROBE, next_attempt_at=now)
    if plan.step is not steps[-1]:
        return plan.evolve(step=steps[steps.index(plan.step) + 1], next_attempt_at=now)
    if plan.purpose is Purpose.ROTATE and not facts.token_is_current:
        return _missed(plan, "finishSecret ended, but AWSCURRENT is not on the new version.", now, jitter)
    return plan.evolve(state=PlanState.SUCCEEDED)


def _believe(plan: Plan, result: ProbeResult, facts: Facts, now: datetime, jitter: float) -> Plan:
    """Return the plan that fits what the database accepts (the table at the top)."""
    exposed = {Login.ACCEPTED: False, Login.REFUSED: True}.get(result.current, plan.exposed)
    plan = plan.evolve(exposed=exposed, next_attempt_at=now)
    test, repeat = plan.evolve(step=Step.TEST), plan.evolve(step=Step.SET)
    clues = [(result.pending, test), (result.current, repeat), (result.previous, repeat)]
    if facts.token_is_current:
        clues = [(result.current, plan.evolve(state=PlanState.SUCCEEDED)), (result.previous, repeat)]
    elif not facts.pending_has_value:
        return plan.evolve(step=Step.CREATE)
    for login, follows in clues:
        if login is Login.ACCEPTED:
            return follows
        if login is Login.UNREACHABLE:
            return _missed(plan, "The database could not be reached.", now, jitter)
    return _missed(plan, "The database refuses the pending, current and previous versions.", now, jitter)


def _missed(plan: Plan, message: str, now: datetime, jitter: float) -> Plan:
    """Return the plan after a failed attempt: wait, then probe (a rotation) or repeat the step."""
    attempts, recovery = plan.attempts + 1, _RECOVERY[plan.purpose]
    first = URGENT_DELAY if plan.exposed else FIRST_DELAY
    # The exponent is bounded first: a repair may go on for as long as the database is away.
    delay = min(first * 2 ** min(attempts - 1, 12), LONGEST_DELAY) * (1 - jitter / 2)
    return plan.evolve(step=recovery, attempts=attempts, next_attempt_at=now + delay, last_error=message)


def _continue(plan: Plan, facts: Facts, now: datetime) -> Decision:
    """Return the decision for a plan with no step in flight."""
    unprobed = plan.step is Step.PROBE and not facts.can_probe
    if plan.state is PlanState.SUCCEEDED:
        return _end(Succeed, plan.evolve(exposed=False), PlanState.SUCCEEDED, None)
    step = Step.CREATE if unprobed else plan.step
    due = plan.next_attempt_at <= now
    urgent = plan.exposed and (facts.can_probe or step in (Step.TEST, Step.FINISH))
    if plan.state is PlanState.FAILED and not urgent:
        return Stop(plan=plan)
    late = max(now, plan.next_attempt_at) >= plan.window_closes_at or plan.attempts >= _ATTEMPTS[plan.purpose]
    if plan.state is PlanState.RUNNING and late and not (urgent and due):
        return lose_window(plan)
    if not due:
        return Wait(plan=plan, until=plan.next_attempt_at)
    exposed = plan.exposed or (step is Step.SET and not facts.keeps_current)
    return Run(plan=plan.evolve(step=step, in_flight=True, tried=True, exposed=exposed), step=step)


D = TypeVar("D", bound=Decision)


def _end(kind: type[D], plan: Plan, state: PlanState, message: str | None) -> D:
    event = ServiceEvent(name=_EVENTS[plan.purpose, state], error_message=message)
    return kind(plan=plan.evolve(state=state, in_flight=False, last_error=message), events=(event,))
