"""A rotation function to begin with: fill in the three functions at the top, leave the rest as it is.

It runs on Turnlock and on AWS Lambda unchanged: Python 3, boto3, handler `main.handler`. Secrets Manager invokes it four times
for one rotation, always with the same ClientRequestToken, which is also the id of the new version:

    createSecret   make the new value and keep it under AWSPENDING
    setSecret      make the service accept the new value
    testSecret     use the new value as an application would
    finishSecret   move AWSCURRENT to it

Any step may be run again, after a failure or a lost answer: each must find out what is done already. What a step raises is the
reason that an operator sees; never put a value into it.
"""

import json
import os

import boto3


def make_value(secrets, current):
    """Return the new value (a dict), made from the current one. Nothing outside may be changed yet."""
    password = secrets.get_random_password(
        PasswordLength=int(os.environ.get("PASSWORD_LENGTH", "32")), ExcludePunctuation=True
    )["RandomPassword"]
    return {**current, "password": password}


def apply_value(current, pending):
    """Make the service accept `pending`; log in with `current` to do so. Harmless when it accepts it already."""


def check_value(pending):
    """Log in with `pending` as an application would; raise when that fails."""
    if not pending.get("password"):
        raise ValueError("the new value has no password")


def handler(event, _context):
    """Carry out one step."""
    secrets = boto3.client("secretsmanager", endpoint_url=os.environ.get("SECRETS_MANAGER_ENDPOINT"))
    arn, token, step = event["SecretId"], event["ClientRequestToken"], event["Step"]
    secret = secrets.describe_secret(SecretId=arn)
    stages = secret["VersionIdsToStages"].get(token, [])
    if not secret.get("RotationEnabled"):
        raise ValueError("the secret is not enabled for rotation")
    if "AWSCURRENT" in stages:
        return
    if "AWSPENDING" not in stages:
        raise ValueError("the version is not AWSPENDING")
    STEPS[step](secrets, arn, token, secret["VersionIdsToStages"])


def create(secrets, arn, token, _versions):
    """createSecret: keep a new value, unless the version has one."""
    if read(secrets, arn, "AWSPENDING", token) is None:
        value = make_value(secrets, read(secrets, arn, "AWSCURRENT"))
        secrets.put_secret_value(
            SecretId=arn,
            ClientRequestToken=token,
            SecretString=json.dumps(value),
            VersionStages=["AWSPENDING"],
        )


def apply(secrets, arn, token, _versions):
    """SetSecret."""
    apply_value(read(secrets, arn, "AWSCURRENT"), read(secrets, arn, "AWSPENDING", token))


def check(secrets, arn, token, _versions):
    """TestSecret."""
    check_value(read(secrets, arn, "AWSPENDING", token))


def finish(secrets, arn, token, versions):
    """finishSecret: the label moves in one call, so that applications see the one value or the other."""
    current = next(version for version, stages in versions.items() if "AWSCURRENT" in stages)
    secrets.update_secret_version_stage(
        SecretId=arn, VersionStage="AWSCURRENT", MoveToVersionId=token, RemoveFromVersionId=current
    )


def read(secrets, arn, stage, version=None):
    """Return a version's value; None where the version has none yet."""
    which = {"VersionStage": stage} if version is None else {"VersionStage": stage, "VersionId": version}
    try:
        return json.loads(secrets.get_secret_value(SecretId=arn, **which)["SecretString"])
    except secrets.exceptions.ResourceNotFoundException:
        return None


STEPS = {"createSecret": create, "setSecret": apply, "testSecret": check, "finishSecret": finish}
