"""Managed external secrets: stored and shown, and their rotation refused in plain words."""

from __future__ import annotations

from typing import Any

import pytest

from tests.calling import Client, refusal, token
from tests.secrets.replicated import Deployment, secret_in
from tests.support import SettableClock, StorePlace
from turnlock.secrets import update_secret
from turnlock.storage import Unit

ROLE = "arn:aws:iam::123456789012:role/rotator"
METADATA = [{"Key": "instance", "Value": "https://example.test"}]


@pytest.fixture
def client(store_place: StorePlace, clock: SettableClock) -> Client:
    """A client with an external secret `ext` and a plain one `db`."""
    client = Deployment(place=store_place, clock=clock).client()
    client(
        "CreateSecret",
        Name="ext",
        SecretString="v",
        ClientRequestToken=token(),
        Type="SalesforceClientSecret",
    )
    client("CreateSecret", Name="db", SecretString="v", ClientRequestToken=token())
    return client


def rotate(client: Client, **parameters: Any) -> tuple[str, str]:
    return refusal(
        lambda: client("RotateSecret", **{"SecretId": "ext", "ClientRequestToken": token(5), **parameters})
    )


def test_the_type_is_shown_and_read_like_any_other(client: Client) -> None:
    assert client("DescribeSecret", SecretId="ext")["Type"] == "SalesforceClientSecret"
    assert "Type" not in client("DescribeSecret", SecretId="db")
    shown = {one["Name"]: one["Type"] for one in client("ListSecrets")["SecretList"]}
    assert shown == {"ext": "SalesforceClientSecret", "db": None}
    assert client("GetSecretValue", SecretId="ext")["SecretString"] == "v"


@pytest.mark.parametrize("partner", ["x" * 256, "A Partner of tomorrow/ü"])
def test_any_type_is_kept(client: Client, partner: str) -> None:
    client("CreateSecret", Name="new", ClientRequestToken=token(), Type=partner)
    assert client("DescribeSecret", SecretId="new")["Type"] == partner


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"ExternalSecretRotationMetadata": METADATA},
        {"ExternalSecretRotationRoleArn": ROLE},
        {"ExternalSecretRotationMetadata": METADATA, "ExternalSecretRotationRoleArn": ROLE},
        {"RotationLambdaARN": "arn:aws:lambda:eu-central-1:123456789012:function:f"},
    ],
)
def test_its_rotation_is_refused_in_plain_words(client: Client, parameters: dict[str, Any]) -> None:
    code, sentence = rotate(client, **parameters)
    assert code == "InvalidRequestException"
    assert "can't be rotated by this server" in sentence
    assert "RotationEnabled" not in client("DescribeSecret", SecretId="ext")


@pytest.mark.parametrize(
    "parameters",
    [
        {"ExternalSecretRotationMetadata": [{"Key": "a"}]},
        {"ExternalSecretRotationMetadata": [{"Value": "a"}]},
        {"ExternalSecretRotationMetadata": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]},
        {"ExternalSecretRotationRoleArn": "not an ARN, though long enough"},
        {"ExternalSecretRotationRoleArn": "arn:aws:iam::123456789012:user/rotator"},
        {"ExternalSecretRotationRoleArn": "arn:aws:iam::210987654321:role/rotator"},
        {"SecretId": "db", "ExternalSecretRotationRoleArn": ROLE},
        {"SecretId": "db", "ExternalSecretRotationMetadata": METADATA},
    ],
)
def test_what_does_not_fit_is_said_first(client: Client, parameters: dict[str, Any]) -> None:
    assert rotate(client, **parameters)[0] == "InvalidParameterException"


def test_what_is_stored_is_shown(client: Client) -> None:
    """Nothing writes these yet: a server that can rotate external secrets will."""
    written = {"external_metadata": [{"Key": "instance", "Value": "x"}], "external_role_arn": ROLE}

    def write(unit: Unit) -> None:
        update_secret(unit, secret_in(unit, client.region, "ext").evolve(**written))

    client.database.write(write)
    shown = client("DescribeSecret", SecretId="ext")
    assert shown["ExternalSecretRotationMetadata"] == [{"Key": "instance", "Value": "x"}]
    assert shown["ExternalSecretRotationRoleArn"] == ROLE
