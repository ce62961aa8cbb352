"""A rotation's last step: the label moves, the function ends, and only then the service takes AWSPENDING away."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.calling import Client, refusal, token
from tests.rotation.conftest import MakeNode
from tests.rotation.hosted import (
    Node,
    World,
    crash_at,
    create,
    events,
    let_leases_run_out,
    plan_rows,
    records,
    rotate,
    settle,
    stages,
    tick_until,
)
from tests.support import SettableClock
from turnlock.functions import Invocation
from turnlock.rotation.plan.machine import FIRST_DELAY

FINISH = "finishSecret"


def described(client: Client, arn: str) -> dict[str, object]:
    return client("DescribeSecret", SecretId=arn)


class Breaking:
    """A function that fails after it has moved the label, so many times."""

    def __init__(self, client: Client, times: int) -> None:
        self.client, self.left = client, times
        self.seen: list[dict[str, str]] = []

    def __call__(self, step: str, invocation: Invocation, _abort: object) -> None:
        if step == FINISH:
            self.seen.append(stages(self.client, invocation.secret_arn))
            if self.left:
                self.left -= 1
                self.client("DescribeSecret", SecretId="the-keytab")  # which is not there


def test_awspending_is_there_until_the_function_has_ended_and_then_the_service_takes_it_away(
    client: Client, node: Node, world: World
) -> None:
    world.after = watching = Breaking(client, times=0)
    arn = create(client)
    rotate(client, arn)
    settle(node)
    assert watching.seen == [{"AWSCURRENT": token(2), "AWSPENDING": token(2), "AWSPREVIOUS": token(1)}]
    assert stages(client, arn) == {"AWSCURRENT": token(2), "AWSPREVIOUS": token(1)}
    assert events(client.database) == ["RotationStarted", "RotationSucceeded"]


def test_an_error_after_the_label_has_moved_is_told_and_tried_again_and_sets_no_last_rotated_date(
    client: Client, node: Node, world: World, clock: SettableClock
) -> None:
    world.after = Breaking(client, times=1)
    arn = create(client)
    rotate(client, arn)
    settle(node)
    assert stages(client, arn) == {
        "AWSCURRENT": token(2),
        "AWSPENDING": token(2),
        "AWSPREVIOUS": token(1),
    }
    assert "LastRotatedDate" not in described(client, arn)
    assert events(client.database) == ["RotationStarted", "RotationFailed"]
    assert "can't find the specified secret" in str(records(client.database)[-1]["errorMessage"])
    clock.advance(FIRST_DELAY)
    settle(node)
    assert stages(client, arn) == {"AWSCURRENT": token(2), "AWSPREVIOUS": token(1)}
    assert described(client, arn)["LastRotatedDate"] == clock.now()
    assert events(client.database) == ["RotationStarted", "RotationFailed", "RotationSucceeded"]


@pytest.mark.parametrize("moment", ["decided", "returned"])
def test_a_node_that_dies_before_it_has_taken_awspending_away_leaves_that_to_the_next(
    client: Client, make_node: MakeNode, moment: str
) -> None:
    dying, living = make_node(observe=crash_at(moment, FINISH)), make_node()
    arn = create(client)
    rotate(client, arn)
    settle(dying)
    moved = moment == "returned"
    assert stages(client, arn).get("AWSPENDING") == token(2)
    assert (stages(client, arn)["AWSCURRENT"] == token(2)) is moved
    assert "LastRotatedDate" not in described(client, arn)
    let_leases_run_out(client)
    settle(living)
    assert stages(client, arn) == {"AWSCURRENT": token(2), "AWSPREVIOUS": token(1)}
    assert events(client.database) == ["RotationStarted", "RotationSucceeded"]


@pytest.mark.slow
def test_thirty_rotations_asked_for_as_soon_as_the_label_has_moved_are_all_carried_out(
    client: Client, node: Node, world: World
) -> None:
    arn = create(client)
    asked = [2]

    def ask_again(step: str, _invocation: Invocation, _abort: object) -> None:
        if step == FINISH and asked[-1] < 31:
            asked.append(asked[-1] + 1)
            rotate(client, arn, asked[-1])  # while the function of the last one has not ended

    world.after = ask_again
    rotate(client, arn)
    tick_until(lambda: events(client.database).count("RotationSucceeded") == 30, node, seconds=60)
    settle(node)
    assert stages(client, arn) == {"AWSCURRENT": token(31), "AWSPREVIOUS": token(30)}
    assert set(events(client.database)) == {"RotationStarted", "RotationSucceeded"}
    assert world.most[arn] == 1


def test_a_rotation_that_really_runs_still_refuses_the_next(client: Client, node: Node, world: World) -> None:
    arn = create(client)
    refused: list[tuple[str, str]] = []
    world.before = lambda step, _invocation, _abort: (
        None if step == "probe" else refused.append(refusal(lambda: rotate(client, arn, 3)))
    )
    rotate(client, arn)
    settle(node)
    assert {one[0] for one in refused} == {"InvalidRequestException"}
    assert len(refused) == 4


def test_a_rotation_that_failed_after_the_move_gives_way_to_one_that_is_asked_for(
    client: Client, node: Node, world: World, clock: SettableClock
) -> None:
    world.after = Breaking(client, times=1)
    arn = create(client)
    rotate(client, arn)
    settle(node)
    clock.advance(timedelta(seconds=1))
    rotate(client, arn, 3)
    settle(node)
    assert stages(client, arn) == {"AWSCURRENT": token(3), "AWSPREVIOUS": token(2)}
    assert [row.state for row in plan_rows(client.database)] == ["abandoned", "succeeded"]
    assert events(client.database).count("RotationAbandoned") == 1
    assert described(client, arn)["LastRotatedDate"] == clock.now()


def test_an_error_that_comes_when_the_next_rotation_has_been_asked_for_is_told(
    client: Client, node: Node, world: World
) -> None:
    arn = create(client)
    breaking = Breaking(client, times=1)

    def ask_then_fail(step: str, invocation: Invocation, abort: object) -> None:
        if step == FINISH and breaking.left:
            rotate(client, arn, 3)
        breaking(step, invocation, abort)

    world.after = ask_then_fail
    rotate(client, arn)
    settle(node)
    assert stages(client, arn) == {"AWSCURRENT": token(3), "AWSPREVIOUS": token(2)}
    assert sorted(events(client.database)) == sorted(
        ["RotationStarted", "RotationSucceeded", "RotationFailed", "RotationStarted", "RotationSucceeded"]
    )


def test_cancelling_after_the_move_leaves_awspending_and_the_next_rotation_goes(
    client: Client, node: Node, world: World
) -> None:
    world.after = Breaking(client, times=1)
    arn = create(client)
    rotate(client, arn)
    settle(node)
    client("CancelRotateSecret", SecretId=arn)
    assert stages(client, arn)["AWSPENDING"] == stages(client, arn)["AWSCURRENT"] == token(2)
    rotate(client, arn, 3)
    settle(node)
    assert stages(client, arn) == {"AWSCURRENT": token(3), "AWSPREVIOUS": token(2)}


def test_a_value_put_by_hand_while_the_last_step_is_tried_again_abandons_the_rotation(
    client: Client, node: Node, world: World, clock: SettableClock
) -> None:
    world.after = Breaking(client, times=1)
    arn = create(client)
    rotate(client, arn)
    settle(node)
    client("PutSecretValue", SecretId=arn, SecretString="by hand", ClientRequestToken=token(3))
    assert stages(client, arn) == {"AWSCURRENT": token(3), "AWSPREVIOUS": token(2)}
    assert events(client.database)[-1] == "RotationAbandoned"
    clock.advance(timedelta(hours=2))
    settle(node)
    assert stages(client, arn) == {"AWSCURRENT": token(3), "AWSPREVIOUS": token(2)}
