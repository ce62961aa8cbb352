"""What an operator does to rotate by a function of one's own, done by boto3 on a running server."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from tests.processes import REGION, ServerProcess

ACCOUNT = "123456789012"
EXAMPLES = Path(__file__).parents[1] / "examples"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
RIGHTS = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "secretsmanager:DescribeSecret",
                "secretsmanager:GetSecretValue",
                "secretsmanager:PutSecretValue",
                "secretsmanager:UpdateSecretVersionStage",
            ],
            "Resource": "*",
        },
        {"Effect": "Allow", "Action": "secretsmanager:GetRandomPassword", "Resource": "*"},
    ],
}


def zipped(directory: Path, **changed: str) -> bytes:
    """Return a directory's files as a package; `changed` replaces or adds files, by name without `.py`."""
    files = {str(path.relative_to(directory)): path.read_text() for path in sorted(directory.rglob("*.py"))}
    files.update({f"{name}.py": text for name, text in changed.items()})
    return archive(files)


def archive(files: Mapping[str, str | bytes]) -> bytes:
    """Return a package with these files, by their paths."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as package:
        for name, text in files.items():
            package.writestr(name, text)
    return made.getvalue()


@dataclass(kw_only=True)
class Operator:
    """The root user of a server, with a role for functions."""

    server: ServerProcess
    role: str = ""
    clients: dict[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        iam = self.client("iam")
        self.role = iam.create_role(RoleName="rotation", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"][
            "Arn"
        ]
        iam.put_role_policy(RoleName="rotation", PolicyName="steps", PolicyDocument=json.dumps(RIGHTS))

    def client(self, service: str) -> Any:
        """Return boto3's client of a service; nothing is retried."""
        if service not in self.clients:
            self.clients[service] = boto3.Session(
                aws_access_key_id=self.server.credentials[0],
                aws_secret_access_key=self.server.credentials[1],
                region_name=REGION,
            ).client(  # type: ignore[call-overload]
                service,
                endpoint_url=f"http://127.0.0.1:{self.server.port}",
                config=Config(retries={"total_max_attempts": 1}, read_timeout=60, max_pool_connections=64),
            )
        return self.clients[service]

    def create_function(self, name: str, package: bytes, **settings: Any) -> str:
        """Make a function that Secrets Manager may invoke; return its ARN."""
        made = self.client("lambda").create_function(
            **{
                "FunctionName": name,
                "Runtime": "python3.11",
                "Role": self.role,
                "Handler": "main.handler",
                "Code": {"ZipFile": package},
                "Timeout": 30,
                "MemorySize": 256,
                **settings,
            }
        )
        self.client("lambda").add_permission(
            FunctionName=name,
            StatementId="rotation",
            Action="lambda:InvokeFunction",
            Principal="secretsmanager.amazonaws.com",
            SourceAccount=ACCOUNT,
        )
        return str(made["FunctionArn"])

    def create_secret(self, name: str, value: Mapping[str, Any]) -> str:
        """Make a secret; return its ARN."""
        made = self.client("secretsmanager").create_secret(Name=name, SecretString=json.dumps(value))
        return str(made["ARN"])

    def rotate(self, secret: str, function: str) -> str:
        """Begin a rotation; return its token."""
        begun = self.client("secretsmanager").rotate_secret(
            SecretId=secret, RotationLambdaARN=function, RotationRules={"AutomaticallyAfterDays": 30}
        )
        return str(begun["VersionId"])

    def stages(self, secret: str) -> dict[str, str]:
        """Return the version under each label."""
        versions = self.client("secretsmanager").describe_secret(SecretId=secret)["VersionIdsToStages"]
        return {stage: version for version, stages in versions.items() for stage in stages}

    def value(self, secret: str, **which: str) -> dict[str, Any]:
        """Return a version's value."""
        found = self.client("secretsmanager").get_secret_value(SecretId=secret, **which)["SecretString"]
        value: dict[str, Any] = json.loads(found)
        return value

    def await_rotated(self, secret: str, token: str, seconds: float = 60.0) -> None:
        """Wait until a rotation's version is AWSCURRENT alone and LastRotatedDate is set."""
        until = time.monotonic() + seconds
        while True:
            stages = self.stages(secret)
            if stages["AWSCURRENT"] == token and "AWSPENDING" not in stages:
                described = self.client("secretsmanager").describe_secret(SecretId=secret)
                if described.get("LastRotatedDate") is not None:
                    return
            assert time.monotonic() < until, f"not rotated within {seconds:g} s: {self.server.log_tail(3000)}"
            time.sleep(0.1)
