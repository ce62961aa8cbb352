"""Who keeps the master password: the row, sealed, or a secret that RDS owns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.calling import refusal
from tests.rds.calling import RdsClient, cluster, instance
from tests.rds.test_provider import CREATE, FakeServer, Machine, create, described
from turnlock.core.call import Session
from turnlock.rds.model import DbResource, Kind
from turnlock.rds.store import find

MANAGED = {"MasterUsername": "master", "ManageMasterUserPassword": True}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(data_dir=tmp_path)


def secret_of(rds: RdsClient, arn: str) -> dict[str, Any]:
    found: dict[str, Any] = rds.secrets()("DescribeSecret", SecretId=arn)
    return found


def value_of(rds: RdsClient, arn: str) -> dict[str, str]:
    value: dict[str, str] = json.loads(rds.secrets()("GetSecretValue", SecretId=arn)["SecretString"])
    return value


def stored(rds: RdsClient, name: str = "shop") -> DbResource:
    found = rds.database.read(lambda unit: find(unit, rds.account_id, rds.region, Kind.INSTANCE, name))
    assert found is not None
    return found


def test_a_managed_password_is_in_a_secret_that_rds_owns_with_user_and_password_alone(
    rds: RdsClient, machine: Machine
) -> None:
    made = rds("CreateDBInstance", **CREATE, **MANAGED)["DBInstance"]
    arn = made["MasterUserSecret"]["SecretArn"]
    assert made["MasterUserSecret"]["SecretStatus"] == "creating"
    secret = secret_of(rds, arn)
    assert (secret["OwningService"], secret["Name"].startswith("rds!db-")) == ("rds", True)
    assert {tag["Key"]: tag["Value"] for tag in secret["Tags"]}["aws:rds:primaryDBInstanceArn"] == (
        made["DBInstanceArn"]
    )
    assert value_of(rds, arn).keys() == {"username", "password"}
    provider = machine.provider(rds)
    provider.tick()
    assert machine.made[0].masters[0].password == value_of(rds, arn)["password"]
    assert described(rds)["MasterUserSecret"]["SecretStatus"] == "active"
    assert stored(rds).sealed_password is None
    provider.close()


def test_the_secret_is_made_by_the_callers_own_authority_and_says_through_whom(rds: RdsClient) -> None:
    resource = f"arn:aws:rds:{rds.region}:{rds.account_id}:db:shop"
    statement = {"Effect": "Allow", "Action": "rds:CreateDBInstance", "Resource": resource}
    policy = {"Version": "2012-10-17", "Statement": statement}
    narrowed = rds.elsewhere(session=Session(access_key_id="ASIAEXAMPLE", policy=json.dumps(policy)))
    request = {**CREATE, **MANAGED}
    code, message = refusal(lambda: narrowed("CreateDBInstance", **request))
    assert (code, "secretsmanager:CreateSecret" in message) == ("AccessDeniedException", True)
    rds("CreateDBInstance", **request)
    assert [record["eventName"] for record in rds.records[-2:]] == ["CreateSecret", "CreateDBInstance"]


def test_users_cannot_change_a_managed_secret_and_it_goes_with_its_instance(rds: RdsClient) -> None:
    made = rds.register(**instance(ManageMasterUserPassword=True))
    arn = made["MasterUserSecret"]["SecretArn"]
    assert value_of(rds, arn) == {"username": "master", "password": "first-Password-1"}
    put = {"SecretId": arn, "SecretString": "mine", "ClientRequestToken": "t" * 32}
    assert refusal(lambda: rds.secrets()("PutSecretValue", **put))[0] == "InvalidRequestException"
    assert refusal(lambda: rds.secrets()("DeleteSecret", SecretId=arn))[0] == "InvalidRequestException"
    rds("DeleteDBInstance", DBInstanceIdentifier="shop")
    assert refusal(lambda: secret_of(rds, arn))[0] == "ResourceNotFoundException"


def test_management_can_be_turned_on_and_off(rds: RdsClient, machine: Machine) -> None:
    create(rds)
    provider = machine.provider(rds)
    provider.tick()
    on = rds("ModifyDBInstance", DBInstanceIdentifier="shop", ManageMasterUserPassword=True)["DBInstance"]
    assert on["DBInstanceStatus"] == "resetting-master-credentials"
    arn = on["MasterUserSecret"]["SecretArn"]
    provider.tick()
    server: FakeServer = machine.made[0]
    assert server.masters[-1].password == value_of(rds, arn)["password"]
    off = {"DBInstanceIdentifier": "shop", "ManageMasterUserPassword": False}
    assert refusal(lambda: rds("ModifyDBInstance", **off))[0] == "InvalidParameterCombination"
    rds("ModifyDBInstance", **off, MasterUserPassword="third-Password-33")
    assert refusal(lambda: secret_of(rds, arn))[0] == "ResourceNotFoundException"
    provider.tick()
    assert server.masters[-1].password == "third-Password-33"
    assert described(rds).get("MasterUserSecret") is None
    provider.close()


def test_a_registered_servers_managed_secret_begins_with_the_password_it_has(rds: RdsClient) -> None:
    rds.register(**instance())
    on = rds("ModifyDBInstance", DBInstanceIdentifier="shop", ManageMasterUserPassword=True)["DBInstance"]
    assert value_of(rds, on["MasterUserSecret"]["SecretArn"])["password"] == "first-Password-1"
    assert on["DBInstanceStatus"] == "available"


def test_a_clusters_secret_is_tagged_with_the_cluster(rds: RdsClient) -> None:
    made = rds.register_cluster(**cluster(ManageMasterUserPassword=True))
    secret = secret_of(rds, made["MasterUserSecret"]["SecretArn"])
    assert secret["Name"].startswith("rds!cluster-")
    assert {tag["Key"]: tag["Value"] for tag in secret["Tags"]}["aws:rds:primaryDBClusterArn"] == (
        made["DBClusterArn"]
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"ManageMasterUserPassword": True},
        {"MasterUserSecretKmsKeyId": "alias/aws/secretsmanager"},
    ],
)
def test_two_ways_at_once_are_refused(rds: RdsClient, changes: dict[str, Any]) -> None:
    assert refusal(lambda: create(rds, **changes))[0] == "InvalidParameterCombination"
