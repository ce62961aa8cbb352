"""Every condition key that each service has: when it is there, and what it says."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from tests.policies.asking import (
    ACCOUNT,
    ANN,
    OTHER,
    READER,
    REGION,
    ROLE_ARN,
    ROOT,
    SECRET,
    SERVICE,
    THEIRS,
    Ask,
    document,
)

HOUR = timedelta(hours=1)
FORWARDED = {"service": "kms", "action": "Decrypt", "invoked_by": "secretsmanager.amazonaws.com"}
FORWARDED_ASK: dict[str, Any] = {"service": "kms", "action": "Decrypt", "call": FORWARDED}
ANYONE = {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}

# (what the call is, operator, key, the policy's value, whether it holds)
ROWS: list[tuple[Mapping[str, Any], str, str, Any, bool]] = [
    ({}, "StringEquals", "aws:PrincipalArn", ANN.arn, True),
    ({}, "ArnLike", "aws:PrincipalArn", f"arn:aws:iam::{ACCOUNT}:user/*", True),
    ({"principal": ROOT}, "ArnEquals", "aws:PrincipalArn", f"arn:aws:iam::{ACCOUNT}:root", True),
    ({"principal": READER}, "ArnEquals", "aws:PrincipalArn", ROLE_ARN, True),
    ({"principal": READER}, "ArnEquals", "aws:PrincipalArn", READER.arn, False),
    ({"principal": SERVICE}, "Null", "aws:PrincipalArn", "true", True),
    ({}, "StringEquals", "aws:PrincipalAccount", ACCOUNT, True),
    ({}, "StringEquals", "aws:PrincipalAccount", OTHER, False),
    ({}, "StringEquals", "aws:PrincipalType", "User", True),
    ({"principal": ROOT}, "StringEquals", "aws:PrincipalType", "Account", True),
    ({"principal": READER}, "StringEquals", "aws:PrincipalType", "AssumedRole", True),
    ({"tags": {"Team": "red"}}, "StringEquals", "aws:PrincipalTag/Team", "red", True),
    ({"tags": {"Team": "red"}}, "StringEquals", "aws:principaltag/team", "red", True),
    ({"tags": {"Team": "red"}}, "StringEquals", "aws:PrincipalTag/Team", "Red", False),
    ({"tags": {"Team": "red"}}, "StringEquals", "aws:PrincipalTag/Other", "red", False),
    ({"tags": {"T": "a"}, "session_tags": {"T": "b"}}, "StringEquals", "aws:PrincipalTag/T", "b", True),
    ({"tags": {"T": "a"}, "session_tags": {"T": "b"}}, "StringEquals", "aws:PrincipalTag/T", "a", False),
    ({"tags": {"T": "a"}, "session_tags": {"t": "b"}}, "StringEquals", "aws:PrincipalTag/T", "b", True),
    ({"session_tags": {"T": "b"}}, "Null", "aws:PrincipalTag/T", "false", True),
    ({}, "Null", "aws:PrincipalTag/T", "true", True),
    ({}, "StringEquals", "aws:userid", "AIDAANN", True),
    ({"principal": ROOT}, "StringEquals", "aws:userid", ACCOUNT, True),
    ({"principal": READER}, "StringLike", "aws:userid", "AROAREADER:*", True),
    ({}, "StringEquals", "aws:username", "ann", True),
    ({"principal": ROOT}, "Null", "aws:username", "true", True),
    ({"principal": READER}, "Null", "aws:username", "true", True),
    ({}, "IpAddress", "aws:SourceIp", "192.0.2.0/24", True),
    ({}, "IpAddress", "aws:SourceIp", "198.51.100.0/24", False),
    (FORWARDED_ASK, "Null", "aws:SourceIp", "true", True),
    ({}, "Bool", "aws:SecureTransport", "false", True),
    ({"call": {"secure": True}}, "Bool", "aws:SecureTransport", "true", True),
    ({}, "DateLessThan", "aws:CurrentTime", "2026-11-25T12:00:01Z", True),
    ({}, "DateGreaterThan", "aws:CurrentTime", "2026-11-25T12:00:01Z", False),
    ({}, "DateEquals", "aws:EpochTime", "1795608000", True),
    ({}, "NumericLessThanEquals", "aws:EpochTime", 1795608000, True),
    ({}, "StringLike", "aws:UserAgent", "aws-cli/*", True),
    (FORWARDED_ASK, "StringLike", "aws:UserAgent", "aws-cli/*", False),
    ({}, "StringEquals", "aws:RequestedRegion", REGION, True),
    ({}, "StringEquals", "aws:RequestedRegion", "us-east-1", False),
    ({}, "StringEquals", "aws:ResourceAccount", ACCOUNT, True),
    (
        {"resource": THEIRS, "named": THEIRS, "of_resource": document(ANYONE)},
        "StringEquals",
        "aws:ResourceAccount",
        OTHER,
        True,
    ),
    ({"resource": None}, "StringEquals", "aws:ResourceAccount", ACCOUNT, True),
    ({"conditions": {"aws:resourcetag/env": ["prod"]}}, "StringEquals", "aws:ResourceTag/Env", "prod", True),
    ({"conditions": {"aws:resourcetag/env": ["prod"]}}, "StringEquals", "aws:ResourceTag/Env", "dev", False),
    ({"conditions": {"aws:requesttag/env": ["prod"]}}, "StringEquals", "aws:RequestTag/Env", "prod", True),
    (
        {"conditions": {"aws:tagkeys": ["a", "b"]}},
        "ForAllValues:StringEquals",
        "aws:TagKeys",
        ["a", "b"],
        True,
    ),
    (
        {"conditions": {"aws:tagkeys": ["a", "c"]}},
        "ForAllValues:StringEquals",
        "aws:TagKeys",
        ["a", "b"],
        False,
    ),
    ({"conditions": {"aws:tagkeys": ["a", "c"]}}, "ForAnyValue:StringEquals", "aws:TagKeys", ["c"], True),
    ({}, "Null", "aws:MultiFactorAuthPresent", "true", True),
    ({}, "Bool", "aws:MultiFactorAuthPresent", "false", False),
    ({}, "BoolIfExists", "aws:MultiFactorAuthPresent", "true", True),
    ({"issued": HOUR}, "Bool", "aws:MultiFactorAuthPresent", "true", False),
    ({"issued": HOUR}, "Bool", "aws:MultiFactorAuthPresent", "false", True),
    ({"issued": HOUR, "mfa": True}, "Bool", "aws:MultiFactorAuthPresent", "true", True),
    ({"issued": HOUR, "mfa": True}, "NumericLessThan", "aws:MultiFactorAuthAge", 3601, True),
    ({"issued": HOUR, "mfa": True}, "NumericLessThan", "aws:MultiFactorAuthAge", 3600, False),
    ({"issued": HOUR}, "Null", "aws:MultiFactorAuthAge", "true", True),
    ({}, "Null", "aws:MultiFactorAuthAge", "true", True),
    ({"issued": HOUR}, "DateEquals", "aws:TokenIssueTime", "2026-11-25T11:00:00Z", True),
    ({"issued": HOUR}, "DateLessThan", "aws:TokenIssueTime", "2026-11-25T11:00:00Z", False),
    ({}, "Null", "aws:TokenIssueTime", "true", True),
    ({}, "Null", "aws:SourceIdentity", "true", True),
    ({"source_identity": "ann"}, "StringEquals", "aws:SourceIdentity", "ann", True),
    ({}, "Null", "aws:CalledVia", "true", True),
    (FORWARDED_ASK, "ForAnyValue:StringEquals", "aws:CalledVia", "secretsmanager.amazonaws.com", True),
    (FORWARDED_ASK, "StringEquals", "aws:CalledViaFirst", "secretsmanager.amazonaws.com", True),
    (FORWARDED_ASK, "StringEquals", "aws:CalledViaLast", "secretsmanager.amazonaws.com", True),
    ({}, "Bool", "aws:ViaAWSService", "false", True),
    (FORWARDED_ASK, "Bool", "aws:ViaAWSService", "true", True),
    (FORWARDED_ASK, "StringEquals", "kms:ViaService", f"secretsmanager.{REGION}.amazonaws.com", True),
    (FORWARDED_ASK, "StringLike", "kms:ViaService", "secretsmanager.*.amazonaws.com", True),
    (FORWARDED_ASK, "StringEquals", "kms:CallerAccount", ACCOUNT, True),
    ({"service": "kms", "action": "Decrypt"}, "Null", "kms:ViaService", "true", True),
    ({}, "Null", "kms:CallerAccount", "true", True),
    ({}, "Bool", "aws:PrincipalIsAWSService", "false", True),
    ({"principal": SERVICE}, "Bool", "aws:PrincipalIsAWSService", "true", True),
    ({"principal": SERVICE}, "StringEquals", "aws:PrincipalServiceName", SERVICE.arn, True),
    ({}, "Null", "aws:PrincipalServiceName", "true", True),
    ({}, "Null", "aws:SourceArn", "true", True),
    ({"conditions": {"aws:sourcearn": [SECRET]}}, "ArnEquals", "aws:SourceArn", SECRET, True),
    ({"conditions": {"aws:sourceaccount": [ACCOUNT]}}, "StringEquals", "aws:SourceAccount", ACCOUNT, True),
    ({}, "Null", "aws:PrincipalOrgID", "true", True),
    ({"conditions": {"kms:x": ["1"]}}, "StringEquals", "kms:X", "1", True),
]


@pytest.mark.parametrize(("call", "operator", "key", "value", "expected"), ROWS)
def test_a_key_says_what_is_documented(
    call: Mapping[str, Any], operator: str, key: str, value: Any, expected: bool
) -> None:
    """Whether the condition holds is seen by a Deny under it: it counts for every principal, the root user too."""
    statement = {**ANYONE, "Effect": "Deny", "Condition": {operator: {key: value}}}
    ask = Ask(**{**call, "of_resource": document(ANYONE, statement)})
    assert ask.outcome() == "denied by a resource-based policy" if expected else "denied" not in ask.outcome()


def test_two_tags_that_differ_in_case_alone_have_one_key_with_both_values() -> None:
    both = {"Team": "red", "team": "blue"}
    policy = document(
        {
            "Effect": "Allow",
            "Action": "*",
            "Resource": "*",
            "Condition": {"ForAnyValue:StringEquals": {"aws:PrincipalTag/TEAM": "blue"}},
        }
    )
    assert Ask(identity=[policy], tags=both).outcome() == "allowed"
    one = policy.replace("ForAnyValue:", "")
    assert Ask(identity=[one], tags=both).outcome() == "no identity-based policy allows"


def test_what_it_takes_a_read_to_know_is_asked_only_by_a_condition_and_once() -> None:
    asked: list[str] = []

    class Counting(dict[str, list[str]]):
        def get(self, key: str, default: Any = None) -> Any:
            asked.append(key)
            return super().get(key, default)

    conditions = Counting({"x:a": ["1"]})
    plain = document({"Effect": "Allow", "Action": "*", "Resource": "*"})
    assert Ask(identity=[plain], conditions=conditions).outcome() == "allowed"
    assert asked == []
    bound = document(
        {"Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {"StringEquals": {"x:a": "1"}}}
    )
    assert Ask(identity=[bound], conditions=conditions).outcome() == "allowed"
    assert asked == ["x:a"]
