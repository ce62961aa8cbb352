"""DeleteSecret, and the purge that the outbox carries out when the recovery window is over."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select
from structlog.testing import capture_logs

from tests.calling import Client, refusal, token
from tests.support import NOON, StorePlace
from turnlock.core.arn import Region
from turnlock.secrets import PURGE, SecretDoomed, purge
from turnlock.secrets.tables import secret_tags, secret_versions, secrets, staging_labels
from turnlock.storage import Unit, outbox
from turnlock.storage.outbox import Deliverer
from turnlock.trail.store import trail_records

ABSENT = ("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
DAY = timedelta(days=1)


@pytest.fixture
def client(client: Client) -> Client:
    """A client with a secret `db` of two versions and a tag."""
    client(
        "CreateSecret",
        Name="db",
        SecretString="v0",
        ClientRequestToken=token(0),
        Tags=[{"Key": "k", "Value": "v"}],
    )
    client("PutSecretValue", SecretId="db", SecretString="v1", ClientRequestToken=token(1))
    client.records.clear()
    return client


def delete(client: Client, **parameters: Any) -> dict[str, Any]:
    return client("DeleteSecret", **{"SecretId": "db", **parameters})


def tick(client: Client) -> None:
    """Carry out what is due in the outbox."""
    with capture_logs() as logged:
        Deliverer(client.database, {PURGE: purge}, "tests").tick()
    assert logged == []


def rows_left(client: Client) -> list[int]:
    tables = (secrets, secret_versions, staging_labels, secret_tags, outbox.outbox)

    def work(unit: Unit) -> list[int]:
        return [
            int(unit.connection.execute(select(func.count()).select_from(table)).scalar_one())
            for table in tables
        ]

    return client.database.read(work)


def service_events(client: Client) -> list[str]:
    """Return the names of the service events in the trail, sorted."""
    statement = select(trail_records.c.event_name).where(trail_records.c.event_name.like("%VersionDelete"))
    return sorted(client.database.read(lambda unit: unit.connection.execute(statement).scalars().all()))


@pytest.mark.parametrize(
    ("given", "days"), [({}, 30), ({"RecoveryWindowInDays": 7}, 7), ({"RecoveryWindowInDays": 30}, 30)]
)
def test_a_deletion_is_scheduled_and_the_secret_still_described(
    client: Client, given: dict[str, int], days: int
) -> None:
    answer = delete(client, **given)
    assert answer == {"ARN": answer["ARN"], "Name": "db", "DeletionDate": NOON + days * DAY}
    described = client("DescribeSecret", SecretId="db")
    assert described["DeletedDate"] == NOON
    assert described["VersionIdsToStages"].keys() == {token(0), token(1)}


@pytest.mark.parametrize("days", [0, 1, 6, 31, 365])
def test_a_window_outside_7_to_30_days_is_refused(client: Client, days: int) -> None:
    assert refusal(lambda: delete(client, RecoveryWindowInDays=days))[0] == "InvalidParameterException"
    assert "DeletedDate" not in client("DescribeSecret", SecretId="db")


def test_a_window_and_force_together_are_refused(client: Client) -> None:
    code, _ = refusal(lambda: delete(client, RecoveryWindowInDays=7, ForceDeleteWithoutRecovery=True))
    assert code == "InvalidParameterException"
    assert delete(client, RecoveryWindowInDays=7, ForceDeleteWithoutRecovery=False)["Name"] == "db"


def test_a_second_deletion_is_refused(client: Client) -> None:
    delete(client)
    assert refusal(lambda: delete(client))[0] == "InvalidRequestException"
    assert refusal(lambda: delete(client, RecoveryWindowInDays=7))[0] == "InvalidRequestException"


def test_deleting_what_is_absent_is_refused_unless_forced(client: Client) -> None:
    assert refusal(lambda: delete(client, SecretId="absent")) == ABSENT
    answer = delete(client, SecretId="x", ForceDeleteWithoutRecovery=True)
    assert (answer["Name"], answer["DeletionDate"]) == ("x", NOON)
    assert b'"ARN"' in client.answers[-1]


def test_a_name_is_kept_while_its_secret_waits_for_deletion(client: Client) -> None:
    delete(client)
    again = {"Name": "db", "SecretString": "v0", "ClientRequestToken": token(0)}
    assert refusal(lambda: client("CreateSecret", **again)) == (
        "InvalidRequestException",
        "You can't create this secret because a secret with this name is already scheduled for deletion.",
    )


def test_at_the_end_of_the_window_everything_goes_and_the_name_is_free(client: Client) -> None:
    arn = delete(client, RecoveryWindowInDays=7)["ARN"]
    client.clock.set(NOON + 7 * DAY - timedelta(microseconds=1))
    tick(client)
    assert client("DescribeSecret", SecretId="db")["ARN"] == arn
    client.clock.set(NOON + 7 * DAY)
    tick(client)
    assert rows_left(client) == [0, 0, 0, 0, 0]
    assert refusal(lambda: client("DescribeSecret", SecretId="db")) == ABSENT
    made = client("CreateSecret", Name="db", SecretString="new", ClientRequestToken=token(0))
    assert made["ARN"] != arn
    assert refusal(lambda: client("GetSecretValue", SecretId=arn)) == ABSENT


def test_force_deletes_at_once(client: Client) -> None:
    answer = delete(client, ForceDeleteWithoutRecovery=True)
    assert answer["DeletionDate"] == NOON
    assert rows_left(client) == [0, 0, 0, 0, 0]
    assert delete(client, SecretId=answer["ARN"], ForceDeleteWithoutRecovery=True)["ARN"] == answer["ARN"]


def test_force_ends_a_window_and_its_purge_finds_nothing(client: Client) -> None:
    delete(client)
    delete(client, ForceDeleteWithoutRecovery=True)
    assert rows_left(client)[:4] == [0, 0, 0, 0]
    client("CreateSecret", Name="db", SecretString="new", ClientRequestToken=token(5))
    client.clock.set(NOON + 31 * DAY)
    tick(client)
    assert client("GetSecretValue", SecretId="db")["SecretString"] == "new"
    assert rows_left(client)[4] == 0


def test_each_version_has_its_start_and_its_end_in_the_trail(client: Client) -> None:
    arn = delete(client, RecoveryWindowInDays=7)["ARN"]
    assert service_events(client) == ["StartSecretVersionDelete"] * 2
    starts = [record for record in client.records if record["eventType"] == "AwsServiceEvent"]
    assert {record["additionalEventData"]["SecretId"] for record in starts} == {arn}
    assert {record["requestID"] for record in starts} == {
        f"StartSecretVersionDelete-{arn}-{token(number)}" for number in (0, 1)
    }
    client.clock.set(NOON + 7 * DAY)
    tick(client)
    assert service_events(client) == ["EndSecretVersionDelete"] * 2 + ["StartSecretVersionDelete"] * 2


def test_force_starts_and_ends_each_version_once(client: Client) -> None:
    delete(client)
    delete(client, ForceDeleteWithoutRecovery=True)
    assert service_events(client) == ["EndSecretVersionDelete"] * 2 + ["StartSecretVersionDelete"] * 2


def test_the_record_of_a_deletion_shows_its_date_as_cloudtrail_does(client: Client) -> None:
    arn = delete(client, RecoveryWindowInDays=7)["ARN"]
    record = client.records[-1]
    assert record["requestParameters"] == {"secretId": "db", "recoveryWindowInDays": 7}
    assert record["responseElements"] == {
        "arn": arn,
        "name": "db",
        "deletionDate": "Nov 30, 2026 12:00:00 PM",
    }


def test_who_follows_hears_once_that_a_secret_goes(client: Client, store_place: StorePlace) -> None:
    heard: list[str] = []

    def listen(_unit: Unit, event: SecretDoomed) -> None:
        heard.append(event.secret.name)

    other = client.elsewhere(
        database=store_place.open(clock=client.clock, subscribers={SecretDoomed: [listen]})
    )
    delete(other)
    delete(other, ForceDeleteWithoutRecovery=True)
    assert heard == ["db"]


def test_a_purge_is_sealed_and_belongs_to_its_region(client: Client) -> None:
    delete(client)
    statement = select(outbox.outbox.c.sealed_payload)
    payload = client.database.read(lambda unit: bytes(unit.connection.execute(statement).scalar_one()))
    assert b"suffix" not in payload
    client.clock.set(NOON + 31 * DAY)
    with capture_logs(), pytest.raises(Exception, match="not what was sealed"):
        client.database.write(lambda unit: purge(unit, client.account_id, Region("us-east-1"), payload))


def test_a_secret_without_versions_is_deleted_too(client: Client) -> None:
    client("CreateSecret", Name="empty")
    delete(client, SecretId="empty", RecoveryWindowInDays=7)
    client.clock.set(NOON + 7 * DAY)
    tick(client)
    assert refusal(lambda: client("DescribeSecret", SecretId="empty")) == ABSENT
    assert client("DescribeSecret", SecretId="db")["Name"] == "db"
