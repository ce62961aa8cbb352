"""ListSecrets: every secret exactly once, whatever the order, the page and the filter."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update
from structlog.testing import capture_logs

from tests.calling import Client, refusal, token
from tests.sampling import examples
from tests.support import NOON
from turnlock.accounts import root_principal
from turnlock.core.arn import AccountId, Region
from turnlock.errors import InternalServiceError
from turnlock.secrets.listing import search, walk
from turnlock.secrets.tables import secrets, staging_labels
from turnlock.storage import Unit

BAD_TOKEN = ("InvalidNextTokenException", "The NextToken value is invalid.")
SORTS = ("created-date", "last-accessed-date", "last-changed-date", "name")


def make(client: Client, *names: str, **parameters: Any) -> None:
    for name in names:
        client("CreateSecret", Name=name, **parameters)


def pages(client: Client, **parameters: Any) -> list[list[str]]:
    """Return the names of each page, following NextToken to the end."""
    found: list[list[str]] = []
    next_token: dict[str, str] = {}
    while True:
        answer = client("ListSecrets", **parameters, **next_token)
        found.append([entry["Name"] for entry in answer["SecretList"]])
        if "NextToken" not in answer:
            return found
        next_token = {"NextToken": answer["NextToken"]}
        assert len(found) < 1000


def listed(client: Client, **parameters: Any) -> list[str]:
    return [name for page in pages(client, **parameters) for name in page]


def by(key: str, *values: str) -> dict[str, Any]:
    return {"Key": key, "Values": list(values)}


def test_an_account_without_secrets_has_an_empty_list(client: Client) -> None:
    assert client("ListSecrets") == {"SecretList": []}


def test_the_newest_come_first_and_the_order_can_be_turned(client: Client) -> None:
    for name in ("b", "c", "a"):
        make(client, name)
        client.clock.advance(timedelta(seconds=1))
    assert listed(client) == ["a", "c", "b"]
    assert listed(client, SortOrder="asc") == ["b", "c", "a"]
    assert listed(client, SortBy="name") == ["c", "b", "a"]
    assert listed(client, SortBy="name", SortOrder="asc") == ["a", "b", "c"]


def test_an_entry_says_what_describe_says_with_its_own_name_for_the_versions(client: Client) -> None:
    make(
        client,
        "db",
        Description="d",
        SecretString="v",
        ClientRequestToken=token(),
        Tags=[{"Key": "k", "Value": "v"}],
    )
    described = client("DescribeSecret", SecretId="db")
    described["SecretVersionsToStages"] = described.pop("VersionIdsToStages")
    (entry,) = client("ListSecrets")["SecretList"]
    assert {name: value for name, value in entry.items() if value is not None} == described


def test_a_hundred_a_page_unless_told_otherwise(client: Client) -> None:
    make(client, *(f"s{number:03}" for number in range(103)))
    assert [len(page) for page in pages(client)] == [100, 3]
    assert [len(page) for page in pages(client, MaxResults=60)] == [60, 43]


def test_secrets_that_wait_for_deletion_are_listed_only_when_asked_for(client: Client) -> None:
    make(client, "living", "doomed")
    client("DeleteSecret", SecretId="doomed")
    assert listed(client) == ["living"]
    assert sorted(listed(client, IncludePlannedDeletion=True)) == ["doomed", "living"]


def test_other_accounts_and_regions_are_not_listed(client: Client) -> None:
    make(client, "mine")
    make(client.elsewhere(region=Region("us-east-1")), "elsewhere")
    other = AccountId("210987654321")
    make(client.elsewhere(account_id=other, principal=root_principal(other)), "theirs")
    assert listed(client) == ["mine"]


def set_dates(unit: Unit, name: str, at: tuple[int | None, int]) -> None:
    accessed, changed = at
    unit.connection.execute(
        update(secrets)
        .where(secrets.c.name == name)
        .values(
            last_accessed_at=None if accessed is None else NOON + timedelta(days=accessed),
            last_changed_at=NOON + timedelta(days=changed),
            created_at=NOON - timedelta(days=changed),
        )
    )


def naive_order(rows: dict[str, tuple[int | None, int]], sort: str, *, ascending: bool) -> list[str]:
    """Sort by the value, then by name, both turned for `desc`; who has no value comes last either way."""

    def value(name: str) -> int | None:
        accessed, changed = rows[name]
        by_sort = {"created-date": -changed, "last-changed-date": changed, "last-accessed-date": accessed}
        return by_sort.get(sort, 0)

    have = [(at, name) for name in rows if (at := value(name)) is not None]
    lack = [name for name in rows if value(name) is None]
    have.sort(reverse=not ascending)
    lack.sort(reverse=not ascending)
    return [name for _, name in have] + lack


ROWS = st.dictionaries(
    # Names in which a collation other than the code points' would show.
    st.text(st.sampled_from("aAbB-_/1"), min_size=1, max_size=3),
    st.tuples(st.none() | st.integers(0, 3), st.integers(0, 3)),
    max_size=9,
)


@settings(
    max_examples=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(rows=ROWS, size=st.integers(1, 4), sort=st.sampled_from(SORTS), ascending=st.booleans())
def test_every_secret_is_listed_once_in_any_order_by_pages_of_any_size(
    client: Client, rows: dict[str, tuple[int | None, int]], size: int, sort: str, ascending: bool
) -> None:
    client.database.write(lambda unit: unit.connection.execute(secrets.delete()).rowcount)
    make(client, *rows)

    def set_all(unit: Unit) -> None:
        for name, at in rows.items():
            set_dates(unit, name, at)

    client.database.write(set_all)
    order = {"SortBy": sort, "SortOrder": "asc" if ascending else "desc"}
    found = pages(client, MaxResults=size, **order)
    assert [name for page in found for name in page] == naive_order(rows, sort, ascending=ascending)
    assert all(len(page) == size for page in found[:-1])


def test_filters_narrow_and_pages_may_be_short_or_empty(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "SCAN", 4)
    monkeypatch.setattr(search, "FEW", 2)
    make(client, *(f"s{number:02}" for number in range(12)), *(f"wanted-{number}" for number in range(3)))
    found = pages(client, SortBy="name", SortOrder="asc", Filters=[by("name", "wanted")], MaxResults=2)
    assert [name for page in found for name in page] == ["wanted-0", "wanted-1", "wanted-2"]
    assert found[0] == []
    assert all(len(page) <= 2 for page in found)
    assert len(listed(client, Filters=[by("name", "!wanted")])) == 12


def test_filters_see_tags_and_descriptions(client: Client) -> None:
    make(client, "a", Description="Payments database", Tags=[{"Key": "Team", "Value": "blue"}])
    make(client, "b")
    for one in (
        by("description", "pay"),
        by("tag-key", "Team"),
        by("tag-value", "bl"),
        by("all", "BLUE data"),
        by("name", "!b"),
    ):
        assert listed(client, Filters=[one]) == ["a"], one
    assert listed(client, Filters=[by("tag-key", "Team"), by("name", "b")]) == []
    assert listed(client, Filters=[]) == ["b", "a"]


@pytest.mark.parametrize(
    "one", [{"Key": "nonsense", "Values": ["x"]}, {"Key": "name"}, {"Values": ["x"]}, {}]
)
def test_filters_that_say_nothing_are_refused(client: Client, one: dict[str, Any]) -> None:
    make(client, "a")
    code, _ = refusal(lambda: client("ListSecrets", Filters=[one]))
    assert code in {"InvalidParameterException", "ValidationException"}


def next_token(client: Client, **parameters: Any) -> str:
    return str(client("ListSecrets", MaxResults=1, **parameters)["NextToken"])


def test_a_token_is_good_for_its_own_question_only(client: Client) -> None:
    make(client, "a", "b", "c")
    good = next_token(client)
    assert len(client("ListSecrets", NextToken=good, MaxResults=2)["SecretList"]) == 2
    other = AccountId("210987654321")
    for asker, changed in (
        (client, {"SortBy": "name"}),
        (client, {"SortOrder": "asc"}),
        (client, {"IncludePlannedDeletion": True}),
        (client, {"Filters": [by("name", "a")]}),
        (client.elsewhere(region=Region("us-east-1")), {}),
        (client.elsewhere(account_id=other, principal=root_principal(other)), {}),
    ):
        with pytest.raises(Exception, match="NextToken value is invalid"):
            asker("ListSecrets", NextToken=good, **changed)


@settings(
    max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_a_token_that_was_made_up_or_changed_is_refused(client: Client, data: st.DataObject) -> None:
    if not client("ListSecrets")["SecretList"]:
        make(client, "a", "b")
    good = next_token(client)
    raw = bytearray(base64.urlsafe_b64decode(good))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    forged = data.draw(
        st.sampled_from([base64.urlsafe_b64encode(raw).decode(), good[:-4], good[4:], "x", "AAAA", "=", "é"])
        | st.text(st.characters(codec="utf-8"), min_size=1, max_size=80)
        | st.binary(min_size=1, max_size=80).map(lambda content: base64.urlsafe_b64encode(content).decode())
    )
    assert refusal(lambda: client("ListSecrets", NextToken=forged)) == BAD_TOKEN


def test_a_token_shows_no_value_and_outlives_its_secret(client: Client) -> None:
    make(client, "a", "b", "c")
    good = next_token(client, SortBy="name", SortOrder="asc")
    client("DeleteSecret", SecretId="a", ForceDeleteWithoutRecovery=True)
    assert listed(client, SortBy="name", SortOrder="asc", NextToken=good) == ["b", "c"]


def test_a_forged_label_costs_its_own_secret_the_labels_and_no_other_its_place(client: Client) -> None:
    make(client, "a", "b", SecretString="v", ClientRequestToken=token())
    forged = staging_labels.update().where(staging_labels.c.name == "a").values(mac=b"x" * 32)
    client.database.write(lambda unit: unit.connection.execute(forged).rowcount)
    with capture_logs() as logged:
        listed = client("ListSecrets", SortBy="name", SortOrder="asc")["SecretList"]
    assert [one["Name"] for one in listed] == ["a", "b"]
    assert [one.get("SecretVersionsToStages") is None for one in listed] == [True, False]
    assert [(line["action"], line["part"]) for line in logged] == [("seal_broken", "AWSCURRENT")]
    assert listed[0]["ARN"] == logged[0]["owner"]
    with pytest.raises(InternalServiceError):
        client("GetSecretValue", SecretId="a")
