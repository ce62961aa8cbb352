"""STS from real clients over a real socket: the second protocol, signed in a header and in the query string."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from xml.etree import ElementTree as ET

import boto3
import psycopg
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.conftest import STORES, TEMPLATE
from tests.processes import REGION, ServerProcess
from tests.segments import recorded_bodies
from turnlock.local_servers import EmbeddedPostgres

ROOT = {
    "UserId": "123456789012",
    "Account": "123456789012",
    "Arn": "arn:aws:iam::123456789012:root",
}
WHO = "Action=GetCallerIdentity&Version=2011-06-15"
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


@dataclass(frozen=True, kw_only=True)
class Running:
    """A server, with the root user's key."""

    process: ServerProcess
    credentials: Credentials

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.process.port}"

    def client(self, service: str = "sts", *, region: str = REGION, secret: str | None = None) -> Any:
        """Return boto3's client, which retries nothing."""
        return boto3.Session().client(
            service,  # type: ignore[call-overload]
            region_name=region,
            endpoint_url=self.url,
            aws_access_key_id=self.credentials.access_key,
            aws_secret_access_key=secret or self.credentials.secret_key,
            config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10),
        )

    def presigned(self, *, seconds: int = 60, query: str = WHO, service: str = "sts") -> str:
        """Return a presigned URL to GET."""
        request = AWSRequest("GET", f"{self.url}/?{query}")
        SigV4QueryAuth(self.credentials, service, REGION, expires=seconds).add_auth(request)
        return str(request.url)

    def records(self) -> list[dict[str, Any]]:
        """Return the trail's records of STS calls."""
        if self.process.database is None:
            bodies = recorded_bodies(self.process.data_dir)
        else:
            with psycopg.connect(self.process.database) as connection:
                bodies = [row[0] for row in connection.execute("SELECT body FROM trail_records ORDER BY at")]
        records = [json.loads(body) for body in bodies]
        return [record for record in records if record["eventSource"] == "sts.amazonaws.com"]


@pytest.fixture(scope="module", params=STORES)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that serves one Region only, on each store."""
    database = None
    if request.param == "postgresql":
        admin: psycopg.Connection[tuple[object, ...]] = request.getfixturevalue("postgresql_admin")
        postgresql: EmbeddedPostgres = request.getfixturevalue("postgresql_server")
        admin.execute(f"CREATE DATABASE turnlock_sts TEMPLATE {TEMPLATE}")
        database = postgresql.admin_url("turnlock_sts", driver=None)
    data_dir = tmp_path_factory.mktemp("sts") / "turnlock"
    with ServerProcess(data_dir, database=database, options=("--regions", REGION)) as process:
        profile = configparser.ConfigParser()
        profile.read(data_dir / "credentials")
        credentials = Credentials(
            profile["default"]["aws_access_key_id"], profile["default"]["aws_secret_access_key"]
        )
        yield Running(process=process, credentials=credentials)


def fetch(request: str | Request) -> tuple[int, str, bytes]:
    """Return status, content type and body."""
    try:
        with urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers["content-type"], answer.read()
    except HTTPError as error:
        with error:
            return error.code, error.headers["content-type"], error.read()


def texts(body: bytes) -> dict[str, str]:
    """Return the text of every element of an XML answer by its name, without namespaces."""
    return {
        node.tag.rpartition("}")[2]: node.text for node in ET.fromstring(body).iter() if node.text is not None
    }


def refusal(request: str | Request) -> tuple[int, str]:
    """Return the status and code of an XML fault."""
    status, kind, body = fetch(request)
    assert kind == "text/xml"
    return status, texts(body)["Code"]


def test_boto3_learns_who_it_is_and_the_trail_knows(server: Running) -> None:
    answer = server.client().get_caller_identity()
    metadata = answer.pop("ResponseMetadata")
    assert answer == ROOT
    record = next(one for one in server.records() if one["requestID"] == metadata["RequestId"])
    assert (record["eventSource"], record["eventName"]) == ("sts.amazonaws.com", "GetCallerIdentity")
    assert (record["awsRegion"], record["readOnly"]) == (REGION, True)
    assert record["userIdentity"]["arn"] == ROOT["Arn"]
    assert (record["requestParameters"], record["responseElements"]) == (None, None)
    assert metadata["HTTPHeaders"]["x-amzn-requestid"] == metadata["RequestId"]


def test_the_aws_command_learns_who_it_is(server: Running) -> None:
    environment = {
        "AWS_ENDPOINT_URL": server.url,
        "AWS_SHARED_CREDENTIALS_FILE": str(server.process.data_dir / "credentials"),
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": os.devnull,
        "PATH": os.environ["PATH"],
    }
    command = [sys.executable, str(Path(sys.executable).with_name("aws")), "sts", "get-caller-identity"]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == ROOT


@pytest.mark.parametrize("region", ["us-east-1", "aws-global"])
def test_clients_of_the_global_endpoint_are_served_whatever_regions_are(server: Running, region: str) -> None:
    answer = server.client(region=region).get_caller_identity()
    request_id = answer["ResponseMetadata"]["RequestId"]
    assert answer["Arn"] == ROOT["Arn"]
    record = next(one for one in server.records() if one["requestID"] == request_id)
    assert record["awsRegion"] == "us-east-1"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_url_that_botocore_presigned_is_fetched_by_whoever_has_it(server: Running, method: str) -> None:
    client = server.client()
    url = client.generate_presigned_url("get_caller_identity", ExpiresIn=900, HttpMethod=method)
    status, kind, body = fetch(Request(url, data=b"" if method == "POST" else None, method=method))
    assert (status, kind) == (200, "text/xml")
    assert {name: texts(body)[name] for name in ROOT} == ROOT


def test_a_signed_query_string_arrives_as_it_was_sent(server: Running) -> None:
    odd = "&Odd.%C3%BC=%2F%20%2B%26%3D%25&Even=~-._"
    assert fetch(server.presigned(query=f"{WHO}{odd}"))[0] == 200
    request = AWSRequest("GET", f"{server.url}/?{WHO}{odd}")
    SigV4Auth(server.credentials, "sts", REGION).add_auth(request)
    assert fetch(Request(str(request.url), headers=dict(request.headers)))[0] == 200
    altered = server.presigned(query=f"{WHO}{odd}").replace("%2F%20", "%2F+")
    assert refusal(altered) == (403, "SignatureDoesNotMatch")


@pytest.mark.parametrize("seconds", [60, 3600])
def test_a_presigned_url_holds_for_fifteen_minutes_whatever_it_says(
    server: Running, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    signed_at = [datetime.now(UTC) - timedelta(minutes=14)]
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: signed_at[0])
    assert fetch(server.presigned(seconds=seconds))[0] == 200
    signed_at[0] = datetime.now(UTC) - timedelta(minutes=15, seconds=1)
    assert refusal(server.presigned(seconds=seconds)) == (403, "SignatureDoesNotMatch")


def test_a_token_of_eks_is_answered_in_json(server: Running) -> None:
    """Signed with 60 seconds and the cluster's name in a header; aws-iam-authenticator reads JSON."""
    request = AWSRequest("GET", f"{server.url}/?{WHO}", headers={"x-k8s-aws-id": "cluster"})
    SigV4QueryAuth(server.credentials, "sts", REGION, expires=60).add_auth(request)
    headers = {"x-k8s-aws-id": "cluster", "Accept": "application/json"}
    status, kind, body = fetch(Request(str(request.url), headers=headers))
    assert (status, kind) == (200, "application/json")
    assert json.loads(body)["GetCallerIdentityResponse"]["GetCallerIdentityResult"] == ROOT


def test_nothing_else_takes_a_signature_in_the_query_string(server: Running) -> None:
    role = "Action=AssumeRole&Version=2011-06-15&RoleArn=arn:aws:iam::123456789012:role/r&RoleSessionName=s1"
    assert refusal(server.presigned(query=role)) == (400, "IncompleteSignature")
    assert refusal(server.presigned(service="iam")) == (400, "IncompleteSignature")
    status, _, body = fetch(server.presigned(service="ec2"))
    assert (status, ET.fromstring(body).findtext("Errors/Error/Code")) == (403, "SignatureDoesNotMatch")
    url = server.client("secretsmanager").generate_presigned_url("list_secrets", ExpiresIn=60)
    headers = {"X-Amz-Target": "secretsmanager.ListSecrets", "Content-Type": "application/x-amz-json-1.1"}
    for request in (
        url,
        Request(url, data=b"{}", headers=headers),
        server.presigned(service="secretsmanager"),
    ):
        status, kind, body = fetch(request)
        assert (status, kind) == (400, "application/x-amz-json-1.1")
        assert json.loads(body)["__type"] == "IncompleteSignatureException"


def test_a_signature_in_the_header_and_one_in_the_query_string_are_refused_together(server: Running) -> None:
    request = AWSRequest("GET", server.presigned())
    SigV4Auth(server.credentials, "sts", REGION).add_auth(request)
    both = Request(str(request.url), headers=dict(request.headers))
    assert refusal(both) == (400, "IncompleteSignature")


def test_parameters_beside_a_presigned_query_string_are_under_no_signature_and_are_refused(
    server: Running,
) -> None:
    url = server.client().generate_presigned_url("get_caller_identity", ExpiresIn=60, HttpMethod="POST")
    assert refusal(Request(url, data=b"RoleArn=x", headers=FORM)) == (403, "SignatureDoesNotMatch")
    assert refusal(f"{url}&RoleArn=x") == (403, "SignatureDoesNotMatch")


def test_a_form_that_is_too_large_is_refused_unread(server: Running) -> None:
    connection = HTTPConnection("127.0.0.1", server.process.port, timeout=10)
    connection.request("POST", "/", headers={**FORM, "Content-Length": "2000000"})
    with connection.getresponse() as answer:
        assert (answer.status, answer.headers["content-type"]) == (413, "text/xml")
        assert texts(answer.read())["Code"] == "RequestEntityTooLarge"
    connection.close()


def test_refusals_have_the_codes_that_clients_of_sts_know(server: Running) -> None:
    stranger = Running(process=server.process, credentials=Credentials("AKIA" + "A" * 16, "x" * 40))
    cases = [
        (stranger.client().get_caller_identity, "InvalidClientTokenId", 403),
        (server.client(secret="x" * 40).get_caller_identity, "SignatureDoesNotMatch", 403),
        (server.client(region="eu-west-1").get_caller_identity, "SignatureDoesNotMatch", 403),
        (partial(server.client().get_federation_token, Name="n1"), "InvalidAction", 400),
        (server.client("ec2").describe_regions, "SignatureDoesNotMatch", 403),
    ]
    for call, code, status in cases:
        with pytest.raises(ClientError) as refused:
            call()
        assert refused.value.response["Error"]["Code"] == code
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_requests_of_no_known_service_are_refused_in_the_protocol_that_they_look_like(
    server: Running,
) -> None:
    missing = (403, "MissingAuthenticationToken")
    assert refusal(f"{server.url}/?{WHO}") == missing
    assert refusal(Request(server.url, data=WHO.encode(), headers=FORM)) == missing
    for request in (server.url, Request(server.url, data=b"{}", headers={"Content-Type": "text/plain"})):
        status, kind, body = fetch(request)
        assert (status, kind) == (400, "application/x-amz-json-1.1")
        assert json.loads(body)["__type"] == "MissingAuthenticationTokenException"
