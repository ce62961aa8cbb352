"""Replicas as boto3 sees them: a running server, a client in each Region, and a copy soon after each change."""

from __future__ import annotations

import configparser
import time
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.exceptions import ClientError

from tests import proofs
from tests.processes import REGION, Client, ServerProcess, wait_until
from turnlock.storage.outbox import POLL_SECONDS

AWAY = "eu-west-1"
SOON = POLL_SECONDS - 1.0 if proofs.FULL else 60.0
"""Sooner than the outbox would look by itself: the commit must have woken it. A busy machine may be slower; the proof measures."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    directory: Path = tmp_path_factory.mktemp("replication") / "data"
    with ServerProcess(directory, options=("--regions", f"{REGION},{AWAY}")) as server:
        yield server


@pytest.fixture(scope="module")
def home(server: ServerProcess) -> Client:
    return server.client()


@pytest.fixture(scope="module")
def away(server: ServerProcess) -> Client:
    """The root user's client in the replica's Region."""
    profile = configparser.ConfigParser()
    profile.read(server.data_dir / "credentials")
    return boto3.Session().client(
        "secretsmanager",
        region_name=AWAY,
        endpoint_url=f"http://127.0.0.1:{server.port}",
        aws_access_key_id=profile["default"]["aws_access_key_id"],
        aws_secret_access_key=profile["default"]["aws_secret_access_key"],
    )


def in_sync(client: Client, arn: str) -> bool:
    """Tell whether the one replica is what its primary is."""
    (replica,) = client.describe_secret(SecretId=arn)["ReplicationStatus"]
    assert replica["Region"] == AWAY
    assert replica["Status"] != "Failed", replica
    return bool(replica["Status"] == "InSync")


def exists(client: Client, name: str) -> bool:
    try:
        client.describe_secret(SecretId=name)
    except client.exceptions.ResourceNotFoundException:
        return False
    return True


def test_a_replica_lives_from_create_secret_to_its_promotion(home: Client, away: Client) -> None:
    arn = home.create_secret(Name="app/db", SecretString="v0", AddReplicaRegions=[{"Region": AWAY}])["ARN"]
    wait_until(lambda: in_sync(home, arn), SOON, "the first copy")
    assert away.get_secret_value(SecretId="app/db")["SecretString"] == "v0"

    began = time.monotonic()
    version = home.put_secret_value(SecretId=arn, SecretString="v1")["VersionId"]
    wait_until(
        lambda: away.get_secret_value(SecretId="app/db")["VersionId"] == version, SOON, "the copy of a change"
    )
    assert time.monotonic() - began < SOON
    assert away.get_secret_value(SecretId=arn.replace(REGION, AWAY))["SecretString"] == "v1"

    with pytest.raises(ClientError) as refused:
        away.put_secret_value(SecretId="app/db", SecretString="x")
    assert refused.value.response["Error"] == {
        "Code": "InvalidParameterException",
        "Message": "Operation not permitted on a replica secret. Call must be made in primary secret's region.",
    }
    with pytest.raises(home.exceptions.InvalidParameterException):
        home.delete_secret(SecretId=arn)

    assert away.stop_replication_to_replica(SecretId="app/db")["ARN"] == arn.replace(REGION, AWAY)
    away.put_secret_value(SecretId="app/db", SecretString="own")
    assert home.get_secret_value(SecretId=arn)["SecretString"] == "v1"
    assert "ReplicationStatus" not in home.describe_secret(SecretId=arn)


def test_regions_are_added_and_removed(home: Client, away: Client) -> None:
    arn = home.create_secret(Name="app/other", SecretBinary=b"\x00\x01")["ARN"]
    answer = home.replicate_secret_to_regions(SecretId=arn, AddReplicaRegions=[{"Region": AWAY}])
    assert answer["ReplicationStatus"] == [
        {"Region": AWAY, "KmsKeyId": "alias/aws/secretsmanager", "Status": "InProgress"}
    ]
    wait_until(lambda: in_sync(home, arn), SOON, "the copy")
    assert away.get_secret_value(SecretId="app/other")["SecretBinary"] == b"\x00\x01"
    removed = home.remove_regions_from_replication(SecretId=arn, RemoveReplicaRegions=[AWAY])
    assert removed["ReplicationStatus"] == []
    wait_until(lambda: not exists(away, "app/other"), SOON, "the removal")


def test_a_region_that_is_not_served_cannot_have_a_replica(home: Client) -> None:
    with pytest.raises(home.exceptions.InvalidParameterException):
        home.create_secret(Name="app/far", AddReplicaRegions=[{"Region": "us-east-1"}])
    assert not exists(home, "app/far")
