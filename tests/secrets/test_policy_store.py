"""Resource policies at rest: what was put is what is found, and nothing else is."""

from __future__ import annotations

import pytest
from sqlalchemy import select, update

from tests.calling import ACCOUNT, Client, token
from turnlock import secrets
from turnlock.errors import SealBroken
from turnlock.secrets import Secret, SecretReference
from turnlock.secrets.policy.store import find_policy, save_policy
from turnlock.secrets.tables import resource_policies
from turnlock.storage import Unit

POLICY = (
    '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Sid":"ü","Principal":{"AWS":"210987654321"},'
    '"Action":"*","Resource":"*"}]}'
)


@pytest.fixture
def client(client: Client) -> Client:
    """A client with the secrets `a` and `b`."""
    for number, name in enumerate("ab"):
        client("CreateSecret", Name=name, ClientRequestToken=token(number))
    return client


def named(unit: Unit, client: Client, name: str) -> Secret:
    reference = SecretReference(account_id=ACCOUNT, region=client.region, name=name, suffix=None)
    found = secrets.find_secret(unit, reference)
    assert found is not None
    return found


def put(client: Client, name: str, policy: str | None) -> None:
    client.database.write(lambda unit: save_policy(unit, named(unit, client, name), policy))


def get(client: Client, name: str) -> str | None:
    return client.database.read(lambda unit: find_policy(unit, named(unit, client, name)))


def test_a_policy_is_found_as_it_was_put_until_it_is_taken_away(client: Client) -> None:
    assert get(client, "a") is None
    put(client, "a", POLICY)
    put(client, "a", POLICY + " ")
    assert get(client, "a") == POLICY + " "
    assert get(client, "b") is None
    put(client, "a", None)
    assert get(client, "a") is None


@pytest.mark.parametrize(
    "forged", [{"policy": POLICY.replace("Deny", "Allow")}, {"name": "b"}, {"mac": b"x"}]
)
def test_a_policy_that_was_edited_or_moved_in_the_store_is_not_believed(
    client: Client, forged: dict[str, object]
) -> None:
    put(client, "a", POLICY)
    client.database.write(lambda unit: unit.connection.execute(update(resource_policies).values(**forged)))
    with pytest.raises(SealBroken, match="was not written by this server"):
        get(client, str(forged.get("name", "a")))


def test_a_policy_goes_with_its_secret(client: Client) -> None:
    put(client, "a", POLICY)
    client("DeleteSecret", SecretId="a", ForceDeleteWithoutRecovery=True)
    rows = client.database.read(lambda unit: unit.connection.execute(select(resource_policies)).all())
    assert rows == []
