"""CancelRotateSecret: rotation is off, and a rotation in progress stays as it is until it is taken up again."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from tests.calling import Client, refusal, token
from tests.rotation.hosted import (
    FUNCTION,
    Node,
    World,
    create,
    events,
    plan_rows,
    rotate,
    settle,
    stages,
    tick_until,
    wait_until,
)
from tests.support import SettableClock
from turnlock.errors import ApiError

DAY = timedelta(days=1)
UNFINISHED = (
    "InvalidRequestException",
    "A previous rotation isn't complete. That rotation will be reattempted.",
)


def described(client: Client, arn: str) -> dict[str, Any]:
    return client("DescribeSecret", SecretId=arn)


def test_rules_and_function_stay_and_the_dates_go(client: Client, node: Node) -> None:
    arn = create(client)
    rotate(client, arn, RotationRules={"AutomaticallyAfterDays": 10})
    settle(node)
    answer = client("CancelRotateSecret", SecretId=arn)
    assert answer == {"ARN": arn, "Name": "db-1/app"}
    found = described(client, arn)
    assert (found["RotationEnabled"], found["RotationLambdaARN"]) == (False, FUNCTION)
    assert found["RotationRules"] == {"AutomaticallyAfterDays": 10}
    assert not {"LastRotatedDate", "NextRotationDate"} & found.keys()


def test_a_cancelled_secret_does_not_rotate(
    client: Client, node: Node, clock: SettableClock, world: World
) -> None:
    arn = create(client)
    rotate(client, arn, RotationRules={"AutomaticallyAfterDays": 10})
    settle(node)
    client("CancelRotateSecret", SecretId=arn)
    clock.advance(30 * DAY)
    settle(node)
    assert len(world.calls) == 4


def test_a_secret_that_never_rotated_stays_as_it_is(client: Client) -> None:
    arn = create(client)
    before = described(client, arn)
    client("CancelRotateSecret", SecretId=arn)
    assert described(client, arn) == before


def test_the_late_outcome_of_a_step_in_flight_is_ignored(client: Client, node: Node, world: World) -> None:
    entered, go_on = threading.Event(), threading.Event()

    def hold(step: str, _invocation: object, _abort: object) -> None:
        if step == "testSecret":
            entered.set()
            assert go_on.wait(60)

    world.before = hold
    arn = create(client)
    rotate(client, arn)
    tick_until(entered.is_set, node)
    assert client("CancelRotateSecret", SecretId=arn)["VersionId"] == token(2)
    before, row = described(client, arn), plan_rows(client.database)
    go_on.set()
    wait_until(lambda: node.scheduler.busy == 0)
    assert described(client, arn) == before
    assert plan_rows(client.database) == row
    assert stages(client, arn) == {"AWSCURRENT": token(1), "AWSPENDING": token(2)}
    assert events(client.database) == ["RotationStarted"]
    assert "finishSecret" not in world.steps(arn)


def test_the_same_token_takes_a_cancelled_rotation_up_again_by_what_the_database_accepts(
    client: Client, node: Node, world: World
) -> None:
    world.faults = [("testSecret", "timeout")]
    arn = create(client)
    rotate(client, arn)
    settle(node)
    client("CancelRotateSecret", SecretId=arn)
    del world.calls[:]
    assert refusal(lambda: rotate(client, arn, 3)) == UNFINISHED
    assert refusal(lambda: rotate(client, arn, RotateImmediately=False)) == UNFINISHED
    assert rotate(client, arn) == token(2)
    settle(node)
    assert world.steps(arn) == ["probe", "testSecret", "finishSecret"]
    assert stages(client, arn) == {"AWSCURRENT": token(2), "AWSPREVIOUS": token(1)}
    assert events(client.database)[-1] == "RotationSucceeded"


@pytest.mark.parametrize("number", [2, 3], ids=["the same token", "another token"])
def test_once_awspending_is_removed_a_rotation_can_be_asked_for(
    client: Client, node: Node, world: World, number: int
) -> None:
    world.faults = [("testSecret", "timeout")]
    arn = create(client)
    rotate(client, arn)
    settle(node)
    client("CancelRotateSecret", SecretId=arn)
    client("UpdateSecretVersionStage", SecretId=arn, VersionStage="AWSPENDING", RemoveFromVersionId=token(2))
    if number == 3:  # the database already has the cancelled version's password
        world.accepted[arn] = "first-password"
    assert rotate(client, arn, number) == token(number)
    settle(node)
    assert stages(client, arn) == {"AWSCURRENT": token(number), "AWSPREVIOUS": token(1)}


def test_a_label_of_the_users_own_keeps_a_version_from_being_taken_up(
    client: Client, node: Node, world: World
) -> None:
    world.faults = [("testSecret", "timeout")]
    arn = create(client)
    rotate(client, arn)
    settle(node)
    client("CancelRotateSecret", SecretId=arn)
    for stage, where in (("AWSPENDING", "RemoveFromVersionId"), ("mine", "MoveToVersionId")):
        client("UpdateSecretVersionStage", SecretId=arn, VersionStage=stage, **{where: token(2)})
    with pytest.raises(ApiError, match="is the id of a version"):
        rotate(client, arn)
