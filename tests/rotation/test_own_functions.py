"""Rotation by functions of one's own, on a running server: what fails leaves what AWS leaves, and goes on.

Source: docs/aws-behaviour.md#failed-rotations.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests import proofs
from tests.faults.evidence import records
from tests.own_functions import EXAMPLES, RIGHTS, TRUST, Operator, zipped
from tests.processes import ServerProcess, wait_until
from turnlock.confinement import landlock

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(landlock.abi() < 3, reason="this kernel cannot confine functions of one's own"),
]

IMPATIENT = """
from datetime import timedelta
from turnlock.rotation.plan import machine
machine.FIRST_DELAY = timedelta(seconds=0.5)
from turnlock.cli import main
main()
"""
"""A server that tries again at once; nothing else of it is changed."""
TEMPLATE = EXAMPLES / "rotation-template"
FAULTY = """
import json, os, time
import main

def handler(event, context):
    step, _, how = os.environ.get("FAULT", "").partition(":")
    if event["Step"] == step:
        if how == "raise":
            value = json.loads(main.boto3.client("secretsmanager").get_secret_value(SecretId=event["SecretId"])["SecretString"])
            raise RuntimeError(f"the service is down in {step}, and {value['password']} does not help")
        if how == "hang":
            time.sleep(600)
        if how == "die":
            os._exit(9)
        if how == "late":
            main.handler(event, context)
            raise RuntimeError("the answer was lost")
    return main.handler(event, context)
"""
KEYTAB = """
import main

def handler(event, context):
    main.handler(event, context)
    if event["Step"] == "finishSecret":
        secrets = main.boto3.client("secretsmanager")
        pending = secrets.get_secret_value(
            SecretId=event["SecretId"], VersionId=event["ClientRequestToken"], VersionStage="AWSPENDING"
        )
        assert pending["VersionStages"] == ["AWSCURRENT", "AWSPENDING"], pending["VersionStages"]
"""
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
WAYS = ("raise", "hang", "die", "late")
CASES = (
    [(step, how) for step in STEPS for how in WAYS]
    if proofs.FULL
    else [
        ("createSecret", "hang"),
        ("setSecret", "raise"),
        ("testSecret", "die"),
        ("finishSecret", "raise"),
        ("finishSecret", "late"),
    ]
)
"""(step, how it fails): all of them together take minutes of two cores."""
MANY = 50 if proofs.FULL else 4


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    data_dir = tmp_path_factory.mktemp("own") / "turnlock"
    with ServerProcess(data_dir, entry=("-c", IMPATIENT, "serve")) as server:
        yield Operator(server=server)


def failed(operator: Operator, secret: str) -> list[str]:
    """Return the reasons of a secret's RotationFailed events."""
    return [
        one["errorMessage"]
        for one in records(operator.server)
        if one["eventName"] == "RotationFailed" and one["additionalEventData"]["SecretId"] == secret
    ]


def failures(operator: Operator, secret: str) -> int:
    return sum(one["failed"] for one in operator.server.events("rotation_step") if one["secret"] == secret)


def test_the_template_rotates(operator: Operator) -> None:
    function = operator.create_function("template", zipped(TEMPLATE))
    secret = operator.create_secret("plain", {"user": "app", "password": "first"})
    before = operator.stages(secret)["AWSCURRENT"]
    token = operator.rotate(secret, function)
    operator.await_rotated(secret, token)
    value = operator.value(secret)
    assert value["user"] == "app"
    assert len(value["password"]) == 32
    assert operator.stages(secret)["AWSPREVIOUS"] == before
    steps = [one["step"] for one in operator.server.events("rotation_step") if one["secret"] == secret]
    assert steps == list(STEPS)


def test_for_a_function_of_ones_own_its_role_decides_which_master_secret_it_reads(operator: Operator) -> None:
    """As on AWS: only hosted functions, behind which no role stands, are bound to what RotateSecret's caller may read."""
    function = operator.create_function("by-its-role", zipped(TEMPLATE))
    elsewhere = "arn:aws:secretsmanager:eu-west-1:210987654321:secret:master-AbCdEf"
    secret = operator.create_secret("by-role", {"user": "app", "password": "first", "masterarn": elsewhere})
    operator.await_rotated(secret, operator.rotate(secret, function))


def test_whatever_fails_in_a_step_is_left_as_on_aws_and_goes_on_once_it_is_mended(operator: Operator) -> None:
    """They all fail at the same time; then the functions are mended, and nothing else is done."""
    cases: dict[tuple[str, str], Any] = {}
    package = zipped(TEMPLATE, faulty=FAULTY)
    for step, how in CASES:
        name = f"{step}-{how}"
        function = operator.create_function(
            name,
            package,
            Handler="faulty.handler",
            Timeout=4 if how == "hang" else 30,
            Environment={"Variables": {"FAULT": f"{step}:{how}"}},
        )
        secret = operator.create_secret(f"secret-{name}", {"user": "app", "password": "first"})
        cases[step, how] = secret, operator.rotate(secret, function)
    for (step, how), (secret, token) in cases.items():
        until = time.monotonic() + 120
        while not failures(operator, secret):
            assert time.monotonic() < until, f"{step}:{how} did not fail"
            time.sleep(0.1)
        stages = operator.stages(secret)
        assert stages["AWSPENDING"] == token, (step, how)
        described = operator.client("secretsmanager").describe_secret(SecretId=secret)
        assert described["RotationEnabled"]
        assert "LastRotatedDate" not in described
        if (step, how) == ("finishSecret", "late"):
            # The label has moved, and the rotation is no success all the same: told at once, and tried again.
            assert stages["AWSCURRENT"] == token
            wait_until(partial(failed, operator, secret), 60, "RotationFailed")
            continue
        assert stages["AWSCURRENT"] != token, (step, how)
        assert operator.value(secret)["password"] == "first"
        with pytest.raises(operator.client("secretsmanager").exceptions.InvalidRequestException):
            operator.client("secretsmanager").rotate_secret(SecretId=secret)
    for step, how in cases:
        operator.client("lambda").update_function_configuration(
            FunctionName=f"{step}-{how}", Environment={"Variables": {"FAULT": "none"}}, Timeout=30
        )
    for (step, how), (secret, token) in cases.items():
        operator.await_rotated(secret, token, 180)
        assert operator.value(secret)["password"] != "first", (step, how)


def test_a_function_may_read_awspending_after_it_has_moved_awscurrent(operator: Operator) -> None:
    """As AWS's function for keytabs does."""
    function = operator.create_function(
        "keytab", zipped(TEMPLATE, keytab=KEYTAB), Handler="keytab.handler", Timeout=30
    )
    secret = operator.create_secret("keytab", {"user": "app", "password": "first"})
    for _ in range(3):
        token = operator.rotate(secret, function)
        operator.await_rotated(secret, token)
        assert "AWSPENDING" not in operator.stages(secret)
    assert failures(operator, secret) == 0


@pytest.mark.parametrize("gone", ["permission", "role"])
def test_a_permission_or_role_that_goes_while_a_rotation_is_pending_is_told_where_an_operator_looks(
    operator: Operator, gone: str
) -> None:
    name, client = f"without-{gone}", operator.client("secretsmanager")
    iam = operator.client("iam")
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    iam.put_role_policy(RoleName=name, PolicyName="steps", PolicyDocument=json.dumps(RIGHTS))
    function = operator.create_function(
        name,
        zipped(TEMPLATE, faulty=FAULTY),
        Role=role,
        Handler="faulty.handler",
        Environment={"Variables": {"FAULT": "createSecret:die"}},
    )
    secret = operator.create_secret(name, {"user": "app", "password": "first"})
    operator.rotate(secret, function)
    wait_until(lambda: failures(operator, secret), 60, "a failure")
    if gone == "permission":
        operator.client("lambda").remove_permission(FunctionName=name, StatementId="rotation")
        sentence = "Secrets Manager cannot invoke the specified Lambda function."
    else:
        iam.delete_role_policy(RoleName=name, PolicyName="steps")
        iam.delete_role(RoleName=name)
        sentence = f"The role {role} cannot be found."
    wait_until(lambda: any(sentence in one for one in failed(operator, secret)), 60, "RotationFailed")
    assert len(failed(operator, secret)) == 1
    logs = operator.client("logs")
    wait_until(
        lambda: any(
            sentence in one["message"]
            for one in logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
        ),
        20,
        "a line in the function's log",
    )
    assert "LastRotatedDate" not in client.describe_secret(SecretId=secret)


def test_the_true_error_is_in_the_functions_log(operator: Operator) -> None:
    logs = operator.client("logs")
    until = time.monotonic() + 10
    messages: list[str] = []
    while time.monotonic() < until and not messages:
        found = logs.filter_log_events(logGroupName="/aws/lambda/setSecret-raise", filterPattern='"is down"')
        messages = [one["message"] for one in found["events"]]
        time.sleep(0.2)
    assert any("RuntimeError: the service is down in setSecret" in one for one in messages), messages


def test_many_rotations_at_once_end_right(operator: Operator) -> None:
    function = operator.create_function("many", zipped(TEMPLATE))
    secrets = [
        operator.create_secret(f"many-{number}", {"user": "app", "password": "first"})
        for number in range(MANY)
    ]
    began = time.monotonic()
    tokens = {secret: operator.rotate(secret, function) for secret in secrets}
    for secret, token in tokens.items():
        operator.await_rotated(secret, token, 300)
    print(f"{MANY} rotations by functions of one's own: {time.monotonic() - began:.1f} s")
    passwords = {operator.value(secret)["password"] for secret in secrets}
    assert len(passwords) == MANY
    assert "first" not in passwords
    for secret, token in tokens.items():
        steps = [one["step"] for one in operator.server.events("rotation_step") if one["secret"] == secret]
        assert steps == list(STEPS)
        assert operator.value(secret, VersionStage="AWSPREVIOUS")["password"] == "first"
        assert operator.value(secret, VersionId=token) == operator.value(secret)
