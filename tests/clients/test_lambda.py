"""Lambda and CloudWatch Logs by boto3 and the aws command, as an operator uses them."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Served
from tests.own_functions import RIGHTS, TRUST
from tests.processes import ServerProcess
from turnlock.confinement import landlock

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(landlock.abi() < 3, reason="this kernel cannot confine functions of one's own"),
]

WRITTEN_FOR_AWS = """
import boto3
import greeting

secrets = boto3.client("secretsmanager")

def lambda_handler(event, context):
    print(greeting.WORDS, event["name"])
    found = secrets.get_secret_value(SecretId=event["name"])
    who = boto3.client("sts").get_caller_identity()
    return {"length": len(found["SecretString"]), "who": who["Arn"].split("/")[1:]}
"""


def package() -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("lambda_function.py", WRITTEN_FOR_AWS)
        archive.writestr("greeting/__init__.py", "WORDS = 'asked for'")
    return made.getvalue()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One server of two workers: what the stores keep is told apart in tests/functions."""
    data_dir = tmp_path_factory.mktemp("functions") / "turnlock"
    with ServerProcess(data_dir, options=("--workers", "2")) as process:
        yield Served(process=process, workers=2)


@pytest.fixture(scope="module")
def role(served: Served) -> str:
    iam: Any = served.client("iam")
    made = iam.create_role(RoleName="client-function", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.put_role_policy(RoleName="client-function", PolicyName="p", PolicyDocument=json.dumps(RIGHTS))
    return str(made["Role"]["Arn"])


def test_a_function_written_for_aws_runs_unmodified(served: Served, role: str) -> None:
    functions: Any = served.client("lambda")
    secrets: Any = served.client()
    secrets.create_secret(Name="by-boto3", SecretString="seven77")
    made = functions.create_function(
        FunctionName="by-boto3",
        Runtime="python3.11",
        Role=role,
        Handler="lambda_function.lambda_handler",
        Code={"ZipFile": package()},
        Timeout=60,
        MemorySize=256,
    )
    functions.get_waiter("function_active_v2").wait(FunctionName=made["FunctionArn"])
    answer = functions.invoke(FunctionName=made["FunctionArn"], Payload=b'{"name": "by-boto3"}')
    assert json.loads(answer["Payload"].read()) == {"length": 7, "who": ["client-function", "by-boto3"]}
    assert "FunctionError" not in answer
    functions.delete_function(FunctionName="by-boto3")
    with pytest.raises(functions.exceptions.ResourceNotFoundException):
        functions.get_function(FunctionName="by-boto3")


def test_the_aws_command_makes_invokes_and_reads_logs(served: Served, role: str, tmp_path: Path) -> None:
    (tmp_path / "function.zip").write_bytes(package())
    secrets: Any = served.client()
    secrets.create_secret(Name="by-command", SecretString="x")

    def aws(*arguments: str) -> Any:
        ended = served.aws(*arguments)
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout) if ended.stdout else None

    made = aws(
        *("lambda", "create-function", "--function-name", "by-command", "--runtime", "python3.11"),
        *("--role", role, "--handler", "lambda_function.lambda_handler", "--timeout", "60"),
        *("--zip-file", f"fileb://{tmp_path / 'function.zip'}", "--memory-size", "256"),
    )
    assert made["State"] == "Active"
    answer = aws(
        *("lambda", "invoke", "--function-name", made["FunctionArn"], "--payload", '{"name": "by-command"}'),
        str(tmp_path / "answer.json"),
    )
    assert answer["StatusCode"] == 200
    assert json.loads((tmp_path / "answer.json").read_text())["length"] == 1
    until = time.monotonic() + 15
    messages: list[str] = []
    while time.monotonic() < until and "asked for by-command" not in messages:
        # What `aws logs tail` of the second version of the command asks, again and again.
        ended = served.aws(
            *("logs", "filter-log-events", "--log-group-name", "/aws/lambda/by-command"),
            *("--start-time", "0", "--interleaved"),
        )
        if ended.returncode == 0:
            messages = [one["message"] for one in json.loads(ended.stdout)["events"]]
    assert "asked for by-command" in messages
    assert messages[0].startswith("START RequestId: ")
