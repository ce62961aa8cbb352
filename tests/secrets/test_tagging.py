"""TagResource and UntagResource on each store, through the gate."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest

from tests.calling import Client, refusal, token
from tests.support import NOON, SettableClock, StorePlace
from turnlock.secrets import SecretChanged

HOUR = timedelta(hours=1)


@pytest.fixture
def client(client: Client) -> Client:
    """A client with a secret `db` that has two tags."""
    client("CreateSecret", Name="db", ClientRequestToken=token(), Tags=given({"a": "1", "b": "2"}))
    client.records.clear()
    return client


def given(tags: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def tag(client: Client, tags: Mapping[str, str], **parameters: Any) -> dict[str, Any]:
    return client("TagResource", **{"SecretId": "db", "Tags": given(tags), **parameters})


def untag(client: Client, *keys: str) -> dict[str, Any]:
    return client("UntagResource", SecretId="db", TagKeys=list(keys))


def tags(client: Client) -> dict[str, str]:
    return {one["Key"]: one["Value"] for one in client("DescribeSecret", SecretId="db").get("Tags", ())}


def changed_at(client: Client) -> Any:
    return client("DescribeSecret", SecretId="db")["LastChangedDate"]


def test_tags_are_added_and_overwritten(client: Client, clock: SettableClock) -> None:
    clock.advance(HOUR)
    assert tag(client, {"b": "two", "c": "", "B": "other"}) == {}
    assert tags(client) == {"a": "1", "b": "two", "c": "", "B": "other"}
    assert changed_at(client) == NOON + HOUR


def test_tags_are_removed_and_absent_ones_are_no_error(client: Client, clock: SettableClock) -> None:
    clock.advance(HOUR)
    assert untag(client, "a", "absent") == {}
    assert tags(client) == {"b": "2"}
    assert changed_at(client) == NOON + HOUR


def test_what_changes_nothing_leaves_no_mark(client: Client, clock: SettableClock) -> None:
    clock.advance(HOUR)
    untag(client, "absent")
    tag(client, {"a": "1"})
    assert changed_at(client) == NOON


def test_fifty_tags_are_the_limit_over_all_calls(client: Client) -> None:
    tag(client, {f"k{number}": "v" for number in range(48)})
    assert refusal(lambda: tag(client, {"one-more": "v"}))[0] == "InvalidParameterException"
    tag(client, {"a": "over"})
    assert len(tags(client)) == 50


@pytest.mark.parametrize("key", ["aws:x", "AWS:x", "Aws:cloudformation:stack-name"])
def test_aws_own_keys_are_neither_written_nor_removed(client: Client, key: str) -> None:
    assert refusal(lambda: tag(client, {key: "v"}))[0] == "InvalidParameterException"
    assert refusal(lambda: untag(client, key))[0] == "InvalidParameterException"


@pytest.mark.parametrize(
    "tags",
    [
        [{"Key": "x", "Value": "1"}, {"Key": "x", "Value": "2"}],
        [{"Value": "1"}],
        [{"Key": "x\0", "Value": "1"}],
        [{"Key": "x", "Value": "\0"}],
    ],
)
def test_tags_that_no_secret_can_have_are_refused(client: Client, tags: list[dict[str, str]]) -> None:
    code, _ = refusal(lambda: client("TagResource", SecretId="db", Tags=tags))
    assert code == "InvalidParameterException"


def test_an_absent_secret_and_one_marked_for_deletion_take_no_tags(client: Client) -> None:
    assert refusal(lambda: tag(client, {"k": "v"}, SecretId="absent"))[0] == "ResourceNotFoundException"
    client("DeleteSecret", SecretId="db")
    assert refusal(lambda: tag(client, {"k": "v"}))[0] == "InvalidRequestException"
    assert refusal(lambda: untag(client, "a"))[0] == "InvalidRequestException"


def test_odd_texts_come_back_as_they_were(client: Client) -> None:
    odd = {"ключ": "\n\t\x7f", "emoji 🔑": "é́", "%_\\": "'\";--"}
    tag(client, odd)
    assert {key: value for key, value in tags(client).items() if key in odd} == odd


def test_replicas_hear_of_changed_tags(store_place: StorePlace, clock: SettableClock) -> None:
    heard: list[SecretChanged] = []
    database = store_place.open(
        clock=clock, subscribers={SecretChanged: (lambda _unit, event: heard.append(event),)}
    )
    client = Client(database=database, clock=clock)
    client("CreateSecret", Name="db", ClientRequestToken=token())
    heard.clear()
    tag(client, {"k": "v"})
    untag(client, "k")
    untag(client, "k")
    assert len(heard) == 2


def test_the_record_names_the_tags(client: Client) -> None:
    tag(client, {"k": "v"})
    (record,) = client.records
    assert record["requestParameters"] == {"secretId": "db", "tags": [{"key": "k", "value": "v"}]}
