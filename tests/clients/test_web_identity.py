"""A workload with a token file and a role, as SDKs and the `aws` command find them in the environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.clients.conftest import Served
from tests.issuer import Issuer, new_key, serving
from tests.processes import REGION, ServerProcess, wait_until

ROLE = "arn:aws:iam::123456789012:role/deployer"


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with serving(tmp_path_factory.mktemp("issuer")) as served:
        yield served


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data_dir = tmp_path_factory.mktemp("web") / "turnlock"
    options = ("--regions", REGION, "--workers", "2", "--egress-allow", "127.0.0.0/8")
    with ServerProcess(data_dir, options=options) as process:
        yield Served(process=process, workers=2)


def unsigned(server: Served) -> Any:
    """Return a client of STS that has no credentials."""
    return boto3.Session().client(
        "sts",
        region_name=REGION,
        endpoint_url=server.endpoint,
        config=Config(signature_version=UNSIGNED, retries={"total_max_attempts": 1}),
    )


def register(server: Served, issuer: Issuer) -> str:
    """Make the provider and a role for its subject `repo:main` that may list secrets; return the provider's ARN."""
    iam = server.client("iam")
    provider: str = iam.create_open_id_connect_provider(
        Url=issuer.url, ClientIDList=["turnlock"], ThumbprintList=[issuer.thumbprint]
    )["OpenIDConnectProviderArn"]
    url = issuer.url.removeprefix("https://")
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": provider},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{url}:sub": "repo:main"}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": statement})
    iam.create_role(RoleName="deployer", AssumeRolePolicyDocument=document)
    allowed = {"Effect": "Allow", "Action": "secretsmanager:ListSecrets", "Resource": "*"}
    iam.put_role_policy(
        RoleName="deployer",
        PolicyName="p",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": allowed}),
    )
    return provider


def code_of(server: Served, token: str) -> str:
    """Return the error that a token gives, or `ok`."""
    try:
        unsigned(server).assume_role_with_web_identity(
            RoleArn=ROLE, RoleSessionName="s1", WebIdentityToken=token
        )
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "ok"


def test_a_workload_finds_its_role_by_its_token(
    server: Served, issuer: Issuer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert code_of(server, issuer.token()) == "InvalidIdentityToken"
    provider = register(server, issuer)
    wait_until(lambda: code_of(server, issuer.token()) == "ok", 60, "the provider's keys")
    token_file = tmp_path / "token"
    token_file.write_text(issuer.token())
    variables = {
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_ROLE_ARN": ROLE,
        "AWS_WEB_IDENTITY_TOKEN_FILE": str(token_file),
        "AWS_ROLE_SESSION_NAME": "workload",
    }
    done = server.aws("sts", "get-caller-identity", "--output", "json", **variables)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["Arn"] == "arn:aws:sts::123456789012:assumed-role/deployer/workload"
    with monkeypatch.context() as patch:  # the role is assumed when the first request is made
        for name, value in {**server.environment, **variables}.items():
            patch.setenv(name, value)
        assert boto3.Session().client("secretsmanager").list_secrets()["SecretList"] == []
    assert code_of(server, issuer.token(subject="repo:other")) == "AccessDenied"
    assert code_of(server, issuer.token(audience="other")) == "InvalidIdentityToken"
    assert code_of(server, issuer.token(exp=1)) == "ExpiredTokenException"
    issuer.keys = [new_key(key_id="k2")]
    assert code_of(server, issuer.token()) == "IDPCommunicationError"
    wait_until(lambda: code_of(server, issuer.token()) == "ok", 40, "the provider's new keys")
    server.client("iam").delete_open_id_connect_provider(OpenIDConnectProviderArn=provider)
    assert code_of(server, issuer.token()) == "InvalidIdentityToken"
