"""All 23 actions, each with an answer and with an error, through each client, on each store, with one worker and two."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.loaders import Loader

from tests.clients.callers import Caller, JavaScript, Refused, caller, javascript_packages
from tests.clients.conftest import AWAY, Served
from tests.processes import REGION, wait_until
from tests.rotated import ROTATOR
from turnlock.wire.not_served import not_served

pytestmark = pytest.mark.slow

NEWEST = frozenset({"ListResourcePolicies"})
"""What the command and JavaScript's SDK do not know in every version; boto3 calls it in test_boto3."""
ACTIONS = frozenset(Loader().load_service_model("secretsmanager", "service-2")["operations"]) - {
    *not_served("secretsmanager"),
    *NEWEST,
}
ABSENT = "absent/secret"
POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": {
            "Effect": "Allow",
            "Principal": {"AWS": "123456789012"},
            "Action": "secretsmanager:GetSecretValue",
            "Resource": "*",
        },
    }
)


class Story:
    """Calls through one client, and notes which actions answered and which refused."""

    def __init__(self, call: Caller) -> None:
        self._call = call
        self.answered: set[str] = set()
        self.refused: set[str] = set()

    def does(self, operation: str, **parameters: Any) -> dict[str, Any]:
        answer = self._call(operation, **parameters)
        self.answered.add(operation)
        return answer

    def fails(self, code: str, operation: str, **parameters: Any) -> None:
        with pytest.raises(Refused) as refused:
            self._call(operation, **parameters)
        assert refused.value.code == code, operation
        self.refused.add(operation)


@pytest.fixture(scope="module", params=["boto3", "aws", "javascript"])
def client(request: pytest.FixtureRequest, served: Served) -> Iterator[Caller]:
    with caller(request.param, served) as started:
        yield started


def test_each_action_answers_and_refuses(client: Caller) -> None:
    story, name = Story(client), f"story/{uuid.uuid4().hex[:12]}"
    values_and_versions(story, name)
    metadata(story, name)
    policies(story, name)
    lists(story, name)
    rotation(story, name)
    replicas(story, name)
    deletion(story, name)
    assert story.answered == ACTIONS
    assert story.refused == ACTIONS


def values_and_versions(story: Story, name: str) -> None:
    first = story.does("CreateSecret", Name=name, SecretString="first", Description="ünï ✓")["VersionId"]
    story.fails("ResourceExistsException", "CreateSecret", Name=name, SecretString="other")
    read = story.does("GetSecretValue", SecretId=name)
    assert (read["SecretString"], read["VersionId"], read["VersionStages"]) == (
        "first",
        first,
        ["AWSCURRENT"],
    )
    story.fails("ResourceNotFoundException", "GetSecretValue", SecretId=ABSENT)
    token = str(uuid.uuid4())
    put = {"SecretId": name, "ClientRequestToken": token, "SecretString": "second"}
    for _ in range(2):
        assert story.does("PutSecretValue", **put)["VersionId"] == token
    story.fails("ResourceExistsException", "PutSecretValue", **{**put, "SecretString": "another"})
    moved = {"SecretId": name, "VersionStage": "AWSCURRENT", "MoveToVersionId": first}
    story.does("UpdateSecretVersionStage", **moved, RemoveFromVersionId=token)
    story.fails("InvalidParameterException", "UpdateSecretVersionStage", **moved, RemoveFromVersionId=token)
    assert story.does("GetSecretValue", SecretId=name)["SecretString"] == "first"
    listed = story.does("ListSecretVersionIds", SecretId=name)["Versions"]
    assert {one["VersionId"]: one["VersionStages"] for one in listed} == {
        first: ["AWSCURRENT"],
        token: ["AWSPREVIOUS"],
    }
    story.fails("ResourceNotFoundException", "ListSecretVersionIds", SecretId=ABSENT)
    drawn = story.does("GetRandomPassword", PasswordLength=24, ExcludePunctuation=True)["RandomPassword"]
    assert (len(drawn), drawn.isalnum()) == (24, True)
    story.fails("ValidationException", "GetRandomPassword", PasswordLength=5000)


def metadata(story: Story, name: str) -> None:
    made = story.does("UpdateSecret", SecretId=name, Description="new", SecretString="third")["VersionId"]
    story.fails("ResourceNotFoundException", "UpdateSecret", SecretId=ABSENT, Description="d")
    tags = [{"Key": "team", "Value": "blue"}, {"Key": "stage", "Value": "test"}]
    story.does("TagResource", SecretId=name, Tags=tags)
    story.fails(
        "InvalidParameterException", "TagResource", SecretId=name, Tags=[{"Key": "aws:x", "Value": "v"}]
    )
    story.does("UntagResource", SecretId=name, TagKeys=["stage"])
    story.fails("ResourceNotFoundException", "UntagResource", SecretId=ABSENT, TagKeys=["stage"])
    described = story.does("DescribeSecret", SecretId=name)
    assert (described["Description"], described["Tags"]) == ("new", tags[:1])
    assert described["VersionIdsToStages"][made] == ["AWSCURRENT"]
    story.fails("ResourceNotFoundException", "DescribeSecret", SecretId=ABSENT)


def policies(story: Story, name: str) -> None:
    story.does("PutResourcePolicy", SecretId=name, ResourcePolicy=POLICY, BlockPublicPolicy=True)
    story.fails("MalformedPolicyDocumentException", "PutResourcePolicy", SecretId=name, ResourcePolicy="{}")
    assert story.does("GetResourcePolicy", SecretId=name)["ResourcePolicy"] == POLICY
    story.fails("ResourceNotFoundException", "GetResourcePolicy", SecretId=ABSENT)
    public = POLICY.replace('{"AWS": "123456789012"}', '"*"')
    assert story.does("ValidateResourcePolicy", ResourcePolicy=POLICY)["PolicyValidationPassed"] is True
    assert story.does("ValidateResourcePolicy", ResourcePolicy=public)["PolicyValidationPassed"] is False
    story.fails("ResourceNotFoundException", "ValidateResourcePolicy", SecretId=ABSENT, ResourcePolicy=POLICY)
    story.does("DeleteResourcePolicy", SecretId=name)
    story.fails("ResourceNotFoundException", "DeleteResourcePolicy", SecretId=ABSENT)


def lists(story: Story, name: str) -> None:
    filters = [{"Key": "name", "Values": [name]}]
    (entry,) = story.does("ListSecrets", Filters=filters)["SecretList"]
    assert (entry["Name"], entry["Description"]) == (name, "new")
    story.fails("InvalidNextTokenException", "ListSecrets", NextToken="forged")
    answer = story.does("BatchGetSecretValue", SecretIdList=[name, ABSENT])
    assert [one["SecretString"] for one in answer["SecretValues"]] == ["third"]
    assert [(one["SecretId"], one["ErrorCode"]) for one in answer["Errors"]] == [
        (ABSENT, "ResourceNotFoundException")
    ]
    story.fails("InvalidParameterException", "BatchGetSecretValue", SecretIdList=[name], Filters=filters)


def rotation(story: Story, name: str) -> None:
    """Configure a schedule that begins later; what a rotation does to a database is for other tests."""
    story.fails("InvalidRequestException", "RotateSecret", SecretId=name)
    asked = {"SecretId": name, "RotationLambdaARN": ROTATOR, "RotateImmediately": False}
    begun = story.does("RotateSecret", **asked, RotationRules={"AutomaticallyAfterDays": 30})
    assert story.does("DescribeSecret", SecretId=name)["RotationEnabled"] is True
    assert begun["Name"] == name
    story.does("CancelRotateSecret", SecretId=name)
    assert story.does("DescribeSecret", SecretId=name)["RotationEnabled"] is False
    story.fails("ResourceNotFoundException", "CancelRotateSecret", SecretId=ABSENT)


def replicas(story: Story, name: str) -> None:
    away = [{"Region": AWAY}]

    def in_sync() -> bool:
        (one,) = story.does("DescribeSecret", SecretId=name)["ReplicationStatus"]
        return bool(one["Status"] == "InSync")

    story.does("ReplicateSecretToRegions", SecretId=name, AddReplicaRegions=away)
    wait_until(in_sync, 60, "the copy", tick=0.2)
    assert story.does("GetSecretValue", region=AWAY, SecretId=name)["SecretString"] == "third"
    story.fails(
        "ResourceNotFoundException", "ReplicateSecretToRegions", SecretId=ABSENT, AddReplicaRegions=away
    )
    story.fails("ResourceNotFoundException", "StopReplicationToReplica", SecretId=ABSENT)
    story.does("StopReplicationToReplica", region=AWAY, SecretId=name)
    story.does("DeleteSecret", region=AWAY, SecretId=name, ForceDeleteWithoutRecovery=True)
    story.does("ReplicateSecretToRegions", SecretId=name, AddReplicaRegions=away)
    gone = story.does("RemoveRegionsFromReplication", SecretId=name, RemoveReplicaRegions=[AWAY])
    assert gone.get("ReplicationStatus", []) == []
    story.fails(
        "ResourceNotFoundException",
        "RemoveRegionsFromReplication",
        SecretId=ABSENT,
        RemoveReplicaRegions=[AWAY],
    )


def deletion(story: Story, name: str) -> None:
    story.does("DeleteSecret", SecretId=name, RecoveryWindowInDays=7)
    story.fails("InvalidParameterException", "DeleteSecret", SecretId=name, RecoveryWindowInDays=3)
    story.fails("InvalidRequestException", "GetSecretValue", SecretId=name)
    assert story.does("RestoreSecret", SecretId=name)["Name"] == name
    assert story.does("GetSecretValue", SecretId=name)["SecretString"] == "third"
    story.does("DeleteSecret", SecretId=name, ForceDeleteWithoutRecovery=True)
    story.fails("ResourceNotFoundException", "RestoreSecret", SecretId=name)


def test_the_javascript_sdk_pages_and_carries_bytes_and_moments(served: Served) -> None:
    kind = f"js{uuid.uuid4().hex[:8]}"
    script = JavaScript(served, javascript_packages())
    try:
        for number in range(5):
            script("CreateSecret", Name=f"{kind}/{number}", SecretString="v")
        pages = script.pages("ListSecrets", 2, Filters=[{"Key": "name", "Values": [kind]}])
        assert [len(page["SecretList"]) for page in pages] == [2, 2, 1]
        names = [one["Name"] for page in pages for one in page["SecretList"]]
        assert sorted(names) == [f"{kind}/{number}" for number in range(5)]
        batches = script.pages("BatchGetSecretValue", 3, Filters=[{"Key": "name", "Values": [kind]}])
        assert [one["SecretString"] for page in batches for one in page["SecretValues"]] == ["v"] * 5
        served.client().put_secret_value(SecretId=f"{kind}/0", SecretBinary=bytes(range(256)))
        read = script("GetSecretValue", SecretId=f"{kind}/0")
        assert bytes(read["SecretBinary"][str(place)] for place in range(256)) == bytes(range(256))
        assert read["CreatedDate"].endswith("Z")
    finally:
        script.close()
    assert REGION in read["ARN"]
