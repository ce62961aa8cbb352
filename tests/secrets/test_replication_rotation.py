"""Rotation and replicas: it runs on the primary, and its replicas show what came of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from tests.calling import Client, refusal, token
from tests.secrets.replicated import AWAY, HOME, ONLY_THE_PRIMARY, Deployment, picture, replicas
from turnlock import rotation, secrets
from turnlock.core.arn import Region
from turnlock.functions import Functions, Invocation, InvocationResult
from turnlock.rotation.plan.states import Step
from turnlock.rotation.runner.due import begin_soon

PATIENCE = 20.0
RULES = {"AutomaticallyAfterDays": 7}


def function_in(region: Region) -> str:
    return f"arn:aws:lambda:{region}:123456789012:function:SecretsManagerRDSPostgreSQLRotationSingleUser"


class Rotator:
    """A rotation function without a database: it makes a value, and moves the labels at the end."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.done = threading.Event()

    def __call__(self, invocation: Invocation, *, abort: threading.Event) -> InvocationResult:
        step, secret_id = invocation.payload["Step"], invocation.payload["SecretId"]
        version_id = invocation.payload["ClientRequestToken"]
        if step == Step.CREATE.value:
            self.client(
                "PutSecretValue",
                SecretId=secret_id,
                SecretString="rotated",
                VersionStages=["AWSPENDING"],
                ClientRequestToken=version_id,
            )
        if step == Step.FINISH.value:
            stages = self.client("DescribeSecret", SecretId=secret_id)["VersionIdsToStages"]
            holder = next(one for one, held in stages.items() if "AWSCURRENT" in held)
            self.client(
                "UpdateSecretVersionStage",
                SecretId=secret_id,
                VersionStage="AWSCURRENT",
                MoveToVersionId=version_id,
                RemoveFromVersionId=holder,
            )
            self.done.set()
        return InvocationResult(payload=None, fault=None, cold=False)


@pytest.fixture
def functions() -> Iterator[Functions]:
    pool = Functions(endpoint="http://127.0.0.1:9")
    yield pool
    pool.close()


@pytest.fixture
def arn(here: Deployment, home: Client) -> str:
    """A secret `db` with a rotation begun in HOME, in sync with its replica in AWAY."""
    made = home(
        "CreateSecret",
        Name="db",
        SecretString="v0",
        AddReplicaRegions=replicas(AWAY),
        ClientRequestToken=token(),
    )
    home(
        "RotateSecret",
        SecretId=made["ARN"],
        RotationLambdaARN=function_in(HOME),
        RotationRules=RULES,
        ClientRequestToken=token(1),
    )
    here.deliver()
    return str(made["ARN"])


def rotate(here: Deployment, functions: Functions) -> None:
    """Carry out the rotation that was begun, and copy what it leaves."""
    rotator = Rotator(here.client(HOME))
    scheduler = rotation.Scheduler(
        database=here.database, pool=functions, holder="one", limits=rotation.Limits(), run=rotator
    )
    deadline = time.monotonic() + PATIENCE
    try:
        scheduler.tick()
        assert rotator.done.wait(PATIENCE)
        while "LastRotatedDate" not in rotator.client("DescribeSecret", SecretId="db"):
            assert time.monotonic() < deadline
            time.sleep(0.005)
    finally:
        scheduler.close()
    here.deliver()


def test_a_rotation_of_the_primary_reaches_the_replica(
    here: Deployment, arn: str, home: Client, away: Client, functions: Functions
) -> None:
    here.clock.advance(timedelta(seconds=5))
    rotate(here, functions)
    assert away("GetSecretValue", SecretId="db")["SecretString"] == "rotated"
    described = away("DescribeSecret", SecretId="db")
    assert described["LastRotatedDate"] == here.clock.now()
    assert described["RotationEnabled"] is True
    assert described["RotationLambdaARN"] == function_in(HOME)
    assert described["NextRotationDate"] == home("DescribeSecret", SecretId="db")["NextRotationDate"]
    assert picture(away) == picture(home)


def test_a_rotation_that_has_begun_shows_its_pending_version_on_the_replica(
    arn: str, home: Client, away: Client
) -> None:
    assert away("DescribeSecret", SecretId="db")["VersionIdsToStages"][token(1)] == ["AWSPENDING"]
    assert picture(away) == picture(home)


def test_the_end_of_rotation_reaches_the_replica(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    home("CancelRotateSecret", SecretId=arn)
    here.deliver()
    assert away("DescribeSecret", SecretId="db")["RotationEnabled"] is False
    assert picture(away) == picture(home)


@pytest.mark.parametrize("operation", ["RotateSecret", "CancelRotateSecret"])
def test_a_replica_is_not_rotated_by_request(arn: str, away: Client, operation: str) -> None:
    extra: dict[str, Any] = {"ClientRequestToken": token(2)} if operation == "RotateSecret" else {}
    assert refusal(lambda: away(operation, SecretId="db", **extra)) == ONLY_THE_PRIMARY


def test_a_replicas_turn_never_comes(here: Deployment, arn: str, home: Client, functions: Functions) -> None:
    rotate(here, functions)
    here.clock.advance(timedelta(days=30))
    due = here.database.read(lambda unit: secrets.due_for_rotation(unit, unit.now, 10))
    assert [(secret.region, secret.name) for secret in due] == [(HOME, "db")]
    home("DeleteSecret", SecretId=home("CreateSecret", Name="x", ClientRequestToken=token(5))["ARN"])
    assert here.database.read(begin_soon)


def test_a_promoted_replica_is_rotated_on_its_own(
    here: Deployment, arn: str, home: Client, away: Client
) -> None:
    away("StopReplicationToReplica", SecretId="db")
    promoted = away("DescribeSecret", SecretId="db")
    assert not {"RotationEnabled", "RotationLambdaARN", "RotationRules", "NextRotationDate"} & promoted.keys()
    assert promoted["VersionIdsToStages"] == {token(0): ["AWSCURRENT"]}
    begun = away(
        "RotateSecret",
        SecretId="db",
        RotationLambdaARN=function_in(AWAY),
        RotationRules=RULES,
        ClientRequestToken=token(3),
    )
    assert begun["VersionId"] == token(3)
    assert away("DescribeSecret", SecretId="db")["RotationEnabled"] is True
    assert home("DescribeSecret", SecretId=arn)["VersionIdsToStages"][token(1)] == ["AWSPENDING"]
