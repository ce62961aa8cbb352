"""A master secret is lent to a rotation only by somebody who may read it, and only while the secret names that one."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from sqlalchemy import update

from tests.calling import ACCOUNT, REGION, Client, refusal, token
from tests.rotation.hosted import Node, World, rotate, settle
from tests.support import SettableClock
from turnlock import accounts, secrets
from turnlock.errors import SealBroken
from turnlock.rotation.masters import allowed_master, rotation_masters
from turnlock.rotation.runner.redaction import known_values
from turnlock.secrets import Secret
from turnlock.storage import Unit

MULTI = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:SecretsManagerRDSPostgreSQLRotationMultiUser"


def make(client: Client, name: str, **members: Any) -> str:
    value = {
        "engine": "postgres",
        "host": "db-1",
        "username": "app",
        "password": f"password of {name}",
        **members,
    }
    return str(
        client("CreateSecret", Name=name, ClientRequestToken=token(1), SecretString=json.dumps(value))["ARN"]
    )


def found(unit: Unit, arn: str) -> Secret:
    secret = secrets.find_secret(unit, secrets.parse_secret_id(arn, ACCOUNT, REGION))
    assert secret is not None
    return secret


def lent(client: Client, arn: str) -> str | None:
    return client.database.read(lambda unit: allowed_master(unit, found(unit, arn)))


def test_whoever_may_read_the_master_lends_it_and_its_value_is_never_shown(client: Client) -> None:
    master = make(client, "master")
    arn = make(client, "app", masterarn=master)
    assert lent(client, arn) is None
    rotate(client, arn, RotationLambdaARN=MULTI)
    assert lent(client, arn) == master
    hidden = client.database.read(lambda unit: known_values(unit, found(unit, arn)))
    assert {"password of master", "password of app"} <= hidden


def test_a_value_that_names_another_master_later_opens_neither(client: Client, node: Node) -> None:
    master, other = make(client, "master"), make(client, "other")
    arn = make(client, "app", masterarn=master)
    rotate(client, arn, RotationLambdaARN=MULTI)
    settle(node)
    value = json.dumps(
        {"engine": "postgres", "host": "db-1", "username": "app", "password": "x", "masterarn": other}
    )
    client("PutSecretValue", SecretId=arn, ClientRequestToken=token(9), SecretString=value)
    assert lent(client, arn) is None
    rotate(client, arn, number=3)
    assert lent(client, arn) == other


@pytest.mark.parametrize(
    "named",
    [
        "master",
        f"arn:aws:secretsmanager:eu-west-1:{ACCOUNT}:secret:master-AbCdEf",
        f"arn:aws:secretsmanager:{REGION}:210987654321:secret:master-AbCdEf",
        f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:nowhere-AbCdEf",
        f"arn:aws:iam::{ACCOUNT}:role/master",
    ],
)
def test_only_another_secret_of_the_same_place_can_be_a_master(client: Client, named: str) -> None:
    make(client, "master")
    arn = make(client, "app", masterarn=named)
    code, _ = refusal(lambda: rotate(client, arn, RotationLambdaARN=MULTI))
    assert code == "InvalidRequestException"
    assert lent(client, arn) is None


def test_a_row_that_was_edited_lends_nothing_and_raises_the_alarm(client: Client) -> None:
    master, other = make(client, "master"), make(client, "other")
    arn = make(client, "app", masterarn=master)
    rotate(client, arn, RotationLambdaARN=MULTI)
    client.database.write(
        lambda unit: unit.connection.execute(update(rotation_masters).values(master_arn=other)).rowcount
    )
    with pytest.raises(SealBroken):
        lent(client, arn)


def test_the_session_policy_reads_the_master_and_changes_nothing_of_it() -> None:
    secret, master = (
        f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{name}-AbCdEf" for name in ("app", "master")
    )
    statements = json.loads(accounts.rotation_policy(secret, master))["Statement"]
    of_master = [statement["Action"] for statement in statements if statement["Resource"] == master]
    assert of_master == [["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]]
    assert master not in accounts.rotation_policy(secret)


def test_whoever_may_not_read_the_master_cannot_have_it_read_by_a_rotation(client: Client) -> None:
    master = make(client, "master")
    arn = make(client, "app", masterarn=master)
    everything_here = {"Effect": "Allow", "Action": "secretsmanager:*", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [everything_here]})
    mallory = client.elsewhere(session=replace(client.session, policy=policy))
    code, _ = refusal(lambda: rotate(mallory, arn, RotationLambdaARN=MULTI))
    assert code == "AccessDeniedException"
    assert lent(client, arn) is None
    assert client("DescribeSecret", SecretId=arn).get("RotationEnabled") is None


def test_what_failed_is_tried_again_with_a_session_of_its_own(
    client: Client, node: Node, world: World, clock: SettableClock
) -> None:
    arn = make(client, "app")
    rotate(client, arn)
    settle(node)
    first = node.warm_access_key_id("", arn)
    world.faults.append(("setSecret", "AccessDeniedException: the master secret"))
    rotate(client, arn, number=3)
    settle(node)
    assert node.warm_access_key_id("", arn) == first
    clock.advance(timedelta(minutes=1))
    settle(node)
    assert node.warm_access_key_id("", arn) != first
