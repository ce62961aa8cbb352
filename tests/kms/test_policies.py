"""Key policies, on both stores. What they let happen is IAM's to decide; what is put, kept and checked is decided here."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import delete

from tests.calling import ACCOUNT, REGION, Client, refusal
from turnlock.errors import SealBroken
from turnlock.kms import managed_key
from turnlock.kms.key_policies.store import policy_of
from turnlock.kms.store import find_key
from turnlock.kms.tables import kms_key_policies

ROOT = f"arn:aws:iam::{ACCOUNT}:root"


def policy(**changed: Any) -> str:
    statement = {
        "Sid": "all",
        "Effect": "Allow",
        "Principal": {"AWS": ROOT},
        "Action": "kms:*",
        "Resource": "*",
        **changed,
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_a_key_without_a_policy_gets_the_default_one(kms: Client, key: str) -> None:
    answer = kms("GetKeyPolicy", KeyId=key)
    document = json.loads(answer["Policy"])
    assert (answer["PolicyName"], document["Id"]) == ("default", "key-default-1")
    (statement,) = document["Statement"]
    assert statement["Principal"] == {"AWS": ROOT}
    assert (statement["Effect"], statement["Action"], statement["Resource"]) == ("Allow", "kms:*", "*")
    assert kms("ListKeyPolicies", KeyId=key)["PolicyNames"] == ["default"]


def test_a_policy_is_shown_as_it_was_put(kms: Client, key: str) -> None:
    for text in (policy(), policy(Sid="another")):
        kms("PutKeyPolicy", KeyId=key, PolicyName="default", Policy=text)
        assert kms("GetKeyPolicy", KeyId=key)["Policy"] == text
    made = kms("CreateKey", Policy=policy(Sid="from the start"))["KeyMetadata"]["Arn"]
    assert kms("GetKeyPolicy", KeyId=made)["Policy"] == policy(Sid="from the start")


@pytest.mark.parametrize("text", ["{}", "no json", '{"Statement": []}', policy(Effect="Maybe")])
def test_what_is_no_policy_is_refused_and_nothing_is_made(kms: Client, key: str, text: str) -> None:
    for call in (
        lambda: kms("PutKeyPolicy", KeyId=key, Policy=text),
        lambda: kms("CreateKey", Policy=text, BypassPolicyLockoutSafetyCheck=True),
    ):
        assert refusal(call)[0] == "MalformedPolicyDocumentException"
    assert json.loads(kms("GetKeyPolicy", KeyId=key)["Policy"])["Id"] == "key-default-1"
    assert len(kms("ListKeys")["Keys"]) == 1


def test_only_the_default_policy_can_be_named(kms: Client, key: str) -> None:
    named = {"KeyId": key, "PolicyName": "other"}
    assert refusal(lambda: kms("GetKeyPolicy", **named))[0] == "NotFoundException"
    put = refusal(lambda: kms("PutKeyPolicy", Policy=policy(), **named))
    assert put[0] == "UnsupportedOperationException"


def test_a_policy_has_at_most_32768_characters(kms: Client, key: str) -> None:
    assert refusal(lambda: kms("PutKeyPolicy", KeyId=key, Policy=policy(Sid="x" * 32_768)))[0] == (
        "LimitExceededException"
    )


def test_the_managed_keys_policy_lets_its_account_in_through_secrets_manager_alone(kms: Client) -> None:
    """docs/aws-behaviour.md#kms-keys-of-secrets."""
    managed = kms.database.write(lambda unit: managed_key(unit, ACCOUNT, REGION))
    document = json.loads(kms.database.read(lambda unit: policy_of(unit, managed)))
    assert document["Id"] == "auto-secretsmanager-1"
    service, direct = document["Statement"]
    assert service["Principal"] == {"AWS": "*"}
    assert service["Action"] == [
        "kms:Decrypt",
        "kms:ReEncrypt*",
        "kms:GenerateDataKey*",
        "kms:CreateGrant",
        "kms:DescribeKey",
    ]
    assert service["Condition"] == {
        "StringEquals": {
            "kms:CallerAccount": ACCOUNT,
            "kms:ViaService": f"secretsmanager.{REGION}.amazonaws.com",
        }
    }
    assert direct["Principal"] == {"AWS": ROOT}
    assert direct["Action"] == ["kms:Describe*", "kms:Get*", "kms:List*", "kms:RevokeGrant"]


def test_a_policy_that_was_taken_away_behind_the_servers_back_is_an_alarm(kms: Client, key: str) -> None:
    kms.database.write(lambda unit: unit.connection.execute(delete(kms_key_policies)).rowcount)
    found = kms.database.read(lambda unit: find_key(unit, ACCOUNT, REGION, key.rpartition("/")[2]))
    assert found is not None
    with pytest.raises(SealBroken):
        kms.database.read(lambda unit: policy_of(unit, found))
    assert refusal(lambda: kms("DescribeKey", KeyId=key))[0] == "InternalServiceError"
