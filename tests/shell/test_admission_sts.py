"""Admission of the second protocol: who may sign in the query string, which Regions are global, how refusals look."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.model import Shape
from botocore.parsers import create_parser

from turnlock import accounts, secrets, sts
from turnlock.core.action import Answer
from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Fence
from turnlock.errors import (
    AccessDeniedException,
    ApiError,
    ConfigurationError,
    IncompleteSignatureException,
    InvalidSignatureException,
    SerializationException,
    UnknownOperationException,
    UnrecognizedClientException,
)
from turnlock.shell.admission import Admission, Service
from turnlock.shell.gate import pass_through
from turnlock.storage import Database, Unit
from turnlock.wire import HttpRequest

ACCOUNT = AccountId("123456789012")
REGION = "eu-central-1"
WHO = "Action=GetCallerIdentity&Version=2011-06-15"
FORM = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Signs requests for STS with botocore and sends them to an admission."""

    database: Database
    admission: Admission
    credentials: Credentials

    def sign(self, body: str = WHO, *, region: str = REGION, service: str = "sts") -> HttpRequest:
        request = AWSRequest("POST", "http://127.0.0.1:7768/", FORM, data=body.encode())
        SigV4Auth(self.credentials, service, region).add_auth(request)
        return self._received(request)

    def presign(
        self, query: str = WHO, *, service: str = "sts", method: str = "GET", region: str = REGION
    ) -> HttpRequest:
        request = AWSRequest(method, f"http://127.0.0.1:7768/?{query}")
        SigV4QueryAuth(self.credentials, service, region, expires=60).add_auth(request)
        return self._received(request)

    def ask(self, request: HttpRequest) -> tuple[Answer | ApiError, dict[str, Any]]:
        """Return the outcome of a request, and the record of it."""
        return self.database.read(lambda unit: self._ask(request, unit))

    def refused(self, request: HttpRequest) -> ApiError:
        with pytest.raises(ApiError) as caught:
            self.database.read(lambda unit: self.admission.admit(request, "the-request", unit))
        return caught.value

    def _ask(self, request: HttpRequest, unit: Unit) -> tuple[Answer | ApiError, dict[str, Any]]:
        admitted = self.admission.admit(request, "the-request", unit)
        assert admitted.request is not None
        outcome = pass_through(admitted.passage, admitted.call, admitted.request, unit)
        (entry,) = unit.entries
        return outcome, json.loads(entry.body)

    @staticmethod
    def _received(request: AWSRequest) -> HttpRequest:
        headers = {"host": "127.0.0.1:7768"}
        headers.update((name.lower(), str(value)) for name, value in request.headers.items())
        return HttpRequest(
            method=str(request.method),
            path="/",
            query=urlsplit(str(request.url)).query,
            headers=tuple(headers.items()),
            body=request.data or b"",
            source_ip="192.0.2.7",
        )


@pytest.fixture
def caller(database: Database) -> Caller:
    made = database.write(lambda unit: accounts.create_account(unit, ACCOUNT))
    services = {
        "secretsmanager": Service.of("secretsmanager", secrets.ACTIONS),
        "sts": Service.of("sts", sts.STS_ACTIONS),
    }
    return Caller(
        database=database,
        admission=Admission(services, frozenset({Region(REGION)})),
        credentials=Credentials(made.access_key_id, made.secret_access_key),
    )


@pytest.mark.parametrize("form", ["header", "GET", "POST"])
def test_a_caller_learns_who_it_is_by_a_header_or_by_a_query_string(caller: Caller, form: str) -> None:
    request = caller.sign() if form == "header" else caller.presign(method=form)
    answer, record = caller.ask(request)
    assert answer == {"UserId": ACCOUNT, "Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:root"}
    assert (record["eventSource"], record["eventName"]) == ("sts.amazonaws.com", "GetCallerIdentity")
    assert (record["awsRegion"], record["requestID"]) == (REGION, "the-request")


@pytest.mark.parametrize("form", ["header", "GET"])
def test_a_role_without_any_permission_learns_who_it_is(caller: Caller, form: str) -> None:
    made = caller.database.write(
        lambda unit: accounts.issue_session(
            unit,
            account_id=ACCOUNT,
            role_name="rotation",
            session_name="db",
            policy=None,
            seconds=60,
            fence=None,
        )
    )
    role = replace(
        caller, credentials=Credentials(made.access_key_id, made.secret_access_key, made.session_token)
    )
    answer, record = role.ask(role.sign() if form == "header" else role.presign())
    assert not isinstance(answer, ApiError)
    assert answer["Arn"] == f"arn:aws:sts::{ACCOUNT}:assumed-role/rotation/db"
    assert answer["UserId"].startswith("AROA")
    assert answer["UserId"].endswith(":db")
    assert record["userIdentity"]["type"] == "AssumedRole"
    assert made.session_token not in json.dumps(record)
    # The token of a presigned request is a part of it like any other: without it nobody is known.
    role_without = replace(role, credentials=Credentials(made.access_key_id, made.secret_access_key))
    assert isinstance(role_without.refused(role_without.presign()), UnrecognizedClientException)


def test_a_session_whose_fence_is_stale_is_nobody_any_more(caller: Caller) -> None:
    fence = Fence(account_id=ACCOUNT, region=Region(REGION), lease="rotation/db", number=1)
    made = caller.database.write(
        lambda unit: accounts.issue_session(
            unit,
            account_id=ACCOUNT,
            role_name="rotation",
            session_name="db",
            policy=None,
            seconds=60,
            fence=fence,
        )
    )
    role = replace(
        caller, credentials=Credentials(made.access_key_id, made.secret_access_key, made.session_token)
    )
    outcome, record = role.ask(role.sign())
    assert isinstance(outcome, ApiError)
    assert outcome.code == record["errorCode"] == "ExpiredTokenException"


@pytest.mark.parametrize("region", ["us-east-1", "aws-global"])
def test_the_global_endpoints_region_is_served_for_sts_alone(caller: Caller, region: str) -> None:
    for request in (caller.sign(region=region), caller.presign(region=region)):
        assert caller.ask(request)[1]["awsRegion"] == "us-east-1"
    for other in (caller.sign(region=region, service="secretsmanager"), caller.sign(region="eu-west-1")):
        error = caller.refused(other)
        assert isinstance(error, InvalidSignatureException)
        assert error.message == "Credential should be scoped to a valid region."


@pytest.mark.parametrize(
    "query",
    [
        "Action=GetFederationToken&Version=2011-06-15&Name=n1",
        "Action=DecodeAuthorizationMessage&Version=2011-06-15&EncodedMessage=m",
    ],
)
def test_only_one_operation_takes_a_signature_in_the_query_string(caller: Caller, query: str) -> None:
    assert isinstance(caller.refused(caller.presign(query)), IncompleteSignatureException)
    assert isinstance(caller.refused(caller.sign(query)), UnknownOperationException)


def test_a_presigned_request_of_another_service_is_refused_whatever_it_asks(caller: Caller) -> None:
    for query in (WHO, "a=b"):
        error = caller.refused(caller.presign(query, service="secretsmanager"))
        assert error.message == "This action does not accept a signature in the query string."


def test_what_a_presigned_request_asks_is_under_its_signature(caller: Caller) -> None:
    request = caller.presign(method="POST")
    assert isinstance(
        caller.refused(msgspec.structs.replace(request, method="GET")), InvalidSignatureException
    )
    assert isinstance(
        caller.refused(msgspec.structs.replace(request, body=b"A=1")), InvalidSignatureException
    )
    twice = caller.refused(msgspec.structs.replace(request, body=WHO.encode()))
    assert isinstance(twice, SerializationException)


def form_of(admission: Admission, request: HttpRequest) -> str:
    """Return the content type of a refusal."""
    return dict(admission.refusal(AccessDeniedException(), request, "r").headers)["content-type"]


ANY_SHAPE = Shape("Error", {"type": "structure"})
XML, JSON = "text/xml", "application/x-amz-json-1.1"


def test_refusals_are_in_the_protocol_of_the_service_that_is_named(caller: Caller) -> None:
    answers = partial(form_of, caller.admission)
    assert answers(caller.sign()) == XML
    assert answers(msgspec.structs.replace(caller.sign(), body=b"{}")) == XML
    assert answers(caller.presign()) == XML
    assert answers(caller.sign(service="secretsmanager")) == JSON
    assert answers(caller.presign(service="secretsmanager")) == JSON


@pytest.mark.parametrize(
    ("query", "headers", "protocol"),
    [
        ("", (("content-type", "application/x-www-form-urlencoded"),), XML),
        (WHO, (), XML),
        ("Version=2011-06-15&Action=GetCallerIdentity", (), XML),
        ("", (), JSON),
        ("OtherAction=1", (), JSON),
        (WHO, (("x-amz-target", "secretsmanager.ListSecrets"),), JSON),
        ("", (("content-type", "application/x-amz-json-1.1"),), JSON),
        ("", (("content-type", "text/plain"), ("content-type", "text/plain")), JSON),
        (WHO, (("authorization", "x"), ("authorization", "y")), XML),
    ],
)
def test_refusals_of_requests_that_name_no_service_are_in_the_protocol_that_they_look_like(
    caller: Caller, query: str, headers: tuple[tuple[str, str], ...], protocol: str
) -> None:
    request = HttpRequest(method="POST", path="/", query=query, headers=headers)
    assert form_of(caller.admission, request) == protocol


UNSERVED = [
    ("ec2", (("content-type", FORM["Content-Type"]),), "ec2"),
    ("s3", (), "rest-xml"),
    ("route53", (), "rest-xml"),
    ("cloudfront", (), "rest-xml"),
    ("sns", (("content-type", FORM["Content-Type"]),), "query"),
    ("monitoring", (("content-type", FORM["Content-Type"]),), "query"),
    ("somewhat", (("content-type", FORM["Content-Type"]),), "query"),
    ("dynamodb", (("x-amz-target", "DynamoDB_20120810.ListTables"),), "json"),
    ("sqs", (("x-amz-target", "AmazonSQS.ListQueues"),), "json"),
    ("eks", (), "rest-json"),
]


@pytest.mark.parametrize(("service", "headers", "protocol"), UNSERVED)
def test_a_service_that_is_not_served_is_refused_in_a_form_that_its_sdk_reads(
    caller: Caller, service: str, headers: tuple[tuple[str, str], ...], protocol: str
) -> None:
    signed = caller.sign(service=service)
    others = tuple(header for header in signed.headers if header[0] != "content-type")
    headers = headers if dict(headers).get("content-type") else (*headers, ("content-type", "text/plain"))
    request = msgspec.structs.replace(signed, headers=(*others, *headers))
    response = caller.admission.refusal(caller.refused(signed), request, "r-1")
    parsed = create_parser(protocol).parse(
        {"status_code": response.status, "headers": dict(response.headers), "body": response.body},
        ANY_SHAPE,
    )
    assert parsed["Error"]["Code"] in ("SignatureDoesNotMatch", "InvalidSignatureException")
    assert f"'{service}' is not served" in parsed["Error"]["Message"]
    assert 400 <= response.status < 500


def test_a_server_of_one_protocol_refuses_everything_in_it() -> None:
    admission = Admission({"sts": Service.of("sts", sts.STS_ACTIONS)}, frozenset())
    request = HttpRequest(method="POST", path="/")
    assert form_of(admission, request) == XML


def test_a_service_whose_protocol_is_not_spoken_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="protocol rest-xml of s3"):
        Service.of("s3", ())


def test_who_accepts_json_alone_gets_json(caller: Caller) -> None:
    """aws-iam-authenticator and EKS read nothing else."""
    signed = caller.presign()
    request = msgspec.structs.replace(signed, headers=(*signed.headers, ("accept", "application/json")))
    admitted = caller.database.read(lambda unit: caller.admission.admit(request, "r", unit))
    answer, _ = caller.ask(request)
    assert not isinstance(answer, ApiError)
    response = admitted.protocol.respond(admitted.passage.operation, answer, "r")
    assert dict(response.headers)["content-type"] == "application/json"
    told = json.loads(response.body)["GetCallerIdentityResponse"]
    assert told["GetCallerIdentityResult"] == dict(answer)
    assert told["ResponseMetadata"] == {"RequestId": "r"}
    refused = caller.admission.refusal(UnrecognizedClientException(), request, "r")
    assert json.loads(refused.body)["Error"]["Code"] == "InvalidClientTokenId"
    both = msgspec.structs.replace(signed, headers=(*signed.headers, ("accept", "text/xml, */*")))
    admitted = caller.database.read(lambda unit: caller.admission.admit(both, "r", unit))
    response = admitted.protocol.respond(admitted.passage.operation, answer, "r")
    assert dict(response.headers)["content-type"] == XML
