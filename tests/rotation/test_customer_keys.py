"""Rotation of secrets under customer managed keys: a hosted function's session uses them through Secrets Manager alone."""

from __future__ import annotations

import json
from typing import Any

from tests.calling import ACCOUNT, Client, refusal, services
from tests.rotation.hosted import Node, create, rotate, settle, stages
from turnlock.storage import Database

ROOT = f"arn:aws:iam::{ACCOUNT}:root"


def new_key(client: Client) -> tuple[Client, str]:
    kms = client.elsewhere(service=services()["kms"], records=[])
    return kms, str(kms("CreateKey")["KeyMetadata"]["Arn"])


def test_a_hosted_function_rotates_under_a_customer_key(
    client: Client, node: Node, database: Database
) -> None:
    _, key = new_key(client)
    arn = create(client, KmsKeyId=key)
    version = rotate(client, arn)
    settle(node)
    assert stages(client, arn)["AWSCURRENT"] == version


def test_a_hosted_functions_session_cannot_use_the_key_directly(client: Client, node: Node) -> None:
    kms, key = new_key(client)
    arn = create(client, KmsKeyId=key)
    rotate(client, arn)
    settle(node)
    session = node.caller(arn)
    direct = kms.elsewhere(principal=session.principal, session=session.session)
    assert refusal(lambda: direct("Encrypt", KeyId=key, Plaintext=b"x"))[0] == "AccessDeniedException"


def test_a_key_that_does_not_hand_over_to_its_account_stops_the_function(client: Client, node: Node) -> None:
    """Then the policy must name the function's role, as at AWS."""
    kms, key = new_key(client)
    only_root: dict[str, Any] = {"ArnEquals": {"aws:PrincipalArn": ROOT}}
    statement = {
        "Effect": "Allow",
        "Principal": {"AWS": ROOT},
        "Action": "kms:*",
        "Resource": "*",
        "Condition": only_root,
    }
    arn = create(client, KmsKeyId=key)
    kms("PutKeyPolicy", KeyId=key, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    version = rotate(client, arn)
    for _ in range(3):
        node.scheduler.tick()
    settle(node)
    assert stages(client, arn)["AWSCURRENT"] != version
    assert client("GetSecretValue", SecretId=arn)["SecretString"]
