"""Beginning plans, and writing their decisions into the secret, its labels and the trail."""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from turnlock import functions, secrets, trail
from turnlock.rotation.managed import function_of
from turnlock.rotation.plan.machine import begin, cancel, discard, not_attempted, supersede
from turnlock.rotation.plan.schedule import (
    RotationRules,
    Schedule,
    Window,
    days_between,
    next_rotation_date,
    next_window,
    parse,
    start_at,
    windows_over,
)
from turnlock.rotation.plan.states import (
    Decision,
    EventName,
    Events,
    Facts,
    Fail,
    Outcome,
    Plan,
    PlanState,
    Purpose,
    ServiceEvent,
    Step,
    StepFailed,
    Stop,
    Succeed,
    Wait,
)
from turnlock.rotation.store import PlanRow, find_unfinished, insert_plan, save_plan
from turnlock.rotation.values import current_value, grace_period, text_member
from turnlock.secrets import AWSCURRENT, AWSPENDING, Rotation, Secret
from turnlock.storage import Unit, micros

MOST_REPORTED: Final = 100
"""The most missed windows of one secret that get an event each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanBegun:
    """A plan was written; its first step can run."""

    secret_arn: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecorded:
    """A service event of a rotation is in the trail."""

    name: EventName


def schedule_of(rotation: Rotation) -> Schedule | None:
    """Return the schedule of a secret's rules; None for one that rotates only when asked."""
    if not rotation.rules:
        return None
    rules = RotationRules.from_request(rotation.rules)
    if rules.schedule_expression is not None:
        # AutomaticallyAfterDays beside an expression is what was derived from it for DescribeSecret.
        rules = replace(rules, automatically_after_days=None)
    return (
        None if rules.automatically_after_days is None and rules.schedule_expression is None else parse(rules)
    )


def scheduled(unit: Unit, secret: Secret, *, last: datetime, now: datetime) -> Secret:
    """Return the secret with its next window, counted from `last` and not over at `now`; the caller writes it."""
    schedule = schedule_of(secret.rotation)
    if schedule is None or not secret.rotation.enabled:
        return secret.evolve(
            rotation=replace(secret.rotation, next_rotation_at=None, opens_at=None, starts_at=None)
        )
    window = next_window(schedule, last=last, now=now)
    return secret.evolve(
        rotation=replace(
            secret.rotation,
            rules=_with_days(secret.rotation.rules or {}, last, window),
            next_rotation_at=next_rotation_date(window),
            opens_at=window.opens_at,
            starts_at=start_at(window, _fraction(unit, secret, window)),
        )
    )


def begin_plan(
    unit: Unit,
    secret: Secret,
    *,
    token: str,
    purpose: Purpose,
    window: Window,
    starts_at: datetime,
    exposed: bool = False,
) -> None:
    """Put AWSPENDING on `token`, write its plan and RotationStarted; no other rotation is scheduled until the plan ends.

    If the version exists, an earlier rotation left it: its plan begins with a probe. `exposed` is that of the rotation
    that this one replaces (`Plan.exposed`).
    """
    current = secret.labels.get(AWSCURRENT)
    taken_up = secrets.find_version(unit, secret, token) is not None
    copied = current if purpose is Purpose.TEST else None
    secret = secrets.put_placeholder(unit, secret, token, copy_of=copied)
    secrets.update_secret(unit, secret.evolve(rotation=replace(secret.rotation, starts_at=None)))
    plan, events = begin(
        token=token, purpose=purpose, now=unit.now, starts_at=starts_at, window_closes_at=window.closes_at
    )
    plan = plan.evolve(exposed=exposed)
    if taken_up:
        plan = plan.evolve(step=Step.PROBE)
    insert_plan(unit, secret, str(function_of(secret)), plan, _host_key(unit, secret))
    unit.announce(PlanBegun(secret_arn=secret.arn))
    record_events(unit, secret, plan.token, events)


def plan_discard(unit: Unit, secret: Secret, row: PlanRow) -> None:
    """Write the plan that makes the old one of two passwords invalid after the secret's grace period."""
    hosted = functions.find_hosted(row.function_arn)
    if hosted is None or not hosted.supports_probe:
        return
    grace = grace_period(current_value(unit, secret), always=hosted.keeps_previous)
    if grace is None:
        return
    plan = discard(token=row.plan.token, now=unit.now, starts_at=unit.now + grace)
    insert_plan(unit, secret, row.function_arn, plan, row.host_key)


def give_way(unit: Unit, secret: Secret) -> None:
    """End a plan to discard before a rotation: that leaves two passwords valid again, and makes a plan of its own."""
    row = find_unfinished(unit, secret)
    if row is not None and row.plan.purpose is Purpose.DISCARD:
        end_plan(unit, secret, row)


def supersede_finished(unit: Unit, secret: Secret) -> tuple[Secret, bool]:
    """End the secret's rotation if its token is AWSCURRENT; return the secret, and whether AWSCURRENT may be refused."""
    row = find_unfinished(unit, secret)
    if (
        row is None
        or row.plan.purpose is not Purpose.ROTATE
        or secret.labels.get(AWSCURRENT) != row.plan.token
    ):
        return secret, False
    decision = supersede(row.plan)
    apply_decision(unit, secret, row, decision)
    found = secrets.find_secret(unit, row.reference)
    return found or secret, decision.plan.exposed


def facts_of(unit: Unit, secret: Secret, row: PlanRow) -> Facts:
    """Read what a decision needs to know."""
    version = secrets.find_version(unit, secret, row.plan.token)
    hosted = functions.find_hosted(row.function_arn)
    return Facts(
        pending_labelled=secret.labels.get(AWSPENDING) == row.plan.token,
        pending_has_value=version is not None and version.kind is not None,
        token_is_current=secret.labels.get(AWSCURRENT) == row.plan.token,
        rotation_enabled=bool(secret.rotation.enabled),
        can_probe=hosted is not None and hosted.supports_probe,
        keeps_current=hosted is not None and hosted.keeps_current,
    )


def apply_decision(unit: Unit, secret: Secret, row: PlanRow, decision: Decision) -> None:
    """Write a decision: the plan, its events, and the changes of the secret's schedule and labels."""
    plan = decision.plan
    if isinstance(decision, Succeed) and plan.purpose is Purpose.ROTATE:
        rotated = replace(secret.rotation, last_rotated_at=unit.now)
        secret = secret.evolve(rotation=rotated, last_changed_at=unit.now)
    look_at, overdue_at = plan.next_attempt_at, None
    if plan.finished:
        secret = scheduled(unit, secret, last=counted_from(unit, secret, plan), now=unit.now)
        secrets.update_secret(unit, secret)
    elif plan.state is PlanState.FAILED:
        if isinstance(decision, Fail):
            # The window that was lost does not come again, even where some of it is left.
            lost = max(unit.now, plan.window_closes_at)
            report_missed(unit, secret, last=counted_from(unit, secret, plan), since=plan.window_closes_at)
            secret = scheduled(unit, secret, last=counted_from(unit, secret, plan), now=lost)
            secret = secret.evolve(rotation=replace(secret.rotation, starts_at=None))
            secrets.update_secret(unit, secret)
        turn, overdue_at = next_turn(unit, secret, plan)
        repairs = plan.exposed and not isinstance(decision, Stop)
        look_at = min(turn, plan.next_attempt_at) if repairs else turn
    elif isinstance(decision, Wait):
        look_at = decision.until
    save_plan(unit, row, plan, look_at=look_at, overdue_at=overdue_at)
    if isinstance(decision, Succeed) and plan.purpose is Purpose.ROTATE:
        if secret.labels.get(AWSPENDING) == plan.token:
            secret = secrets.settle_labels(unit, secret, plan.token)
        plan_discard(unit, secret, row)
    record_events(unit, secret, plan.token, decision.events)
    _drop_copy(unit, secret, plan)


def end_plan(unit: Unit, secret: Secret, row: PlanRow) -> Plan:
    """End a plan for good. AWSPENDING stays on its version, except on the copy that a configuration check made."""
    plan = cancel(row.plan)
    save_plan(unit, row, plan, look_at=plan.next_attempt_at)
    _drop_copy(unit, secret, plan)
    return plan


def next_turn(unit: Unit, secret: Secret, plan: Plan) -> tuple[datetime, datetime]:
    """Return when a plan that lost its window may run again, and until when: the secret's next window.

    A secret without a schedule has no window: its rotation gets a day.
    """
    window = stored_window(secret)
    if window is None:
        return plan.window_closes_at, max(unit.now, plan.window_closes_at) + timedelta(days=1)
    return start_at(window, _fraction(unit, secret, window)), window.closes_at


def stored_window(secret: Secret) -> Window | None:
    """Return the window that a secret's columns describe; None without a schedule."""
    opens_at, shown = secret.rotation.opens_at, secret.rotation.next_rotation_at
    if opens_at is None or shown is None:
        return None
    return Window(opens_at=opens_at, closes_at=shown + timedelta(seconds=1))


def report_missed(unit: Unit, secret: Secret, *, last: datetime, since: datetime) -> None:
    """Record a RotationFailed for each window, counted from `last`, that ended after `since` and in which nothing ran.

    The caller moves the secret's next window past them in the same transaction, so that each is recorded once. Beyond
    MOST_REPORTED the oldest share one event with their number.
    """
    schedule = schedule_of(secret.rotation)
    if schedule is None or not secret.rotation.enabled:
        return
    count, newest = 0, deque[Window](maxlen=MOST_REPORTED)
    for window in windows_over(schedule, last=last, since=since, now=unit.now):
        count += 1
        newest.append(window)
    for number, window in enumerate(newest):
        earlier = count - len(newest) if number == 0 else 0
        report_window(unit, secret, window.closes_at, earlier=earlier)


def report_window(unit: Unit, secret: Secret, closes_at: datetime, *, earlier: int = 0) -> None:
    """Record that no attempt ran in the window that ended at `closes_at`, nor in so many windows before it."""
    reason = not_attempted(closes_at) + (f" Nor in {earlier} windows before." if earlier else "")
    event = ServiceEvent(name=EventName.ROTATION_FAILED, error_message=reason)
    record_events(unit, secret, f"{closes_at:%Y%m%dT%H%M%SZ}", (event,))


def record_events(unit: Unit, secret: Secret, token: str, events: Events) -> None:
    """Record service events (docs/aws-behaviour.md#service-events); their request id names the secret and the version.

    A window in which no rotation began has no version: its request id has the window's end instead.
    """
    for event in events:
        unit.announce(EventRecorded(name=event.name))
        trail.record_service_event(
            unit,
            account_id=secret.account_id,
            region=secret.region,
            name=event.name.value,
            secret_arn=secret.arn,
            request_id=f"Rotation-{secret.arn}-{token}",
            error=event.error_message,
        )


def record_late_error(unit: Unit, secret: Secret, plan: Plan, outcome: Outcome) -> None:
    """Record RotationFailed for a finishSecret that failed after the next rotation was asked for."""
    if not isinstance(outcome, StepFailed) or outcome.step is not Step.FINISH:
        return
    if (plan.purpose, plan.state) == (Purpose.ROTATE, PlanState.SUCCEEDED):
        event = ServiceEvent(name=EventName.ROTATION_FAILED, error_message=outcome.message)
        record_events(unit, secret, plan.token, (event,))


def new_token(unit: Unit) -> str:
    """Return a fresh version id."""
    return str(uuid.UUID(bytes=unit.entropy.bytes(16), version=4))


def counted_from(unit: Unit, secret: Secret, plan: Plan) -> datetime:
    """Return the moment from which the next rotation is counted: the last rotation, or a newer value stored by hand.

    After a configuration check it is the moment when rotation was configured.
    """
    return plan.started_at if plan.purpose is Purpose.TEST else last_change(unit, secret)


def last_change(unit: Unit, secret: Secret) -> datetime:
    """Return when the secret's value last changed: by rotation, by hand, or at its creation."""
    current = secret.labels.get(AWSCURRENT)
    version = secrets.find_version(unit, secret, current) if current is not None else None
    moments = (secret.created_at, secret.rotation.last_rotated_at, version.created_at if version else None)
    return max(at for at in moments if at is not None)


def _drop_copy(unit: Unit, secret: Secret, plan: Plan) -> None:
    """Remove the copy of a finished configuration check, unless somebody gave it a label."""
    if not plan.drops_pending or secrets.find_version(unit, secret, plan.token) is None:
        return
    if set(secrets.stages_of(secret.labels, plan.token)) <= {AWSPENDING}:
        secrets.drop_version(unit, secret, plan.token)


def _with_days(rules: Mapping[str, object], last: datetime, window: Window) -> Mapping[str, object]:
    """DescribeSecret shows AutomaticallyAfterDays for every schedule (API reference, RotationRulesType)."""
    if "ScheduleExpression" not in rules:
        return rules
    days = days_between(last, window)
    return {**rules, "AutomaticallyAfterDays": days} if days is not None else rules


def _fraction(unit: Unit, secret: Secret, window: Window) -> float:
    digest = unit.keyring.mac("rotation-stagger", f"{secret.arn}\0{micros(window.opens_at)}".encode())
    return int.from_bytes(digest[:6]) / 2**48


def _host_key(unit: Unit, secret: Secret) -> bytes | None:
    """Return a keyed hash of the host in the current value, so that the table does not tell which databases there are."""
    host = _host(unit, secret)
    return None if host is None else unit.keyring.mac("rotation-host", host.lower().encode())[:16]


def _host(unit: Unit, secret: Secret) -> str | None:
    return text_member(current_value(unit, secret), "host")
