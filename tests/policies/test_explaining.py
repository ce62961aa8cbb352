"""Explanations: the statement that decides, and the one that came nearest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.policies.asking import ACCOUNT, ANN, GET, ROOT, SECRET, Ask, allow, deny, document
from turnlock.policies import Allowed, Explanation, explain

HOME = SECRET[: SECRET.index("prod")]


def explained(ask: Ask) -> Explanation:
    found = explain(ask.made_call(), ask.action, ask.made_subject(), ask.made_holdings())
    assert found.allowed == isinstance(ask.decision(), Allowed)
    assert (found.action, found.resource) == (f"{ask.service}:{ask.action}", SECRET)
    return found


def lacks(ask: Ask) -> Sequence[str]:
    found = explained(ask)
    assert found.nearest is not None
    return found.nearest.lacks


def test_what_allows_is_cited() -> None:
    policy = document(allow("kms:*"), allow(Sid="Read"))
    found = explained(Ask(identity=[document(allow("sts:*")), policy]))
    assert found.because == "an identity-based policy allows it"
    assert found.by is not None
    assert (found.by.policy, found.by.number, found.by.sid) == ("p1", 2, "Read")
    assert found.nearest is None


def test_what_denies_is_cited() -> None:
    found = explained(Ask(identity=[document(allow())], boundary=document(allow(), deny(Sid="No"))))
    assert found.because == "a permissions boundary denies it"
    assert found.by is not None
    assert (found.by.policy, found.by.number, found.by.sid) == ("boundary", 2, "No")


def test_the_root_user_and_grants_need_no_statement() -> None:
    assert (
        explained(Ask(principal=ROOT)).because == "the account's root user may do everything in its account"
    )
    granted = explained(Ask(policy_decides=True, granted=lambda _: True))
    assert (granted.because, granted.by) == ("a grant allows it", None)


@pytest.mark.parametrize(
    ("ask", "expected"),
    [
        (
            Ask(identity=[document(allow("secretsmanager:DescribeSecret"))]),
            ["Action is secretsmanager:DescribeSecret"],
        ),
        (Ask(identity=[document(allow(resource=HOME + "dev/*"))]), [f"Resource is {HOME}dev/*"]),
        (
            Ask(identity=[document(allow(Condition={"StringEquals": {"aws:ResourceTag/Team": "red"}}))]),
            ["Condition StringEquals aws:ResourceTag/Team wants red: the call has no such key"],
        ),
        (
            Ask(
                identity=[document(allow(Condition={"ForAnyValue:StringLike": {"x:k": ["a*", "b"]}}))],
                conditions={"x:k": ["c", "d"]},
            ),
            ["Condition ForAnyValue:StringLike x:k wants one of a*, b: the call has one of c, d"],
        ),
        (
            Ask(identity=[document({"Effect": "Allow", "NotAction": GET, "Resource": "*"})]),
            [f"NotAction is {GET}"],
        ),
        (
            Ask(
                of_resource=document(
                    {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "*", "Resource": "*"}
                )
            ),
            ["Account is what Principal names: a policy of the user or role must allow it too"],
        ),
        (
            Ask(
                of_resource=document(
                    {"Effect": "Allow", "Principal": {"AWS": ANN.arn + "2"}, "Action": "*", "Resource": "*"}
                )
            ),
            [f"Principal is {ANN.arn}2"],
        ),
        (
            Ask(identity=[document(allow())], boundary=document(allow("kms:*"))),
            ["Action is kms:*"],
        ),
        (Ask(identity=[document(allow())], session=document(allow("kms:*"))), ["Action is kms:*"]),
    ],
)
def test_the_nearest_statement_says_what_it_lacks(ask: Ask, expected: Sequence[str]) -> None:
    assert lacks(ask) == expected


def test_a_condition_is_nearer_than_a_resource_and_a_resource_than_an_action() -> None:
    condition: Any = {"StringEquals": {"x:k": "a"}}
    statements = [
        allow("kms:Decrypt", Sid="Action"),
        allow(resource=HOME + "dev/*", Sid="Resource"),
        allow(Condition=condition, Sid="Condition"),
        allow("kms:Decrypt", Condition=condition, Sid="Two"),
    ]
    for last in (4, 2, 1):
        found = explained(Ask(identity=[document(*statements[:last])])).nearest
        assert found is not None
        assert found.statement.sid == {4: "Condition", 2: "Resource", 1: "Action"}[last]


def test_without_any_statement_nothing_is_near() -> None:
    assert explained(Ask()).nearest is None
    assert explained(Ask(identity=[document(deny("kms:*"))])).nearest is None


def test_keys_that_are_set_from_outside_win() -> None:
    ask = Ask(identity=[document(allow(Condition={"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}))])
    call, subject, held = ask.made_call(), ask.made_subject(), ask.made_holdings()
    assert not explain(call, ask.action, subject, held).allowed
    assert explain(call, ask.action, subject, held, {"aws:sourceip": ["10.1.2.3"]}).allowed
