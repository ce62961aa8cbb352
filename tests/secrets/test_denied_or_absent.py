"""A policy of a secret tells nobody that the secret is there, and an operator can take it away."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.placed import ACCOUNT, REGION, Placed, policy
from turnlock.core.call import Principal
from turnlock.errors import AccessDeniedException, ApiError, ResourceNotFoundException

EVERYTHING = {"Action": "secretsmanager:*", "Resource": "*"}
DENY_ALL = {"Effect": "Deny", "Principal": "*", **EVERYTHING}
TOKENS = iter(f"{number:032x}" for number in range(1_000))
ASKED: list[tuple[str, dict[str, Any]]] = [
    ("GetSecretValue", {}),
    ("DescribeSecret", {}),
    ("PutSecretValue", {"SecretString": "x", "ClientRequestToken": "0" * 32}),
    ("DeleteSecret", {}),
    ("GetResourcePolicy", {}),
    ("TagResource", {"Tags": [{"Key": "a", "Value": "b"}]}),
]

# What the caller's own policies say, and what the secret's does.
OWN: dict[str, list[dict[str, Any]]] = {
    "nothing": [],
    "another secret": [
        {
            "Effect": "Allow",
            "Action": "secretsmanager:*",
            "Resource": "arn:aws:secretsmanager:*:*:secret:mine-??????",
        }
    ],
    "a Deny by tag": [
        {"Effect": "Deny", **EVERYTHING, "Condition": {"StringEquals": {"aws:ResourceTag/Env": "prod"}}}
    ],
    "an Allow by tag": [
        {"Effect": "Allow", **EVERYTHING, "Condition": {"StringEquals": {"aws:ResourceTag/Env": "dev"}}}
    ],
}
SECRETS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "everyone": DENY_ALL,
    "the caller": {**DENY_ALL, "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:user/low"}},
    "by tag": {**DENY_ALL, "Condition": {"StringEquals": {"aws:ResourceTag/Env": "prod"}}},
    "an Allow for the account": {**DENY_ALL, "Effect": "Allow", "Principal": {"AWS": ACCOUNT}},
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Placed]:
    place = Placed(tmp_path_factory.mktemp("denied") / "data")
    yield place
    place.close()


@pytest.fixture(scope="module")
def low(place: Placed) -> Principal:
    return place.user("low")


@pytest.fixture(scope="module")
def arns(place: Placed, low: Principal) -> dict[str, str]:
    made = {}
    for name, statement in SECRETS.items():
        tags = [{"Key": "Env", "Value": "prod"}]
        arn = place.do(
            "secretsmanager",
            "CreateSecret",
            Name=name.replace(" ", "-"),
            SecretString="v",
            Tags=tags,
            ClientRequestToken=next(TOKENS),
        )["ARN"]
        if statement is not None:
            place.do("secretsmanager", "PutResourcePolicy", SecretId=arn, ResourcePolicy=policy(statement))
        made[name] = arn
    return made


def told(place: Placed, who: Principal, secret_id: str) -> list[tuple[str, str]]:
    """Return (code, message) of each action, the secret's id in it left out."""
    outcomes = [
        place.outcome("secretsmanager", operation, who, SecretId=secret_id, **members)
        for operation, members in ASKED
    ]
    return [
        (one.code, one.message.replace(secret_id, "ID")) if isinstance(one, ApiError) else ("", "")
        for one in outcomes
    ]


@pytest.mark.parametrize("own", OWN)
@pytest.mark.parametrize("secret", SECRETS)
def test_who_may_not_describe_a_secret_is_answered_as_if_it_were_not_there(
    place: Placed, low: Principal, arns: dict[str, str], secret: str, own: str
) -> None:
    # An account's right is in its users' hands: a policy that grants it lets nobody in by itself.
    statements = OWN[own] or [{"Effect": "Allow", "Action": "kms:*", "Resource": "*"}]
    place.put_user_policy("low", *statements)
    name, arn = secret.replace(" ", "-"), arns[secret]
    for there, absent in ((name, "absent"), (arn, arn[:-6] + "aBsEnT")):
        answers = told(place, low, there)
        assert answers == told(place, low, absent)
        assert {code for code, _ in answers} == {"AccessDeniedException"}


def test_who_may_describe_a_secret_is_told_what_denies(place: Placed, low: Principal) -> None:
    place.put_user_policy("low", {"Effect": "Allow", **EVERYTHING})
    arn = place.do(
        "secretsmanager", "CreateSecret", Name="shown", SecretString="v", ClientRequestToken=next(TOKENS)
    )["ARN"]
    denies = {**DENY_ALL, "Action": "secretsmanager:GetSecretValue"}
    place.do("secretsmanager", "PutResourcePolicy", SecretId=arn, ResourcePolicy=policy(denies))
    outcome = place.outcome("secretsmanager", "GetSecretValue", low, SecretId="shown")
    assert isinstance(outcome, AccessDeniedException)
    assert outcome.message.endswith(f"on resource: {arn} with an explicit deny in a resource-based policy")


def test_an_operator_takes_away_a_policy_that_denies_the_secret_to_root_too(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from turnlock.cli import cli

    data = tmp_path / "data"
    place = Placed(data)
    place.do(
        "secretsmanager", "CreateSecret", Name="locked", SecretString="v", ClientRequestToken=next(TOKENS)
    )
    place.do("secretsmanager", "PutResourcePolicy", SecretId="locked", ResourcePolicy=policy(DENY_ALL))
    refused: list[tuple[str, dict[str, Any]]] = [
        ("DeleteResourcePolicy", {}),
        ("PutResourcePolicy", {"ResourcePolicy": policy(DENY_ALL)}),
    ]
    for operation, members in refused:
        outcome = place.outcome("secretsmanager", operation, SecretId="locked", **members)
        assert isinstance(outcome, AccessDeniedException)
    options = ["--data-dir", str(data), "--account-id", ACCOUNT, "--region", REGION]
    # The application runs meanwhile.
    done = CliRunner().invoke(cli, ["secrets", "remove-policy", "locked", *options], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert done.output.endswith("has no resource policy.\n")
    assert place.do("secretsmanager", "GetSecretValue", SecretId="locked")["SecretString"] == "v"
    bodies = place.application.database.read(
        lambda unit: [
            json.loads(row[0]) for row in unit.connection.exec_driver_sql("SELECT body FROM trail_records")
        ]
    )
    [record] = [
        one for one in bodies if one["eventName"] == "DeleteResourcePolicy" and "errorCode" not in one
    ]
    assert record["userAgent"].startswith("turnlock command of ")
    assert record["userIdentity"]["type"] == "Root"
    assert record["requestParameters"] == {"secretId": "locked"}
    place.close()
    # And none runs.
    gone = CliRunner().invoke(cli, ["secrets", "remove-policy", "absent", *options])
    assert isinstance(gone.exception, Exception)
    assert ResourceNotFoundException.__name__ in str(gone.exception)
