"""Answers of Secrets Manager that were recorded from AWS, on both stores."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.calling import ACCOUNT, Client, refusal, token
from turnlock.errors import ApiError, InvalidNextTokenException

INVALID_NAME = (
    "ValidationException",
    "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!",
)
NO_TOKEN = "You must provide a ClientRequestToken value. We recommend a UUID-type value."
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": ACCOUNT},
            "Action": "secretsmanager:GetSecretValue",
            "Resource": "*",
        },
    }
)
NAMED: list[tuple[str, dict[str, Any]]] = [
    ("CancelRotateSecret", {}),
    ("DeleteResourcePolicy", {}),
    ("DeleteSecret", {}),
    ("DeleteSecret", {"ForceDeleteWithoutRecovery": True}),
    ("DescribeSecret", {}),
    ("GetResourcePolicy", {}),
    ("GetSecretValue", {}),
    ("ListResourcePolicies", {}),
    ("ListSecretVersionIds", {}),
    ("PutResourcePolicy", {"ResourcePolicy": POLICY}),
    ("PutSecretValue", {"SecretString": "v"}),
    ("RemoveRegionsFromReplication", {"RemoveReplicaRegions": ["us-east-2"]}),
    ("ReplicateSecretToRegions", {"AddReplicaRegions": [{"Region": "us-east-2"}]}),
    ("RestoreSecret", {}),
    ("RotateSecret", {}),
    ("StopReplicationToReplica", {}),
    ("TagResource", {"Tags": [{"Key": "k", "Value": "v"}]}),
    ("UntagResource", {"TagKeys": ["k"]}),
    ("UpdateSecret", {"Description": "d"}),
    ("UpdateSecretVersionStage", {"VersionStage": "blue", "MoveToVersionId": token(1)}),
    ("ValidateResourcePolicy", {"ResourcePolicy": POLICY}),
]


def body_of(client: Client, operation: str, **parameters: Any) -> dict[str, Any]:
    """Call as a client does that is no SDK, be refused, and return the body."""
    with pytest.raises(ApiError):
        client.body(operation, json.dumps(parameters).encode())
    found: dict[str, Any] = json.loads(client.answers[-1])
    return found


@pytest.mark.parametrize("name", ["Inv *?!]Name\\", "a b", "§", "name\n", "a:b", "a\0b"])
def test_a_name_that_no_secret_can_have_is_refused_by_every_operation(client: Client, name: str) -> None:
    for operation, parameters in NAMED:
        for secret_id in (name, f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:{name}"):
            asked = {**parameters, "SecretId": secret_id}
            assert refusal(lambda: client(operation, **asked)) == INVALID_NAME, operation  # noqa: B023
    assert refusal(lambda: client("CreateSecret", Name=name, SecretString="v")) == INVALID_NAME
    batch = client("BatchGetSecretValue", SecretIdList=[name])
    assert [(one["ErrorCode"], one["Message"]) for one in batch["Errors"]] == [INVALID_NAME]


@pytest.mark.parametrize(
    ("operation", "parameters", "code"),
    [
        ("CreateSecret", {"Name": "db", "SecretString": "v"}, "InvalidRequestException"),
        ("PutSecretValue", {"SecretId": "absent", "SecretString": "v"}, "InvalidRequestException"),
        ("UpdateSecret", {"SecretId": "absent", "SecretString": "v"}, "InvalidRequestException"),
        ("UpdateSecret", {"SecretId": "absent", "Description": "d"}, "InvalidRequestException"),
        ("RotateSecret", {"SecretId": "absent"}, "InvalidParameterException"),
    ],
)
def test_a_request_without_a_token_is_refused_before_the_secret_is_looked_for(
    client: Client, operation: str, parameters: dict[str, Any], code: str
) -> None:
    assert body_of(client, operation, **parameters) == {"__type": code, "Message": NO_TOKEN}
    client("CreateSecret", Name="absent", SecretString="v")
    client("CreateSecret", Name="db")  # also where it is there
    assert body_of(client, operation, **parameters) == {"__type": code, "Message": NO_TOKEN}


def test_a_secret_without_a_value_needs_no_token(client: Client) -> None:
    assert client.body("CreateSecret", b'{"Name": "db"}')["Name"] == "db"


def test_tags_are_an_empty_list_once_the_last_is_gone_described_and_listed(client: Client) -> None:
    def shown() -> Any:
        client("DescribeSecret", SecretId="db")
        described = json.loads(client.answers[-1])
        client("ListSecrets")
        (listed,) = (one for one in json.loads(client.answers[-1])["SecretList"] if one["Name"] == "db")
        assert described.get("Tags", "absent") == listed.get("Tags", "absent")
        return described.get("Tags", "absent")

    client("CreateSecret", Name="db", SecretString="v")
    client("CreateSecret", Name="other", Tags=[{"Key": "k", "Value": "v"}])
    assert shown() == "absent"
    client("UntagResource", SecretId="db", TagKeys=["k"])
    assert shown() == "absent"
    for _ in range(2):
        client("TagResource", SecretId="db", Tags=[{"Key": "k", "Value": "v"}])
        assert shown() == [{"Key": "k", "Value": "v"}]
        client("UntagResource", SecretId="db", TagKeys=["k"])
        assert shown() == []
    client("CreateSecret", Name="tagged", Tags=[{"Key": "k", "Value": "v"}])
    client("UntagResource", SecretId="tagged", TagKeys=["k"])
    assert client("DescribeSecret", SecretId="tagged")["Tags"] == []


def test_a_partial_arn_of_a_name_that_ends_like_a_suffix_finds_its_secret(client: Client) -> None:
    arn = client("CreateSecret", Name="my-secret", SecretString="v")["ARN"]
    for secret_id in (arn, arn[:-7], "my-secret"):
        assert client("GetSecretValue", SecretId=secret_id)["ARN"] == arn
        client("TagResource", SecretId=secret_id, Tags=[{"Key": "k", "Value": "v"}])
    assert (
        refusal(lambda: client("GetSecretValue", SecretId=arn[:-7] + "s"))[0] == "ResourceNotFoundException"
    )


def test_what_a_full_arn_names_goes_before_what_it_would_name_as_a_partial_one(client: Client) -> None:
    first = client("CreateSecret", Name="my", SecretString="first")["ARN"]
    second = client("CreateSecret", Name=first.rpartition(":")[2], SecretString="second")["ARN"]
    assert second.startswith(f"{first}-")
    assert client("GetSecretValue", SecretId=first)["SecretString"] == "first"
    assert client("GetSecretValue", SecretId=second)["SecretString"] == "second"


def test_a_region_that_can_have_no_replica_and_a_secret_that_has_replicas(client: Client) -> None:
    for region in (client.region, "nowhere-9"):
        asked = [{"Region": region}]
        assert refusal(lambda: client("CreateSecret", Name="db", AddReplicaRegions=asked)) == (  # noqa: B023
            "InvalidParameterException",
            "Invalid replica region.",
        )


def test_the_names_of_a_secrets_policies_are_listed(client: Client) -> None:
    client("CreateSecret", Name="db", SecretString="v")
    assert client("ListResourcePolicies", SecretId="db") == {"ResourcePolicies": []}
    client("PutResourcePolicy", SecretId="db", ResourcePolicy=POLICY)
    assert client("ListResourcePolicies", SecretId="db", MaxResults=1) == {
        "ResourcePolicies": [{"PolicyName": "default"}]
    }
    with pytest.raises(InvalidNextTokenException):
        client("ListResourcePolicies", SecretId="db", NextToken="x")
    assert (
        refusal(lambda: client("ListResourcePolicies", SecretId="absent"))[0] == "ResourceNotFoundException"
    )
