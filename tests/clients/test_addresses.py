"""A server on an IPv6 address: whoever connects is known by one address, whichever family the socket has."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.processes import REGION, ServerProcess, free_port

pytestmark = pytest.mark.slow

HOME = ["127.0.0.0/8", "::1/128"]
ALL = {"Effect": "Allow", "Action": "*", "Resource": "*"}


def listening_everywhere(directory: Path) -> ServerProcess:
    process = ServerProcess(directory / "turnlock")
    process.port = free_port()
    process.options = ("--listen", f"[::]:{process.port}", "--insecure-plaintext")
    return process


def client_of(address: str, service: str, key: dict[str, Any]) -> Any:
    return boto3.Session().client(  # type: ignore[call-overload]  # the name is one of several
        service,
        endpoint_url=address,
        region_name=REGION,
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        config=Config(retries={"total_max_attempts": 1}),
    )


def outcome(client: Any) -> str:
    try:
        return str(client.get_secret_value(SecretId="a")["SecretString"])
    except ClientError as error:
        return str(error.response["Error"]["Code"])


def test_a_condition_on_the_address_holds_over_ipv4_and_ipv6_alike(tmp_path: Path) -> None:
    with listening_everywhere(tmp_path) as process:
        process.client().create_secret(Name="a", SecretString="v")
        key_id, secret = process.credentials
        root = {"AccessKeyId": key_id, "SecretAccessKey": secret}
        iam = client_of(f"http://127.0.0.1:{process.port}", "iam", root)
        iam.create_user(UserName="u")
        key = iam.create_access_key(UserName="u")["AccessKey"]
        found = {}
        for address in (f"http://127.0.0.1:{process.port}", f"http://[::1]:{process.port}"):
            client = client_of(address, "secretsmanager", key)
            for effect, operator, statements in (
                ("Deny", "IpAddress", [ALL]),
                ("Deny", "NotIpAddress", [ALL]),
                ("Allow", "IpAddress", []),
                ("Allow", "NotIpAddress", []),
            ):
                condition = {operator: {"aws:SourceIp": HOME}}
                document = {
                    "Version": "2012-10-17",
                    "Statement": [*statements, {**ALL, "Effect": effect, "Condition": condition}],
                }
                iam.put_user_policy(UserName="u", PolicyName="p", PolicyDocument=json.dumps(document))
                found[address, effect, operator] = outcome(client)
            assert process.metrics(address).status == 200
        expected = {
            "IpAddress": {"Deny": "AccessDeniedException", "Allow": "v"},
            "NotIpAddress": {"Deny": "v", "Allow": "AccessDeniedException"},
        }
        assert found == {place: expected[place[2]][place[1]] for place in found}
    with sqlite3.connect(tmp_path / "turnlock" / "turnlock.db") as store:
        records = [json.loads(body) for (body,) in store.execute("SELECT body FROM trail_records")]
    assert {record["sourceIPAddress"] for record in records} <= {"127.0.0.1", "::1"}
