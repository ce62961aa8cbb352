"""ListSecrets' filters against naive second implementations."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support import NOON
from turnlock.core.arn import AccountId, Region
from turnlock.errors import InvalidParameterException
from turnlock.secrets import Secret
from turnlock.secrets.listing.filters import compile_filters, words

TAGS = {"Team": "Payments", "Cost-Center": "x42", "empty": ""}


def secret(name: str = "prod/db", description: str | None = "Description of my secret") -> Secret:
    return Secret(
        account_id=AccountId("123456789012"),
        region=Region("eu-central-1"),
        name=name,
        suffix="abcdef",
        description=description,
        created_at=NOON,
        last_changed_at=NOON,
    )


def listed(*filters: dict[str, Any], tags: dict[str, str] | None = None, **changes: Any) -> bool:
    return compile_filters(filters)(secret(**changes), TAGS if tags is None else tags)


def by(key: str, *values: str) -> dict[str, Any]:
    return {"Key": key, "Values": list(values)}


def naive_words(text: str) -> list[str]:
    """Split character by character: a word ends where its kind does, and a lower-case run before an upper-case letter."""
    found: list[str] = []
    previous = ""
    for character in text:
        kind = (
            "digit"
            if character in string.digits
            else "upper"
            if character in string.ascii_uppercase
            else "lower"
            if character in string.ascii_lowercase
            else ""
        )
        goes_on = kind == previous or (previous, kind) == ("upper", "lower")
        if kind and goes_on:
            found[-1] += character.lower()
        elif kind:
            found.append(character.lower())
        previous = kind
    return found


@given(text=st.text(st.sampled_from("abXYZ019 -_/é!"), max_size=30))
def test_words_are_those_of_the_naive_tokenizer(text: str) -> None:
    assert words(text) == naive_words(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("credsDatabase#892", ["creds", "database", "892"]),
        ("HTTPServer2x", ["httpserver", "2", "x"]),
        ("", []),
        ("#!-", []),
        ("one two\tthree", ["one", "two", "three"]),
    ],
)
def test_words_of_the_user_guides_kind(text: str, expected: list[str]) -> None:
    assert words(text) == expected


@pytest.mark.parametrize(
    ("key", "value", "matches"),
    [
        ("name", "prod", True),
        ("name", "Prod", False),  # case-sensitive
        ("name", "db", False),  # a prefix, not a word
        ("tag-key", "Team", True),
        ("tag-key", "team", False),
        ("tag-key", "Cost", True),
        ("tag-value", "Pay", True),
        ("tag-value", "ments", False),
        ("primary-region", "eu-", True),
        ("primary-region", "us-", False),
        ("owning-service", "rds", False),
        ("description", "My Description", True),
        ("description", "secr", True),
        ("description", "cret", False),
        ("description", "my other", False),
        ("all", "DB", True),
        ("all", "payments 42", True),
        ("all", "center team prod", True),
        ("all", "absent", False),
    ],
)
def test_each_key_looks_where_the_reference_says(key: str, value: str, matches: bool) -> None:
    assert listed(by(key, value)) is matches
    assert listed(by(key, f"!{value}")) is not matches


def test_a_secret_without_description_or_tags_matches_no_such_filter() -> None:
    assert not listed(by("description", "x"), description=None)
    assert not listed(by("tag-key", "x"), tags={})
    assert listed(by("description", "!x"), description=None)


def test_values_are_alternatives_and_filters_add_up() -> None:
    assert listed(by("name", "dev", "prod"))
    assert not listed(by("name", "dev", "test"))
    assert listed(by("name", "prod"), by("tag-key", "Team"))
    assert not listed(by("name", "prod"), by("tag-key", "Absent"))
    assert not listed(by("name", "prod"), by("name", "dev"))
    assert listed()


def test_negated_values_exclude_whatever_the_others_say() -> None:
    assert not listed(by("name", "prod", "!prod/d"))
    assert listed(by("name", "prod", "!test"))
    assert not listed(by("name", "!test", "!prod"))
    assert not listed(by("name", "dev", "!test"))


@pytest.mark.parametrize("broken", [{}, {"Key": "name"}, {"Values": ["x"]}, {"Key": "name", "Values": []}])
def test_a_filter_without_key_or_values_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(InvalidParameterException):
        compile_filters([broken])


VALUE = st.builds(str.__add__, st.sampled_from(["", "!"]), st.sampled_from(["prod", "p", "dev", "prod/db2"]))


@given(
    filters=st.lists(st.lists(VALUE, min_size=1, max_size=4), max_size=3),
    name=st.sampled_from(["prod/db", "dev"]),
)
def test_names_are_filtered_as_plain_words_say(filters: list[list[str]], name: str) -> None:
    expected = True
    for values in filters:
        positive = [value for value in values if value[0] != "!"]
        negative = [value[1:] for value in values if value[0] == "!"]
        some = not positive or True in [name[: len(value)] == value for value in positive]
        none = True not in [name[: len(value)] == value for value in negative]
        expected = expected and some and none
    assert listed(*(by("name", *values) for values in filters), name=name) is expected
