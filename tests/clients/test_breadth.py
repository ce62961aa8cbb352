"""What changes, lists and checks secrets, through plain boto3."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.clients.test_boto3 import code_of, new_name
from tests.processes import Client, wait_until

pytestmark = pytest.mark.slow


def test_metadata_tags_and_values_are_updated(client: Client) -> None:
    name = new_name()
    client.create_secret(Name=name, SecretString="v0")
    assert "VersionId" not in client.update_secret(SecretId=name, Description="d")
    made = client.update_secret(SecretId=name, SecretString="v1")
    client.tag_resource(SecretId=name, Tags=[{"Key": "a", "Value": "1"}, {"Key": "b", "Value": "2"}])
    client.untag_resource(SecretId=name, TagKeys=["a", "absent"])
    described = client.describe_secret(SecretId=name)
    assert (described["Description"], described["Tags"]) == ("d", [{"Key": "b", "Value": "2"}])
    listed = client.list_secret_version_ids(SecretId=name)["Versions"]
    assert [one["VersionStages"] for one in listed] == [["AWSCURRENT"], ["AWSPREVIOUS"]]
    assert listed[0]["VersionId"] == made["VersionId"]
    assert listed[0]["KmsKeyIds"] == ["DefaultEncryptionKey"]


def test_a_deleted_secret_is_restored(client: Client) -> None:
    name = new_name()
    client.create_secret(Name=name, SecretString="v")
    client.delete_secret(SecretId=name)
    assert code_of(lambda: client.get_secret_value(SecretId=name))[0] == "InvalidRequestException"
    client.restore_secret(SecretId=name)
    assert client.get_secret_value(SecretId=name)["SecretString"] == "v"


def test_many_values_come_in_one_answer_and_by_pages_of_filters(client: Client) -> None:
    kind = new_name("batch")
    names = [f"{kind}/{number:02}" for number in range(25)]
    for name in names:
        client.create_secret(Name=name, SecretString=name)
    answer = client.batch_get_secret_value(SecretIdList=[*names[:3], "absent"])
    assert [one["SecretString"] for one in answer["SecretValues"]] == names[:3]
    assert [one["ErrorCode"] for one in answer["Errors"]] == ["ResourceNotFoundException"]
    filters = [{"Key": "name", "Values": [kind]}]
    found: list[str] = []
    following: dict[str, str] = {}
    for _ in range(10):
        page = client.batch_get_secret_value(Filters=filters, MaxResults=10, **following)
        found += [one["Name"] for one in page["SecretValues"]]
        if "NextToken" not in page:
            break
        following = {"NextToken": page["NextToken"]}
    assert sorted(found) == names
    pages = client.get_paginator("list_secrets").paginate(Filters=filters, PaginationConfig={"PageSize": 7})
    assert sorted(one["Name"] for page in pages for one in page["SecretList"]) == names


def test_a_read_shows_after_a_moment(client: Client) -> None:
    name = new_name()
    client.create_secret(Name=name, SecretString="v")
    client.get_secret_value(SecretId=name)
    wait_until(lambda: "LastAccessedDate" in client.describe_secret(SecretId=name), 60, "the read shows")


def test_policies_are_put_checked_and_deleted(client: Client) -> None:
    name = new_name()
    client.create_secret(Name=name, SecretString="v")
    statement: dict[str, Any] = {
        "Effect": "Allow",
        "Principal": {"AWS": "123456789012"},
        "Action": "secretsmanager:GetSecretValue",
        "Resource": "*",
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
    public = json.dumps({"Version": "2012-10-17", "Statement": {**statement, "Principal": "*"}})
    client.put_resource_policy(SecretId=name, ResourcePolicy=policy, BlockPublicPolicy=True)
    assert client.get_resource_policy(SecretId=name)["ResourcePolicy"] == policy
    code = code_of(
        lambda: client.put_resource_policy(SecretId=name, ResourcePolicy=public, BlockPublicPolicy=True)
    )
    assert code == ("PublicPolicyException", 400)
    assert code_of(lambda: client.put_resource_policy(SecretId=name, ResourcePolicy="{}")) == (
        "MalformedPolicyDocumentException",
        400,
    )
    checked = client.validate_resource_policy(SecretId=name, ResourcePolicy=public)
    assert (checked["PolicyValidationPassed"], len(checked["ValidationErrors"])) == (False, 1)
    client.delete_resource_policy(SecretId=name)
    assert "ResourcePolicy" not in client.get_resource_policy(SecretId=name)
