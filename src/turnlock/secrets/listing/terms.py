"""Terms: what a secret can be found by, and what a filter looks for.

A filter's value gives terms and a secret has terms. The secret matches when each term of the filter is the beginning of
one that it has. This is what `filters` defines for prefixes and words, so the store may search by terms, for excluded
values too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, NamedTuple

from turnlock.secrets.listing.filters import words
from turnlock.secrets.model import Secret

LONGEST: Final = 512
"""The most characters of a term: a filter's value cannot be longer, so the rest is never compared."""

SEPARATOR: Final = "\n"
"""Precedes each term in the single text. It occurs in no term and in no filter's value."""


class TermKind(Enum):
    """What a term was taken from."""

    NAME = "n"
    """The whole name."""
    TAG_KEY = "k"
    """A whole tag key."""
    TAG_VALUE = "v"
    """A whole tag value."""
    WORD = "w"
    """A word of the name, the description, a tag key or a tag value."""
    DESCRIBED = "d"
    """A word of the description."""
    OWNER = "o"
    """The owning service."""
    PRIMARY = "p"
    """The primary's Region; a secret on its own is its own primary."""


class Term(NamedTuple):
    """One term of a secret, or the beginning of one."""

    kind: str
    """A TermKind's value."""
    text: str

    @property
    def mark(self) -> str:
        """The term as in `as_text`. That text contains it exactly when one of its terms begins with this one."""
        return f"{SEPARATOR}{self.kind}{self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One filter, as terms."""

    wanted: Sequence[Sequence[Term]]
    """Alternatives: the secret needs all terms of one. Empty when terms cannot decide this filter."""
    unwanted: Sequence[Sequence[Term]]
    """A secret that has all terms of one of these is excluded."""


_WHOLE: Final = {
    "name": TermKind.NAME,
    "owning-service": TermKind.OWNER,
    "primary-region": TermKind.PRIMARY,
    "tag-key": TermKind.TAG_KEY,
    "tag-value": TermKind.TAG_VALUE,
}
_WORDS: Final = {"all": TermKind.WORD, "description": TermKind.DESCRIBED}


def terms_of(secret: Secret, tags: Mapping[str, str]) -> frozenset[Term]:
    """Return what a secret with these tags can be found by."""
    description = secret.description or ""
    found = {
        TermKind.NAME: (secret.name,),
        TermKind.TAG_KEY: tags.keys(),
        TermKind.TAG_VALUE: tags.values(),
        TermKind.WORD: _words((secret.name, description, *tags, *tags.values())),
        TermKind.DESCRIBED: _words((description,)),
        TermKind.OWNER: () if secret.owning_service is None else (secret.owning_service,),
        TermKind.PRIMARY: (secret.primary_region or secret.region,),
    }
    return frozenset(
        Term(kind.value, text.replace(SEPARATOR, "\t")[:LONGEST])
        for kind, texts in found.items()
        for text in texts
    )


def as_text(terms: Iterable[Term]) -> str:
    """Return terms as one text, in which `Term.mark` can be looked for."""
    return "".join(term.mark for term in sorted(terms))


def from_text(text: str) -> frozenset[Term]:
    """Return the terms in a text that `as_text` made."""
    return frozenset(Term(mark[0], mark[1:]) for mark in text.split(SEPARATOR)[1:])


def question_of(one: Mapping[str, Any]) -> Question:
    """Return what a filter of ListSecrets asks for; the filter is well-formed (`filters.compile_filters`)."""
    key, values = one["Key"], one["Values"]
    wanted = [_asked(key, value) for value in values if not value.startswith("!")]
    unwanted = [_asked(key, value[1:]) for value in values if value.startswith("!")]
    return Question(
        wanted=wanted if all(wanted) else (),
        unwanted=[alternative for alternative in unwanted if alternative],
    )


def _asked(key: str, value: str) -> list[Term]:
    """Return the terms that a secret must have; none when the value has no word."""
    if key in _WHOLE:
        return [Term(_WHOLE[key].value, value)]
    return [Term(_WORDS[key].value, word) for word in dict.fromkeys(words(value))]


def _words(texts: Iterable[str]) -> Iterable[str]:
    return (word for text in texts for word in words(text))
