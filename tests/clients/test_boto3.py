"""Secrets Manager through plain boto3, on both stores, with one worker and with two."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.clients.conftest import Served
from tests.processes import Client, wait_until
from tests.rotated import begin_rotation, create_secret, new_role, rotate
from turnlock.local_servers import EmbeddedPostgres

pytestmark = pytest.mark.slow


def new_name(kind: str = "test") -> str:
    return f"{kind}/{uuid.uuid4().hex[:12]}"


def code_of(call: Callable[[], object]) -> tuple[str, int]:
    """Return the code and HTTP status of the error that a call raises."""
    with pytest.raises(ClientError) as caught:
        call()
    response: Any = caught.value.response
    assert response["ResponseMetadata"]["RequestId"]
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def test_what_is_created_is_read_back_by_name_and_by_arn(client: Client) -> None:
    name = new_name()
    made = client.create_secret(
        Name=name, SecretString="first", Description="d", Tags=[{"Key": "k", "Value": "v"}]
    )
    for secret_id in (name, made["ARN"]):
        read = client.get_secret_value(SecretId=secret_id)
        assert (read["SecretString"], read["VersionId"]) == ("first", made["VersionId"])
        assert (read["Name"], read["ARN"], read["VersionStages"]) == (name, made["ARN"], ["AWSCURRENT"])
    described = client.describe_secret(SecretId=name)
    assert (described["Description"], described["Tags"]) == ("d", [{"Key": "k", "Value": "v"}])
    assert "SecretString" not in described


def test_bytes_come_back_as_they_were(client: Client) -> None:
    name = new_name()
    client.create_secret(Name=name, SecretBinary=bytes(range(256)))
    assert client.get_secret_value(SecretId=name)["SecretBinary"] == bytes(range(256))


def test_a_put_value_is_current_and_the_one_before_is_previous(client: Client) -> None:
    name = new_name()
    first = client.create_secret(Name=name, SecretString="first")["VersionId"]
    second = client.put_secret_value(SecretId=name, SecretString="second")["VersionId"]
    assert client.get_secret_value(SecretId=name)["SecretString"] == "second"
    assert client.get_secret_value(SecretId=name, VersionStage="AWSPREVIOUS")["SecretString"] == "first"
    assert client.get_secret_value(SecretId=name, VersionId=first)["SecretString"] == "first"
    stages = client.describe_secret(SecretId=name)["VersionIdsToStages"]
    assert stages == {first: ["AWSPREVIOUS"], second: ["AWSCURRENT"]}


def test_labels_are_moved_back(client: Client) -> None:
    name = new_name()
    first = client.create_secret(Name=name, SecretString="first")["VersionId"]
    second = client.put_secret_value(SecretId=name, SecretString="second")["VersionId"]
    client.update_secret_version_stage(
        SecretId=name, VersionStage="AWSCURRENT", MoveToVersionId=first, RemoveFromVersionId=second
    )
    assert client.get_secret_value(SecretId=name)["SecretString"] == "first"
    assert client.get_secret_value(SecretId=name, VersionStage="AWSPREVIOUS")["VersionId"] == second


def test_a_repeated_create_with_the_same_token_makes_nothing_new(client: Client) -> None:
    name, token = new_name(), str(uuid.uuid4())
    made = [
        client.create_secret(Name=name, SecretString="v", ClientRequestToken=token)["VersionId"]
        for _ in range(2)
    ]
    assert made == [token, token]
    assert list(client.describe_secret(SecretId=name)["VersionIdsToStages"]) == [token]


def test_a_list_is_walked_page_by_page(client: Client) -> None:
    kind = f"page{uuid.uuid4().hex[:8]}"
    names = [client.create_secret(Name=new_name(kind), SecretString="v")["Name"] for _ in range(7)]
    pages = client.get_paginator("list_secrets").paginate(
        Filters=[{"Key": "name", "Values": [kind]}], PaginationConfig={"PageSize": 3}
    )
    listed = [[secret["Name"] for secret in page["SecretList"]] for page in pages]
    assert [len(page) for page in listed] == [3, 3, 1]
    assert sorted(name for page in listed for name in page) == sorted(names)


def test_random_passwords_are_as_asked_for(client: Client) -> None:
    drawn = client.get_random_password(PasswordLength=40, ExcludePunctuation=True, ExcludeCharacters="abc")
    password = drawn["RandomPassword"]
    assert len(password) == 40
    assert password.isalnum()
    assert not set(password) & set("abc")


def test_a_rotation_changes_the_password_in_the_database_too(
    client: Client, postgresql_server: EmbeddedPostgres
) -> None:
    role = new_role(postgresql_server)
    arn = create_secret(client, role)
    token = rotate(client, arn)
    value = json.loads(client.get_secret_value(SecretId=arn)["SecretString"])
    assert role.accepts(value)
    assert not role.accepts({"password": role.first_password})
    described = client.describe_secret(SecretId=arn)
    assert described["VersionIdsToStages"][token] == ["AWSCURRENT"]
    assert described["RotationEnabled"] is True
    assert described["NextRotationDate"] > described["LastRotatedDate"]


def test_a_cancelled_rotation_leaves_the_secret_and_its_schedule_off(
    client: Client, postgresql_server: EmbeddedPostgres
) -> None:
    role = new_role(postgresql_server)
    arn = create_secret(client, role)
    rotate(client, arn)
    client.cancel_rotate_secret(SecretId=arn)
    described = client.describe_secret(SecretId=arn)
    assert described["RotationEnabled"] is False
    assert "NextRotationDate" not in described
    assert role.accepts(json.loads(client.get_secret_value(SecretId=arn)["SecretString"]))


def test_a_rotation_that_cannot_reach_its_database_leaves_the_value_as_it_was(
    client: Client, postgresql_server: EmbeddedPostgres
) -> None:
    role = new_role(postgresql_server)
    value = {**json.loads(role.value()), "port": 1}
    arn = client.create_secret(Name=role.name, SecretString=json.dumps(value))["ARN"]
    begun = begin_rotation(client, arn)
    wait_until(
        lambda: "AWSPENDING" in str(client.describe_secret(SecretId=arn)["VersionIdsToStages"]), 20, "a try"
    )
    assert json.loads(client.get_secret_value(SecretId=arn)["SecretString"]) == value
    client.cancel_rotate_secret(SecretId=arn)
    assert role.accepts(value)
    assert not begun.is_over(client)


def test_a_deleted_secret_is_closed_can_be_restored_and_can_be_gone_for_good(client: Client) -> None:
    name = new_name()
    client.create_secret(Name=name, SecretString="v")
    client.delete_secret(SecretId=name, RecoveryWindowInDays=7)
    assert "DeletedDate" in client.describe_secret(SecretId=name)
    assert code_of(lambda: client.get_secret_value(SecretId=name)) == ("InvalidRequestException", 400)
    client.restore_secret(SecretId=name)
    assert client.get_secret_value(SecretId=name)["SecretString"] == "v"
    client.delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)
    wait_until(lambda: not exists(client, name), 60, "the end of the secret")
    client.create_secret(Name=name, SecretString="again")


def exists(client: Client, name: str) -> bool:
    try:
        client.describe_secret(SecretId=name)
    except client.exceptions.ResourceNotFoundException:
        return False
    return True


def test_a_secret_lists_its_policies_and_is_read_today(client: Client) -> None:
    name = new_name()
    client.create_secret(Name=name, SecretString="v")
    assert client.list_resource_policies(SecretId=name)["ResourcePolicies"] == []
    assert "LastAccessedDate" not in client.describe_secret(SecretId=name)
    client.get_secret_value(SecretId=name)
    assert "LastAccessedDate" in client.describe_secret(SecretId=name)
    (version,) = client.list_secret_version_ids(SecretId=name)["Versions"]
    assert "LastAccessedDate" in version


def test_a_read_shows_in_the_answers_of_every_worker_soon(client: Client, served: Served) -> None:
    # Half a second on a machine that does nothing else (docs/aws-behaviour.md); connections are spread over the workers.
    name = new_name()
    client.create_secret(Name=name, SecretString="v")
    connections = [served.client() for _ in range(8)]
    for one in connections:
        assert "LastAccessedDate" not in one.describe_secret(SecretId=name)
    client.get_secret_value(SecretId=name)
    began = time.monotonic()
    wait_until(
        lambda: all("LastAccessedDate" in one.describe_secret(SecretId=name) for one in connections),
        5,
        "the read shows everywhere",
    )
    print(f"the read shows everywhere after {time.monotonic() - began:.2f} s")


def test_errors_have_the_codes_that_programs_look_for(client: Client) -> None:
    name = new_name()
    client.create_secret(Name=name, SecretString="v")
    expected: list[tuple[Callable[[], object], str]] = [
        (lambda: client.get_secret_value(SecretId=new_name()), "ResourceNotFoundException"),
        (lambda: client.get_secret_value(SecretId=name, VersionStage="NONE"), "ResourceNotFoundException"),
        (lambda: client.create_secret(Name=name, SecretString="v"), "ResourceExistsException"),
        (lambda: client.create_secret(Name="not a name!", SecretString="v"), "ValidationException"),
        (
            lambda: client.put_secret_value(SecretId=name, SecretString="a", SecretBinary=b"b"),
            "InvalidParameterException",
        ),
        (lambda: client.delete_secret(SecretId=name, RecoveryWindowInDays=3), "InvalidParameterException"),
        (lambda: client.rotate_secret(SecretId=name), "InvalidRequestException"),
        (lambda: client.get_random_password(PasswordLength=5000), "ValidationException"),
    ]
    for call, code in expected:
        assert code_of(call) == (code, 400)


def test_a_wrong_secret_key_and_an_unknown_key_are_told_apart(served: Served) -> None:
    known = served.client()._request_signer._credentials.access_key
    wrong = served.client(AWS_ACCESS_KEY_ID=known, AWS_SECRET_ACCESS_KEY="wrong")
    assert code_of(wrong.list_secrets) == ("InvalidSignatureException", 400)
    unknown = served.client(AWS_ACCESS_KEY_ID="AKIAUNKNOWNUNKNOWN99", AWS_SECRET_ACCESS_KEY="wrong")
    assert code_of(unknown.list_secrets) == ("UnrecognizedClientException", 400)


def test_a_region_that_is_not_served_is_refused(served: Served) -> None:
    elsewhere = served.client(AWS_DEFAULT_REGION="us-west-2")
    assert code_of(elsewhere.list_secrets) == ("InvalidSignatureException", 400)


def test_what_one_connection_was_told_every_other_one_sees(served: Served) -> None:
    writer, name = served.client(), new_name()
    writer.create_secret(Name=name, SecretString="0")
    readers = [served.client() for _ in range(6)]
    with ThreadPoolExecutor(len(readers)) as threads:
        for number in range(1, 9):
            writer.put_secret_value(SecretId=name, SecretString=str(number))
            seen = threads.map(lambda one: one.get_secret_value(SecretId=name)["SecretString"], readers)
            assert list(seen) == [str(number)] * len(readers)
