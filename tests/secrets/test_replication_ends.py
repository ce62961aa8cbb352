"""What binds a replica to its primary, and how it ends: refused changes, removal, promotion, deletion."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import func, select

from tests.calling import Client, refusal, token
from tests.secrets.replicated import (
    AWAY,
    HOME,
    ONLY_THE_PRIMARY,
    THIRD,
    Deployment,
    key_of,
    picture,
    replicas,
    replication,
    run,
    status,
)
from turnlock.secrets import secret_subject
from turnlock.secrets.tables import secret_replicas

NOT_FOUND = ("ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
MINUTE = timedelta(minutes=1)

REFUSED: tuple[tuple[str, dict[str, Any]], ...] = (
    ("CancelRotateSecret", {}),
    ("DeleteResourcePolicy", {}),
    ("DeleteSecret", {}),
    ("DeleteSecret", {"ForceDeleteWithoutRecovery": True}),
    ("PutResourcePolicy", {"ResourcePolicy": '{"Version":"2012-10-17","Statement":[]}'}),
    ("PutSecretValue", {"SecretString": "x", "ClientRequestToken": token(3)}),
    ("RemoveRegionsFromReplication", {"RemoveReplicaRegions": [THIRD]}),
    ("ReplicateSecretToRegions", {"AddReplicaRegions": replicas(THIRD)}),
    ("RotateSecret", {"ClientRequestToken": token(3)}),
    ("TagResource", {"Tags": [{"Key": "a", "Value": "b"}]}),
    ("UntagResource", {"TagKeys": ["team"]}),
    ("UpdateSecret", {"Description": "x"}),
    ("UpdateSecret", {"SecretString": "x", "ClientRequestToken": token(3)}),
    ("UpdateSecret", {"Description": "x", "KmsKeyId": ""}),
    ("UpdateSecretVersionStage", {"VersionStage": "blue", "MoveToVersionId": token(0)}),
)
ALLOWED_ON_A_REPLICA = {
    "RestoreSecret",  # nothing to restore: a replica is never scheduled for deletion
    "StopReplicationToReplica",
}


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


def test_a_removed_replica_goes_and_the_primary_stands_on_its_own(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    answer = home("RemoveRegionsFromReplication", SecretId=arn, RemoveReplicaRegions=[AWAY])
    assert answer == {"ARN": arn, "ReplicationStatus": []}
    here.deliver()
    assert refusal(lambda: away("DescribeSecret", SecretId="db")) == NOT_FOUND
    assert "PrimaryRegion" not in home("DescribeSecret", SecretId=arn)
    assert home("DeleteSecret", SecretId=arn)["Name"] == "db"


def test_removing_one_of_two_replicas_leaves_the_other(here: Deployment, arn: str, home: Client) -> None:
    home("ReplicateSecretToRegions", SecretId=arn, AddReplicaRegions=replicas(THIRD))
    here.deliver()
    answer = home("RemoveRegionsFromReplication", SecretId=arn, RemoveReplicaRegions=[AWAY, "ap-south-1"])
    assert [(one["Region"], one["Status"]) for one in answer["ReplicationStatus"]] == [(THIRD, "InSync")]
    here.deliver()
    assert picture(here.client(THIRD)) == picture(home)
    assert home("RemoveRegionsFromReplication", SecretId=arn, RemoveReplicaRegions=[AWAY]) == answer


def test_a_replica_that_is_removed_and_asked_for_again_at_once_is_there(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    home("RemoveRegionsFromReplication", SecretId=arn, RemoveReplicaRegions=[AWAY])
    home("ReplicateSecretToRegions", SecretId=arn, AddReplicaRegions=replicas(AWAY))
    here.deliver()
    assert status(home) == {AWAY: "InSync"}
    assert picture(away) == picture(home)


@pytest.mark.parametrize("removal_first", [True, False])
def test_a_new_secret_of_the_name_takes_the_place_of_its_predecessors_replica(
    here: Deployment, home: Client, away: Client, removal_first: bool
) -> None:
    create = {"Name": "db", "ClientRequestToken": token(), "AddReplicaRegions": replicas(AWAY)}
    arn = home("CreateSecret", SecretString="old", **create)["ARN"]
    here.deliver()
    home("RemoveRegionsFromReplication", SecretId=arn, RemoveReplicaRegions=[AWAY])
    home("DeleteSecret", SecretId=arn, ForceDeleteWithoutRecovery=True)
    (removal,) = here.promised()
    home("CreateSecret", SecretString="new", **create)
    jobs = sorted(here.promised(), key=lambda job: (job == removal) is not removal_first)
    for job in jobs:
        run(here, job)
    assert status(home) == {AWAY: "InSync"}
    assert away("GetSecretValue", SecretId="db")["SecretString"] == "new"
    assert picture(away) == picture(home)


@pytest.mark.parametrize("parameters", [{}, {"ForceDeleteWithoutRecovery": True}])
def test_a_primary_with_replicas_is_not_deleted(arn: str, home: Client, parameters: dict[str, Any]) -> None:
    code, sentence = refusal(lambda: home("DeleteSecret", SecretId=arn, **parameters))
    assert code == "InvalidParameterException"
    assert re.fullmatch(
        rf"You can't delete secret arn:\S+:secret:db-\w{{6}} that still has replica regions \[{AWAY}\]",
        sentence,
    )
    assert "DeletedDate" not in home("DescribeSecret", SecretId=arn)


def test_a_replica_is_changed_only_by_its_primary(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    before = picture(away)
    for operation, parameters in REFUSED:
        if operation in away.service.passages:
            refused = refusal(partial(away, operation, SecretId="db", **parameters))
            assert (operation, *refused) == (operation, *ONLY_THE_PRIMARY)
    assert picture(away) == before == picture(home)


def test_every_action_that_changes_a_secret_is_refused_on_a_replica_or_known_not_to_be(home: Client) -> None:
    changing = {
        name
        for name, passage in home.service.passages.items()
        if passage.action.mutates and passage.action.subject is secret_subject
    }
    assert changing <= {operation for operation, _ in REFUSED} | ALLOWED_ON_A_REPLICA


def test_a_replicas_key_is_its_own(here: Deployment, arn: str, home: Client, away: Client) -> None:
    key = here.make_key(AWAY, "mine")
    away("UpdateSecret", SecretId="db", KmsKeyId="alias/mine", ClientRequestToken=token(8))
    assert [one["KmsKeyId"] for one in replication(home)] == ["alias/mine"]
    home("PutSecretValue", SecretId=arn, SecretString="v1", ClientRequestToken=token(1))
    here.deliver()
    assert away("DescribeSecret", SecretId="db")["KmsKeyId"] == "alias/mine"
    assert "KmsKeyId" not in home("DescribeSecret", SecretId=arn)
    assert key_of(here, away, token(0)) == key_of(here, away, token(1)) == key.key_id
    assert picture(away) == picture(home)


def test_a_promoted_replica_is_a_secret_of_its_own(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    before = home("DescribeSecret", SecretId=arn)["VersionIdsToStages"]
    assert away("StopReplicationToReplica", SecretId="db") == {"ARN": arn.replace(HOME, AWAY)}
    assert not {"PrimaryRegion", "ReplicationStatus"} & home("DescribeSecret", SecretId=arn).keys()
    promoted = away("DescribeSecret", SecretId="db")
    assert "PrimaryRegion" not in promoted
    assert promoted["VersionIdsToStages"] == before
    away("PutSecretValue", SecretId="db", SecretString="own", ClientRequestToken=token(3))
    home("PutSecretValue", SecretId=arn, SecretString="v1", ClientRequestToken=token(4))
    here.deliver()
    assert away("GetSecretValue", SecretId="db")["SecretString"] == "own"
    assert away("DeleteSecret", SecretId="db")["Name"] == "db"
    assert home("DeleteSecret", SecretId=arn)["Name"] == "db"


def test_a_promoted_replica_can_have_replicas_itself(here: Deployment, arn: str, away: Client) -> None:
    away("StopReplicationToReplica", SecretId="db")
    away("ReplicateSecretToRegions", SecretId="db", AddReplicaRegions=replicas(THIRD))
    here.deliver()
    assert status(away) == {THIRD: "InSync"}
    assert picture(here.client(THIRD)) == picture(away)


def test_a_promoted_replica_stays_when_its_removal_comes_late(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    home("RemoveRegionsFromReplication", SecretId=arn, RemoveReplicaRegions=[AWAY])
    away("StopReplicationToReplica", SecretId="db")
    here.deliver()
    assert away("GetSecretValue", SecretId="db")["SecretString"] == "v0"


def test_a_promoted_replica_stays_when_a_copy_comes_late(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    home("PutSecretValue", SecretId=arn, SecretString="v1", ClientRequestToken=token(1))
    away("StopReplicationToReplica", SecretId="db")
    here.deliver()
    assert away("GetSecretValue", SecretId="db")["SecretString"] == "v0"


def test_a_promoted_replica_is_replicated_to_again_only_with_force(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    away("StopReplicationToReplica", SecretId="db")
    home("ReplicateSecretToRegions", SecretId=arn, AddReplicaRegions=replicas(AWAY))
    here.deliver()
    assert status(home) == {AWAY: "Failed"}
    home(
        "ReplicateSecretToRegions",
        SecretId=arn,
        AddReplicaRegions=replicas(AWAY),
        ForceOverwriteReplicaSecret=True,
    )
    here.deliver()
    assert status(home) == {AWAY: "InSync"}
    assert picture(away) == picture(home)


def test_only_a_replica_can_be_promoted(arn: str, home: Client) -> None:
    code, _ = refusal(lambda: home("StopReplicationToReplica", SecretId=arn))
    assert code == "InvalidRequestException"
    assert refusal(lambda: home("StopReplicationToReplica", SecretId="absent")) == NOT_FOUND


def test_rows_of_replicas_go_with_their_primary(here: Deployment, arn: str, home: Client) -> None:
    home("RemoveRegionsFromReplication", SecretId=arn, RemoveReplicaRegions=[AWAY])
    home("DeleteSecret", SecretId=arn, ForceDeleteWithoutRecovery=True)
    statement = select(func.count()).select_from(secret_replicas)
    assert here.database.read(lambda unit: unit.connection.execute(statement).scalar()) == 0
