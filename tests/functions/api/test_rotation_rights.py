"""RotateSecret with a function of one's own: whom its policy lets in, and what the caller must be allowed.

Source: docs/aws-behaviour.md#permission-to-rotate.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from tests.calling import refusal
from tests.functions.api.calling import ACCOUNT, REGION, Caller
from turnlock.core.call import Principal, PrincipalKind

ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:rotator"
REFUSAL = (
    "AccessDeniedException",
    (
        "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants access to the"
        " principal secretsmanager.amazonaws.com."
    ),
)
Create = Callable[..., dict[str, Any]]


@pytest.fixture
def rotate(root: Caller, create: Create) -> Callable[..., Any]:
    """Ask for a rotation of a secret by the function."""
    create("rotator", Publish=True)
    secret = root.elsewhere(service="secretsmanager")
    secret("CreateSecret", Name="api", SecretString="{}")
    return partial(secret, "RotateSecret", SecretId="api", RotationLambdaARN=ARN)


def allow(root: Caller, **settings: Any) -> None:
    root(
        "AddPermission",
        **{
            "FunctionName": "rotator",
            "StatementId": "sm",
            "Action": "lambda:InvokeFunction",
            "Principal": "secretsmanager.amazonaws.com",
            **settings,
        },
    )


def test_without_a_policy_nothing_is_rotated(rotate: Callable[..., Any]) -> None:
    assert refusal(rotate) == REFUSAL


@pytest.mark.parametrize(
    ("settings", "admitted"),
    [
        ({}, True),
        ({"SourceAccount": ACCOUNT}, True),
        ({"SourceAccount": "210987654321"}, False),
        ({"SourceArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:api-*"}, True),
        ({"SourceArn": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:other-*"}, False),
        ({"Principal": "events.amazonaws.com"}, False),
        ({"Principal": ACCOUNT}, False),
        ({"Action": "lambda:GetFunction"}, False),
        ({"Qualifier": "1"}, False),
    ],
)
def test_the_policy_decides(
    root: Caller, rotate: Callable[..., Any], settings: dict[str, Any], admitted: bool
) -> None:
    allow(root, **settings)
    if admitted:
        assert rotate()["VersionId"]
    else:
        assert refusal(rotate) == REFUSAL


def test_a_version_has_a_policy_of_its_own(root: Caller, rotate: Callable[..., Any]) -> None:
    allow(root, Qualifier="1")
    assert rotate(RotationLambdaARN=f"{ARN}:1")["VersionId"]


def test_a_function_that_is_not_there_is_told_alike(rotate: Callable[..., Any]) -> None:
    for arn in (
        f"{ARN}x",
        f"{ARN}:9",
        ARN.replace(ACCOUNT, "210987654321"),
        ARN.replace(REGION, "eu-west-1"),
    ):
        assert refusal(partial(rotate, RotationLambdaARN=arn)) == REFUSAL


def test_the_caller_must_be_allowed_to_invoke_it(root: Caller, rotate: Callable[..., Any]) -> None:
    allow(root)
    iam = root.elsewhere(service="iam")
    user = iam("CreateUser", UserName="dev")["User"]
    statements = [{"Effect": "Allow", "Action": "secretsmanager:RotateSecret", "Resource": "*"}]

    def put() -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam("PutUserPolicy", UserName="dev", PolicyName="p", PolicyDocument=document)

    put()
    dev = root.elsewhere(
        service="secretsmanager",
        principal=Principal(
            kind=PrincipalKind.USER, arn=user["Arn"], account_id=ACCOUNT, principal_id=user["UserId"]
        ),
    )
    ask = partial(dev, "RotateSecret", SecretId="api", RotationLambdaARN=ARN)
    code, message = refusal(ask)
    assert code == "AccessDeniedException"
    assert "lambda:InvokeFunction" in message
    statements.append({"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": ARN})
    put()
    assert ask()["VersionId"]
