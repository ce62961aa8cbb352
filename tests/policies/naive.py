"""A second reading of policies: straight from the JSON, with nothing compiled, cached or shared with the evaluator."""

from __future__ import annotations

import base64
import fnmatch
import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Keys = Mapping[str, Sequence[str]]


class Unreadable(Exception):
    """A value that its operator cannot read."""


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def glob(pattern: str, text: str) -> bool:
    escaped = pattern.replace("[", "[[]")
    return re.fullmatch(fnmatch.translate(escaped), text) is not None


def substituted(pattern: str, keys: Keys) -> str | None:
    """Return a pattern with its variables as texts in which wildcards are marked, None where one has no value."""

    def one(found: re.Match[str]) -> str:
        inside = found[1]
        if inside in ("*", "?", "$"):
            return {"*": "\1", "?": "\2", "$": "$"}[inside]
        key, _, default = inside.partition(", ")
        values = keys.get(key.lower(), ())
        value = values[0] if len(values) == 1 else default.strip("'") if default else None
        if value is None:
            raise KeyError(key)
        return value.replace("*", "\1").replace("?", "\2")

    try:
        return re.sub(r"\$\{([^}]*)\}", one, pattern)
    except KeyError:
        return None


def plain(whole: str) -> str:
    return whole.replace("\1", "*").replace("\2", "?")


def like(pattern: str, text: str, keys: Keys) -> bool:
    whole = substituted(pattern, keys)
    return whole is not None and glob(whole, text.replace("*", "\1").replace("?", "\2"))


def resource_like(pattern: str, text: str, keys: Keys) -> bool:
    """Six segments, each for itself; the star that ends one may take the colon and more."""
    if pattern == "*":
        return True
    whole = substituted(pattern, keys)
    if whole is None:
        return False
    marked = text.replace("*", "\1").replace("?", "\2")
    return segments(whole.split(":", 5), marked)


def segments(patterns: list[str], text: str) -> bool:
    first, rest = patterns[0], patterns[1:]
    if not rest:
        return glob(first, text)
    for place, character in enumerate(text):
        taken = text[:place]
        if character == ":" and glob(first, taken) and (":" not in taken or first.endswith("*")):
            inside = ":" not in taken or segment_then_any(first, taken)
            if inside and segments(rest, text[place + 1 :]):
                return True
    return False


def segment_then_any(pattern: str, taken: str) -> bool:
    """Tell whether all but the last star of a pattern match without a colon."""
    return any(
        ":" not in taken[:place] and glob(pattern[:-1], taken[:place]) for place in range(len(taken) + 1)
    )


def arn_like(pattern: str, text: str, keys: Keys) -> bool:
    if text.count(":") < 5:
        raise Unreadable
    if pattern == "*":
        return True
    whole = substituted(pattern, keys)
    if whole is None:
        return False
    parts, wanted = text.split(":", 5), whole.split(":", 5)
    return len(wanted) == 6 and all(glob(one, part) for one, part in zip(wanted, parts, strict=True))


def date(text: str) -> datetime:
    if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text):
        return datetime.fromtimestamp(float(text), UTC)
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def compares(how: str, left: Any, right: Any) -> bool:
    results: dict[str, bool] = {
        "Equals": left == right,
        "NotEquals": left == right,
        "LessThan": left < right,
        "LessThanEquals": left <= right,
        "GreaterThan": left > right,
        "GreaterThanEquals": left >= right,
    }
    return results[how]


def has_no_value(operator: str, wanted: str, keys: Keys) -> bool:
    return operator.startswith(("String", "Arn")) and substituted(wanted, keys) is None


def value_matches(operator: str, wanted: str, given: str, keys: Keys) -> bool:
    """Tell whether one value is the other's, negation aside. Raises Unreadable for a given value that cannot be read."""
    if operator in ("StringEquals", "StringNotEquals"):
        whole = substituted(wanted, keys)
        return whole is not None and plain(whole) == given
    if "IgnoreCase" in operator:
        whole = substituted(wanted, keys)
        return whole is not None and plain(whole).lower() == given.lower()
    if operator in ("StringLike", "StringNotLike"):
        return like(wanted, given, keys)
    if operator.startswith("Arn"):
        return arn_like(wanted, given, keys)
    try:
        if operator.startswith("Numeric"):
            return compares(operator.removeprefix("Numeric"), float(given), float(wanted))
        if operator.startswith("Date"):
            return compares(operator.removeprefix("Date"), date(given), date(wanted))
        if operator == "Bool":
            return ["false", "true"].index(wanted.lower()) == ["false", "true"].index(given.lower())
        if operator == "BinaryEquals":
            return base64.b64decode(wanted, validate=True) == base64.b64decode(given, validate=True)
        return ipaddress.ip_address(given) in ipaddress.ip_network(wanted, strict=False)
    except (ValueError, TypeError):
        raise Unreadable from None


def condition_holds(name: str, key: str, values: Any, keys: Keys, effect: str) -> bool:
    given = keys.get(key.lower(), ())
    quantifier, _, operator = name.rpartition(":")
    texts = [one if isinstance(one, str) else json.dumps(one) for one in listed(values)]
    if operator == "Null":
        return any((one.lower() == "true") == (not given) for one in texts)
    if operator.endswith("IfExists"):
        if not given:
            return True
        operator = operator.removesuffix("IfExists")
    negated = "Not" in operator
    if not given:
        return quantifier == "ForAllValues" or (negated and not quantifier)
    each: list[bool] = []
    for value in given:
        try:
            matches = [value_matches(operator, one, value, keys) for one in texts]
        except Unreadable:
            if effect == "Deny":
                return True
            each.append(False)
            continue
        unknown = negated and effect == "Allow" and any(has_no_value(operator, one, keys) for one in texts)
        each.append(any(matches) != negated and not unknown)
    if quantifier == "ForAllValues" or (not quantifier and effect == "Allow"):
        return all(each)
    return any(each)


def statement_applies(statement: Mapping[str, Any], action: str, resource: str, keys: Keys) -> bool:
    def acts(patterns: Any) -> bool:
        return any(glob(one.lower(), action.lower()) for one in listed(patterns))

    def is_about(patterns: Any) -> bool:
        return any(resource_like(one, resource, keys) for one in listed(patterns))

    if "Action" in statement and not acts(statement["Action"]):
        return False
    if "NotAction" in statement and acts(statement["NotAction"]):
        return False
    if "Resource" in statement and not is_about(statement["Resource"]):
        return False
    if "NotResource" in statement:
        absent = any(substituted(one, keys) is None for one in listed(statement["NotResource"]))
        if is_about(statement["NotResource"]) or (absent and statement["Effect"] == "Allow"):
            return False
    return all(
        condition_holds(name, key, values, keys, statement["Effect"])
        for name, conditions in statement.get("Condition", {}).items()
        for key, values in conditions.items()
    )


class Who:
    """A user or a role's session by the names that a Principal element can have for it."""

    def __init__(self, account: str, own: str, role: str | None) -> None:
        self.account, self.own, self.role = [account, f"arn:aws:iam::{account}:root"], own, role


def granted_to(statement: Mapping[str, Any], who: Who) -> str:
    """Return `self`, `role`, `account` or nothing: how a resource's statement names the caller."""
    negated = "NotPrincipal" in statement
    principal = statement["NotPrincipal" if negated else "Principal"]
    names = ["*"] if principal == "*" else listed(principal.get("AWS", []))
    levels = {
        "self": "*" in names or who.own in names,
        "role": "*" in names or (who.role is not None and who.role in names),
        "account": "*" in names or any(one in names for one in who.account),
    }
    if not negated:
        return next((level for level in ("self", "role", "account") if levels[level]), "")
    if statement["Effect"] == "Allow":
        return "" if any(levels.values()) else "self"
    has = ["self", "account"] + (["role"] if who.role is not None else [])
    return "" if all(levels[level] for level in has) else "self"


def decide(
    *,
    identity: Sequence[str],
    boundary: str | None,
    session: Sequence[str],
    resource_policy: str | None,
    who: Who,
    across: bool,
    decides: bool,
    action: str,
    resource: str,
    keys: Keys,
) -> bool:
    """Return whether the call is allowed."""

    def effects(text: str) -> set[str]:
        return {
            statement["Effect"]
            for statement in listed(json.loads(text)["Statement"])
            if statement_applies(statement, action, resource, keys)
        }

    own = [effects(text) for text in identity]
    bound = None if boundary is None else effects(boundary)
    narrowed = [effects(text) for text in session]
    named = [
        (statement["Effect"], granted_to(statement, who))
        for statement in (listed(json.loads(resource_policy)["Statement"]) if resource_policy else [])
        if statement_applies(statement, action, resource, keys)
    ]
    if any("Deny" in found for found in [*own, bound or set(), *narrowed]):
        return False
    if any(effect == "Deny" and level for effect, level in named):
        return False
    levels = {level for effect, level in named if effect == "Allow"} - {""}
    by_identity = any("Allow" in found for found in own)
    inside = (bound is None or "Allow" in bound) and (
        not narrowed or any("Allow" in found for found in narrowed)
    )
    if across:
        return bool(levels) and by_identity and inside
    if "self" in levels:
        return True
    if decides and not levels:
        return False
    return ("role" in levels or by_identity) and inside
