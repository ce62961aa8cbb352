"""Filtered lists against the naive predicate over all secrets: few or many, walked or looked up, on each store."""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, update

from tests.calling import Client
from tests.sampling import examples
from tests.support import NOON
from turnlock.core.arn import AccountId, Region
from turnlock.secrets import Secret
from turnlock.secrets.listing import search, walk
from turnlock.secrets.listing.filters import compile_filters
from turnlock.secrets.store import insert_secret
from turnlock.secrets.tables import secret_terms, secrets
from turnlock.secrets.tags.store import save_tags
from turnlock.storage import Unit

WORDS = ("prod", "Prod", "test", "credsDatabase", "x42", "a", "b", "ab", "Ärger", "a b")
KEYS = ("all", "description", "name", "owning-service", "primary-region", "tag-key", "tag-value")
SORTS = ("created-date", "last-accessed-date", "last-changed-date", "name")
values = st.builds(
    "".join,
    st.tuples(
        st.sampled_from(["", "!"]),
        st.sampled_from(
            ["", "prod", "p", "P", "test/", "creds", "creds Data", "x 4", "a", "eu", "us-", "rds", "--", "zz"]
        ),
    ),
)
filters = st.lists(
    st.fixed_dictionaries({"Key": st.sampled_from(KEYS), "Values": st.lists(values, min_size=1, max_size=3)}),
    max_size=3,
)


def fill(client: Client, count: int = 40) -> dict[str, tuple[Secret, dict[str, str]]]:
    """Make secrets that have much in common; return them with their tags."""
    draw = random.Random(7)
    made: dict[str, tuple[Secret, dict[str, str]]] = {}

    def at() -> datetime:
        return NOON + timedelta(seconds=draw.randrange(5))

    for number in range(count):
        secret = Secret(
            account_id=AccountId(client.account_id),
            region=client.region,
            name=f"{draw.choice(['prod', 'test', 'Prod'])}/{draw.choice(['a', 'b', 'x42'])}{number}",
            suffix="abcdef",
            description=draw.choice([None, " ".join(draw.choices(WORDS, k=3))]),
            created_at=at(),
            last_changed_at=at(),
            last_accessed_at=draw.choice([None, at()]),
            deleted_at=draw.choice([None, None, None, at()]),
            owning_service=draw.choice([None, None, "rds"]),
            primary_region=draw.choice([None, None, Region("us-east-1")]),
        )
        made[secret.name] = secret, {draw.choice(WORDS): draw.choice(WORDS) for _ in range(draw.randrange(3))}

    def insert(unit: Unit) -> None:
        for secret, tags in made.values():
            assert insert_secret(unit, secret)
            save_tags(unit, secret, tags)

    client.database.write(insert)
    return made


def naive(made: Mapping[str, tuple[Secret, dict[str, str]]], asked: Mapping[str, Any]) -> list[str]:
    """Judge every secret, sort them all."""
    matches = compile_filters(asked.get("Filters", []))
    found = [
        secret
        for secret, tags in made.values()
        if matches(secret, tags) and (asked["IncludePlannedDeletion"] or secret.deleted_at is None)
    ]

    def sort_value(secret: Secret) -> Any:
        return {
            "name": secret.name,
            "created-date": secret.created_at,
            "last-changed-date": secret.last_changed_at,
            "last-accessed-date": secret.last_accessed_at,
        }[asked["SortBy"]]

    falling = asked["SortOrder"] == "desc"
    dated = [secret for secret in found if sort_value(secret) is not None]
    others = [secret for secret in found if sort_value(secret) is None]
    dated.sort(key=lambda secret: (sort_value(secret), secret.name), reverse=falling)
    others.sort(key=lambda secret: secret.name, reverse=falling)
    return [secret.name for secret in (*dated, *others)]


def listed(client: Client, asked: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    following: dict[str, str] = {}
    for _ in range(200):
        answer = client("ListSecrets", **asked, **following)
        assert len(answer["SecretList"]) <= asked["MaxResults"]
        found += [entry["Name"] for entry in answer["SecretList"]]
        if "NextToken" not in answer:
            return found
        following = {"NextToken": answer["NextToken"]}
    raise AssertionError("the list has no end")


@pytest.mark.parametrize(("few", "scan", "terms"), [(1_000, 4_000, 12), (5, 7, 12), (0, 3, 1)])
def test_any_filters_in_any_order_list_what_the_predicate_says(
    client: Client, monkeypatch: pytest.MonkeyPatch, few: int, scan: int, terms: int
) -> None:
    """Each way to search, and each mixture of them: the sizes decide which is taken."""
    for name, size in (("FEW", few), ("MOST_TERMS", terms)):
        monkeypatch.setattr(search, name, size)
    monkeypatch.setattr(walk, "SCAN", scan)
    made = fill(client)

    @settings(max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        filters=filters,
        sort=st.sampled_from(SORTS),
        order=st.sampled_from(["asc", "desc"]),
        size=st.sampled_from([2, 7, 100]),
        planned=st.booleans(),
    )
    def check(filters: list[dict[str, Any]], sort: str, order: str, size: int, planned: bool) -> None:
        asked = {
            "Filters": filters,
            "SortBy": sort,
            "SortOrder": order,
            "MaxResults": size,
            "IncludePlannedDeletion": planned,
        }
        assert listed(client, asked) == naive(made, asked)

    check()


def find(client: Client, key: str, *values: str) -> list[str]:
    answer = client(
        "ListSecrets", Filters=[{"Key": key, "Values": list(values)}], SortBy="name", SortOrder="asc"
    )
    assert "NextToken" not in answer
    return [entry["Name"] for entry in answer["SecretList"]]


def test_a_secret_is_found_by_what_it_is_now(client: Client) -> None:
    client("CreateSecret", Name="db", Description="old words", Tags=[{"Key": "Team", "Value": "blue"}])
    assert (
        find(client, "description", "old")
        == find(client, "all", "blue")
        == find(client, "tag-key", "T")
        == ["db"]
    )
    client("UpdateSecret", SecretId="db", Description="new words")
    assert (find(client, "description", "old"), find(client, "description", "new wor")) == ([], ["db"])
    assert find(client, "all", "old") == []
    client("TagResource", SecretId="db", Tags=[{"Key": "Team", "Value": "red"}])
    assert (find(client, "tag-value", "blue"), find(client, "tag-value", "red")) == ([], ["db"])
    client("UntagResource", SecretId="db", TagKeys=["Team"])
    assert (find(client, "tag-key", "Team"), find(client, "all", "red")) == ([], [])
    assert find(client, "all", "words db") == ["db"]


def terms_left(client: Client) -> int:
    statement = select(func.count()).select_from(secret_terms)
    return client.database.read(lambda unit: int(unit.connection.execute(statement).scalar_one()))


def test_a_deleted_secret_leaves_no_term_behind(client: Client) -> None:
    tags = [{"Key": "a\nb", "Value": "x\nny"}, {"Key": "ключ", "Value": "🔑 \x01"}]
    client("CreateSecret", Name="db", Description="some Words", Tags=tags)
    assert terms_left(client) > 5
    client("DeleteSecret", SecretId="db", ForceDeleteWithoutRecovery=True)
    assert terms_left(client) == 0


def test_terms_that_were_left_behind_do_no_harm(client: Client) -> None:
    """As when a node of a release that keeps no terms deletes a secret, and makes another of that name."""
    client("CreateSecret", Name="db", Description="left")
    client.database.write(lambda unit: unit.connection.execute(secrets.delete()).rowcount)
    assert find(client, "description", "left") == []
    client("CreateSecret", Name="db", Description="right")
    assert (find(client, "description", "left"), find(client, "description", "right")) == ([], ["db"])


def test_a_filter_with_very_many_words_is_answered(client: Client) -> None:
    client("CreateSecret", Name="db", Description=" ".join("abcdefghij" * 20))
    long = " ".join("abcdefghij" * 25)
    many = [{"Key": key, "Values": [long] * 10} for key in ("all", "description") * 5]
    asked = client("ListSecrets", Filters=many)
    assert [entry["Name"] for entry in asked["SecretList"]] == ["db"]
    inverted = [{"Key": "all", "Values": ["!" + long[:511]] * 10}] * 10
    assert client("ListSecrets", Filters=inverted)["SecretList"] == []


def test_texts_that_begin_alike_are_told_apart_by_their_bytes(client: Client) -> None:
    """Whatever the store's language thinks of capitals and punctuation."""
    names = ["a", "A", "a-b", "a_b", "a/b", "ab", "aB", "a.b", "a@b", "a+b", "a=b", "b"]
    for name in names:
        client("CreateSecret", Name=name)
    for value in ("a", "A", "a-", "a_", "a/", "aB", "a+", "a=", "a.", "a@"):
        found = find(client, "name", value)
        assert sorted(found) == sorted(name for name in names if name.startswith(value)), value


def test_a_page_of_a_long_list_that_was_deleted_ends(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(walk, "SCAN", 5)
    made = fill(client)
    client.database.write(
        lambda unit: unit.connection.execute(update(secrets).values(deleted_at=NOON)).rowcount
    )
    page = client("ListSecrets")
    assert (page["SecretList"], "NextToken" in page) == ([], True)
    assert len(client("ListSecrets", IncludePlannedDeletion=True)["SecretList"]) == len(made)
