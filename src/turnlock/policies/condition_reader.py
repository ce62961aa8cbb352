"""Reading the Condition element of a statement (IAM user guide, "IAM JSON policy elements: Condition operators")."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from turnlock.core.address import read_network
from turnlock.policies.document import Condition, Quantifier


def read_conditions(raw: object, place: str) -> list[Condition]:
    """Return the conditions of a Condition element; `place` says where it stands.

    Raises ValueError for an operator that there is not, and for a value that its operator cannot read.
    """
    found: list[Condition] = []
    # The console writes an empty Condition into a new role's trust policy; it demands nothing.
    for named, keys in () if raw == {} else _condition_object(raw, place).items():
        quantifier, operator, if_exists = _operator(named, place)
        for key, value in _condition_object(keys, place).items():
            values = _condition_values(value, place)
            if not key or not all(_fits(operator, text) for text in values):
                raise ValueError(
                    f"{place}: a condition has a value that its operator {operator} cannot read."
                )
            found.append(
                Condition(
                    operator=operator, quantifier=quantifier, if_exists=if_exists, key=key, values=values
                )
            )
    return found


def _condition_object(raw: object, place: str) -> dict[str, Any]:
    if not isinstance(raw, dict) or not raw:
        raise ValueError(f"{place}: a Condition must be an object of operators, each with an object of keys.")
    return raw


def _operator(named: str, place: str) -> tuple[Quantifier, str, bool]:
    """Return (quantifier, operator, IfExists) of an operator's name."""
    first, colon, rest = named.partition(":")
    quantifiers = {one.value: one for one in Quantifier if one is not Quantifier.ONE}
    quantifier = quantifiers.get(first) if colon else Quantifier.ONE
    bare = rest if colon else named
    operator = bare.removesuffix("IfExists")
    if quantifier is None or operator not in _OPERATORS or bare == "NullIfExists":
        raise ValueError(f"{place} has a condition operator that no policy has.")
    return quantifier, operator, operator != bare


def _condition_values(value: object, place: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(one, str | bool | int | float) for one in values):
        raise ValueError(
            f"{place}: a condition's value must be a text, a number, a boolean, or a list of these."
        )
    return [one if isinstance(one, str) else json.dumps(one) for one in values]


def _fits(operator: str, text: str) -> bool:
    """Tell whether an operator can read a value; a policy variable may become anything."""
    return "${" in text or _OPERATORS[operator](text)


def _anything(_text: str) -> bool:
    return True


def _is_boolean(text: str) -> bool:
    return text.lower() in {"true", "false"}


def _is_number(text: str) -> bool:
    try:
        return Decimal(text).is_finite()
    except InvalidOperation:
        return False


def _is_date(text: str) -> bool:
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return _is_number(text)
    return True


def _is_network(text: str) -> bool:
    return read_network(text) is not None


def _is_arn_pattern(text: str) -> bool:
    return "*" in text or text.count(":") >= 5


_COMPARED: Final = (
    "Equals",
    "NotEquals",
    "LessThan",
    "LessThanEquals",
    "GreaterThan",
    "GreaterThanEquals",
)
_OPERATORS: Final[Mapping[str, Callable[[str], bool]]] = {
    **dict.fromkeys(("StringEquals", "StringNotEquals", "StringLike", "StringNotLike"), _anything),
    **dict.fromkeys(("StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "BinaryEquals"), _anything),
    **dict.fromkeys((f"Numeric{how}" for how in _COMPARED), _is_number),
    **dict.fromkeys((f"Date{how}" for how in _COMPARED), _is_date),
    **dict.fromkeys(("Bool", "Null"), _is_boolean),
    **dict.fromkeys(("IpAddress", "NotIpAddress"), _is_network),
    **dict.fromkeys(("ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"), _is_arn_pattern),
}
"""By operator: whether it can read a value."""
