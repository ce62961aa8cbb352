"""Actions, resources and variables of statements: which calls they are about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.policies.asking import ACCOUNT, ANN, READER, REGION, ROOT, SECRET, Ask, allow, deny, document

HOME = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:"

ACTIONS: list[tuple[str, Any, str, bool]] = [
    ("Action", "*", "GetSecretValue", True),
    ("Action", "secretsmanager:*", "GetSecretValue", True),
    ("Action", "secretsmanager:Get*", "GetSecretValue", True),
    ("Action", "secretsmanager:Get*", "PutSecretValue", False),
    ("Action", "secretsmanager:*Value", "GetSecretValue", True),
    ("Action", "secretsmanager:?etSecretValue", "GetSecretValue", True),
    ("Action", "secretsmanager:getsecretvalue", "GetSecretValue", True),
    ("Action", "SECRETSMANAGER:GETSECRETVALUE", "GetSecretValue", True),
    ("Action", "secretsmanager:GetSecret", "GetSecretValue", False),
    ("Action", "secretsmanager:GetSecretValueX", "GetSecretValue", False),
    ("Action", "kms:*", "GetSecretValue", False),
    ("Action", ["kms:*", "secretsmanager:GetSecretValue"], "GetSecretValue", True),
    ("Action", ["kms:*", "secretsmanager:Put*"], "GetSecretValue", False),
    ("NotAction", "secretsmanager:Get*", "GetSecretValue", False),
    ("NotAction", "secretsmanager:Get*", "PutSecretValue", True),
    ("NotAction", ["secretsmanager:Get*", "secretsmanager:Put*"], "PutSecretValue", False),
    ("NotAction", "kms:*", "GetSecretValue", True),
    ("NotAction", "*", "GetSecretValue", False),
]


@pytest.mark.parametrize(("element", "value", "action", "expected"), ACTIONS)
def test_an_action_is_covered_as_documented(element: str, value: Any, action: str, expected: bool) -> None:
    statement = {"Effect": "Allow", element: value, "Resource": "*"}
    assert (Ask(identity=[document(statement)], action=action).outcome() == "allowed") == expected
    denied = document(allow("*"), {**statement, "Effect": "Deny"})
    assert (Ask(identity=[denied], action=action).outcome() != "allowed") == expected


RESOURCES: list[tuple[str, Any, str | None, bool]] = [
    ("Resource", "*", SECRET, True),
    ("Resource", "*", None, True),
    ("Resource", SECRET, SECRET, True),
    ("Resource", SECRET, SECRET + "x", False),
    ("Resource", SECRET.upper().replace("ARN", "arn"), SECRET, False),
    ("Resource", HOME + "prod/*", SECRET, True),
    ("Resource", HOME + "prod/db-??????", SECRET, True),
    ("Resource", HOME + "prod/db-?????", SECRET, False),
    ("Resource", HOME + "prod/db", SECRET, False),
    ("Resource", HOME + "dev/*", SECRET, False),
    ("Resource", HOME + "*db*", SECRET, True),
    ("Resource", f"arn:aws:secretsmanager:*:{ACCOUNT}:secret:prod/*", SECRET, True),
    ("Resource", "arn:aws:secretsmanager:*:*:secret:prod/*", SECRET, True),
    ("Resource", "arn:aws:secretsmanager:eu-*-1:*:secret:*", SECRET, True),
    ("Resource", "arn:aws:secretsmanager:us-*-1:*:secret:*", SECRET, False),
    ("Resource", "arn:*:secretsmanager:*:*:secret:*", SECRET, True),
    ("Resource", "arn:aws:secretsmanager:*:1111????3333:secret:*", SECRET, True),
    ("Resource", "arn:aws:kms:*:*:key/*", SECRET, False),
    # A star that ends a segment may go on beyond its colon; one inside a segment may not.
    ("Resource", "arn:aws:secretsmanager:*:secret:prod/db-AbCdEf:x", SECRET + ":x", True),
    ("Resource", "arn:aws:secretsmanager:eu*l-1:secret:prod/db-AbCdEf:x", SECRET + ":x", False),
    ("Resource", ["arn:aws:kms:*:*:*", HOME + "*"], SECRET, True),
    # What is not there is known by what the caller wrote.
    ("Resource", HOME + "*", None, False),
    ("Resource", "arn:aws:secretsmanager:*:*:*", None, False),
    ("NotResource", HOME + "prod/*", SECRET, False),
    ("NotResource", HOME + "dev/*", SECRET, True),
    ("NotResource", [HOME + "dev/*", HOME + "prod/*"], SECRET, False),
    ("NotResource", "*", SECRET, False),
]


@pytest.mark.parametrize(("element", "value", "resource", "expected"), RESOURCES)
def test_a_resource_is_covered_as_documented(
    element: str, value: Any, resource: str | None, expected: bool
) -> None:
    statement = {"Effect": "Allow", "Action": "*", element: value}
    ask = Ask(identity=[document(statement)], resource=resource)
    assert (ask.outcome() == "allowed") == expected
    denied = document(allow("*"), {**statement, "Effect": "Deny"})
    assert (ask.but(identity=[denied]).outcome() != "allowed") == expected


def named(name: str) -> str:
    return HOME + name


# (the pattern of a Resource, the resource, the call, whether it is covered)
VARIABLES: list[tuple[str, str, Mapping[str, Any], bool]] = [
    (HOME + "${aws:username}/*", named("ann/db"), {}, True),
    (HOME + "${aws:username}/*", named("bob/db"), {}, False),
    (HOME + "${aws:UserName}/*", named("ann/db"), {}, True),
    (HOME + "${aws:username}/*", named("/db"), {"principal": READER}, False),
    (HOME + "${aws:PrincipalTag/team}/*", named("red/db"), {"tags": {"team": "red"}}, True),
    (HOME + "${aws:PrincipalTag/Team}/*", named("red/db"), {"tags": {"team": "red"}}, True),
    (HOME + "${aws:PrincipalTag/team}/*", named("red/db"), {}, False),
    (HOME + "${aws:PrincipalTag/team, 'none'}/*", named("none/db"), {}, True),
    (HOME + "${aws:PrincipalTag/team,'none'}/*", named("none/db"), {}, True),
    (HOME + "${aws:PrincipalTag/team, ''}x", named("x"), {}, True),
    (HOME + "${aws:PrincipalTag/team, 'none'}/*", named("none/db"), {"tags": {"team": "red"}}, False),
    (HOME + "${aws:PrincipalTag/team, none}/*", named("none/db"), {}, False),
    (HOME + "${aws:PrincipalTag/team}", named("anything"), {"tags": {"team": "*"}}, False),
    (HOME + "${aws:PrincipalTag/team}", named("*"), {"tags": {"team": "*"}}, True),
    (HOME + "a${*}b", named("a*b"), {}, True),
    (HOME + "a${*}b", named("axb"), {}, False),
    (HOME + "a${?}b", named("a?b"), {}, True),
    (HOME + "a${?}b", named("axb"), {}, False),
    (HOME + "a${$}b", named("a$b"), {}, True),
    (HOME + "${aws:userid}", named("AIDAANN"), {}, True),
    (HOME + "${aws:userid}", named(ACCOUNT), {"principal": ROOT}, True),
    (HOME + "${aws:PrincipalAccount}/${aws:username}", named(f"{ACCOUNT}/ann"), {}, True),
    (HOME + "${x:many}", named("a"), {"conditions": {"x:many": ["a", "b"]}}, True),
    (HOME + "${x:one}", named("a"), {"conditions": {"x:one": ["a"]}}, True),
    (HOME + "${unfinished", named("${unfinished"), {}, True),
    ("arn:aws:secretsmanager:*:${aws:PrincipalAccount}:secret:*", SECRET, {}, True),
    ("arn:aws:secretsmanager:${aws:RequestedRegion}:*:secret:*", SECRET, {}, True),
]


@pytest.mark.parametrize(("pattern", "resource", "call", "expected"), VARIABLES)
def test_variables_stand_for_the_values_of_the_call(
    pattern: str, resource: str, call: Mapping[str, Any], expected: bool
) -> None:
    statement = {"Effect": "Deny", "Action": "*", "Resource": pattern}
    ask = Ask(**{"resource": resource, "identity": [document(allow("*"), statement)], **call})
    assert (ask.outcome() == "denied by an identity-based policy") == expected


def test_documents_of_the_old_version_have_no_variables() -> None:
    ask = Ask(identity=[document(allow(resource=HOME + "${aws:username}"), version="2008-10-17")])
    assert ask.but(resource=named("ann")).outcome() == "no identity-based policy allows"
    assert ask.but(resource=named("${aws:username}")).outcome() == "allowed"


CONDITIONS: list[tuple[str, str, Mapping[str, Any], bool]] = [
    ("StringEquals", "${aws:username}", {"conditions": {"x:k": ["ann"]}}, True),
    ("StringEquals", "${aws:username}", {"conditions": {"x:k": ["bob"]}}, False),
    ("StringEquals", "${aws:PrincipalTag/t}", {"conditions": {"x:k": ["a"]}, "tags": {"t": "a"}}, True),
    ("StringEquals", "${aws:PrincipalTag/t}", {"conditions": {"x:k": ["a"]}}, False),
    ("StringNotEquals", "${aws:PrincipalTag/t}", {"conditions": {"x:k": ["a"]}}, True),
    ("StringEquals", "${aws:PrincipalTag/t, 'd'}", {"conditions": {"x:k": ["d"]}}, True),
    ("StringLike", "${aws:username}-*", {"conditions": {"x:k": ["ann-1"]}}, True),
    ("StringLike", "${aws:username}-*", {"conditions": {"x:k": ["bob-1"]}}, False),
    ("StringLike", "a${*}", {"conditions": {"x:k": ["ab"]}}, False),
    ("StringLike", "a${*}", {"conditions": {"x:k": ["a*"]}}, True),
    ("StringEqualsIgnoreCase", "${aws:username}", {"conditions": {"x:k": ["ANN"]}}, True),
    (
        "StringEqualsIgnoreCase",
        "${aws:PrincipalTag/t}",
        {"conditions": {"x:k": ["A"]}, "tags": {"t": "a"}},
        True,
    ),
    ("ArnEquals", "arn:aws:iam::*:user/team/${aws:username}", {"conditions": {"x:k": [ANN.arn]}}, True),
    ("NumericEquals", "${x:n}", {"conditions": {"x:k": ["1"], "x:n": ["1"]}}, True),
]


@pytest.mark.parametrize(("operator", "value", "call", "expected"), CONDITIONS)
def test_variables_stand_in_conditions_of_texts_and_arns_alone(
    operator: str, value: str, call: Mapping[str, Any], expected: bool
) -> None:
    policy = document(allow("*"), deny(Condition={operator: {"x:k": value}}))
    assert (Ask(identity=[policy], **call).outcome() != "allowed") == expected
