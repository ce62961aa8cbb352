"""ListSecrets' filters (user guide, "Find secrets"), as pure predicates."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from turnlock.errors import InvalidParameterException
from turnlock.secrets.model import Secret

Predicate = Callable[[Secret, Mapping[str, str]], bool]
"""(secret, its tags) → whether it is listed."""

# Where AWS splits text into words: at upper after lower case, at a letter before a digit, and around punctuation.
_WORD = re.compile(r"[A-Z]*[a-z]+|[A-Z]+|[0-9]+")


def words(text: str) -> list[str]:
    """Split text into words as AWS's search does, in lower case: `credsDatabase#892` → creds, database, 892."""
    return [word.lower() for word in _WORD.findall(text)]


def compile_filters(filters: Sequence[Mapping[str, Any]]) -> Predicate:
    """Return the predicate for a list of filters: all of them hold; of one filter's values any holds.

    A value that starts with `!` excludes: a secret that matches it is out, whatever the other values say.
    Raises InvalidParameterException for a filter without key or values.
    """
    predicates = [_compile(one) for one in filters]
    return lambda secret, tags: all(predicate(secret, tags) for predicate in predicates)


def _compile(one: Mapping[str, Any]) -> Predicate:
    key, values = one.get("Key"), one.get("Values", ())
    if key is None or not values:
        raise InvalidParameterException("A filter must have a Key and at least one value in Values.")
    test = _TESTS[key]
    wanted = [value for value in values if not value.startswith("!")]
    unwanted = [value[1:] for value in values if value.startswith("!")]

    def matches(secret: Secret, tags: Mapping[str, str]) -> bool:
        if any(test(secret, tags, value) for value in unwanted):
            return False
        return not wanted or any(test(secret, tags, value) for value in wanted)

    return matches


def _has_prefix(texts: Iterable[str], value: str) -> bool:
    return any(text.startswith(value) for text in texts)


def _every_word_begins_one(text: str, value: str) -> bool:
    present = words(text)
    return all(_has_prefix(present, word) for word in words(value))


def _in_description(secret: Secret, _tags: Mapping[str, str], value: str) -> bool:
    return secret.description is not None and _every_word_begins_one(secret.description, value)


def _anywhere(secret: Secret, tags: Mapping[str, str], value: str) -> bool:
    return _every_word_begins_one(
        " ".join((secret.name, secret.description or "", *tags, *tags.values())), value
    )


_TESTS: Mapping[str, Callable[[Secret, Mapping[str, str], str], bool]] = {
    "all": _anywhere,
    "description": _in_description,
    "name": lambda secret, _tags, value: secret.name.startswith(value),
    "owning-service": lambda secret, _tags, value: (
        secret.owning_service is not None and secret.owning_service.startswith(value)
    ),
    "primary-region": lambda secret, _tags, value: (secret.primary_region or secret.region).startswith(value),
    "tag-key": lambda _secret, tags, value: _has_prefix(tags, value),
    "tag-value": lambda _secret, tags, value: _has_prefix(tags.values(), value),
}
