"""LastAccessedDate: noted by reads, written by a loop, to the day."""

from __future__ import annotations

import timeit
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from tests.calling import Client, token
from tests.support import NOON, SettableClock, StorePlace
from turnlock.errors import StoreError
from turnlock.secrets import AccessNotes, VersionRead, accesses
from turnlock.trail import TrailTable

MIDNIGHT = datetime(2026, 11, 23, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def notes() -> AccessNotes:
    return AccessNotes()


@pytest.fixture
def client(store_place: StorePlace, clock: SettableClock, notes: AccessNotes) -> Client:
    """A client with a secret `db`, in a process that keeps notes."""
    chains = count(1)
    database = store_place.open(
        clock=clock,
        subscribers=notes.subscribers(),
        sink=lambda: TrailTable(f"w{next(chains)}"),
    )
    client = Client(database=database, clock=clock)
    client("CreateSecret", Name="db", SecretString="v0", ClientRequestToken=token(0))
    return client


def get(client: Client, **parameters: Any) -> dict[str, Any]:
    return client("GetSecretValue", **{"SecretId": "db", **parameters})


def secret_read(client: Client) -> Any:
    return client("DescribeSecret", SecretId="db").get("LastAccessedDate")


def versions_read(client: Client) -> dict[str, Any]:
    listed = client("ListSecretVersionIds", SecretId="db", IncludeDeprecated=True)["Versions"]
    return {one["VersionId"]: one["LastAccessedDate"] for one in listed}


def test_a_read_shows_as_its_day_in_the_very_next_answer_and_once_it_is_written_to_other_processes(
    client: Client, notes: AccessNotes, store_place: StorePlace
) -> None:
    other = client.elsewhere(database=store_place.open(clock=client.clock))
    assert secret_read(client) is None
    get(client)
    waits = []
    for _ in range(4):  # noted, being written, remembered, forgotten
        assert secret_read(client) == MIDNIGHT
        assert versions_read(client) == {token(0): MIDNIGHT}
        assert client("ListSecrets")["SecretList"][0]["LastAccessedDate"] == MIDNIGHT
        waits.append(notes.flush(client.database))
        assert secret_read(other) == MIDNIGHT
    assert waits == [accesses.REST_SECONDS, *[accesses.FLUSH_SECONDS] * 3]
    assert not notes._days


def test_a_unit_that_began_before_the_write_sees_what_was_written_meanwhile(
    client: Client, notes: AccessNotes
) -> None:
    get(client)
    notes.flush(client.database)
    asked = accesses.ReadsAsked(secrets=tuple(notes._days))
    notes.tell(client.database.read(lambda unit: unit), asked)
    assert [*asked.found.values()] == [{token(0): MIDNIGHT}]


def test_only_the_versions_that_were_read_have_a_day(client: Client) -> None:
    client("PutSecretValue", SecretId="db", SecretString="v1", ClientRequestToken=token(1))
    get(client)
    listed = client("ListSecretVersionIds", SecretId="db")["Versions"]
    assert {one["VersionId"]: one.get("LastAccessedDate") for one in listed} == {
        token(0): None,
        token(1): MIDNIGHT,
    }


def test_each_version_has_its_own_day_and_the_secret_the_last(client: Client, notes: AccessNotes) -> None:
    client("PutSecretValue", SecretId="db", SecretString="v1", ClientRequestToken=token(1))
    get(client)
    notes.flush(client.database)
    client.clock.advance(DAY)
    get(client, VersionStage="AWSPREVIOUS")
    notes.flush(client.database)
    assert versions_read(client) == {token(0): MIDNIGHT + DAY, token(1): MIDNIGHT}
    assert secret_read(client) == MIDNIGHT + DAY


def test_a_batch_counts_as_reads(client: Client, notes: AccessNotes) -> None:
    client("BatchGetSecretValue", SecretIdList=["db", "absent"])
    notes.flush(client.database)
    assert secret_read(client) == MIDNIGHT


def test_what_is_not_a_read_of_the_value_does_not_count(client: Client, notes: AccessNotes) -> None:
    client("DescribeSecret", SecretId="db")
    client("ListSecretVersionIds", SecretId="db")
    client("PutSecretValue", SecretId="db", SecretString="v1", ClientRequestToken=token(1))
    notes.flush(client.database)
    assert secret_read(client) is None


def test_a_day_that_is_known_is_not_written_again(
    client: Client, notes: AccessNotes, monkeypatch: pytest.MonkeyPatch
) -> None:
    get(client)
    notes.flush(client.database)
    get(client)
    monkeypatch.setattr(client, "database", None)
    assert notes.flush(client.database) == accesses.FLUSH_SECONDS  # there is nothing to write


def test_an_older_note_never_sets_the_day_back(client: Client, notes: AccessNotes) -> None:
    """Two nodes write what they noted in any order."""
    other = AccessNotes()
    get(client)
    (early,) = notes._noted
    late = VersionRead(**{**{name: getattr(early, name) for name in early.__slots__}, "day": MIDNIGHT + DAY})
    other._noted[late] = None
    other.flush(client.database)
    notes.flush(client.database)
    assert secret_read(client) == MIDNIGHT + DAY
    assert versions_read(client) == {token(0): MIDNIGHT + DAY}


def test_a_note_of_a_secret_that_is_gone_touches_nothing_else(client: Client, notes: AccessNotes) -> None:
    get(client)
    client("DeleteSecret", SecretId="db", ForceDeleteWithoutRecovery=True)
    client("CreateSecret", Name="db", SecretString="v", ClientRequestToken=token(7))
    notes.flush(client.database)
    assert secret_read(client) is None


def test_many_notes_are_written_in_batches(
    client: Client, notes: AccessNotes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accesses, "BATCH", 2)
    for number in range(5):
        client("CreateSecret", Name=f"s{number}", SecretString="v", ClientRequestToken=token(number))
        get(client, SecretId=f"s{number}")
    assert [notes.flush(client.database) for _ in range(3)] == [0.0, 0.0, accesses.REST_SECONDS]
    listed = client("ListSecrets", Filters=[{"Key": "name", "Values": ["s"]}])["SecretList"]
    assert [one["LastAccessedDate"] for one in listed] == [MIDNIGHT] * 5


def test_notes_are_bounded_and_a_store_that_fails_loses_some(
    client: Client, notes: AccessNotes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accesses, "MOST_KEPT", 1)
    client("CreateSecret", Name="other", SecretString="v", ClientRequestToken=token(1))
    get(client)
    get(client, SecretId="other")
    assert len(notes._noted) == 1
    client.database.close()
    with pytest.raises(StoreError):
        notes.flush(client.database)
    assert not notes._noted


@pytest.mark.parametrize("shift", [timedelta(0), timedelta(hours=11, minutes=59), timedelta(hours=12)])
def test_a_day_ends_at_midnight_utc(client: Client, notes: AccessNotes, shift: timedelta) -> None:
    client.clock.set(NOON + shift)
    get(client)
    notes.flush(client.database)
    assert secret_read(client) == MIDNIGHT + (DAY if shift == timedelta(hours=12) else timedelta(0))


def test_a_known_day_costs_the_hot_path_less_than_a_microsecond(client: Client, notes: AccessNotes) -> None:
    from turnlock.secrets import SecretReference, find_secret, find_version
    from turnlock.secrets.accesses import note_access
    from turnlock.storage import Unit

    get(client)
    notes.flush(client.database)

    def measure(unit: Unit) -> float:
        reference = SecretReference(
            account_id=client.account_id, region=client.region, name="db", suffix=None
        )
        secret = find_secret(unit, reference)
        assert secret is not None
        version = find_version(unit, secret, token(0))
        assert version is not None
        return min(timeit.repeat(lambda: note_access(unit, secret, version), number=2000, repeat=5)) / 2000

    assert client.database.read(measure) < 1e-6
