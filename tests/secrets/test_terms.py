"""Terms say of a filter exactly what `filters` says: the store may look by them, also for what is left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.support import NOON
from turnlock.core.arn import AccountId, Region
from turnlock.secrets import Secret
from turnlock.secrets.listing.filters import compile_filters, words
from turnlock.secrets.listing.terms import LONGEST, Term, as_text, from_text, question_of, terms_of

KEYS = ("all", "description", "name", "owning-service", "primary-region", "tag-key", "tag-value")
ALPHABET = "abAB01 :_@/+=.-"
ODD = ALPHABET + "\n\t!\x01é🔑%'"

texts = st.text(ODD, max_size=12)
values = st.text(ALPHABET, max_size=5) | st.text("!" + ALPHABET, max_size=5)


def of_name(name: str) -> Secret:
    return Secret(
        account_id=AccountId("123456789012"),
        region=Region("eu-central-1"),
        name=name,
        suffix="abcdef",
        created_at=NOON,
        last_changed_at=NOON,
    )


@st.composite
def secrets(draw: st.DrawFn) -> tuple[Secret, dict[str, str]]:
    secret = of_name(draw(st.text("abAB01/_-", min_size=1, max_size=12))).evolve(
        description=draw(st.none() | texts),
        owning_service=draw(st.sampled_from([None, "aB", "ab0"])),
        primary_region=draw(st.sampled_from([None, Region("a-b-0")])),
    )
    return secret, draw(st.dictionaries(texts.filter(bool), texts, max_size=3))


filters = st.fixed_dictionaries(
    {"Key": st.sampled_from(KEYS), "Values": st.lists(values, min_size=1, max_size=3)}
)


def told(secret: Secret, tags: Mapping[str, str], one: Mapping[str, Any]) -> bool | None:
    """Say whether the secret's text of terms answers the filter; None when the terms tell nothing of what is wanted."""
    text, question = as_text(terms_of(secret, tags)), question_of(one)

    def holds(alternative: Any) -> bool:
        return all(term.mark in text for term in alternative)

    if any(map(holds, question.unwanted)):
        return False
    if not question.wanted:
        return None
    return any(map(holds, question.wanted))


@given(secrets(), filters)
@example(
    (
        of_name("a"),
        {"k": "x\nnb"},
    ),
    {"Key": "name", "Values": ["b"]},
)
@example(
    (
        of_name("0"),
        {},
    ),
    {"Key": "all", "Values": ["0", "!"]},
)
def test_the_terms_agree_with_the_filters(found: tuple[Secret, dict[str, str]], one: dict[str, Any]) -> None:
    secret, tags = found
    answer, expected = told(secret, tags, one), compile_filters([one])(secret, tags)
    nothing_wanted = all(value.startswith("!") for value in one["Values"])
    words_only = one["Key"] in {"all", "description"}
    wordless = words_only and not all(words(value.removeprefix("!")) for value in one["Values"])
    if answer is None:
        assert nothing_wanted or words_only  # the filters decide
    elif wordless:
        assert (
            answer or not expected
        )  # what has no word is for the filters; none that they would list is kept out
    else:
        assert answer == expected
    if answer is None and nothing_wanted and not words_only:
        assert expected


@given(secrets())
def test_the_text_holds_the_terms(found: tuple[Secret, dict[str, str]]) -> None:
    terms = terms_of(*found)
    assert from_text(as_text(terms)) == terms
    assert all("\n" not in term.text for term in terms)


def test_a_long_text_is_known_by_as_much_as_a_filter_can_ask() -> None:
    secret, tags = _long(), {"k": "v" * 256}
    assert Term("d", "x" * LONGEST) in terms_of(secret, tags)
    assert told(secret, tags, {"Key": "description", "Values": ["x" * 512]})
    assert max(len(term.text) for term in terms_of(secret, tags)) == LONGEST


def _long() -> Secret:
    return Secret(
        account_id=AccountId("123456789012"),
        region=Region("eu-central-1"),
        name="n",
        suffix="abcdef",
        description="x" * 2048,
        created_at=NOON,
        last_changed_at=NOON,
    )


@pytest.mark.parametrize(
    ("key", "value", "marks"),
    [
        ("name", "prod/", ["\nnprod/"]),
        ("tag-key", "", ["\nk"]),
        ("tag-value", "A b", ["\nvA b"]),
        ("all", "credsDatabase#892", ["\nwcreds", "\nwdatabase", "\nw892"]),
        ("description", "My my MY", ["\ndmy"]),
        ("all", "--", []),
        ("owning-service", "rds", ["\nords"]),
        ("primary-region", "eu", ["\npeu"]),
    ],
)
def test_what_a_value_asks_for(key: str, value: str, marks: list[str]) -> None:
    wanted = question_of({"Key": key, "Values": [value]}).wanted
    assert [[term.mark for term in asked] for asked in wanted] == ([marks] if marks else [])
    unwanted = question_of({"Key": key, "Values": ["!" + value]}).unwanted
    assert [[term.mark for term in asked] for asked in unwanted] == ([marks] if marks else [])
