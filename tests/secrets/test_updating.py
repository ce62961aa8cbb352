"""UpdateSecret on each store, through the gate."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.calling import ACCOUNT, Client, refusal, token
from tests.secrets.replicated import AWAY, HOME, ONLY_THE_PRIMARY, Deployment, replicas, secret_in, status
from tests.support import NOON, SettableClock, StorePlace
from turnlock.kms import KeyState
from turnlock.root_keys.envelope import Envelope
from turnlock.secrets import (
    AWSPENDING,
    LabelsChanged,
    SecretChanged,
    SecretReference,
    find_secret,
    put_placeholder,
    update_secret,
)
from turnlock.secrets.tables import secret_versions
from turnlock.storage import Unit

HOUR = timedelta(hours=1)


@pytest.fixture
def deployment(store_place: StorePlace, clock: SettableClock) -> Deployment:
    return Deployment(place=store_place, clock=clock)


@pytest.fixture
def client(deployment: Deployment) -> Client:
    """A client with a secret `db` of one version."""
    client = deployment.client()
    client("CreateSecret", Name="db", SecretString="v0", ClientRequestToken=token(0), Description="first")
    client.records.clear()
    return client


def update(client: Client, **parameters: Any) -> dict[str, Any]:
    return client("UpdateSecret", **{"SecretId": "db", **parameters})


def describe(client: Client) -> dict[str, Any]:
    return client("DescribeSecret", SecretId="db")


def get(client: Client, **parameters: Any) -> Any:
    return client("GetSecretValue", **{"SecretId": "db", **parameters})["SecretString"]


def key_ids(client: Client) -> dict[str, str]:
    """Return the KMS key under which each version's value really lies."""
    statement = select(secret_versions.c.version_id, secret_versions.c.sealed).where(
        secret_versions.c.region == client.region
    )
    rows = client.database.read(lambda unit: unit.connection.execute(statement).all())
    return {
        row.version_id: Envelope.parse(bytes(row.sealed)).key_arn.rpartition("/")[2]
        for row in rows
        if row.sealed is not None
    }


def test_metadata_alone_makes_no_version(client: Client, clock: SettableClock) -> None:
    before = describe(client)
    clock.advance(HOUR)
    answer = update(client, Description="second")
    assert answer == {"ARN": before["ARN"], "Name": "db"}
    after = describe(client)
    assert (after["Description"], after["LastChangedDate"]) == ("second", NOON + HOUR)
    assert after["VersionIdsToStages"] == before["VersionIdsToStages"]


def test_what_is_absent_stays_and_what_is_empty_goes(client: Client) -> None:
    update(client, Type="SalesforceClientSecret")
    assert (describe(client)["Description"], describe(client)["Type"]) == ("first", "SalesforceClientSecret")
    update(client, Description="", Type="")
    assert {"Description", "Type"}.isdisjoint(describe(client))


def test_an_update_that_changes_nothing_leaves_no_mark(client: Client, clock: SettableClock) -> None:
    before = describe(client)
    clock.advance(HOUR)
    update(client)
    update(client, Description="first")
    assert describe(client) == before


def test_a_value_becomes_current_and_the_last_one_previous(client: Client) -> None:
    answer = update(client, SecretString="v1", ClientRequestToken=token(1), Description="second")
    assert answer["VersionId"] == token(1)
    assert describe(client)["VersionIdsToStages"] == {token(0): ["AWSPREVIOUS"], token(1): ["AWSCURRENT"]}
    assert (get(client), get(client, VersionStage="AWSPREVIOUS")) == ("v1", "v0")
    assert describe(client)["Description"] == "second"


def test_the_same_token_and_value_again_change_nothing(client: Client, clock: SettableClock) -> None:
    update(client, SecretString="v1", ClientRequestToken=token(1))
    update(client, SecretString="v2", ClientRequestToken=token(2))
    before = describe(client)
    clock.advance(HOUR)
    assert update(client, SecretString="v1", ClientRequestToken=token(1))["VersionId"] == token(1)
    assert describe(client) == before


def test_the_same_token_with_another_value_is_refused_and_nothing_is_kept(client: Client) -> None:
    code, sentence = refusal(
        lambda: update(client, SecretString="other", ClientRequestToken=token(0), Description="second")
    )
    assert (code, token(0) in sentence) == ("ResourceExistsException", True)
    assert (get(client), describe(client)["Description"]) == ("v0", "first")


def test_a_rotations_placeholder_is_not_filled(client: Client) -> None:
    """What no database has must not become AWSCURRENT: PutSecretValue fills it, as the rotation function does."""

    def pend(unit: Unit) -> None:
        reference = SecretReference(account_id=ACCOUNT, region=HOME, name="db", suffix=None)
        secret = find_secret(unit, reference)
        assert secret is not None
        put_placeholder(unit, secret, token(1))

    client.database.write(pend)
    code, _ = refusal(lambda: update(client, SecretString="v1", ClientRequestToken=token(1)))
    assert code == "ResourceExistsException"
    assert describe(client)["VersionIdsToStages"][token(1)] == [AWSPENDING]


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"SecretString": "a", "SecretBinary": b"b"}, "InvalidParameterException"),
        ({"Description": "a\0b"}, "InvalidParameterException"),
        ({"Type": "a\0b"}, "InvalidParameterException"),
        ({"KmsKeyId": "alias/absent"}, "ResourceNotFoundException"),
        ({"SecretId": "absent"}, "ResourceNotFoundException"),
        ({"Type": "x" * 257}, "ValidationException"),
    ],
)
def test_what_cannot_be_is_refused(client: Client, parameters: dict[str, Any], code: str) -> None:
    before = describe(client)
    assert refusal(lambda: update(client, **parameters))[0] == code
    assert describe(client) == before


def test_a_secret_that_is_scheduled_for_deletion_is_not_updated(client: Client) -> None:
    client("DeleteSecret", SecretId="db")
    assert refusal(lambda: update(client, Description="x")) == (
        "InvalidRequestException",
        "You can't perform this operation on the secret because it was marked for deletion.",
    )


def test_another_key_seals_what_is_labelled_anew_and_leaves_the_rest(
    deployment: Deployment, client: Client
) -> None:
    key = deployment.make_key(HOME, "mine")
    for number in (1, 2):
        update(client, SecretString=f"v{number}", ClientRequestToken=token(number))
    update_stage = {"VersionStage": "kept", "MoveToVersionId": token(0)}
    client("UpdateSecretVersionStage", SecretId="db", **update_stage)
    default = key_ids(client)[token(0)]
    made = client("ListSecretVersionIds", SecretId="db", IncludeDeprecated=True)["Versions"]
    update(client, KmsKeyId="alias/mine")
    assert key_ids(client) == {token(0): default, token(1): key.key_id, token(2): key.key_id}
    assert [get(client, VersionId=token(number)) for number in range(3)] == ["v0", "v1", "v2"]
    assert describe(client)["KmsKeyId"] == "alias/mine"
    listed = client("ListSecretVersionIds", SecretId="db", IncludeDeprecated=True)["Versions"]
    assert [one["CreatedDate"] for one in listed] == [one["CreatedDate"] for one in made]
    assert {one["VersionId"]: one["KmsKeyIds"] for one in listed} == {
        token(0): ["DefaultEncryptionKey"],
        token(1): ["alias/mine"],
        token(2): ["alias/mine"],
    }
    update(client, KmsKeyId="")
    assert set(key_ids(client).values()) == {default}
    assert "KmsKeyId" not in describe(client)


def test_a_new_value_lies_under_the_key_that_came_with_it(deployment: Deployment, client: Client) -> None:
    key = deployment.make_key(HOME, "mine")
    update(client, KmsKeyId="alias/mine", SecretString="v1", ClientRequestToken=token(1))
    assert set(key_ids(client).values()) == {key.key_id}


def test_a_key_that_cannot_be_used_is_refused_even_without_a_value(
    deployment: Deployment, client: Client
) -> None:
    deployment.make_key(HOME, "off", state=KeyState.DISABLED)
    client("CreateSecret", Name="empty", ClientRequestToken=token())
    for name in ("db", "empty"):
        code, _ = refusal(lambda name=name: update(client, SecretId=name, KmsKeyId="alias/off"))  # type: ignore[misc]
        assert code == "EncryptionFailure"
    assert get(client) == "v0"


def test_a_replica_takes_a_key_of_its_own_and_nothing_else(deployment: Deployment, client: Client) -> None:
    key = deployment.make_key(AWAY, "mine")
    client("ReplicateSecretToRegions", SecretId="db", AddReplicaRegions=replicas(AWAY))
    deployment.deliver()
    away = deployment.client(AWAY)
    assert refusal(lambda: update(away, Description="x")) == ONLY_THE_PRIMARY
    assert refusal(lambda: update(away, SecretString="x", ClientRequestToken=token(9))) == ONLY_THE_PRIMARY
    update(away, KmsKeyId="alias/mine", ClientRequestToken=token(9))
    assert set(key_ids(away).values()) == {key.key_id}
    (row,) = describe(client)["ReplicationStatus"]
    assert row["KmsKeyId"] == "alias/mine"
    update(client, SecretString="v1", ClientRequestToken=token(1))
    deployment.deliver()
    assert (status(client), get(away)) == ({AWAY: "InSync"}, "v1")
    assert set(key_ids(away).values()) == {key.key_id}


def test_it_announces_what_others_follow(store_place: StorePlace, clock: SettableClock) -> None:
    heard: list[str] = []
    events: dict[type, Any] = {
        one: (lambda _unit, event: heard.append(type(event).__name__),)
        for one in (LabelsChanged, SecretChanged)
    }
    client = Client(database=store_place.open(clock=clock, subscribers=events), clock=clock)
    client("CreateSecret", Name="db", ClientRequestToken=token())
    heard.clear()
    update(client, Description="x")
    assert heard == ["SecretChanged"]
    update(client, SecretString="v", ClientRequestToken=token(1))
    assert "LabelsChanged" in heard


def test_a_managed_secret_is_changed_by_its_service_only(client: Client) -> None:
    """Nothing makes one yet: its row is written here."""

    def write(unit: Unit) -> None:
        update_secret(unit, secret_in(unit, client.region).evolve(owning_service="rds"))

    client.database.write(write)
    assert describe(client)["OwningService"] == "rds"
    refused = (
        "InvalidRequestException",
        "You can't perform this operation on the secret because it is managed by rds.",
    )
    for call, parameters in (
        ("UpdateSecret", {"Description": "x"}),
        ("PutSecretValue", {"SecretString": "x", "ClientRequestToken": token(5)}),
        ("UpdateSecretVersionStage", {"VersionStage": "x", "MoveToVersionId": token(0)}),
        ("DeleteSecret", {}),
        ("CancelRotateSecret", {}),
        ("RotateSecret", {"RotationLambdaARN": "arn:aws:lambda:x", "ClientRequestToken": token(6)}),
    ):
        assert refusal(lambda call=call, own=parameters: client(call, SecretId="db", **own)) == refused  # type: ignore[misc]
    assert get(client) == "v0"
    client("TagResource", SecretId="db", Tags=[{"Key": "k", "Value": "v"}])


def test_a_value_leaves_no_trace_in_the_record(client: Client) -> None:
    update(client, SecretString="marker-of-a-value", ClientRequestToken=token(1), Description="d")
    (record,) = client.records
    assert record["requestParameters"] == {
        "secretId": "db",
        "description": "d",
        "clientRequestToken": token(1),
    }
    assert "marker-of-a-value" not in str(client.records)
