"""What rotation does when a secret changes under it."""

from __future__ import annotations

import threading
from datetime import timedelta

from tests.calling import Client, refusal, token
from tests.rotation.hosted import (
    Node,
    World,
    create,
    events,
    plan_rows,
    rotate,
    settle,
    stages,
    tick_until,
    value,
    wait_until,
)
from tests.support import NOON, SettableClock
from turnlock import secrets
from turnlock.secrets import AWSCURRENT, Secret
from turnlock.storage import Unit

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
EACH_TEN_DAYS = {"AutomaticallyAfterDays": 10}


def read(client: Client, arn: str) -> Secret:
    reference = secrets.parse_secret_id(arn, client.account_id, client.region)
    found = client.database.read(lambda unit: secrets.find_secret(unit, reference))
    assert found is not None
    return found


class Held:
    """A function that stops in one step until it is told to go on."""

    def __init__(self, world: World, step: str) -> None:
        self.step, self.entered, self.go_on = step, threading.Event(), threading.Event()
        world.before = self.wait

    def wait(self, step: str, _invocation: object, _abort: object) -> None:
        if step == self.step:
            self.entered.set()
            assert self.go_on.wait(60)


def test_a_value_put_by_hand_abandons_the_rotation_and_counts_as_one(
    client: Client, node: Node, clock: SettableClock, world: World
) -> None:
    held = Held(world, "setSecret")
    arn = create(client)
    rotate(client, arn, RotationRules=EACH_TEN_DAYS)
    tick_until(held.entered.is_set, node)
    clock.advance(3 * DAY)
    client("PutSecretValue", SecretId=arn, ClientRequestToken=token(5), SecretString=value())
    assert stages(client, arn) == {"AWSCURRENT": token(5), "AWSPREVIOUS": token(1)}
    assert events(client.database) == ["RotationStarted", "RotationAbandoned"]
    date = (NOON + 14 * DAY).replace(hour=0) - timedelta(seconds=1)
    assert client("DescribeSecret", SecretId=arn)["NextRotationDate"] == date
    held.go_on.set()
    wait_until(lambda: node.scheduler.busy == 0)
    settle(node)
    assert world.steps(arn) == ["createSecret", "setSecret"]
    assert events(client.database) == ["RotationStarted", "RotationAbandoned"]
    clock.set((NOON + 13 * DAY).replace(hour=1))
    settle(node)
    assert events(client.database)[-1] == "RotationSucceeded"


def test_a_value_put_by_hand_moves_the_next_date_of_a_secret_that_waits(
    client: Client, node: Node, clock: SettableClock
) -> None:
    arn = create(client)
    rotate(client, arn, RotationRules={"ScheduleExpression": "rate(20 hours)"})
    settle(node)
    clock.advance(5 * HOUR)
    client("PutSecretValue", SecretId=arn, ClientRequestToken=token(5), SecretString=value())
    found = client("DescribeSecret", SecretId=arn)
    assert found["NextRotationDate"] == NOON + 26 * HOUR - timedelta(seconds=1)
    assert found["LastRotatedDate"] == NOON


def test_a_value_put_by_hand_does_not_move_the_dates_of_a_cancelled_rotation(client: Client) -> None:
    arn = create(client)
    rotate(client, arn, RotationRules=EACH_TEN_DAYS)
    client("CancelRotateSecret", SecretId=arn)
    client("PutSecretValue", SecretId=arn, ClientRequestToken=token(5), SecretString=value())
    assert "NextRotationDate" not in client("DescribeSecret", SecretId=arn)


def test_taking_awspending_away_abandons_the_rotation(client: Client, node: Node, world: World) -> None:
    world.faults = [("createSecret", "no entropy")]
    arn = create(client)
    rotate(client, arn)
    settle(node)
    client("UpdateSecretVersionStage", SecretId=arn, VersionStage="AWSPENDING", RemoveFromVersionId=token(2))
    assert events(client.database) == ["RotationStarted", "RotationAbandoned"]
    assert [row.state for row in plan_rows(client.database)] == ["abandoned"]
    assert rotate(client, arn, 3) == token(3)
    settle(node)
    assert stages(client, arn) == {"AWSCURRENT": token(3), "AWSPREVIOUS": token(1)}


def test_making_the_new_version_current_by_hand_does_not_disturb_the_rotation(
    client: Client, node: Node, world: World
) -> None:
    held = Held(world, "testSecret")
    arn = create(client)
    rotate(client, arn)
    tick_until(held.entered.is_set, node)
    client(
        "UpdateSecretVersionStage",
        SecretId=arn,
        VersionStage="AWSCURRENT",
        MoveToVersionId=token(2),
        RemoveFromVersionId=token(1),
    )
    held.go_on.set()
    settle(node)
    assert events(client.database) == ["RotationStarted", "RotationSucceeded"]
    assert stages(client, arn) == {"AWSCURRENT": token(2), "AWSPREVIOUS": token(1)}


def test_a_rollback_by_hand_counts_but_leaves_a_running_rotation_alone(
    client: Client, node: Node, world: World, clock: SettableClock
) -> None:
    arn = create(client)
    rotate(client, arn, RotationRules=EACH_TEN_DAYS)
    settle(node)
    held = Held(world, "createSecret")
    rotate(client, arn, 3)
    tick_until(held.entered.is_set, node)
    clock.advance(DAY)
    client(
        "UpdateSecretVersionStage",
        SecretId=arn,
        VersionStage="AWSCURRENT",
        MoveToVersionId=token(1),
        RemoveFromVersionId=token(2),
    )
    assert read(client, arn).rotation.starts_at is None
    held.go_on.set()
    wait_until(lambda: node.scheduler.busy == 0)
    assert "RotationAbandoned" not in events(client.database)


def test_a_secret_marked_for_deletion_is_not_rotated_on(
    client: Client, node: Node, clock: SettableClock, world: World
) -> None:
    held = Held(world, "createSecret")
    arn = create(client)
    rotate(client, arn, RotationRules=EACH_TEN_DAYS)
    tick_until(held.entered.is_set, node)
    client("DeleteSecret", SecretId=arn)
    assert [row.state for row in plan_rows(client.database)] == ["cancelled"]
    assert read(client, arn).rotation.starts_at is None
    held.go_on.set()
    wait_until(lambda: node.scheduler.busy == 0)
    clock.advance(20 * DAY)
    settle(node)
    assert world.steps(arn) == ["createSecret"]


def test_a_restored_secret_takes_the_rotation_up_that_its_deletion_ended(
    client: Client, node: Node, clock: SettableClock, world: World
) -> None:
    world.faults = [("testSecret", "timeout")]
    arn = create(client)
    rotate(client, arn, RotationRules=EACH_TEN_DAYS)
    settle(node)
    client("DeleteSecret", SecretId=arn)
    clock.advance(2 * DAY)
    client("RestoreSecret", SecretId=arn)
    clock.set((NOON + 10 * DAY).replace(hour=1))
    settle(node)
    assert stages(client, arn) == {"AWSCURRENT": token(2), "AWSPREVIOUS": token(1)}
    assert client("DescribeSecret", SecretId=arn)["LastRotatedDate"] == clock.now()


def test_deleting_a_secret_removes_the_copy_of_its_configuration_check(client: Client, node: Node) -> None:
    arn = create(client)
    rotate(client, arn, RotationRules=EACH_TEN_DAYS, RotateImmediately=False)
    client("DeleteSecret", SecretId=arn)
    client("RestoreSecret", SecretId=arn)
    settle(node)
    assert stages(client, arn) == {"AWSCURRENT": token(1)}


def test_a_new_secret_of_the_same_name_has_nothing_of_the_old_ones_rotation(
    client: Client, node: Node, world: World
) -> None:
    held = Held(world, "createSecret")
    old = create(client)
    rotate(client, old)
    tick_until(held.entered.is_set, node)
    client("DeleteSecret", SecretId=old, ForceDeleteWithoutRecovery=True)
    new = create(client)
    held.go_on.set()
    wait_until(lambda: node.scheduler.busy == 0)
    settle(node)
    assert stages(client, new) == {"AWSCURRENT": token(1)}
    assert rotate(client, new) == token(2)
    settle(node)
    assert stages(client, new) == {"AWSCURRENT": token(2), "AWSPREVIOUS": token(1)}
    assert world.steps(old) == ["createSecret"]


def test_a_replica_is_never_due(client: Client, node: Node, clock: SettableClock, world: World) -> None:
    arn = create(client)
    rotate(client, arn, RotationRules=EACH_TEN_DAYS)
    settle(node)
    del world.calls[:]

    def follow(unit: Unit) -> None:
        """Do what replication does to a replica: change its columns and its labels."""
        replica = read(client, arn).evolve(primary_region="eu-west-1")
        version = secrets.copy_value(
            unit, replica, secrets.find_version(unit, replica, token(2)) or _missing(), token(6)
        )
        secrets.store.insert_version(unit, replica, version)
        secrets.move_labels(unit, replica, {**replica.labels, AWSCURRENT: token(6)})

    client.database.write(follow)
    assert read(client, arn).is_replica
    clock.advance(30 * DAY)
    settle(node)
    assert world.calls == []
    assert refusal(lambda: rotate(client, arn, 7))[0] == "InvalidParameterException"


def _missing() -> secrets.Version:
    raise AssertionError
