"""Policy documents are read strictly: every element of the grammar, and nothing beside it."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlock.policies import read_identity_policy, read_resource_policy
from turnlock.policies.document import Condition, Effect, NamedPrincipal, PrincipalType, Quantifier

STATEMENT: dict[str, Any] = {
    "Effect": "Allow",
    "Principal": {"AWS": "123456789012"},
    "Action": "secretsmanager:GetSecretValue",
    "Resource": "*",
}


def policy(*statements: dict[str, Any], **members: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements) or [STATEMENT], **members})


def statement(**changes: Any) -> dict[str, Any]:
    """Return a good statement with elements replaced; None takes one away."""
    return {name: value for name, value in {**STATEMENT, **changes}.items() if value is not None}


def test_every_element_is_read() -> None:
    document = read_resource_policy(
        policy(
            statement(
                Sid="one",
                Principal={"AWS": ["*", "123456789012"], "Service": "lambda.amazonaws.com"},
                Action=["secretsmanager:Get*", "*"],
                Condition={
                    "StringEquals": {"aws:SourceVpc": "vpc-1"},
                    "ForAllValues:StringLikeIfExists": {"aws:TagKeys": ["a", "b"]},
                    "NumericLessThan": {"x": 5},
                    "Bool": {"aws:SecureTransport": True},
                },
            ),
            statement(
                Effect="Deny",
                Principal=None,
                NotPrincipal="*",
                Action=None,
                NotAction="kms:Decrypt",
                Resource=None,
                NotResource=["arn:aws:secretsmanager:*:*:secret:a-*"],
            ),
            Id="id",
        )
    )
    assert (document.version, document.policy_id) == ("2012-10-17", "id")
    first, second = document.statements
    assert (first.sid, first.effect, second.effect) == ("one", Effect.ALLOW, Effect.DENY)
    assert first.principals == [
        NamedPrincipal(type=PrincipalType.ANYONE, name="*"),
        NamedPrincipal(type=PrincipalType.AWS, name="123456789012"),
        NamedPrincipal(type=PrincipalType.SERVICE, name="lambda.amazonaws.com"),
    ]
    assert first.conditions[1] == Condition(
        operator="StringLike", quantifier=Quantifier.ALL, if_exists=True, key="aws:TagKeys", values=["a", "b"]
    )
    assert [condition.values for condition in first.conditions[2:]] == [["5"], ["true"]]
    assert (second.principals_negated, second.actions.negated, second.resources.negated) == (True,) * 3
    assert (first.principals_negated, first.actions.negated, first.resources.negated) == (False,) * 3


def test_one_statement_needs_no_list_and_the_version_may_be_absent() -> None:
    document = read_resource_policy(json.dumps({"Statement": STATEMENT}))
    assert (document.version, len(document.statements)) == ("2008-10-17", 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "null",
        "[]",
        '"text"',
        "{",
        "{}",
        '{"Statement": []}',
        '{"Statement": [1]}',
        '{"Version": "2013-01-01", "Statement": []}',
        '{"Version": ["2012-10-17"], "Statement": []}',
        policy(Extra=1),
        policy(Id=1),
        policy(statement(Effect="allow")),
        policy(statement(Effect=["Allow"])),
        policy(statement(Effect=None)),
        policy(statement(Sid=1)),
        policy(statement(Sid="a"), statement(Sid="a")),
        policy(statement(Principals="*")),
        policy(statement(Principal=None)),
        policy(statement(NotPrincipal="*")),
        policy(statement(Principal={})),
        policy(statement(Principal="123456789012")),
        policy(statement(Principal={"AWS": []})),
        policy(statement(Principal={"aws": "123456789012"})),
        policy(statement(Principal={"AWS": [1]})),
        policy(statement(Action=None)),
        policy(statement(NotAction="*")),
        policy(statement(Action=[])),
        policy(statement(Resource=[])),
        policy(statement(Principal=[])),
        policy(statement(Action="GetSecretValue")),
        policy(statement(Action=":x")),
        policy(statement(Action="a b:x")),
        policy(statement(Resource=None)),
        policy(statement(Resource="secret")),
        policy(statement(Resource="arn:aws:s3")),
        policy(statement(Resource="")),
        policy(statement(Condition=[])),
        policy(statement(Condition={"StringEquals": "x"})),
        policy(statement(Condition={"StringEquals": {}})),
        policy(statement(Condition={"StringEquals": {"k": []}})),
        policy(statement(Condition={"StringEquals": {"k": {}}})),
        policy(statement(Condition={"StringEquals": {"": "x"}})),
        policy(statement(Condition={"Equals": {"k": "x"}})),
        policy(statement(Condition={"NullIfExists": {"k": "true"}})),
        policy(statement(Condition={"ForSomeValues:StringEquals": {"k": "x"}})),
        policy(statement(Condition={"NumericEquals": {"k": "many"}})),
        policy(statement(Condition={"NumericEquals": {"k": "NaN"}})),
        policy(statement(Condition={"DateLessThan": {"k": "tomorrow"}})),
        policy(statement(Condition={"Bool": {"k": "yes"}})),
        policy(statement(Condition={"IpAddress": {"k": "10.0.0.0/33"}})),
        policy(statement(Condition={"ArnLike": {"k": "role"}})),
        policy(statement(Principal={"AWS": "arn:aws:iam::123456789012:user/\ud800"})),
        policy(statement(Sid="\udfff")),
        policy(statement(Condition={"StringEquals": {"aws:\ud800": "x"}})),
        '{"Statement": [], "Statement": []}',
        policy().replace('"Effect": "Allow"', '"Effect": "Deny", "Effect": "Allow"'),
        policy().replace('"*"', "NaN"),
        "[" * 20_000,
        '{"Statement":' * 5_000,
        policy() + "x",
        "\ufeff" + policy(),
    ],
)
def test_what_is_no_policy_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_resource_policy(text)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "condition",
    [
        {"DateGreaterThan": {"aws:CurrentTime": "2026-01-01T00:00:00Z"}},
        {"DateLessThanEquals": {"aws:EpochTime": 1795000000}},
        {"NotIpAddress": {"aws:SourceIp": ["10.0.0.0/8", "2001:db8::/32", "192.0.2.1"]}},
        {"ArnLike": {"aws:SourceArn": ["arn:aws:s3:::bucket/*", "arn:aws:*", "${aws:PrincipalArn}"]}},
        {"BinaryEquals": {"k": "QmFzZTY0"}},
        {"ForAnyValue:StringEquals": {"k": "x"}},
        {"Null": {"k": "true"}},
        {"NumericNotEqualsIfExists": {"k": "1.5"}},
    ],
)
def test_conditions_of_each_kind_are_read(condition: dict[str, Any]) -> None:
    (read,) = read_resource_policy(policy(statement(Condition=condition))).statements
    assert len(read.conditions) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Version", "Statement", "Effect", "Principal", "Action", "Resource", "Condition", "AWS"]
            )
            | st.text(max_size=4),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(json_values, st.sampled_from([None, *STATEMENT, "Condition", "Sid"]))
def test_hostile_documents_raise_nothing_else(value: Any, element: str | None) -> None:
    """Any JSON, alone or in the place of one element of a good policy."""
    text = json.dumps(value) if element is None else policy({**STATEMENT, element: value})
    with suppress(ValueError):
        read_resource_policy(text)


@given(st.text(max_size=60))
def test_hostile_texts_raise_nothing_else(text: str) -> None:
    with suppress(ValueError):
        read_resource_policy(text)


def test_a_policy_as_large_as_they_come_is_read_at_once() -> None:
    many = policy(*(statement(Sid=str(number)) for number in range(140)))
    assert 15_000 < len(many) <= 20_480
    began = time.thread_time()
    assert len(read_resource_policy(many).statements) == 140
    for hostile in ('{"a":' * 3_000, "[" * 20_480, '"' + "\\" * 20_000, "9" * 20_480):
        with pytest.raises(ValueError, match=r"."):
            read_resource_policy(hostile)
    assert time.thread_time() - began < 0.5


def test_an_empty_condition_demands_nothing() -> None:
    """AWS's console writes one into the trust policy of a new role."""
    (read,) = read_resource_policy(policy(statement(Condition={}))).statements
    assert not read.conditions


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("arn:aws", "arn:aws:*:*:*:*"),
        ("arn:aws:secretsmanager", "arn:aws:secretsmanager:*:*:*"),
        ("arn:aws:secretsmanager:eu-*", "arn:aws:secretsmanager:eu-*:*:*"),
        ("arn:aws:kms:eu-central-1:123456789012", "arn:aws:kms:eu-central-1:123456789012:*"),
        ("arn:aws:kms:eu-central-1:123456789012:key/x", "arn:aws:kms:eu-central-1:123456789012:key/x"),
        ("*", "*"),
    ],
)
def test_an_arn_cut_short_in_an_identitys_policy_is_completed(written: str, meant: str) -> None:
    text = json.dumps({"Statement": {"Effect": "Allow", "Action": "a:b", "Resource": written}})
    assert list(read_identity_policy(text).statements[0].resources.texts) == [meant]


@pytest.mark.parametrize("written", ["arn", "arn:", "arn:aws:", "aws:secretsmanager", "", "arn:aws:s3:::"])
def test_what_is_no_beginning_of_an_arn_is_not(written: str) -> None:
    text = json.dumps({"Statement": {"Effect": "Allow", "Action": "a:b", "Resource": written}})
    with pytest.raises(ValueError, match="Resource"):
        read_identity_policy(text)


@pytest.mark.parametrize("element", ["Action", "Resource", "NotAction", "NotResource"])
def test_an_empty_list_names_nothing_and_is_refused(element: str) -> None:
    given = {"Effect": "Allow", "Action": "a:b", "Resource": "*", element: []}
    if element.startswith("Not"):
        del given[element.removeprefix("Not")]
    with pytest.raises(ValueError, match="must be a text or a list of texts"):
        read_identity_policy(json.dumps({"Statement": given}))
