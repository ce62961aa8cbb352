"""The four steps, in the shape in which AWS documents rotation functions: one file, a path in the code for the authorities.

What such functions do and others do not: they look for the authorities at /etc/pki/tls/cert.pem; where the secret has no `ssl` they try TLS first
and plain text after; they keep a file in /tmp and read one in /var/task; the last step reads AWSPENDING after it has moved AWSCURRENT.
"""

from __future__ import annotations

import json
import os
from typing import Any

import boto3
from connecting import change_password, connect, copy_rights

AUTHORITIES = "/etc/pki/tls/cert.pem"


def lambda_handler(event: Any, context: Any) -> Any:
    arn, token, step = event["SecretId"], event["ClientRequestToken"], event["Step"]
    client = boto3.client("secretsmanager", endpoint_url=os.environ["SECRETS_MANAGER_ENDPOINT"])
    described = client.describe_secret(SecretId=arn)
    if not described["RotationEnabled"]:
        raise ValueError("Secret %s is not enabled for rotation" % arn)
    versions = described["VersionIdsToStages"]
    if token not in versions:
        raise ValueError("Secret version %s has no stage for rotation of secret %s." % (token, arn))
    if "AWSCURRENT" in versions[token]:
        return
    if "AWSPENDING" not in versions[token]:
        raise ValueError("Secret version %s not set as AWSPENDING for rotation of secret %s." % (token, arn))
    with open("/var/task/settings.json") as settings, open("/tmp/steps", "a") as steps:
        multi = json.load(settings)["multi"]
        steps.write(step + "\n")
    {"createSecret": create, "setSecret": set_it, "testSecret": test, "finishSecret": finish}[step](
        client, arn, token, multi
    )


def read(client: Any, arn: Any, stage: Any, token: Any = None) -> Any:
    which = {"VersionId": token} if token else {}
    return json.loads(client.get_secret_value(SecretId=arn, VersionStage=stage, **which)["SecretString"])


def log_in(secret: Any) -> Any:
    """Return a connection, or None where the login is refused; without `ssl`, TLS first and plain text after."""
    wanted = secret.get("ssl")
    if isinstance(wanted, str):
        wanted = {"true": True, "false": False}.get(wanted.lower())
    for tls in (True, False) if wanted is None else (wanted,):
        connection = connect(secret, AUTHORITIES if tls else None)
        if connection is not None:
            print("connected as %s by %s" % (secret["username"], "tls" if tls else "plain text"))
            return connection
    return None


def create(client: Any, arn: Any, token: Any, multi: Any) -> Any:
    current = read(client, arn, "AWSCURRENT")
    try:
        read(client, arn, "AWSPENDING", token)
    except client.exceptions.ResourceNotFoundException:
        if multi:
            name = current["username"]
            current["username"] = name[: -len("_clone")] if name.endswith("_clone") else name + "_clone"
        password = client.get_random_password(ExcludeCharacters="/@\"'\\:%")["RandomPassword"]
        current["password"] = password
        client.put_secret_value(
            SecretId=arn,
            ClientRequestToken=token,
            SecretString=json.dumps(current),
            VersionStages=["AWSPENDING"],
        )


def set_it(client: Any, arn: Any, token: Any, multi: Any) -> Any:
    pending = read(client, arn, "AWSPENDING", token)
    connection = log_in(pending)
    if connection is None:
        current = read(client, arn, "AWSCURRENT")
        connection = log_in(read(client, current["masterarn"], "AWSCURRENT") if multi else current)
        if connection is None:
            raise ValueError(
                "Unable to log into database with previous, current, or pending secret of %s" % arn
            )
        if multi:
            copy_rights(connection, current, pending)
        change_password(connection, pending["username"], pending["password"])
    connection.close()


def test(client: Any, arn: Any, token: Any, multi: Any) -> Any:
    connection = log_in(read(client, arn, "AWSPENDING", token))
    if connection is None:
        raise ValueError("Unable to log into database with pending secret of secret ARN %s" % arn)
    cursor = connection.cursor()
    cursor.execute("SELECT 1")
    connection.close()


def finish(client: Any, arn: Any, token: Any, multi: Any) -> Any:
    versions = client.describe_secret(SecretId=arn)["VersionIdsToStages"]
    current = next(version for version, stages in versions.items() if "AWSCURRENT" in stages)
    client.update_secret_version_stage(
        SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current
    )
    read(client, arn, "AWSPENDING", token)
