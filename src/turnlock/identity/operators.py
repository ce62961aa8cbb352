"""Condition operators, compiled once (IAM user guide, "IAM JSON policy elements: Condition operators").

    positive operators    hold when the request's value is one of the policy's
    negated operators     hold when it is none of them, and where the request has no such key
    …IfExists             holds where the request has no such key
    ForAllValues          each of the request's values; holds where there is none
    ForAnyValue           at least one of them; does not hold where there is none
    Null                  whether the request has no such key

AWS does not say what an operator without a quantifier makes of a key with many values. Here an Allow wants all of them to
match, and a Deny one: the reading that allows less.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from turnlock.identity.policy import Condition, Effect, Quantifier
from turnlock.identity.variables import Lookup, arn_pattern, text_pattern

Test = Callable[[str, Lookup], bool]
"""Tells whether one value of the request is what one value of the policy stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition, compiled."""

    source: Condition
    key: str
    """In lower case."""
    holds: Callable[[Lookup], bool]


def compile_condition(condition: Condition, effect: Effect, *, variables: bool) -> Check:
    """Compile one condition of a statement with this effect."""
    key = condition.key.lower()
    if condition.operator == "Null":
        return Check(source=condition, key=key, holds=_null(key, condition.values))
    operator_ = _OPERATORS[condition.operator]
    tests = [operator_.compile(value, variables) for value in condition.values]
    matched = _negated(tests) if operator_.negated else _any_of(tests)
    together = _together(condition.quantifier, effect)
    where_absent = _holds_where_absent(condition, negated=operator_.negated)

    def holds(lookup: Lookup) -> bool:
        values = lookup(key)
        return together(matched(value, lookup) for value in values) if values else where_absent

    return Check(source=condition, key=key, holds=holds)


def parse_date(text: str) -> datetime | None:
    """Return the moment of an ISO 8601 text, or of seconds since 1970; None for what is neither."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        seconds = parse_number(text)
        return _moment(seconds) if seconds is not None else None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def parse_number(text: str) -> Decimal | None:
    """Return a finite number, None for what is none."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


@dataclass(frozen=True, slots=True)
class _Operator:
    compile: Callable[[str, bool], Test]
    """(a value of the policy, whether it may hold variables) → its test."""
    negated: bool = False


def _null(key: str, wanted: Sequence[str]) -> Callable[[Lookup], bool]:
    accepted = {value.lower() for value in wanted}
    return lambda lookup: ("false" if lookup(key) else "true") in accepted


def _any_of(tests: Sequence[Test]) -> Test:
    if len(tests) == 1:
        return tests[0]
    return lambda value, lookup: any(test(value, lookup) for test in tests)


def _negated(tests: Sequence[Test]) -> Test:
    return lambda value, lookup: not any(test(value, lookup) for test in tests)


def _together(quantifier: Quantifier, effect: Effect) -> Callable[[Any], bool]:
    if quantifier is Quantifier.ONE:
        return all if effect is Effect.ALLOW else any
    return all if quantifier is Quantifier.ALL else any


def _holds_where_absent(condition: Condition, *, negated: bool) -> bool:
    if condition.if_exists or condition.quantifier is Quantifier.ALL:
        return True
    return negated and condition.quantifier is Quantifier.ONE


def _string(*, wildcards: bool) -> Callable[[str, bool], Test]:
    return lambda value, variables: text_pattern(value, wildcards=wildcards, variables=variables).matches


def _ignoring_case(value: str, variables: bool) -> Test:
    lowered = text_pattern(value.lower(), wildcards=False, variables=variables)

    def test(found: str, lookup: Lookup) -> bool:
        return lowered.matches(found.lower(), lambda key: [one.lower() for one in lookup(key)])

    return test


def _arn(value: str, variables: bool) -> Test:
    pattern = arn_pattern(value, variables=variables)
    return lambda found, lookup: found.count(":") >= 5 and pattern.matches(found, lookup)


def _compared(
    parse: Callable[[str], Any], compare: Callable[[Any, Any], bool]
) -> Callable[[str, bool], Test]:
    def compile_value(value: str, _variables: bool) -> Test:
        wanted = parse(value)

        def test(found: str, _lookup: Lookup) -> bool:
            given = parse(found)
            return wanted is not None and given is not None and compare(given, wanted)

        return test

    return compile_value


def _moment(seconds: Decimal) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(seconds), UTC)
    except (OverflowError, ValueError, OSError):
        return None


def _boolean(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _bytes(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _network(value: str, _variables: bool) -> Test:
    try:
        network = ipaddress.ip_network(value, strict=False)
    except ValueError:
        return lambda _found, _lookup: False

    def test(found: str, _lookup: Lookup) -> bool:
        address = _address(found)
        return address is not None and address in network

    return test


_COMPARISONS: Final[Mapping[str, tuple[Callable[[Any, Any], bool], bool]]] = {
    "Equals": (operator.eq, False),
    "NotEquals": (operator.eq, True),
    "LessThan": (operator.lt, False),
    "LessThanEquals": (operator.le, False),
    "GreaterThan": (operator.gt, False),
    "GreaterThanEquals": (operator.ge, False),
}
"""By the end of an operator's name: how it compares, and whether it is negated."""

_OPERATORS: Final[Mapping[str, _Operator]] = {
    "StringEquals": _Operator(_string(wildcards=False)),
    "StringNotEquals": _Operator(_string(wildcards=False), negated=True),
    "StringEqualsIgnoreCase": _Operator(_ignoring_case),
    "StringNotEqualsIgnoreCase": _Operator(_ignoring_case, negated=True),
    "StringLike": _Operator(_string(wildcards=True)),
    "StringNotLike": _Operator(_string(wildcards=True), negated=True),
    **{
        f"{name}{end}": _Operator(_compared(parse, compare), negated=negated)
        for name, parse in (("Numeric", parse_number), ("Date", parse_date))
        for end, (compare, negated) in _COMPARISONS.items()
    },
    "Bool": _Operator(_compared(_boolean, operator.eq)),
    "BinaryEquals": _Operator(_compared(_bytes, operator.eq)),
    "IpAddress": _Operator(_network),
    "NotIpAddress": _Operator(_network, negated=True),
    "ArnEquals": _Operator(_arn),
    "ArnLike": _Operator(_arn),
    "ArnNotEquals": _Operator(_arn, negated=True),
    "ArnNotLike": _Operator(_arn, negated=True),
}
