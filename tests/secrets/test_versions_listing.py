"""ListSecretVersionIds on each store, through the gate."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.calling import ACCOUNT, REGION, Client, refusal, token
from turnlock.secrets import SecretReference, find_secret, put_placeholder
from turnlock.storage import Unit


@pytest.fixture
def client(client: Client) -> Client:
    """A client with a secret `db` of five versions, made a second apart, the middle one labelled `kept`."""
    client("CreateSecret", Name="db", SecretString="v0", ClientRequestToken=token(0))
    for number in range(1, 5):
        client.clock.advance(timedelta(seconds=1))
        stages = {"VersionStages": ["AWSCURRENT", "kept"]} if number == 2 else {}
        client(
            "PutSecretValue",
            SecretId="db",
            SecretString=f"v{number}",
            ClientRequestToken=token(number),
            **stages,
        )
    return client


def versions(client: Client, **parameters: Any) -> dict[str, Any]:
    return client("ListSecretVersionIds", **{"SecretId": "db", **parameters})


def ids(answer: dict[str, Any]) -> list[str]:
    return [one["VersionId"] for one in answer["Versions"]]


def test_labelled_versions_are_listed_newest_first(client: Client) -> None:
    answer = versions(client)
    assert ids(answer) == [token(4), token(3), token(2)]
    assert [one["VersionStages"] for one in answer["Versions"]] == [["AWSCURRENT"], ["AWSPREVIOUS"], ["kept"]]
    assert (answer["Name"], answer["ARN"].endswith("-" + answer["ARN"][-6:])) == ("db", True)
    assert "NextToken" not in answer
    assert all(one["KmsKeyIds"] == ["DefaultEncryptionKey"] for one in answer["Versions"])


def test_deprecated_versions_are_listed_when_asked_for(client: Client) -> None:
    answer = versions(client, IncludeDeprecated=True)
    assert ids(answer) == [token(number) for number in (4, 3, 2, 1, 0)]
    assert answer["Versions"][-1]["VersionStages"] is None


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("deprecated", [False, True])
def test_pages_hold_each_version_once(client: Client, size: int, deprecated: bool) -> None:
    whole = ids(versions(client, IncludeDeprecated=deprecated))
    found: list[str] = []
    page = versions(client, IncludeDeprecated=deprecated, MaxResults=size)
    for _ in range(10):
        found += ids(page)
        if "NextToken" not in page:
            break
        assert len(page["Versions"]) == size
        page = versions(client, IncludeDeprecated=deprecated, MaxResults=size, NextToken=page["NextToken"])
    assert found == whole


def test_versions_made_at_one_moment_are_paged_too(client: Client) -> None:
    client("CreateSecret", Name="quick", ClientRequestToken=token())
    for number in range(10, 15):
        client("PutSecretValue", SecretId="quick", SecretString="v", ClientRequestToken=token(number))
    found: list[str] = []
    following: dict[str, Any] = {}
    for _ in range(5):
        page = versions(client, SecretId="quick", IncludeDeprecated=True, MaxResults=1, **following)
        found += ids(page)
        following = {"NextToken": page.get("NextToken")}
    assert sorted(found) == [token(number) for number in range(10, 15)]


def test_a_token_is_good_for_its_own_question_only(client: Client) -> None:
    client("CreateSecret", Name="other", SecretString="v", ClientRequestToken=token())
    following = versions(client, MaxResults=1)["NextToken"]
    assert ids(versions(client, NextToken=following)) == [token(3), token(2)]
    refused = [
        lambda: versions(client, SecretId="other", NextToken=following),
        lambda: versions(client, IncludeDeprecated=True, NextToken=following),
        lambda: versions(client, NextToken=following[:-4] + "AAA="),
        lambda: versions(client, NextToken="nonsense"),
        lambda: versions(client, NextToken="é"),
        lambda: client("ListSecrets", NextToken=following),
    ]
    assert {refusal(one)[0] for one in refused} == {"InvalidNextTokenException"}


def test_a_placeholder_is_not_listed(client: Client) -> None:
    """It is labelled, but holds no value (API reference, ListSecretVersionIds)."""

    def pend(unit: Unit) -> None:
        secret = find_secret(unit, SecretReference(account_id=ACCOUNT, region=REGION, name="db", suffix=None))
        assert secret is not None
        put_placeholder(unit, secret, token(9))

    client.database.write(pend)
    assert token(9) not in ids(versions(client, IncludeDeprecated=True))
    assert token(9) in client("DescribeSecret", SecretId="db")["VersionIdsToStages"]


def test_a_secret_marked_for_deletion_still_shows_its_versions(client: Client) -> None:
    client("DeleteSecret", SecretId="db")
    assert len(ids(versions(client))) == 3


def test_absent_and_empty_secrets(client: Client) -> None:
    assert refusal(lambda: versions(client, SecretId="absent"))[0] == "ResourceNotFoundException"
    client("CreateSecret", Name="empty", ClientRequestToken=token())
    assert versions(client, SecretId="empty")["Versions"] == []
