"""RotateSecret, as its callers see it."""

from __future__ import annotations

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
    value,
)
from tests.support import NOON, SettableClock
from turnlock.core.arn import Region

DAY = timedelta(days=1)
UNFINISHED = (
    "InvalidRequestException",
    "A previous rotation isn't complete. That rotation will be reattempted.",
)


def described(client: Client, arn: str) -> dict[str, Any]:
    return client("DescribeSecret", SecretId=arn)


def test_rotating_now_answers_at_once_and_stores_the_configuration(client: Client) -> None:
    arn = create(client)
    answer = client(
        "RotateSecret",
        SecretId=arn,
        ClientRequestToken=token(2),
        RotationLambdaARN=FUNCTION,
        RotationRules={"ScheduleExpression": "rate(10 days)", "Duration": "2h"},
    )
    assert answer == {"ARN": arn, "Name": "db-1/app", "VersionId": token(2)}
    found = described(client, arn)
    assert (found["RotationEnabled"], found["RotationLambdaARN"]) == (True, FUNCTION)
    assert found["RotationRules"] == {
        "ScheduleExpression": "rate(10 days)",
        "Duration": "2h",
        "AutomaticallyAfterDays": 10,
    }
    assert "LastRotatedDate" not in found
    assert stages(client, arn) == {"AWSCURRENT": token(1), "AWSPENDING": token(2)}
    assert events(client.database) == ["RotationStarted"]


def test_a_rotation_ends_with_the_new_version_current_and_the_next_date_counted_from_it(
    client: Client, node: Node, clock: SettableClock, world: World
) -> None:
    arn = create(client)
    clock.advance(DAY)
    rotate(client, arn, RotationRules={"AutomaticallyAfterDays": 30})
    settle(node)
    found = described(client, arn)
    assert stages(client, arn) == {"AWSCURRENT": token(2), "AWSPREVIOUS": token(1)}
    assert world.steps(arn) == ["createSecret", "setSecret", "testSecret", "finishSecret"]
    assert found["LastRotatedDate"] == NOON + DAY
    assert found["NextRotationDate"] == (NOON + 32 * DAY).replace(hour=0) - timedelta(seconds=1)
    assert events(client.database) == ["RotationStarted", "RotationSucceeded"]


def test_a_secret_without_a_schedule_rotates_when_asked_and_has_no_next_date(
    client: Client, node: Node, clock: SettableClock
) -> None:
    arn = create(client)
    rotate(client, arn)
    settle(node)
    found = described(client, arn)
    assert found["LastRotatedDate"] == NOON
    assert not {"NextRotationDate", "RotationRules"} & found.keys()
    clock.advance(400 * DAY)
    settle(node)
    assert len(plan_rows(client.database)) == 1


def test_what_a_later_call_leaves_out_is_what_is_stored(client: Client, node: Node) -> None:
    arn = create(client)
    rotate(client, arn, RotationRules={"AutomaticallyAfterDays": 30})
    settle(node)
    client("RotateSecret", SecretId=arn, ClientRequestToken=token(3))
    settle(node)
    found = described(client, arn)
    assert (found["RotationLambdaARN"], found["RotationRules"]) == (FUNCTION, {"AutomaticallyAfterDays": 30})
    assert stages(client, arn)["AWSCURRENT"] == token(3)


@pytest.mark.parametrize(
    ("parameters", "code", "sentence"),
    [
        (
            {"RotationLambdaARN": ""},
            "InvalidRequestException",
            "No Lambda rotation function ARN is associated with this secret.",
        ),
        (
            {"RotationRules": {"AutomaticallyAfterDays": 3, "ScheduleExpression": "rate(3 days)"}},
            "InvalidParameterException",
            "You cannot specify both rotation frequency and schedule expression together.",
        ),
        (
            {"RotationRules": {"ScheduleExpression": "rate(3 hours)"}},
            "InvalidParameterException",
            "Invalid ScheduleExpression: a rate in hours must be between 4 and 23.",
        ),
        (
            {"RotationRules": {"Duration": "3h"}},
            "InvalidParameterException",
            "You must specify a rotation frequency or a schedule expression.",
        ),
        (
            {"ClientRequestToken": token(1)},
            "InvalidParameterException",
            f"The ClientRequestToken {token(1)} is the id of a version of this secret.",
        ),
        (
            {"ExternalSecretRotationRoleArn": "arn:aws:iam::123456789012:role/partner"},
            "InvalidParameterException",
            None,
        ),
    ],
)
def test_what_cannot_be_configured_is_refused_and_changes_nothing(
    client: Client, parameters: dict[str, Any], code: str, sentence: str | None
) -> None:
    arn = create(client)
    before = described(client, arn)
    found = refusal(lambda: rotate(client, arn, **parameters))
    assert found[0] == code
    assert sentence in (None, found[1])
    assert described(client, arn) == before
    assert plan_rows(client.database) == []


@pytest.mark.parametrize(
    "function_arn",
    [
        FUNCTION.replace("Single", "Double"),
        FUNCTION.replace("123456789012", "210987654321"),
        FUNCTION.replace("eu-central-1", "eu-west-1"),
        FUNCTION.replace("arn:aws:", "arn:aws-cn:"),
        FUNCTION + ":7",
        "SecretsManagerRDSPostgreSQLRotationSingleUser",
    ],
    ids=["not hosted", "another account", "another Region", "another partition", "a version", "a name"],
)
def test_a_function_that_may_not_be_called_is_refused(client: Client, function_arn: str) -> None:
    arn = create(client)
    sentence = (
        "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants access to"
        " the principal secretsmanager.amazonaws.com."
    )
    found = refusal(lambda: rotate(client, arn, RotationLambdaARN=function_arn))
    assert found == ("AccessDeniedException", sentence)


def test_an_absent_secret_and_one_marked_for_deletion_are_refused(client: Client) -> None:
    assert refusal(lambda: rotate(client, "absent"))[0] == "ResourceNotFoundException"
    assert refusal(lambda: client("CancelRotateSecret", SecretId="absent"))[0] == "ResourceNotFoundException"
    arn = create(client)
    client("DeleteSecret", SecretId=arn)
    sentence = "You can't perform this operation on the secret because it was marked for deletion."
    assert refusal(lambda: rotate(client, arn)) == ("InvalidRequestException", sentence)


def test_another_region_has_no_such_secret(client: Client) -> None:
    arn = create(client)
    elsewhere = client.elsewhere(region=Region("eu-west-1"))
    assert refusal(lambda: rotate(elsewhere, arn))[0] in (
        "ResourceNotFoundException",
        "AccessDeniedException",
    )


def test_a_repeated_token_begins_nothing_during_and_after_the_rotation(client: Client, node: Node) -> None:
    arn = create(client)
    assert [rotate(client, arn) for _ in range(3)] == [token(2)] * 3
    settle(node)
    assert rotate(client, arn) == token(2)
    settle(node)
    assert events(client.database) == ["RotationStarted", "RotationSucceeded"]
    assert stages(client, arn) == {"AWSCURRENT": token(2), "AWSPREVIOUS": token(1)}


def test_another_token_is_refused_while_a_rotation_is_not_complete(
    client: Client, node: Node, world: World
) -> None:
    world.faults = [("createSecret", "no entropy")]
    arn = create(client)
    rotate(client, arn)
    assert refusal(lambda: rotate(client, arn, 3)) == UNFINISHED
    settle(node)
    assert refusal(lambda: rotate(client, arn, 3, RotateImmediately=False)) == UNFINISHED


def test_a_pending_version_of_somebody_elses_is_refused(client: Client) -> None:
    arn = create(client)
    client(
        "PutSecretValue",
        SecretId=arn,
        ClientRequestToken=token(9),
        SecretString="x",
        VersionStages=["AWSPENDING"],
    )
    assert refusal(lambda: rotate(client, arn)) == UNFINISHED


def test_awspending_beside_awscurrent_does_not_block(client: Client, node: Node) -> None:
    arn = create(client)
    client("UpdateSecretVersionStage", SecretId=arn, VersionStage="AWSPENDING", MoveToVersionId=token(1))
    rotate(client, arn)
    settle(node)
    assert stages(client, arn)["AWSCURRENT"] == token(2)


def test_a_token_that_no_session_can_be_named_by_rotates_all_the_same(client: Client, node: Node) -> None:
    arn = create(client)
    odd = "a token / with $ characters : of its own"
    rotate(client, arn, ClientRequestToken=odd)
    settle(node)
    assert stages(client, arn)["AWSCURRENT"] == odd


class TestRotateLater:
    """RotateImmediately=false checks the configuration and rotates nothing."""

    def test_it_tests_a_copy_of_the_current_value_and_removes_it(
        self, client: Client, node: Node, world: World
    ) -> None:
        arn = create(client)
        rotate(client, arn, RotationRules={"AutomaticallyAfterDays": 10}, RotateImmediately=False)
        assert stages(client, arn) == {"AWSCURRENT": token(1), "AWSPENDING": token(2)}
        copied = client("GetSecretValue", SecretId=arn, VersionStage="AWSPENDING")["SecretString"]
        assert copied == value()
        settle(node)
        assert world.steps(arn) == ["testSecret"]
        assert stages(client, arn) == {"AWSCURRENT": token(1)}
        gone = refusal(lambda: client("GetSecretValue", SecretId=arn, VersionId=token(2)))
        assert gone[0] == "ResourceNotFoundException"
        assert events(client.database) == ["TestRotationStarted", "TestRotationSucceeded"]

    def test_the_schedule_stands_and_the_first_rotation_is_the_windows(
        self, client: Client, node: Node, clock: SettableClock
    ) -> None:
        arn = create(client)
        clock.advance(3 * DAY)
        rotate(client, arn, RotationRules={"AutomaticallyAfterDays": 10}, RotateImmediately=False)
        settle(node)
        found = described(client, arn)
        assert found["NextRotationDate"] == (NOON + 14 * DAY).replace(hour=0) - timedelta(seconds=1)
        assert "LastRotatedDate" not in found
        clock.set((NOON + 13 * DAY).replace(hour=2))
        settle(node)
        assert described(client, arn)["LastRotatedDate"] == clock.now()

    def test_a_failed_check_is_reported_once_and_leaves_nothing(
        self, client: Client, node: Node, clock: SettableClock, world: World
    ) -> None:
        world.faults = [("testSecret", "password authentication failed")] * 2
        arn = create(client)
        rotate(client, arn, RotateImmediately=False)
        settle(node)
        clock.advance(2 * DAY)
        settle(node)
        assert world.steps(arn) == ["testSecret"]
        assert stages(client, arn) == {"AWSCURRENT": token(1)}
        assert events(client.database) == ["TestRotationStarted", "TestRotationFailed"]

    def test_a_new_value_put_meanwhile_ends_the_check_and_its_copy(self, client: Client, node: Node) -> None:
        arn = create(client)
        rotate(client, arn, RotateImmediately=False)
        client("PutSecretValue", SecretId=arn, ClientRequestToken=token(3), SecretString=value())
        settle(node)
        assert stages(client, arn) == {"AWSCURRENT": token(3), "AWSPREVIOUS": token(1)}
        assert events(client.database) == ["TestRotationStarted", "TestRotationFailed"]
        gone = refusal(lambda: client("GetSecretValue", SecretId=arn, VersionId=token(2)))
        assert gone[0] == "ResourceNotFoundException"

    def test_a_copy_that_was_made_current_is_not_removed(self, client: Client, node: Node) -> None:
        arn = create(client)
        rotate(client, arn, RotateImmediately=False)
        client(
            "UpdateSecretVersionStage",
            SecretId=arn,
            VersionStage="AWSCURRENT",
            MoveToVersionId=token(2),
            RemoveFromVersionId=token(1),
        )
        settle(node)
        assert stages(client, arn)["AWSCURRENT"] == token(2)
        assert client("GetSecretValue", SecretId=arn)["SecretString"] == value()

    def test_cancelling_removes_the_copy_and_names_no_version(self, client: Client) -> None:
        arn = create(client)
        rotate(client, arn, RotateImmediately=False)
        assert "VersionId" not in client("CancelRotateSecret", SecretId=arn)
        assert stages(client, arn) == {"AWSCURRENT": token(1)}

    def test_a_secret_without_a_value_fails_the_check(self, client: Client, node: Node) -> None:
        arn = str(client("CreateSecret", Name="empty", ClientRequestToken=token(1))["ARN"])
        rotate(client, arn, RotateImmediately=False)
        settle(node)
        assert events(client.database) == ["TestRotationStarted", "TestRotationFailed"]
        assert stages(client, arn) == {}
