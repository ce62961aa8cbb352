"""RestoreSecret on each store, and what it means for rotation."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.calling import ACCOUNT, Client, refusal, token
from tests.secrets.replicated import HOME, Deployment
from tests.support import NOON, SettableClock, StorePlace
from turnlock.secrets import Rotation, SecretReference, due_for_rotation, find_secret, update_secret
from turnlock.storage import Unit
from turnlock.trail.store import trail_records

DAY = timedelta(days=1)


@pytest.fixture
def deployment(store_place: StorePlace, clock: SettableClock) -> Deployment:
    return Deployment(place=store_place, clock=clock)


@pytest.fixture
def client(deployment: Deployment) -> Client:
    """A client with a secret `db` of two versions."""
    client = deployment.client()
    client("CreateSecret", Name="db", SecretString="v0", ClientRequestToken=token(0))
    client("PutSecretValue", SecretId="db", SecretString="v1", ClientRequestToken=token(1))
    return client


def describe(client: Client) -> dict[str, Any]:
    return client("DescribeSecret", SecretId="db")


def restore(client: Client) -> dict[str, Any]:
    return client("RestoreSecret", SecretId="db")


def test_a_restored_secret_is_read_and_changed_again(client: Client, clock: SettableClock) -> None:
    arn = client("DeleteSecret", SecretId="db")["ARN"]
    assert refusal(lambda: client("GetSecretValue", SecretId="db"))[0] == "InvalidRequestException"
    clock.advance(DAY)
    assert restore(client) == {"ARN": arn, "Name": "db"}
    assert client("GetSecretValue", SecretId="db")["SecretString"] == "v1"
    after = describe(client)
    assert "DeletedDate" not in after
    assert after["LastChangedDate"] == NOON + DAY
    assert [one["Name"] for one in client("ListSecrets")["SecretList"]] == ["db"]


def test_a_living_secret_stays_as_it_is(client: Client, clock: SettableClock) -> None:
    before = describe(client)
    clock.advance(DAY)
    restore(client)
    assert describe(client) == before


def test_an_absent_secret_cannot_be_restored(client: Client) -> None:
    client("DeleteSecret", SecretId="db", ForceDeleteWithoutRecovery=True)
    assert refusal(lambda: restore(client))[0] == "ResourceNotFoundException"


def test_the_purge_of_a_deletion_that_was_taken_back_does_nothing(
    deployment: Deployment, client: Client, clock: SettableClock
) -> None:
    """A second deletion counts from its own request, and its own purge carries it out."""
    client("DeleteSecret", SecretId="db", RecoveryWindowInDays=7)
    restore(client)
    clock.advance(2 * DAY)
    client("DeleteSecret", SecretId="db", RecoveryWindowInDays=7)
    clock.advance(5 * DAY)
    deployment.deliver()
    assert "DeletedDate" in describe(client)
    restore(client)
    clock.advance(30 * DAY)
    deployment.deliver()
    assert client("GetSecretValue", SecretId="db")["SecretString"] == "v1"


def test_each_version_gets_its_event(client: Client) -> None:
    client("DeleteSecret", SecretId="db")
    restore(client)
    statement = select(trail_records.c.body).where(trail_records.c.event_name == "CancelSecretVersionDelete")
    bodies = client.database.read(lambda unit: unit.connection.execute(statement).scalars().all())
    assert sorted(
        number for number in (0, 1) for body in bodies if token(number).encode() in bytes(body)
    ) == [0, 1]


def rotate_daily(unit: Unit, starts_after: timedelta) -> None:
    secret = find_secret(unit, SecretReference(account_id=ACCOUNT, region=HOME, name="db", suffix=None))
    assert secret is not None
    rotation = Rotation(
        enabled=True,
        function_arn="arn:aws:lambda:eu-central-1:123456789012:function:f",
        rules={"AutomaticallyAfterDays": 1},
        next_rotation_at=unit.now + DAY,
        opens_at=unit.now,
        starts_at=unit.now + starts_after,
    )
    update_secret(unit, secret.evolve(rotation=rotation))


def test_rotation_waits_for_what_is_to_be_deleted_and_resumes_when_it_is_restored(
    client: Client, clock: SettableClock
) -> None:
    client.database.write(lambda unit: rotate_daily(unit, timedelta(hours=1)))
    client("DeleteSecret", SecretId="db")
    clock.advance(3 * DAY)
    assert client.database.read(lambda unit: due_for_rotation(unit, unit.now, 10)) == []
    restore(client)
    shown = describe(client)
    assert shown["RotationEnabled"] is True
    assert shown["NextRotationDate"] > clock.now()
    clock.advance(2 * DAY)
    assert len(client.database.read(lambda unit: due_for_rotation(unit, unit.now, 10))) == 1


def test_rotation_that_was_cancelled_stays_so(client: Client) -> None:
    client.database.write(lambda unit: rotate_daily(unit, timedelta(hours=1)))
    client("CancelRotateSecret", SecretId="db")
    client("DeleteSecret", SecretId="db")
    restore(client)
    assert describe(client)["RotationEnabled"] is False
    assert "NextRotationDate" not in describe(client)
