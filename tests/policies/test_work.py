"""What deciding may cost: the same for the same request, bounded, and denied with a reason where it is more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.policies.asking import ACCOUNT, GET, SECRET, Ask, allow, deny, document
from turnlock.core.work import LIMIT, Work, WorkSpent
from turnlock.policies import (
    Allowed,
    Denied,
    NamedPrincipal,
    PrincipalType,
    admits,
    attached,
    decide,
    explain,
    locks_out,
)
from turnlock.policies.reader import MOST_READING, read_identity_policy, reading
from turnlock.policies.wildcards import compile_glob

REASON = "because evaluating the policies takes more work than one request may cost"
AGENT = "b" + "a" * 1023


def packed(*statements: Mapping[str, Any]) -> str:
    """Return a policy of these statements without any space."""
    return json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))


def many(pattern: str, count: int = 2_500, key: str = "aws:UserAgent") -> dict[str, Any]:
    """Return a Deny under so many different patterns."""
    return deny(Condition={"StringLike": {key: [f"{pattern}{number:x}" for number in range(count)]}})


HEAVY = packed(many("*a?a*b", 1_000, "x:many"), allow())
"""A policy that takes too much work when the call's key has many values."""
VALUES = {"x:many": ["a" * 250] * 200}


def decided(ask: Ask, work: Work) -> Allowed | Denied:
    return decide(ask.made_call(), ask._action(), ask.made_subject(), ask.made_holdings(), work)


@pytest.mark.parametrize(
    "policies",
    [
        {"identity": [HEAVY]},
        {"identity": [document(allow())], "session": HEAVY},
        {"identity": [document(allow())], "managed": (HEAVY,)},
        {"identity": [document(allow())], "boundary": HEAVY},
        {
            "identity": [document(allow())],
            "of_resource": packed({**many("*a?a*b", 1_000, "x:many"), "Principal": "*"}),
        },
    ],
    ids=["identity", "session", "managed session", "boundary", "resource"],
)
def test_a_call_whose_policies_take_too_much_work_is_denied_with_a_clear_reason(
    policies: dict[str, Any],
) -> None:
    ask = Ask(**policies)
    assert ask.outcome() == "allowed"
    decision = ask.but(conditions=VALUES).decision()
    assert isinstance(decision, Denied)
    assert decision.reason.endswith(REASON)
    assert decision.lacking is None
    assert decision.by is None


def test_what_a_decision_costs_does_not_hang_on_what_is_remembered() -> None:
    for policies in ([document(allow())], [packed(many("*a*b", 900), allow())], [HEAVY]):
        ask = Ask(identity=policies, call={"user_agent": AGENT}, conditions=VALUES)
        attached.attach.cache_clear()
        attached._concerning.cache_clear()
        cold, warm = Work(), Work()
        assert decided(ask, cold) == decided(ask, warm)
        assert cold.left == warm.left


def test_all_decisions_of_a_request_share_its_work() -> None:
    ask = Ask(identity=[packed(many("*a?a*b", 300), allow())], call={"user_agent": AGENT})
    work, decisions = Work(), 0
    while isinstance(decided(ask, work), Allowed):
        decisions += 1
    assert decisions > 1
    assert work.left < 0
    refused = decided(Ask(identity=[document(allow())]), work)
    assert isinstance(refused, Denied)
    assert refused.reason.endswith(REASON)


def test_a_policy_is_read_once_in_a_request() -> None:
    text = packed(allow("a:*"), *(allow(f"a:b{number}") for number in range(300)), allow())
    work = Work()
    first = decided(Ask(identity=[text]), work), work.left
    assert isinstance(first[0], Allowed)
    assert first[1] < LIMIT - reading(text)
    assert isinstance(decided(Ask(identity=[text]), work), Allowed)
    assert first[1] - work.left < reading(text)


def test_more_text_than_a_request_may_read_is_denied_before_it_is_read() -> None:
    texts = [
        packed(*(allow(f"a:b{number}", SECRET + str(each)) for number in range(100))) for each in range(40)
    ]
    decision = Ask(identity=[*texts, document(allow())]).decision()
    assert isinstance(decision, Denied)
    assert decision.reason.endswith(REASON)


def test_ordinary_policies_take_a_hundredth_of_the_work() -> None:
    home = "arn:aws:secretsmanager:*:111122223333:secret:"
    statement = {"StringEquals": {"aws:ResourceTag/Team": "red"}, "StringLike": {"aws:UserAgent": "*Boto3*"}}
    text = document(
        *(allow([GET], [f"{home}{number}/*"], Condition=statement) for number in range(10)), allow()
    )
    work = Work()
    assert isinstance(decided(Ask(identity=[text]), work), Allowed)
    assert LIMIT - work.left < LIMIT // 50


def test_a_service_is_not_let_in_by_a_policy_that_takes_too_much_work() -> None:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "x.amazonaws.com"},
        "Action": "*",
        "Resource": "*",
    }
    anyone = {**many("*a?a*b", 1_000, "x:many"), "Principal": "*"}
    service = NamedPrincipal(type=PrincipalType.SERVICE, name="x.amazonaws.com")
    for policy, conditions, expected in (
        (packed(statement), {}, True),
        (packed(anyone, statement), {}, True),
        (packed(anyone, statement), VALUES, False),
    ):
        assert admits(policy, service, action=GET, resource=SECRET, conditions=conditions) == expected


def test_an_explanation_says_that_a_decision_takes_too_much_work() -> None:
    ask = Ask(identity=[HEAVY], conditions=VALUES)
    explained = explain(ask.made_call(), "GetSecretValue", ask.made_subject(), ask.made_holdings())
    assert not explained.allowed
    assert explained.because == REASON.removeprefix("because ")


def test_a_policy_that_takes_too_much_work_locks_out_whoever_puts_it() -> None:
    ask = Ask(identity=[document(allow())], conditions=VALUES)
    policy = packed({**many("*a?a*b", 1_000, "x:many"), "Principal": "*"})
    call, subject, holdings = ask.made_call(), ask.made_subject(), ask.made_holdings()
    assert locks_out(call, subject, policy, "GetSecretValue", holdings)


@pytest.mark.parametrize("text", ["*" * 20_000, '","'.join(["*"] * 5_000), "a*?" * 9_000])
def test_a_policy_with_more_values_and_wildcards_than_one_can_have_is_refused(text: str) -> None:
    policy = '{"Version":"2012-10-17","Statement":{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringLike":{"x:k":["%s"]}}}}'
    assert reading(policy % text) > MOST_READING
    with pytest.raises(ValueError, match="more values and wildcards"):
        read_identity_policy(policy % text)
    assert isinstance(Ask(identity=[document(allow()), policy % text]).decision(), Denied)


def test_the_case_of_2700_patterns_and_a_long_user_agent_is_decided_within_the_work() -> None:
    patterns = ["*a*b"] * 2_700
    statement = {"Effect": "Deny", "Principal": "*", "Action": GET, "Resource": "*"}
    policy = packed({**statement, "Condition": {"StringLike": {"aws:UserAgent": patterns}}})
    ask = Ask(identity=[document(allow())], of_resource=policy)
    for agent, expected in ((AGENT, "allowed"), (AGENT + "b", "denied by a resource-based policy")):
        assert ask.but(call={"user_agent": agent}).outcome() == expected


@given(st.text("ab*?", max_size=30), st.text("ab", max_size=30), st.integers(0, 200))
def test_a_match_says_the_same_whatever_is_left_or_stops(pattern: str, text: str, left: int) -> None:
    matcher, work = compile_glob(pattern), Work(left)
    expected = matcher(text)
    try:
        assert matcher(text, work) == expected
    except WorkSpent:
        assert work.left < 0


def values(sizes: Sequence[int]) -> list[str]:
    return ["a" * size for size in sizes]


@pytest.mark.parametrize("sizes", [[1] * 50_000, [2_000] * 3_000])
def test_keys_with_more_values_than_can_be_weighed_deny(sizes: Sequence[int]) -> None:
    ask = Ask(
        identity=[document(allow(), deny(Condition={"StringLike": {"x:k": ["*b?*", "*b*c", "d?"]}}))],
        conditions={"x:k": values(sizes)},
    )
    decision = ask.decision()
    assert isinstance(decision, Denied)
    assert decision.reason.endswith(REASON)
    assert ACCOUNT in decision.reason
