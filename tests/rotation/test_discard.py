"""The grace period of an old password: it ends by itself, gives way to the next rotation, and is never ended on a guess."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from tests.calling import Client, token
from tests.rotation.hosted import Node, World, create, events, plan_rows, rotate, settle, stages, value
from tests.support import SettableClock
from turnlock.rotation.values import grace_period

DAY = timedelta(days=1)


def dual(client: Client, **members: Any) -> str:
    """Make a secret of two passwords."""
    members = {"rotationStrategy": "dual-passwords", **members}
    return create(client, SecretString=json.dumps({**json.loads(value()), **members}))


@pytest.fixture
def rotated(client: Client, node: Node) -> str:
    """A secret of two passwords that was just rotated: its grace period of a day has begun."""
    arn = dual(client)
    rotate(client, arn)
    settle(node)
    return arn


def test_the_old_password_is_discarded_when_its_grace_period_is_over_and_not_before(
    client: Client, node: Node, world: World, clock: SettableClock, rotated: str
) -> None:
    assert stages(client, rotated)["AWSCURRENT"] == token(2)
    clock.advance(DAY - timedelta(minutes=1))
    settle(node)
    assert world.discarded == []
    clock.advance(timedelta(minutes=1))
    settle(node)
    assert world.discarded == [rotated]
    assert events(client.database, rotated)[-1] == "PreviousCredentialDiscarded"
    clock.advance(10 * DAY)
    settle(node)
    assert world.discarded == [rotated]


def test_a_rotation_that_is_asked_for_in_the_grace_period_takes_its_place(
    client: Client, node: Node, world: World, clock: SettableClock, rotated: str
) -> None:
    rotate(client, rotated, number=3)
    settle(node)
    assert stages(client, rotated) == {"AWSCURRENT": token(3), "AWSPREVIOUS": token(2)}
    clock.advance(DAY)
    settle(node)
    assert world.discarded == [rotated]


def test_a_rotation_that_is_due_in_the_grace_period_begins(
    client: Client, node: Node, world: World, clock: SettableClock
) -> None:
    arn = dual(client, gracePeriodHours=100)
    rotate(client, arn, RotationRules={"ScheduleExpression": "rate(1 day)"})
    settle(node)
    for _ in range(3):
        clock.advance(DAY)
        settle(node)
    assert events(client.database, arn).count("RotationSucceeded") >= 3
    assert world.discarded == []


def test_a_discard_that_fails_is_tried_again(
    client: Client, node: Node, world: World, clock: SettableClock
) -> None:
    arn = dual(client, gracePeriodHours=0)
    world.faults.append(("discardPrevious", "Unable to log in to the database"))
    rotate(client, arn)
    settle(node)
    assert world.discarded == []
    clock.advance(timedelta(seconds=30))
    settle(node)
    assert world.discarded == [arn]


def test_labels_that_were_moved_by_hand_are_not_guessed_about(
    client: Client, node: Node, world: World, clock: SettableClock, rotated: str
) -> None:
    client(
        "UpdateSecretVersionStage",
        SecretId=rotated,
        VersionStage="AWSCURRENT",
        MoveToVersionId=token(1),
        RemoveFromVersionId=token(2),
    )
    clock.advance(2 * DAY)
    settle(node)
    assert world.discarded == []
    assert events(client.database, rotated)[-1] == "PreviousCredentialDiscardFailed"


def test_the_request_that_began_a_rotation_is_known_again_in_the_grace_period(
    client: Client, node: Node
) -> None:
    arn = dual(client)
    assert rotate(client, arn) == token(2)
    settle(node)
    assert rotate(client, arn) == token(2)
    settle(node)
    assert stages(client, arn)["AWSCURRENT"] == token(2)


def test_a_cancelled_secret_keeps_its_old_password(
    client: Client, node: Node, world: World, clock: SettableClock, rotated: str
) -> None:
    assert "VersionId" not in client("CancelRotateSecret", SecretId=rotated)
    clock.advance(2 * DAY)
    settle(node)
    assert world.discarded == []


def test_other_strategies_have_nothing_to_discard(client: Client, node: Node) -> None:
    arn = create(client)
    rotate(client, arn)
    settle(node)
    assert [row.purpose for row in plan_rows(client.database)] == ["rotate"]


@pytest.mark.parametrize(
    ("hours", "expected"),
    [(1, 1.0), (0, 0.0), (0.5, 0.5), (-1, 24.0), ("1", 24.0), (True, 24.0), (None, 24.0), (10**9, 24.0)],
)
def test_a_grace_period_that_is_no_usable_number_is_a_day(hours: object, expected: float) -> None:
    named = {"rotationStrategy": "dual-passwords", "gracePeriodHours": hours}
    assert grace_period(named) == timedelta(hours=expected)
    assert grace_period({"gracePeriodHours": hours}) is None
    assert grace_period({"gracePeriodHours": hours}, always=True) == timedelta(hours=expected)
