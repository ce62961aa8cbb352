"""Schedules on a real store, under a clock that the test sets: windows, lost windows, next dates, events."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.calling import Client, token
from tests.rotation.hosted import (
    FUNCTION,
    Node,
    World,
    create,
    events,
    plan_rows,
    records,
    rotate,
    schedule,
    settle,
    stages,
)
from tests.support import NOON, SettableClock
from turnlock.rotation.store import rotations
from turnlock.secrets.tables import secrets
from turnlock.storage import Unit

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))


def walk(clock: SettableClock, node: Node, until: datetime) -> None:
    """Let time pass, and the node look at each moment at which there is something to do."""
    while clock.now() < until:
        settle(node)
        clock.set(min([until, *(at for at in node.client.database.read(_turns) if at > clock.now())]))
    settle(node)


def _turns(unit: Unit) -> list[datetime]:
    plans = select(rotations.c.next_attempt_at).where(rotations.c.state == "running")
    turns = select(secrets.c.rotation_starts_at).where(secrets.c.rotation_starts_at.is_not(None))
    return [at for query in (plans, turns) for at in unit.connection.execute(query).scalars()]


def moments(client: Client, arn: str, name: str) -> list[datetime]:
    """Return when this event was recorded for a secret."""
    return [
        datetime.fromisoformat(record["eventTime"])
        for record in records(client.database)
        if record["eventName"] == name and record["additionalEventData"] == {"SecretId": arn}
    ]


def next_date(client: Client, arn: str) -> datetime:
    found: datetime = client("DescribeSecret", SecretId=arn)["NextRotationDate"]
    return found


def test_an_hourly_rate_rotates_once_in_each_window(client: Client, node: Node, clock: SettableClock) -> None:
    arn = schedule(client, node, ScheduleExpression="rate(4 hours)")
    last = NOON
    for _ in range(4):
        assert next_date(client, arn) == last + 5 * HOUR - SECOND
        clock.set(last + 4 * HOUR - SECOND)
        settle(node)
        assert moments(client, arn, "RotationStarted")[-1:] != [clock.now()]
        walk(clock, node, last + 5 * HOUR)
        last = client("DescribeSecret", SecretId=arn)["LastRotatedDate"]
        assert clock.now() - HOUR <= last < clock.now()
    assert len(moments(client, arn, "RotationSucceeded")) == 4
    assert events(client.database, arn).count("RotationStarted") == 4


def test_a_cron_expression_rotates_once_in_each_window(
    client: Client, node: Node, clock: SettableClock
) -> None:
    arn = schedule(client, node, ScheduleExpression="cron(0 8/8 * * ? *)", Duration="2h")
    for opens_at in (NOON.replace(hour=16), *(NOON.replace(hour=8) + k * DAY for k in (1, 2))):
        if clock.now() < opens_at - 8 * HOUR:  # the window at 16:00 of the day before
            walk(clock, node, opens_at - 9 * HOUR)
        assert next_date(client, arn) == opens_at + 2 * HOUR - SECOND
        walk(clock, node, opens_at + 2 * HOUR)
        last = moments(client, arn, "RotationSucceeded")[-1]
        assert opens_at <= last < opens_at + 2 * HOUR
    assert len(moments(client, arn, "RotationSucceeded")) == 4


@pytest.mark.parametrize(
    ("rules", "missed"),
    [
        ({"ScheduleExpression": "rate(4 hours)"}, 15 * DAY),
        ({"AutomaticallyAfterDays": 2}, 15 * DAY),
        ({"ScheduleExpression": "cron(0 8/8 * * ? *)"}, 15 * DAY),
    ],
    ids=["hours", "days", "cron"],
)
def test_windows_that_were_slept_through_are_caught_up_once(
    client: Client, node: Node, clock: SettableClock, rules: dict[str, Any], missed: timedelta
) -> None:
    arn = schedule(client, node, **rules)
    clock.advance(missed)
    settle(node)
    if not moments(client, arn, "RotationSucceeded"):  # its next window is not open yet
        assert next_date(client, arn) - clock.now() < DAY
        walk(clock, node, next_date(client, arn))
    assert len(moments(client, arn, "RotationSucceeded")) == 1
    assert next_date(client, arn) > clock.now() + 4 * HOUR - SECOND


def test_a_window_without_success_is_reported_once_and_the_next_one_takes_the_same_token(
    client: Client, node: Node, clock: SettableClock, world: World
) -> None:
    arn = schedule(client, node, ScheduleExpression="rate(4 hours)")
    world.faults = [("createSecret", "no entropy")] * 2 + [("probe", "no entropy")] * 40
    walk(clock, node, NOON + 5 * HOUR + 10 * MINUTE)
    assert events(client.database, arn)[2:] == ["RotationStarted", "RotationFailed"]
    pending = stages(client, arn)["AWSPENDING"]
    attempts = len(world.calls)
    assert 4 <= attempts <= 12
    assert next_date(client, arn) == NOON + 9 * HOUR - SECOND
    assert "LastRotatedDate" not in client("DescribeSecret", SecretId=arn)
    walk(clock, node, NOON + 8 * HOUR - MINUTE)
    assert len(world.calls) == attempts
    world.faults = []
    walk(clock, node, NOON + 9 * HOUR)
    assert stages(client, arn) == {"AWSCURRENT": pending, "AWSPREVIOUS": token(1)}
    assert events(client.database, arn)[2:] == ["RotationStarted", "RotationFailed", "RotationSucceeded"]
    assert next_date(client, arn) > NOON + 12 * HOUR


def test_two_lost_windows_are_reported_twice(
    client: Client, node: Node, clock: SettableClock, world: World
) -> None:
    arn = schedule(client, node, ScheduleExpression="rate(4 hours)")
    world.faults = [(step, "no entropy") for step in ("createSecret", "probe") for _ in range(80)]
    walk(clock, node, NOON + 10 * HOUR)
    assert events(client.database, arn)[2:] == ["RotationStarted", "RotationFailed", "RotationFailed"]
    assert len(plan_rows(client.database)) == 2


def test_a_rotation_without_a_schedule_that_fails_is_tried_again_the_next_day(
    client: Client, node: Node, clock: SettableClock, world: World
) -> None:
    arn = create(client)
    rotate(client, arn)
    world.faults = [(step, "no entropy") for step in ("createSecret", "probe") for _ in range(80)]
    walk(clock, node, NOON + DAY)
    assert events(client.database, arn) == ["RotationStarted", "RotationFailed"]
    world.faults = []
    walk(clock, node, NOON + DAY + HOUR)
    assert events(client.database, arn)[-1] == "RotationSucceeded"
    assert stages(client, arn)["AWSCURRENT"] == token(2)


def test_a_lost_window_while_applications_are_locked_out_does_not_stop_the_repair(
    client: Client, node: Node, clock: SettableClock, world: World
) -> None:
    arn = schedule(client, node, ScheduleExpression="rate(4 hours)")
    world.faults = [("testSecret", "timeout")] + [("probe", "timeout")] * 13
    # Chance puts the turn into a quarter of an hour and shortens each wait, so the repair ends between 17:34 and 19:24:
    # after the window, which ends at 17:00, and before the next one, which opens at 20:00 and would heal it anyway.
    walk(clock, node, NOON + 8 * HOUR - SECOND)
    found = events(client.database, arn)[2:]
    assert found == ["RotationStarted", "RotationFailed", "RotationSucceeded"]


def test_the_first_wait_while_applications_are_locked_out_is_a_second(
    client: Client, node: Node, clock: SettableClock, world: World
) -> None:
    world.faults = [("testSecret", "timeout")]
    arn = create(client)
    rotate(client, arn)
    settle(node)
    assert world.steps(arn)[-1] == "testSecret"
    clock.advance(SECOND)
    settle(node)
    assert world.steps(arn)[-3:] == ["probe", "testSecret", "finishSecret"]


def test_the_events_have_the_shape_of_service_events(client: Client, node: Node, world: World) -> None:
    arn = create(client)
    rotate(client, arn)
    settle(node)
    world.faults = [("testSecret", "password authentication failed")]
    rotate(client, arn, 3, RotateImmediately=False)
    settle(node)
    found = records(client.database)
    assert sorted(record["eventName"] for record in found) == [
        "RotationStarted",
        "RotationSucceeded",
        "TestRotationFailed",
        "TestRotationStarted",
    ]
    for record in found:
        version = token(3 if record["eventName"].startswith("Test") else 2)
        assert record["requestID"] == f"Rotation-{arn}-{version}"
        assert record["eventType"] == "AwsServiceEvent"
        assert record["additionalEventData"] == {"SecretId": arn}
        assert record["userIdentity"] == {
            "accountId": client.account_id,
            "invokedBy": "secretsmanager.amazonaws.com",
        }
        failed = record["eventName"] == "TestRotationFailed"
        assert record.get("errorMessage") == (
            f"Error when executing lambda {FUNCTION} during testSecret step: password authentication failed"
            if failed
            else None
        )
