"""Tags in the store: what policies decide by cannot be changed behind the server's back."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
from sqlalchemy import delete, update
from structlog.testing import capture_logs

from tests.calling import ACCOUNT, Client, refusal, token
from turnlock.secrets import Secret, find_secret
from turnlock.secrets.model import SecretReference
from turnlock.secrets.tables import secret_tags
from turnlock.secrets.tags.store import find_tags
from turnlock.storage import Unit

TAGS = {"Team": "red", "Stage": "prod"}


@pytest.fixture
def client(client: Client) -> Client:
    """A client with the tagged secrets `a` and `b`."""
    for number, name in enumerate("ab"):
        tags = [{"Key": key, "Value": value + name} for key, value in TAGS.items()]
        client("CreateSecret", Name=name, ClientRequestToken=token(number), Tags=tags)
    return client


def named(unit: Unit, client: Client, name: str) -> Secret:
    reference = SecretReference(account_id=ACCOUNT, region=client.region, name=name, suffix=None)
    found = find_secret(unit, reference)
    assert found is not None
    return found


def tags(client: Client, name: str) -> dict[str, str]:
    return client.database.read(lambda unit: dict(find_tags(unit, named(unit, client, name))))


def forge(client: Client, statement: Any) -> None:
    client.database.write(lambda unit: unit.connection.execute(statement))


def test_tags_are_found_as_they_were_put(client: Client) -> None:
    assert tags(client, "a") == {"Team": "reda", "Stage": "proda"}
    client("UntagResource", SecretId="a", TagKeys=["Team"])
    assert tags(client, "a") == {"Stage": "proda"}
    client("UntagResource", SecretId="a", TagKeys=["Stage"])
    assert tags(client, "a") == {}


OF_A = (secret_tags.c.name == "a", secret_tags.c.tag_key == "Team")


@pytest.mark.parametrize(
    "forgery",
    [
        update(secret_tags).where(*OF_A).values(tag_value="blue"),
        update(secret_tags).where(*OF_A).values(tag_key="Other"),
        update(secret_tags).where(*OF_A).values(mac=b"x"),
        update(secret_tags).where(*OF_A).values(mac=None),
        delete(secret_tags).where(*OF_A),
    ],
    ids=["value", "key", "another MAC", "no MAC", "gone"],
)
def test_tags_that_were_changed_in_the_store_are_not_believed(client: Client, forgery: Any) -> None:
    forge(client, forgery)
    change = partial(client, "TagResource", SecretId="a", Tags=[{"Key": "x", "Value": "y"}])
    with capture_logs() as logs:
        assert refusal(change)[0] == "InternalServiceError"
    assert [entry["action"] for entry in logs] == ["seal_broken", "action_failed"]
    assert tags(client, "b") == {"Team": "redb", "Stage": "prodb"}


def test_tags_that_were_moved_to_another_secret_are_not_believed(client: Client) -> None:
    forge(client, delete(secret_tags).where(secret_tags.c.name == "b"))
    forge(client, update(secret_tags).where(secret_tags.c.name == "a").values(name="b"))
    with capture_logs():
        assert (
            refusal(lambda: client("UntagResource", SecretId="b", TagKeys=["x"]))[0] == "InternalServiceError"
        )
