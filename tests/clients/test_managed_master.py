"""A master password that RDS manages, through boto3: made, rotated on its own server, gone with its instance."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.clients.conftest import Served
from tests.processes import REGION, ServerProcess, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.engine]


@pytest.fixture
def cli(passable_dir: Path) -> Iterator[Served]:
    with ServerProcess(passable_dir / "turnlock", options=("--regions", REGION)) as process:
        yield Served(process=process)


def test_a_managed_master_password(cli: Served) -> None:
    rds, secrets = cli.client("rds"), cli.client()
    names = {"DBInstanceIdentifier": "shop"}
    rds.create_db_instance(
        **names,
        DBInstanceClass="db.t4g.micro",
        Engine="postgres",
        MasterUsername="boss",
        ManageMasterUserPassword=True,
    )
    rds.get_waiter("db_instance_available").wait(**names, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    (instance,) = rds.describe_db_instances(**names)["DBInstances"]
    arn = instance["MasterUserSecret"]["SecretArn"]

    def value() -> dict[str, str]:
        found: dict[str, str] = json.loads(secrets.get_secret_value(SecretId=arn)["SecretString"])
        return found

    def log_in(password: str) -> None:
        psycopg.connect(
            host=instance["Endpoint"]["Address"],
            port=instance["Endpoint"]["Port"],
            user="boss",
            password=password,
            dbname="postgres",
            sslmode="verify-full",
            sslrootcert=str(cli.process.data_dir / "databases" / "ca-bundle.pem"),
        ).close()

    first = value()
    log_in(first["password"])
    rds.modify_db_instance(**names, RotateMasterUserPassword=True)
    wait_until(lambda: value() != first, 60, "another password", 0.1)
    log_in(value()["password"])
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        log_in(first["password"])
    described: dict[str, Any] = secrets.describe_secret(SecretId=arn)
    assert (described["RotationEnabled"], described["RotationRules"]) == (True, {"AutomaticallyAfterDays": 7})
    assert "RotationLambdaARN" not in described
    # The schedule is the user's to change, and nothing else.
    rules = {"ScheduleExpression": "rate(30 days)"}
    wait_until(lambda: "LastRotatedDate" in secrets.describe_secret(SecretId=arn), 30, "the rotation's end")
    secrets.rotate_secret(SecretId=arn, RotationRules=rules, RotateImmediately=False)
    with pytest.raises(secrets.exceptions.InvalidRequestException):
        secrets.put_secret_value(SecretId=arn, SecretString="mine")
    rds.delete_db_instance(**names, SkipFinalSnapshot=True)
    rds.get_waiter("db_instance_deleted").wait(**names, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    with pytest.raises(secrets.exceptions.ResourceNotFoundException):
        secrets.describe_secret(SecretId=arn)
