"""Condition operators, compiled once (IAM user guide, "IAM JSON policy elements: Condition operators").

    positive operators    hold when the request's value is one of the policy's
    negated operators     hold when it is none of them, and where the request has no such key
    …IfExists             holds where the request has no such key
    ForAllValues          each of the request's values; holds where there is none
    ForAnyValue           at least one of them; does not hold where there is none
    Null                  whether the request has no such key

AWS does not say what an operator without a quantifier makes of a key with many values. Here an Allow wants all of them to
match, and a Deny one: the reading that allows less. For the same reason a value of the request that an operator cannot read
is one that an Allow does not match, and makes a Deny hold, whatever the operator; a value of the policy that it cannot read
makes a Deny hold and an Allow not. `compile_condition` is the one place that decides so.
"""

from __future__ import annotations

import base64
import binascii
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from turnlock.core.address import read_address, read_network
from turnlock.policies.asked import Asked, Unreadable
from turnlock.policies.document import Condition, Effect, Quantifier
from turnlock.policies.variables import Pattern, arn_pattern, has_variables, text_pattern
from turnlock.policies.wildcards import is_wild

Test = Callable[[Any, Asked], bool | None]
"""Tells whether one value of the request, as its operator reads it, is what one value of the policy stands for.

None where the policy's value is a variable that has none in this request.
"""

_TEST: Final = 6
"""Units of work that one value of a request beside one of a policy costs, whatever they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One condition, compiled."""

    source: Condition
    key: str
    """In lower case."""
    holds: Callable[[Asked], bool]
    """Raises WorkSpent."""


def compile_condition(condition: Condition, effect: Effect, *, variables: bool) -> Check:
    """Compile one condition of a statement with this effect."""
    key = condition.key.lower()
    compiled = _null if condition.operator == "Null" else _compared_with
    compute = compiled(condition, key, effect, variables=variables)

    def holds(asked: Asked) -> bool:
        try:
            return compute(asked)
        except Unreadable:
            return effect is Effect.DENY

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
    read: Callable[[str], Any]
    """(a value of the request) → what the tests look at; None for one that the operator cannot read."""
    compile: Callable[[str, bool], Test]
    """(a value of the policy, whether it may hold variables) → its test."""
    negated: bool = False
    plain: Callable[[str], bool] | None = None
    """Whether a value of the policy without variables stands for itself alone; None where no value does."""

    def tests(self, values: Sequence[str], *, variables: bool) -> Iterator[Test]:
        """Yield the tests of a policy's values: one for all that stand for themselves, and one for each other."""
        plain: set[Any] = set()
        for value in values:
            if self.plain is None or not self.plain(value) or (variables and has_variables(value)):
                yield self.compile(value, variables)
            else:
                plain.add(self.read(value))
        if plain:
            yield lambda found, _asked: found in plain


def _null(condition: Condition, key: str, _effect: Effect, *, variables: bool) -> Callable[[Asked], bool]:
    del variables  # the operator takes none
    accepted = {value.lower() for value in condition.values}

    def compute(asked: Asked) -> bool:
        if not accepted <= {"true", "false"}:
            raise Unreadable
        return ("false" if asked.lookup(key) else "true") in accepted

    return compute


def _compared_with(
    condition: Condition, key: str, effect: Effect, *, variables: bool
) -> Callable[[Asked], bool]:
    """Return what computes a condition; it raises Unreadable, for a value after one that would have decided too."""
    operator_ = _OPERATORS[condition.operator]
    tests = list(operator_.tests(condition.values, variables=variables))
    cost = _TEST * len(tests)
    matched = _none_of(tests, effect) if operator_.negated else _any_of(tests)
    together = _together(condition.quantifier, effect)
    where_absent = _holds_where_absent(condition, negated=operator_.negated)

    def compute(asked: Asked) -> bool:
        values = asked.lookup(key)
        if not values:
            return where_absent
        asked.work.charge(cost * len(values) + sum(map(len, values)) // 16)
        read = [operator_.read(value) for value in values]
        if effect is Effect.DENY and None in read:
            raise Unreadable
        return together([value is not None and matched(value, asked) for value in read])

    return compute


Matched = Callable[[Any, Asked], bool]


def _any_of(tests: Sequence[Test]) -> Matched:
    if len(tests) == 1:
        only = tests[0]
        return lambda value, asked: bool(only(value, asked))
    return lambda value, asked: any(_each(tests, value, asked))


def _each(tests: Sequence[Test], value: Any, asked: Asked) -> list[bool | None]:
    """Return what every test says: one that cannot be read counts wherever it stands."""
    return [test(value, asked) for test in tests]


def _none_of(tests: Sequence[Test], effect: Effect) -> Matched:
    """Tell whether a value is none of a policy's. An Allow does not know that where one of these has no value (None)."""
    if effect is Effect.ALLOW:
        return lambda value, asked: all(one is False for one in _each(tests, value, asked))
    return lambda value, asked: not any(_each(tests, value, asked))


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

    def test(found: str, asked: Asked) -> bool | None:
        in_lower_case = asked._replace(lookup=lambda key: [one.lower() for one in asked.lookup(key)])
        return lowered.matches(found, asked if lowered.fixed else in_lower_case)

    return test


def _arn(value: str, variables: bool) -> Test:
    pattern: Pattern = arn_pattern(value, variables=variables)
    return pattern.matches


def _arn_text(text: str) -> str | None:
    return text if text.count(":") >= 5 else None


def _compared(
    parse: Callable[[str], Any], compare: Callable[[Any, Any], bool]
) -> Callable[[str, bool], Test]:
    def compile_value(value: str, _variables: bool) -> Test:
        wanted = parse(value)
        return _unreadable if wanted is None else lambda given, _asked: compare(given, wanted)

    return compile_value


def _unreadable(_given: Any, _asked: Asked) -> bool:
    raise Unreadable


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


def _network(value: str, _variables: bool) -> Test:
    network = read_network(value)
    return _unreadable if network is None else lambda given, _asked: given in network


def _text(text: str) -> str:
    return text


def _is_plain(_text: str) -> bool:
    return True


def _has_no_wildcard(text: str) -> bool:
    return not is_wild(text)


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
    "StringEquals": _Operator(_text, _string(wildcards=False), plain=_is_plain),
    "StringNotEquals": _Operator(_text, _string(wildcards=False), negated=True, plain=_is_plain),
    "StringEqualsIgnoreCase": _Operator(str.lower, _ignoring_case, plain=_is_plain),
    "StringNotEqualsIgnoreCase": _Operator(str.lower, _ignoring_case, negated=True, plain=_is_plain),
    "StringLike": _Operator(_text, _string(wildcards=True), plain=_has_no_wildcard),
    "StringNotLike": _Operator(_text, _string(wildcards=True), negated=True, plain=_has_no_wildcard),
    **{
        f"{name}{end}": _Operator(parse, _compared(parse, compare), negated=negated)
        for name, parse in (("Numeric", parse_number), ("Date", parse_date))
        for end, (compare, negated) in _COMPARISONS.items()
    },
    "Bool": _Operator(_boolean, _compared(_boolean, operator.eq)),
    "BinaryEquals": _Operator(_bytes, _compared(_bytes, operator.eq)),
    "IpAddress": _Operator(read_address, _network),
    "NotIpAddress": _Operator(read_address, _network, negated=True),
    "ArnEquals": _Operator(_arn_text, _arn),
    "ArnLike": _Operator(_arn_text, _arn),
    "ArnNotEquals": _Operator(_arn_text, _arn, negated=True),
    "ArnNotLike": _Operator(_arn_text, _arn, negated=True),
}
