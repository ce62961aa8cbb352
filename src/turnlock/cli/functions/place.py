"""The trial's server as a child process, and what is asked of it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import boto3
import botocore.session
from botocore.config import Config as ClientConfig

from turnlock.errors import ConfigurationError
from turnlock.local_servers import start_bound

REGION: Final = "eu-central-1"
_PATIENCE: Final = 60.0
_GRACE: Final = 15.0
_NAME: Final = "tried"
_TRUST: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
_RIGHTS: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": [
                "secretsmanager:DescribeSecret",
                "secretsmanager:GetSecretValue",
                "secretsmanager:PutSecretValue",
                "secretsmanager:UpdateSecretVersionStage",
                "secretsmanager:GetRandomPassword",
            ],
            "Resource": "*",
        }
    ],
}
"""What a rotation function needs (user guide, "Permissions for rotation"), and no more: what else it tries is seen here first."""


class TrialServer:
    """A server below `place`, which the caller wipes. `start` it, `end` it."""

    def __init__(self, place: Path, faults: list[list[str]]) -> None:
        self._data_dir = place / "data"
        self._log = place / "server.log"
        self._steps = place / "steps.jsonl"
        self._faults = faults
        self._shown = 0
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self._clients: dict[str, Any] = {}

    def start(self) -> None:
        """Return once it answers. Raises ConfigurationError when it does not in time."""
        command = [sys.executable, "-m", "turnlock.cli.functions.trial"]
        command += [str(self._data_dir), str(self._port), json.dumps(self._faults)]
        self._process = start_bound(command, account=None, log=self._log)
        until = time.monotonic() + _PATIENCE
        while not self._healthy():
            if self._process.poll() is not None or time.monotonic() > until:
                words = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
                raise ConfigurationError(
                    f"The trial's server does not start: {words[-1] if words else 'it said nothing.'}"
                )
            time.sleep(0.05)

    def end(self) -> None:
        """End it, in good order where it does so in time."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def create_function(self, code: bytes, **settings: Any) -> str:
        """Make the function, with a role that may do what rotation needs; return its ARN."""
        iam = self._client("iam")
        role = iam.create_role(RoleName=_NAME, AssumeRolePolicyDocument=json.dumps(_TRUST))["Role"]["Arn"]
        iam.put_role_policy(RoleName=_NAME, PolicyName="steps", PolicyDocument=json.dumps(_RIGHTS))
        functions = self._client("lambda")
        try:
            made = functions.create_function(
                FunctionName=_NAME, Role=role, Code={"ZipFile": code}, MemorySize=512, **settings
            )
        except functions.exceptions.InvalidParameterValueException as error:
            raise ConfigurationError(error.response["Error"]["Message"]) from None
        functions.add_permission(
            FunctionName=_NAME,
            StatementId="rotation",
            Action="lambda:InvokeFunction",
            Principal="secretsmanager.amazonaws.com",
        )
        return str(made["FunctionArn"])

    def create_secret(self, name: str, value: str) -> str:
        """Make the secret; return its ARN."""
        return str(self._client("secretsmanager").create_secret(Name=name, SecretString=value)["ARN"])

    def rotate(self, arn: str, function: str) -> str:
        """Begin the rotation; return its token."""
        begun = self._client("secretsmanager").rotate_secret(
            SecretId=arn, RotationLambdaARN=function, RotationRules={"AutomaticallyAfterDays": 1000}
        )
        return str(begun["VersionId"])

    def stages(self, arn: str) -> dict[str, list[str]]:
        """Return the labels of each version."""
        found = self._client("secretsmanager").describe_secret(SecretId=arn)
        stages: dict[str, list[str]] = found["VersionIdsToStages"]
        return stages

    def rotated(self, arn: str) -> bool:
        """Tell whether a rotation has succeeded."""
        return "LastRotatedDate" in self._client("secretsmanager").describe_secret(SecretId=arn)

    def new_steps(self) -> Iterator[dict[str, Any]]:
        """Yield what was written down since the last time."""
        if not self._steps.exists():
            return
        lines = self._steps.read_text(encoding="utf-8").splitlines()
        for line in lines[self._shown :]:
            self._shown += 1
            yield json.loads(line)

    def _client(self, service: str) -> Any:
        if service not in self._clients:
            session = botocore.session.Session(profile="default")
            session.set_config_variable("credentials_file", str(self._data_dir / "credentials"))
            session.set_config_variable("config_file", os.devnull)
            self._clients[service] = boto3.Session(botocore_session=session).client(  # type: ignore[call-overload]
                service,
                endpoint_url=f"http://127.0.0.1:{self._port}",
                region_name=REGION,
                config=ClientConfig(proxies={}, connect_timeout=5, read_timeout=30),
            )
        return self._clients[service]

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=2)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()
