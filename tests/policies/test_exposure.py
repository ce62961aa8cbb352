"""Whom a resource policy lets in, whom it locks out, and whom it can name."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from turnlock.accounts import root_principal
from turnlock.accounts.model import role_session
from turnlock.core.action import Subject
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call, Principal
from turnlock.policies import (
    Holdings,
    NamedPolicy,
    has_invalid_service,
    has_unsupported_principal,
    is_public,
    locks_out,
    read_resource_policy,
)
from turnlock.policies.document import Document

ACCOUNT = AccountId("123456789012")
ROOT = root_principal(ACCOUNT)
SESSION = role_session(ACCOUNT, role_name="Admin", role_id="AROAEXAMPLE", session_name="me")
ARN = f"arn:aws:secretsmanager:eu-central-1:{ACCOUNT}:secret:db-abcdef"


def read(**elements: Any) -> Document:
    statement = {"Effect": "Allow", "Action": "secretsmanager:*", "Resource": "*", **elements}
    return read_resource_policy(json.dumps({"Version": "2012-10-17", "Statement": statement}))


def under(operator: str, key: str, *values: str) -> Document:
    return read(Principal="*", Condition={operator: {key: list(values)}})


@pytest.mark.parametrize(
    "elements",
    [
        {"Principal": "*"},
        {"Principal": {"AWS": "*"}},
        {"Principal": {"AWS": ["123456789012", "*"]}},
        {"Principal": {"AWS": "arn:aws:iam::*:root"}},
        {"NotPrincipal": {"AWS": "123456789012"}},
    ],
)
def test_who_names_everyone_is_public(elements: dict[str, Any]) -> None:
    assert is_public(read(**elements))
    assert not is_public(read(Effect="Deny", **elements))


@pytest.mark.parametrize(
    "principal",
    [
        {"AWS": "123456789012"},
        {"AWS": ["arn:aws:iam::123456789012:root", "arn:aws:iam::210987654321:role/r"]},
        {"Service": "lambda.amazonaws.com"},
    ],
)
def test_who_is_named_is_not_public(principal: dict[str, Any]) -> None:
    assert not is_public(read(Principal=principal))


@pytest.mark.parametrize(
    ("document", "public"),
    [
        (under("StringEquals", "aws:SourceVpc", "vpc-1"), False),
        (under("StringLike", "AWS:sourcevpce", "vpce-1"), False),
        (under("ArnEquals", "aws:SourceArn", "arn:aws:sns:eu-west-1:1:t"), False),
        (under("StringEquals", "aws:SourceAccount", "123456789012", "210987654321"), False),
        (under("StringEquals", "aws:PrincipalOrgID", "o-1"), False),
        (under("IpAddress", "aws:SourceIp", "192.0.2.0/24"), False),
        (under("ForAnyValue:StringEquals", "aws:SourceVpc", "vpc-1"), False),
        (under("StringLike", "aws:SourceVpc", "vpc-*"), True),
        (under("StringLike", "aws:SourceVpc", "vpc-?"), True),
        (under("StringEquals", "aws:SourceVpc", "${aws:PrincipalTag/vpc}"), True),
        (under("StringEquals", "aws:SourceAccount", "123456789012", "*"), True),
        (under("StringNotEquals", "aws:SourceVpc", "vpc-1"), True),
        (under("StringEqualsIfExists", "aws:SourceVpc", "vpc-1"), True),
        (under("ForAllValues:StringEquals", "aws:SourceVpc", "vpc-1"), True),
        (under("StringEquals", "aws:UserAgent", "mine"), True),
        (under("StringEquals", "aws:SourceVpc", ""), True),
        (under("IpAddress", "aws:SourceIp", "0.0.0.0/0"), True),
        (under("IpAddress", "aws:SourceIp", "10.0.0.0/7"), True),
        (under("IpAddress", "aws:SourceIp", "2001::/16"), True),
        (under("NotIpAddress", "aws:SourceIp", "192.0.2.0/24"), True),
        (under("Bool", "aws:SecureTransport", "true"), True),
    ],
)
def test_a_condition_narrows_by_fixed_values_of_keys_that_callers_cannot_choose(
    document: Document, public: bool
) -> None:
    assert is_public(document) == public


def test_one_public_statement_is_enough() -> None:
    named = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "*", "Resource": "*"}
    both = {"Statement": [named, {**named, "Principal": "*"}]}
    assert is_public(read_resource_policy(json.dumps(both)))


@pytest.mark.parametrize(
    ("elements", "root", "session"),
    [
        ({"Principal": "*"}, True, True),
        ({"Principal": {"AWS": ACCOUNT}}, True, True),
        ({"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}}, True, True),
        ({"Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/Admin"}}, False, True),
        ({"Principal": {"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/Admin/me"}}, False, True),
        ({"Principal": {"AWS": f"arn:aws:sts::{ACCOUNT}:assumed-role/Admin/you"}}, False, False),
        ({"Principal": {"AWS": "AROAEXAMPLE"}}, False, True),
        ({"Principal": {"AWS": "210987654321"}}, False, False),
        ({"Principal": {"Service": "lambda.amazonaws.com"}}, False, False),
        ({"NotPrincipal": {"AWS": "210987654321"}}, True, True),
        ({"NotPrincipal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/Admin"}}, True, True),
        (
            {"NotPrincipal": {"AWS": [ACCOUNT, f"arn:aws:iam::{ACCOUNT}:role/Admin", SESSION.arn]}},
            False,
            False,
        ),
        ({"Principal": "*", "Action": "*"}, True, True),
        ({"Principal": "*", "Action": "secretsmanager:put*"}, True, True),
        ({"Principal": "*", "Action": "SecretsManager:PutResourcePolic?"}, True, True),
        ({"Principal": "*", "Action": "secretsmanager:GetSecretValue"}, False, False),
        ({"Principal": "*", "Action": None, "NotAction": "secretsmanager:Get*"}, True, True),
        ({"Principal": "*", "Action": None, "NotAction": "secretsmanager:*"}, False, False),
        ({"Principal": "*", "Resource": ARN}, True, True),
        ({"Principal": "*", "Resource": ARN[:-6] + "??????"}, True, True),
        ({"Principal": "*", "Resource": ARN.replace("db", "other")}, False, False),
        ({"Principal": "*", "Resource": None, "NotResource": ARN}, False, False),
        ({"Principal": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}, True, True),
        ({"Principal": "*", "Condition": {"Bool": {"aws:SecureTransport": "true"}}}, False, False),
        ({"Principal": "*", "Effect": "Allow"}, False, False),
    ],
)
def test_a_denial_locks_its_caller_out(elements: dict[str, Any], root: bool, session: bool) -> None:
    given = {"Effect": "Deny", "Action": "secretsmanager:*", "Resource": "*", **elements}
    statement = {name: value for name, value in given.items() if value is not None}
    policy = json.dumps({"Statement": statement})
    assert locked_out(ROOT, policy) == root
    assert locked_out(SESSION, policy) == session


def locked_out(principal: Principal, policy: str, arn: str | None = ARN, *, by_identity: bool = True) -> bool:
    call = Call(
        principal=principal,
        account_id=ACCOUNT,
        region=Region("eu-central-1"),
        service="secretsmanager",
        action="ValidateResourcePolicy",
        request_id="r",
        source_ip="192.0.2.7",
        user_agent="t",
        at=datetime(2026, 11, 25, tzinfo=UTC),
    )
    everything = json.dumps({"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}})
    held = Holdings(policies=[NamedPolicy(name="all", text=everything)]) if by_identity else Holdings()
    return locks_out(call, Subject(arn=arn, named="db"), policy, "PutResourcePolicy", held)


def test_without_a_secret_only_what_denies_everywhere_locks_out() -> None:
    everywhere = {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*"}
    assert locked_out(ROOT, json.dumps({"Statement": everywhere}), None)
    assert not locked_out(ROOT, json.dumps({"Statement": {**everywhere, "Resource": ARN}}), None)


def test_who_had_the_right_by_the_old_policy_alone_is_locked_out_by_one_that_does_not_give_it() -> None:
    gives = {"Effect": "Allow", "Principal": {"AWS": SESSION.arn}, "Action": "*", "Resource": "*"}
    assert not locked_out(SESSION, json.dumps({"Statement": gives}), by_identity=False)
    silent = {**gives, "Action": "secretsmanager:Get*"}
    assert locked_out(SESSION, json.dumps({"Statement": silent}), by_identity=False)


@pytest.mark.parametrize(("network", "locked"), [("192.0.2.0/24", False), ("198.51.100.0/24", True)])
def test_a_condition_is_weighed_as_it_is_for_this_very_call(network: str, locked: bool) -> None:
    condition = {"NotIpAddress": {"aws:SourceIp": network}}
    deny = {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*", "Condition": condition}
    assert locked_out(ROOT, json.dumps({"Statement": deny})) == locked


@pytest.mark.parametrize(
    ("principal", "unsupported"),
    [
        ("*", False),
        ({"AWS": "123456789012"}, False),
        ({"AWS": "arn:aws:iam::123456789012:root"}, False),
        ({"AWS": "arn:aws:iam::123456789012:user/path/u"}, False),
        ({"AWS": "arn:aws-cn:iam::123456789012:role/r"}, False),
        ({"AWS": "arn:aws:sts::123456789012:assumed-role/r/s"}, False),
        ({"AWS": "AIDAEXAMPLE"}, False),
        ({"Service": "anything"}, False),
        ({"AWS": "12345678901"}, True),
        ({"AWS": "nobody"}, True),
        ({"AWS": "arn:aws:iam::123456789012:role/"}, True),
        ({"AWS": "arn:aws:iam::123456789012:role/*"}, True),
        ({"AWS": "arn:aws:iam::*:root"}, True),
        ({"AWS": "arn:aws:iam::123456789012:group/g"}, True),
        ({"AWS": "arn:aws:iam:eu-west-1:123456789012:root"}, True),
        ({"AWS": "arn:aws:s3:::bucket"}, True),
        ({"AWS": "\uff11" * 12}, True),
        ({"Federated": "cognito-identity.amazonaws.com"}, True),
        ({"CanonicalUser": "79a59d"}, True),
    ],
)
def test_principals_have_forms(principal: Any, unsupported: bool) -> None:
    assert has_unsupported_principal(read(Principal=principal)) == unsupported


@pytest.mark.parametrize(
    ("service", "invalid"),
    [
        ("lambda.amazonaws.com", False),
        ("logs.eu-west-1.amazonaws.com", False),
        ("ec2.amazonaws.com.cn", False),
        ("lambda", True),
        (".amazonaws.com", True),
        ("amazonaws.com", True),
        ("*.amazonaws.com", True),
        ("lambda.amazonaws.com.evil.example", True),
        ("lambda .amazonaws.com", True),
    ],
)
def test_services_have_names(service: str, invalid: bool) -> None:
    assert has_invalid_service(read(Principal={"Service": service})) == invalid
