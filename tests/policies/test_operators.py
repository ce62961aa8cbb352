"""Every condition operator, with its quantifiers and where the key is absent, as the IAM user guide documents them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from tests.policies.asking import Ask, allow, deny, document

KEY = "x:key"
ARN = "arn:aws:lambda:eu-central-1:111122223333:function:rotate"
V6 = "2001:db8:1234::1"

# (operator, the policy's values, the request's values, whether it holds; None where a value cannot be read: in a Deny alone)
ROWS: Sequence[tuple[str, Any, Sequence[str], bool | None]] = [
    ("StringEquals", "a", ["a"], True),
    ("StringEquals", "a", ["A"], False),
    ("StringEquals", "a", ["ab"], False),
    ("StringEquals", "a*", ["ab"], False),
    ("StringEquals", "a*", ["a*"], True),
    ("StringEquals", ["a", "b"], ["b"], True),
    ("StringEquals", ["a", "b"], ["c"], False),
    ("StringEquals", "a", [], False),
    ("StringEquals", "", [""], True),
    ("StringEqualsIfExists", "a", [], True),
    ("StringEqualsIfExists", "a", ["b"], False),
    ("StringEqualsIfExists", "a", ["a"], True),
    ("StringNotEquals", "a", ["b"], True),
    ("StringNotEquals", "a", ["a"], False),
    ("StringNotEquals", ["a", "b"], ["b"], False),
    ("StringNotEquals", ["a", "b"], ["c"], True),
    ("StringNotEquals", "a", [], True),
    ("StringNotEqualsIfExists", "a", [], True),
    ("StringNotEqualsIfExists", "a", ["a"], False),
    ("StringEqualsIgnoreCase", "aB", ["Ab"], True),
    ("StringEqualsIgnoreCase", "aB", ["abc"], False),
    ("StringEqualsIgnoreCase", "a*", ["abc"], False),
    ("StringEqualsIgnoreCase", "a", [], False),
    ("StringNotEqualsIgnoreCase", "aB", ["Ab"], False),
    ("StringNotEqualsIgnoreCase", "aB", ["x"], True),
    ("StringNotEqualsIgnoreCase", "aB", [], True),
    ("StringLike", "a*", ["abc"], True),
    ("StringLike", "a*", ["a"], True),
    ("StringLike", "a?", ["ab"], True),
    ("StringLike", "a?", ["a"], False),
    ("StringLike", "a?", ["abc"], False),
    ("StringLike", "*b*", ["abc"], True),
    ("StringLike", "A*", ["abc"], False),
    ("StringLike", "abc", ["abc"], True),
    ("StringLike", "*", [""], True),
    ("StringLike", "*", [], False),
    ("StringLike", ["x*", "a*"], ["abc"], True),
    ("StringLike", "a.c", ["abc"], False),
    ("StringLikeIfExists", "a*", [], True),
    ("StringNotLike", "a*", ["abc"], False),
    ("StringNotLike", "a*", ["xbc"], True),
    ("StringNotLike", ["a*", "x*"], ["xbc"], False),
    ("StringNotLike", "a*", [], True),
    ("NumericEquals", 10, ["10"], True),
    ("NumericEquals", "10", ["10.0"], True),
    ("NumericEquals", 10, ["11"], False),
    ("NumericEquals", 10, ["ten"], None),
    ("NumericEquals", 10, [], False),
    ("NumericEquals", ["1", "2"], ["2"], True),
    ("NumericEqualsIfExists", 10, [], True),
    ("NumericNotEquals", 10, ["11"], True),
    ("NumericNotEquals", 10, ["10"], False),
    ("NumericNotEquals", 10, [], True),
    ("NumericLessThan", 10, ["9"], True),
    ("NumericLessThan", 10, ["10"], False),
    ("NumericLessThan", 10, ["-1"], True),
    ("NumericLessThan", 10, [], False),
    ("NumericLessThanEquals", 10, ["10"], True),
    ("NumericLessThanEquals", 10, ["10.5"], False),
    ("NumericGreaterThan", 10, ["11"], True),
    ("NumericGreaterThan", 10, ["10"], False),
    ("NumericGreaterThan", 9, ["10"], True),
    ("NumericGreaterThanEquals", 10, ["10"], True),
    ("NumericGreaterThanEquals", 10, ["9"], False),
    ("NumericGreaterThanEqualsIfExists", 10, [], True),
    ("DateEquals", "2026-11-25T12:00:00Z", ["2026-11-25T12:00:00Z"], True),
    ("DateEquals", "2026-11-25T12:00:00Z", ["2026-11-25T13:00:00+01:00"], True),
    ("DateEquals", "2026-11-25T12:00:00Z", ["2026-11-25T12:00:01Z"], False),
    ("DateEquals", "2026-11-25", ["2026-11-25T00:00:00Z"], True),
    ("DateEquals", "2026-11-25T12:00:00Z", ["1795608000"], True),
    ("DateEquals", "2026-11-25T12:00:00Z", ["soon"], None),
    ("DateEquals", "2026-11-25T12:00:00Z", [], False),
    ("DateNotEquals", "2026-11-25T12:00:00Z", ["2026-11-25T12:00:01Z"], True),
    ("DateNotEquals", "2026-11-25T12:00:00Z", ["2026-11-25T12:00:00Z"], False),
    ("DateNotEquals", "2026-11-25T12:00:00Z", [], True),
    ("DateLessThan", "2026-11-25T12:00:00Z", ["2026-11-25T11:59:59Z"], True),
    ("DateLessThan", "2026-11-25T12:00:00Z", ["2026-11-25T12:00:00Z"], False),
    ("DateLessThanEquals", "2026-11-25T12:00:00Z", ["2026-11-25T12:00:00Z"], True),
    ("DateLessThanEquals", "2026-11-25T12:00:00Z", ["2026-11-25T12:00:01Z"], False),
    ("DateGreaterThan", "2026-11-25T12:00:00Z", ["2026-11-25T12:00:01Z"], True),
    ("DateGreaterThan", "2026-11-25T12:00:00Z", ["2026-11-25T12:00:00Z"], False),
    ("DateGreaterThanEquals", "2026-11-25T12:00:00Z", ["2026-11-25T12:00:00Z"], True),
    ("DateGreaterThanEquals", "2026-11-25T12:00:00Z", ["2026-11-25T11:00:00Z"], False),
    ("DateGreaterThanIfExists", "2026-11-25T12:00:00Z", [], True),
    ("Bool", True, ["true"], True),
    ("Bool", "true", ["True"], True),
    ("Bool", "true", ["false"], False),
    ("Bool", False, ["false"], True),
    ("Bool", "true", ["yes"], None),
    ("Bool", "true", [], False),
    ("BoolIfExists", "true", [], True),
    ("BoolIfExists", "true", ["false"], False),
    ("BinaryEquals", "QmluYXJ5", ["QmluYXJ5"], True),
    ("BinaryEquals", "QmluYXJ5", ["QmluYXJ6"], False),
    ("BinaryEquals", "QmluYXJ5", ["!"], None),
    ("BinaryEquals", "QmluYXJ5", [], False),
    ("BinaryEqualsIfExists", "QmluYXJ5", [], True),
    ("IpAddress", "192.0.2.0/24", ["192.0.2.7"], True),
    ("IpAddress", "192.0.2.0/24", ["192.0.3.7"], False),
    ("IpAddress", "192.0.2.7", ["192.0.2.7"], True),
    ("IpAddress", "192.0.2.7", ["192.0.2.8"], False),
    ("IpAddress", ["198.51.100.0/24", "192.0.2.0/24"], ["192.0.2.7"], True),
    ("IpAddress", "0.0.0.0/0", ["192.0.2.7"], True),
    ("IpAddress", "2001:db8:1234::/48", [V6], True),
    ("IpAddress", "2001:db8:9999::/48", [V6], False),
    ("IpAddress", "0.0.0.0/0", [V6], False),
    ("IpAddress", "192.0.2.0/24", ["localhost"], None),
    ("IpAddress", "192.0.2.0/24", [], False),
    ("IpAddressIfExists", "192.0.2.0/24", [], True),
    ("NotIpAddress", "192.0.2.0/24", ["192.0.2.7"], False),
    ("NotIpAddress", "192.0.2.0/24", ["192.0.3.7"], True),
    ("NotIpAddress", ["192.0.2.0/24", "192.0.3.0/24"], ["192.0.3.7"], False),
    ("NotIpAddress", "192.0.2.0/24", [], True),
    ("ArnEquals", ARN, [ARN], True),
    ("ArnEquals", ARN.replace("rotate", "ro*"), [ARN], True),
    ("ArnEquals", ARN, [ARN.upper()], False),
    ("ArnEquals", ARN, ["rotate"], None),
    ("ArnEquals", ARN, [], False),
    ("ArnLike", "arn:aws:lambda:*:*:function:*", [ARN], True),
    ("ArnLike", "arn:aws:lambda:eu-*-1:111122223333:function:rotat?", [ARN], True),
    ("ArnLike", "arn:aws:lambda:*:function:rotate:*", [ARN], False),
    ("ArnLike", "arn:aws:lambda:*:111122223333:*", [ARN], True),
    ("ArnLike", "arn:aws:*:rotate:x:y", [ARN], False),
    ("ArnLike", "arn:aws:sns:*:*:*", [ARN], False),
    ("ArnLike", "*", [ARN], True),
    ("ArnLike", "arn:aws:lambda:*", [ARN], False),
    ("ArnLike", ["arn:aws:sns:*:*:*", "arn:aws:lambda:*:*:*"], [ARN], True),
    ("ArnLikeIfExists", ARN, [], True),
    ("ArnNotEquals", ARN, [ARN], False),
    ("ArnNotEquals", ARN, [ARN + "2"], True),
    ("ArnNotEquals", ARN, [], True),
    ("ArnNotLike", "arn:aws:lambda:*:*:function:*", [ARN], False),
    ("ArnNotLike", "arn:aws:sns:*:*:*", [ARN], True),
    ("ArnNotLike", "arn:aws:sns:*:*:*", [], True),
    ("Null", True, [], True),
    ("Null", "true", ["a"], False),
    ("Null", False, [], False),
    ("Null", "false", ["a"], True),
    # One value of the request must match.
    ("ForAnyValue:StringEquals", ["a", "b"], ["b", "c"], True),
    ("ForAnyValue:StringEquals", ["a", "b"], ["c", "d"], False),
    ("ForAnyValue:StringEquals", ["a", "b"], [], False),
    ("ForAnyValue:StringEqualsIfExists", ["a", "b"], [], True),
    ("ForAnyValue:StringLike", "a*", ["x", "ab"], True),
    ("ForAnyValue:StringNotEquals", ["a", "b"], ["a", "c"], True),
    ("ForAnyValue:StringNotEquals", ["a", "b"], ["a", "b"], False),
    ("ForAnyValue:StringNotEquals", ["a", "b"], [], False),
    ("ForAnyValue:NumericLessThan", 5, ["9", "3"], True),
    ("ForAnyValue:ArnLike", "arn:aws:lambda:*:*:*", ["x", ARN], True),
    ("ForAnyValue:IpAddress", "192.0.2.0/24", ["10.0.0.1", "192.0.2.9"], True),
    ("ForAnyValue:Bool", "true", ["false", "true"], True),
    # All values of the request must match; none is fine.
    ("ForAllValues:StringEquals", ["a", "b"], ["a", "b"], True),
    ("ForAllValues:StringEquals", ["a", "b"], ["a"], True),
    ("ForAllValues:StringEquals", ["a", "b"], ["a", "c"], False),
    ("ForAllValues:StringEquals", ["a", "b"], [], True),
    ("ForAllValues:StringEqualsIfExists", ["a", "b"], ["c"], False),
    ("ForAllValues:StringEqualsIgnoreCase", ["a", "b"], ["A", "B"], True),
    ("ForAllValues:StringLike", "a*", ["ab", "ac"], True),
    ("ForAllValues:StringLike", "a*", ["ab", "xc"], False),
    ("ForAllValues:StringNotEquals", ["a", "b"], ["c", "d"], True),
    ("ForAllValues:StringNotEquals", ["a", "b"], ["a", "d"], False),
    ("ForAllValues:StringNotEquals", ["a", "b"], [], True),
    ("ForAllValues:StringNotLike", "a*", ["xb", "ac"], False),
    ("ForAllValues:NumericLessThan", 5, ["1", "3"], True),
    ("ForAllValues:NumericLessThan", 5, ["1", "9"], False),
    ("ForAllValues:DateLessThan", "2026-11-25", ["2026-11-24"], True),
]


def holds(effect: str, operator: str, values: Any, given: Sequence[str]) -> bool:
    """Tell whether a condition holds, by what a statement of this effect does under it."""
    condition = {operator: {KEY: values}}
    if effect == "Allow":
        return (
            Ask(identity=[document(allow(Condition=condition))], conditions={KEY: given}).outcome()
            == "allowed"
        )
    policy = document(allow(), deny(Condition=condition))
    return Ask(identity=[policy], conditions={KEY: given}).outcome() != "allowed"


@pytest.mark.parametrize(("operator", "values", "given", "expected"), ROWS)
@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_a_condition_holds_as_documented(
    effect: str, operator: str, values: Any, given: Sequence[str], expected: bool | None
) -> None:
    assert holds(effect, operator, values, given) == (effect == "Deny" if expected is None else expected)


# By operator: a value of the policy that it reads, a value of the request that it does not, one that it does and matches.
UNREADABLE = {
    **{
        f"{kind}{how}": (wanted, unreadable, wanted)
        for kind, wanted, unreadable in (
            ("Numeric", "10", "ten"),
            ("Numeric", "10", "NaN"),
            ("Date", "2026-11-25T12:00:00Z", "soon"),
        )
        for how in (
            "Equals",
            "NotEquals",
            "LessThan",
            "LessThanEquals",
            "GreaterThan",
            "GreaterThanEquals",
        )
    },
    "Bool": ("true", "yes", "true"),
    "BinaryEquals": ("QQ==", "!", "QQ=="),
    "IpAddress": ("192.0.2.0/24", "192.0.2", "192.0.2.7"),
    "NotIpAddress": ("192.0.2.0/24", "example.org", "198.51.100.7"),
    "ArnEquals": (ARN, "rotate", ARN),
    "ArnLike": (ARN, "arn:aws:lambda", ARN),
    "ArnNotEquals": (ARN, "rotate", ARN + "2"),
    "ArnNotLike": (ARN, "rotate", ARN + "2"),
}


@pytest.mark.parametrize("quantifier", ["", "ForAnyValue:", "ForAllValues:"])
@pytest.mark.parametrize("end", ["", "IfExists"])
@pytest.mark.parametrize("operator", UNREADABLE)
def test_a_value_of_the_request_that_cannot_be_read_makes_a_deny_hold_and_lets_no_allow_match(
    operator: str, end: str, quantifier: str
) -> None:
    wanted, unreadable, matching = UNREADABLE[operator]
    name = f"{quantifier}{operator}{end}"
    for given in ([unreadable], [matching, unreadable], [unreadable, matching]):
        assert holds("Deny", name, wanted, given)
        assert not holds("Allow", name, wanted, given) or (len(given) > 1 and quantifier == "ForAnyValue:")


@pytest.mark.parametrize("operator", [*(one for one in UNREADABLE if "Arn" not in one), "Null"])
def test_a_value_of_the_policy_that_cannot_be_read_makes_a_deny_hold_and_an_allow_not(operator: str) -> None:
    readable, _, matching = UNREADABLE.get(operator, ("true", "", "a"))
    for values in ("${x:other}", [readable, "${x:other}"], ["${x:other}", readable]):
        assert holds("Deny", operator, values, [matching])
        assert not holds("Allow", operator, values, [matching])


@pytest.mark.parametrize("operator", ["StringEquals", "StringNotEquals", "StringLike", "StringNotLike"])
def test_a_variable_with_many_values_makes_a_deny_hold_and_an_allow_not(operator: str) -> None:
    for value in ("a", "b", "c"):
        for effect in ("Allow", "Deny"):
            condition = {operator: {KEY: "${x:many}"}}
            statement = allow(Condition=condition) if effect == "Allow" else deny(Condition=condition)
            ask = Ask(
                identity=[document(*([] if effect == "Allow" else [allow()]), statement)],
                conditions={KEY: [value], "x:many": ["a", "b"]},
            )
            assert ask.outcome() != "allowed"


@pytest.mark.parametrize(
    "operator", ["StringNotEquals", "StringNotLike", "StringNotEqualsIgnoreCase", "ArnNotLike"]
)
def test_an_allow_does_not_hold_because_a_variable_has_no_value(operator: str) -> None:
    assert not holds("Allow", operator, "${x:absent}", [ARN])
    assert holds("Deny", operator, "${x:absent}", [ARN])


@pytest.mark.parametrize("network", ["::ffff:192.0.2.0/120", "192.0.2.0/24", "::ffff:192.0.2.7"])
@pytest.mark.parametrize("address", ["192.0.2.7", "::ffff:192.0.2.7", "[::ffff:192.0.2.7]"])
def test_an_ipv4_address_that_ipv6_maps_is_the_ipv4_address(network: str, address: str) -> None:
    for effect in ("Allow", "Deny"):
        assert holds(effect, "IpAddress", network, [address])
        assert not holds(effect, "NotIpAddress", network, [address])


@pytest.mark.parametrize("given", [["a", "b"], ["b", "a"]])
def test_an_operator_without_a_quantifier_reads_many_values_on_the_side_that_allows_less(
    given: Sequence[str],
) -> None:
    assert not holds("Allow", "StringEquals", "a", given)
    assert holds("Deny", "StringEquals", "a", given)
    assert not holds("Allow", "StringNotEquals", "a", given)
    assert holds("Deny", "StringNotEquals", "a", given)


def test_all_conditions_of_a_statement_must_hold() -> None:
    both = {"StringEquals": {"x:a": "1", "x:b": "2"}, "StringLike": {"x:c": "3*"}}
    ask = Ask(identity=[document(allow(Condition=both))])
    given = {"x:a": ["1"], "x:b": ["2"], "x:c": ["33"]}
    assert ask.but(conditions=given).outcome() == "allowed"
    for key in given:
        assert ask.but(conditions={**given, key: ["0"]}).outcome() == "no identity-based policy allows"


def test_keys_are_compared_without_regard_to_case() -> None:
    policy = document(allow(Condition={"StringEquals": {"X:Key": "a"}}))
    assert Ask(identity=[policy], conditions={"x:key": ["a"]}).outcome() == "allowed"
