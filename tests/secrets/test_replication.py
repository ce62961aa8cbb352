"""Replication as a caller sees it: the three actions, CreateSecret's replicas, and what a replica refuses."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from tests.calling import ACCOUNT, Client, refusal, token
from tests.secrets.replicated import (
    AWAY,
    DEFAULT_KEY,
    HOME,
    SUCCEEDED,
    THIRD,
    Deployment,
    key_of,
    picture,
    replicas,
    replication,
    status,
)
from tests.support import SettableClock, StorePlace
from turnlock import secrets
from turnlock.kms import KeyState
from turnlock.secrets.tables import secret_replicas

MINUTE = timedelta(minutes=1)
NOT_FOUND = ("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")


@pytest.fixture
def arn(here: Deployment, home: Client) -> str:
    """A secret `db` with a value, a tag and a description, replicated to AWAY."""
    made = home(
        "CreateSecret",
        Name="db",
        SecretString="v0",
        Description="the database",
        ClientRequestToken=token(0),
        Tags=[{"Key": "team", "Value": "a"}],
        AddReplicaRegions=replicas(AWAY),
    )
    here.deliver()
    here.clock.advance(MINUTE)
    return str(made["ARN"])


def test_create_secret_promises_its_replicas_and_the_outbox_makes_them(
    here: Deployment, home: Client
) -> None:
    made = home(
        "CreateSecret",
        Name="db",
        SecretString="v",
        AddReplicaRegions=replicas(THIRD, AWAY),
        ClientRequestToken=token(),
    )
    assert [(one["Region"], one["Status"], one["KmsKeyId"]) for one in made["ReplicationStatus"]] == [
        (AWAY, "InProgress", DEFAULT_KEY),
        (THIRD, "InProgress", DEFAULT_KEY),
    ]
    assert refusal(lambda: here.client(AWAY)("DescribeSecret", SecretId="db")) == NOT_FOUND
    here.deliver()
    assert replication(home) == [
        {"Region": region, "KmsKeyId": DEFAULT_KEY, "Status": "InSync", "StatusMessage": SUCCEEDED}
        for region in (AWAY, THIRD)
    ]
    for region in (AWAY, THIRD):
        assert here.client(region)("GetSecretValue", SecretId="db")["SecretString"] == "v"


def test_a_secret_without_a_value_is_replicated_too(here: Deployment, home: Client, away: Client) -> None:
    home("CreateSecret", Name="db", AddReplicaRegions=replicas(AWAY), ClientRequestToken=token())
    here.deliver()
    assert status(home) == {AWAY: "InSync"}
    assert picture(away) == picture(home)


def test_a_secret_on_its_own_says_nothing_of_replication(home: Client) -> None:
    assert "ReplicationStatus" not in home("CreateSecret", Name="db", ClientRequestToken=token())
    described = home("DescribeSecret", SecretId="db")
    assert not {"PrimaryRegion", "ReplicationStatus"} & described.keys()


def test_a_replica_has_its_primarys_arn_but_for_the_region(arn: str, away: Client) -> None:
    replica = away("DescribeSecret", SecretId="db")
    assert replica["ARN"] == arn.replace(HOME, AWAY)
    assert away("GetSecretValue", SecretId=arn.replace(HOME, AWAY))["SecretString"] == "v0"


def test_primary_and_replica_both_name_the_primary_region(arn: str, home: Client, away: Client) -> None:
    assert home("DescribeSecret", SecretId=arn)["PrimaryRegion"] == HOME
    replica = away("DescribeSecret", SecretId="db")
    assert replica["PrimaryRegion"] == HOME
    assert "ReplicationStatus" not in replica
    (listed,) = away("ListSecrets", Filters=[{"Key": "primary-region", "Values": [HOME]}])["SecretList"]
    assert (listed["Name"], listed["PrimaryRegion"]) == ("db", HOME)


def test_everything_that_describes_a_secret_is_copied(arn: str, home: Client, away: Client) -> None:
    assert picture(away) == picture(home)
    assert away("DescribeSecret", SecretId="db")["Description"] == "the database"
    assert away("DescribeSecret", SecretId="db")["Tags"] == [{"Key": "team", "Value": "a"}]


def test_a_replica_is_found_by_what_was_copied(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    filters = [("tag-key", "team"), ("description", "database"), ("all", "a db"), ("name", "d")]

    def found(client: Client) -> list[int]:
        return [
            len(client("ListSecrets", Filters=[{"Key": key, "Values": [value]}])["SecretList"])
            for key, value in filters
        ]

    assert found(away) == [1, 1, 1, 1]
    home("UntagResource", SecretId=arn, TagKeys=["team"])
    home("UpdateSecret", SecretId=arn, Description="")
    here.deliver()
    assert found(away) == found(home) == [0, 0, 0, 1]


def test_a_new_value_reaches_the_replica_with_its_labels(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    home("PutSecretValue", SecretId=arn, SecretString="v1", ClientRequestToken=token(1))
    assert status(home) == {AWAY: "InProgress"}
    assert away("GetSecretValue", SecretId="db")["SecretString"] == "v0"
    here.deliver()
    assert status(home) == {AWAY: "InSync"}
    current = away("GetSecretValue", SecretId="db")
    assert (current["SecretString"], current["VersionId"]) == ("v1", token(1))
    assert away("GetSecretValue", SecretId="db", VersionStage="AWSPREVIOUS")["VersionId"] == token(0)
    assert picture(away) == picture(home)


def test_binary_values_and_custom_labels_are_copied(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    home(
        "PutSecretValue",
        SecretId=arn,
        SecretBinary=b"\x00\xff",
        VersionStages=["blue"],
        ClientRequestToken=token(1),
    )
    home("UpdateSecretVersionStage", SecretId=arn, VersionStage="green", MoveToVersionId=token(0))
    here.deliver()
    assert away("GetSecretValue", SecretId="db", VersionStage="blue")["SecretBinary"] == b"\x00\xff"
    assert away("GetSecretValue", SecretId="db", VersionStage="green")["SecretString"] == "v0"
    home("UpdateSecretVersionStage", SecretId=arn, VersionStage="green", RemoveFromVersionId=token(0))
    here.deliver()
    assert picture(away) == picture(home)


def test_replicate_adds_regions_to_a_secret_that_was_on_its_own(
    here: Deployment, home: Client, away: Client
) -> None:
    home("CreateSecret", Name="db", SecretString="v", ClientRequestToken=token())
    answer = home("ReplicateSecretToRegions", SecretId="db", AddReplicaRegions=replicas(AWAY))
    assert set(answer) == {"ARN", "ReplicationStatus"}
    assert [one["Status"] for one in answer["ReplicationStatus"]] == ["InProgress"]
    here.deliver()
    assert picture(away) == picture(home)


def test_a_repeated_request_copies_again_and_changes_nothing(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    before = picture(away)
    home("ReplicateSecretToRegions", SecretId=arn, AddReplicaRegions=replicas(AWAY))
    here.deliver()
    assert status(home) == {AWAY: "InSync"}
    assert picture(away) == before


def test_a_repeated_create_secret_tells_the_replicas(arn: str, home: Client) -> None:
    repeated = home(
        "CreateSecret",
        Name="db",
        SecretString="v0",
        ClientRequestToken=token(0),
        AddReplicaRegions=replicas(AWAY),
    )
    assert [one["Status"] for one in repeated["ReplicationStatus"]] == ["InSync"]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ([{"Region": "ap-south-1"}], "Invalid replica region."),
        ([{"KmsKeyId": "alias/a"}], "Invalid replica region."),
        ([{"Region": HOME}], "Invalid replica region."),
        (replicas(AWAY, AWAY), "A Region can be named only once in AddReplicaRegions."),
        ([{"Region": AWAY, "KmsKeyId": "a\0b"}], "KmsKeyId must not contain the null character."),
    ],
)
def test_regions_that_cannot_have_a_replica_are_refused_and_nothing_is_promised(
    here: Deployment, home: Client, asked: list[dict[str, str]], sentence: str
) -> None:
    home("CreateSecret", Name="db", SecretString="v", ClientRequestToken=token())
    refused = ("InvalidParameterException", sentence)
    assert (
        refusal(lambda: home("ReplicateSecretToRegions", SecretId="db", AddReplicaRegions=asked)) == refused
    )
    create = {"Name": "other", "ClientRequestToken": token(1), "AddReplicaRegions": asked}
    assert refusal(lambda: home("CreateSecret", **create)) == refused
    assert refusal(lambda: home("DescribeSecret", SecretId="other")) == NOT_FOUND
    assert here.promised() == []


def test_another_key_for_a_replica_that_is_there_is_refused(arn: str, home: Client) -> None:
    asked = [{"Region": AWAY, "KmsKeyId": "alias/mine"}]
    code, sentence = refusal(lambda: home("ReplicateSecretToRegions", SecretId=arn, AddReplicaRegions=asked))
    assert code == "InvalidParameterException"
    assert sentence.startswith(f"The secret is replicated to {AWAY} under another key already")


@pytest.mark.parametrize("operation", ["ReplicateSecretToRegions", "RemoveRegionsFromReplication"])
def test_a_secret_that_is_absent_or_going_is_not_replicated(home: Client, operation: str) -> None:
    regions: dict[str, Any] = (
        {"AddReplicaRegions": replicas(AWAY)}
        if operation.startswith("Replicate")
        else {"RemoveReplicaRegions": [AWAY]}
    )
    assert refusal(lambda: home(operation, SecretId="absent", **regions)) == NOT_FOUND
    home("CreateSecret", Name="db", ClientRequestToken=token())
    home("DeleteSecret", SecretId="db")
    assert refusal(lambda: home(operation, SecretId="db", **regions)) == (
        "InvalidRequestException",
        "You can't perform this operation on the secret because it was marked for deletion.",
    )


def test_a_replica_lies_under_its_own_key(here: Deployment, home: Client, away: Client) -> None:
    key = here.make_key(AWAY, "mine")
    asked = [{"Region": AWAY, "KmsKeyId": "alias/mine"}]
    home("CreateSecret", Name="db", SecretString="v", AddReplicaRegions=asked, ClientRequestToken=token())
    here.deliver()
    assert [one["KmsKeyId"] for one in replication(home)] == ["alias/mine"]
    assert away("DescribeSecret", SecretId="db")["KmsKeyId"] == "alias/mine"
    assert "KmsKeyId" not in home("DescribeSecret", SecretId="db")
    assert away("GetSecretValue", SecretId="db")["SecretString"] == "v"
    assert key_of(here, away, token()) == key.key_id


@pytest.mark.parametrize("state", [None, KeyState.DISABLED])
def test_a_key_that_cannot_be_used_fails_the_replica_with_the_reason(
    here: Deployment, home: Client, away: Client, state: KeyState | None
) -> None:
    if state is not None:
        here.make_key(AWAY, "mine", state=state)
    asked = [{"Region": AWAY, "KmsKeyId": "alias/mine"}]
    home("CreateSecret", Name="db", SecretString="v", AddReplicaRegions=asked, ClientRequestToken=token())
    here.deliver()
    (one,) = replication(home)
    assert one["Status"] == "Failed"
    assert ("is not found" if state is None else "can't encrypt") in one["StatusMessage"]
    assert refusal(lambda: away("DescribeSecret", SecretId="db")) == NOT_FOUND
    assert here.events() == ["ReplicationStarted", "ReplicationFailed"]


def test_a_failed_replica_is_tried_again_with_another_key(
    here: Deployment, home: Client, away: Client
) -> None:
    asked = [{"Region": AWAY, "KmsKeyId": "alias/mine"}]
    home("CreateSecret", Name="db", SecretString="v", AddReplicaRegions=asked, ClientRequestToken=token())
    here.deliver()
    home("ReplicateSecretToRegions", SecretId="db", AddReplicaRegions=replicas(AWAY))
    here.deliver()
    assert replication(home) == [
        {"Region": AWAY, "KmsKeyId": DEFAULT_KEY, "Status": "InSync", "StatusMessage": SUCCEEDED}
    ]
    assert picture(away) == picture(home)


def test_a_change_tries_a_failed_replica_again(here: Deployment, home: Client, away: Client) -> None:
    away("CreateSecret", Name="db", SecretString="theirs", ClientRequestToken=token(7))
    home(
        "CreateSecret",
        Name="db",
        SecretString="v",
        AddReplicaRegions=replicas(AWAY),
        ClientRequestToken=token(),
    )
    here.deliver()
    assert status(home) == {AWAY: "Failed"}
    away("DeleteSecret", SecretId="db", ForceDeleteWithoutRecovery=True)
    home("PutSecretValue", SecretId="db", SecretString="v1", ClientRequestToken=token(1))
    here.deliver()
    assert status(home) == {AWAY: "InSync"}
    assert picture(away) == picture(home)


def test_a_name_that_is_taken_there_fails_the_replica(here: Deployment, home: Client, away: Client) -> None:
    away("CreateSecret", Name="db", SecretString="theirs", ClientRequestToken=token(7))
    home(
        "CreateSecret",
        Name="db",
        SecretString="v",
        AddReplicaRegions=replicas(AWAY),
        ClientRequestToken=token(),
    )
    here.deliver()
    assert replication(home) == [
        {
            "Region": AWAY,
            "KmsKeyId": DEFAULT_KEY,
            "Status": "Failed",
            "StatusMessage": "Secret with this name already exists in this region",
        }
    ]
    assert away("GetSecretValue", SecretId="db")["SecretString"] == "theirs"


def test_with_force_the_secret_that_has_the_name_is_overwritten(
    here: Deployment, home: Client, away: Client
) -> None:
    away("CreateSecret", Name="db", SecretString="theirs", ClientRequestToken=token(7))
    home(
        "CreateSecret",
        Name="db",
        SecretString="v",
        AddReplicaRegions=replicas(AWAY),
        ClientRequestToken=token(),
    )
    here.deliver()
    home(
        "ReplicateSecretToRegions",
        SecretId="db",
        AddReplicaRegions=replicas(AWAY),
        ForceOverwriteReplicaSecret=True,
    )
    here.deliver()
    assert status(home) == {AWAY: "InSync"}
    assert picture(away) == picture(home)
    assert here.events("End") == ["EndSecretVersionDelete"]


def test_force_never_takes_a_name_from_another_primary_or_its_replica(here: Deployment) -> None:
    home, away, third = (here.client(region) for region in (HOME, AWAY, THIRD))
    away(
        "CreateSecret",
        Name="db",
        SecretString="v",
        AddReplicaRegions=replicas(THIRD),
        ClientRequestToken=token(),
    )
    here.deliver()
    home(
        "CreateSecret",
        Name="db",
        SecretString="mine",
        AddReplicaRegions=replicas(AWAY, THIRD),
        ForceOverwriteReplicaSecret=True,
        ClientRequestToken=token(1),
    )
    here.deliver()
    assert status(home) == {AWAY: "Failed", THIRD: "Failed"}
    assert [one("GetSecretValue", SecretId="db")["SecretString"] for one in (away, third)] == ["v", "v"]


def test_leave_to_overwrite_is_used_up_by_the_first_copy(here: Deployment, home: Client) -> None:
    home(
        "CreateSecret",
        Name="db",
        AddReplicaRegions=replicas(AWAY),
        ForceOverwriteReplicaSecret=True,
        ClientRequestToken=token(),
    )
    here.deliver()
    statement = select(secret_replicas.c.overwrite)
    assert here.database.read(lambda unit: unit.connection.execute(statement).scalars().all()) == [False]


def test_each_replication_that_begins_also_ends_in_the_trail(
    here: Deployment, arn: str, home: Client
) -> None:
    assert here.events() == ["ReplicationStarted", "ReplicationSucceeded"]
    home("PutSecretValue", SecretId=arn, SecretString="v1", ClientRequestToken=token(1))
    home("PutSecretValue", SecretId=arn, SecretString="v2", ClientRequestToken=token(2))
    assert here.events() == ["ReplicationStarted", "ReplicationSucceeded", "ReplicationStarted"]
    here.deliver()
    assert here.events() == ["ReplicationStarted", "ReplicationSucceeded"] * 2


def test_the_records_of_the_actions_name_regions_and_no_value(
    here: Deployment, arn: str, home: Client
) -> None:
    (create,) = (record for record in home.records if record["eventName"] == "CreateSecret")
    assert create["requestParameters"]["addReplicaRegions"] == [{"region": AWAY}]
    assert "v0" not in str(home.records)
    home("RemoveRegionsFromReplication", SecretId=arn, RemoveReplicaRegions=[AWAY])
    assert home.records[-1]["requestParameters"] == {"secretId": arn, "removeReplicaRegions": [AWAY]}
    assert home.records[-1]["responseElements"]["arn"] == arn


def test_a_replica_in_a_region_that_is_no_longer_served_fails(
    here: Deployment, arn: str, home: Client, store_place: StorePlace, clock: SettableClock
) -> None:
    home("PutSecretValue", SecretId=arn, SecretString="v1", ClientRequestToken=token(1))
    smaller = store_place.open(clock=clock, subscribers=secrets.SUBSCRIBERS, regions=frozenset({HOME}))
    (job,) = here.promised()
    smaller.write(lambda unit: secrets.replicate(unit, ACCOUNT, *job))
    assert [one["StatusMessage"] for one in replication(home)] == [f"The Region {AWAY} is not enabled."]
