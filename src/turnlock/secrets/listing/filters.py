"""ListSecrets' filters (user guide, "Find secrets"), as pure predicates."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

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
    looked_at, asked = _KEYS[key]
    wanted = [asked(value) for value in dict.fromkeys(values) if not value.startswith("!")]
    unwanted = [asked(value[1:]) for value in dict.fromkeys(values) if value.startswith("!")]

    def matches(secret: Secret, tags: Mapping[str, str]) -> bool:
        texts = looked_at(secret, tags)
        if texts is None:
            return not wanted
        if any(_has_all(texts, beginnings) for beginnings in unwanted):
            return False
        return not wanted or any(_has_all(texts, beginnings) for beginnings in wanted)

    return matches


def _has_all(texts: Collection[str], beginnings: Iterable[str]) -> bool:
    return all(any(text.startswith(one) for text in texts) for one in beginnings)


def _all_words(secret: Secret, tags: Mapping[str, str]) -> Collection[str]:
    return set(words(" ".join((secret.name, secret.description or "", *tags, *tags.values()))))


class _Key(NamedTuple):
    """One filter key: which texts of a secret it looks at, and how they must match."""

    texts: Callable[[Secret, Mapping[str, str]], Collection[str] | None]
    """The texts of a secret that are looked at; None where there are none, so that nothing matches."""
    asked: Callable[[str], Collection[str]]
    """From a filter's value to the beginnings that some of the texts must have."""


def _whole(value: str) -> Collection[str]:
    return (value,)


_KEYS: Mapping[str, _Key] = {
    "all": _Key(_all_words, words),
    "description": _Key(
        lambda secret, _tags: None if secret.description is None else words(secret.description), words
    ),
    "name": _Key(lambda secret, _tags: (secret.name,), _whole),
    "owning-service": _Key(
        lambda secret, _tags: None if secret.owning_service is None else (secret.owning_service,), _whole
    ),
    "primary-region": _Key(lambda secret, _tags: (secret.primary_region or secret.region,), _whole),
    "tag-key": _Key(lambda _secret, tags: tags, _whole),
    "tag-value": _Key(lambda _secret, tags: tags.values(), _whole),
}
