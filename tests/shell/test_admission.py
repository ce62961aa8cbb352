"""Admission: from signed bytes to a call, and nothing believed or recorded before the signature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec
import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from structlog.testing import capture_logs

from turnlock import accounts, secrets
from turnlock.core.action import Action, no_resource
from turnlock.core.arn import AccountId, Region
from turnlock.errors import (
    ApiError,
    ConfigurationError,
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
    SerializationException,
    UnknownOperationException,
    UnrecognizedClientException,
    ValidationException,
)
from turnlock.shell.admission import Admission, Admitted, RefusalLog, Service
from turnlock.shell.gate import record_refusal
from turnlock.storage import Database, Unit
from turnlock.wire import HttpRequest

ACCOUNT = AccountId("123456789012")
REGION = "eu-central-1"
MARKER = "marker-in-a-value"


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Signs requests with botocore and sends them to an admission."""

    database: Database
    admission: Admission
    key_id: str
    secret: str

    def sign(
        self,
        operation: str = "GetSecretValue",
        body: bytes = b'{"SecretId":"db"}',
        *,
        region: str = REGION,
        service: str = "secretsmanager",
        presign: bool = False,
    ) -> HttpRequest:
        headers = {
            "X-Amz-Target": f"secretsmanager.{operation}",
            "Content-Type": "application/x-amz-json-1.1",
            "User-Agent": "tests/1.0",
        }
        request = AWSRequest("POST", "http://127.0.0.1:7768/", headers, data=body)
        signer = SigV4QueryAuth if presign else SigV4Auth
        signer(Credentials(self.key_id, self.secret), service, region).add_auth(request)
        return HttpRequest(
            method="POST",
            path="/",
            query=str(request.url).partition("?")[2],
            headers=(
                ("host", "127.0.0.1:7768"),
                *((name.lower(), value) for name, value in request.headers.items()),
            ),
            body=body,
            source_ip="192.0.2.7",
        )

    def admit(self, request: HttpRequest) -> Admitted:
        return self.database.read(lambda unit: self.admission.admit(request, "the-request", unit))

    def refused(self, request: HttpRequest) -> ApiError:
        """Return the error that answers a request without authority; nothing of it may be recorded."""
        units: list[Unit] = []

        def work(unit: Unit) -> None:
            units.append(unit)
            self.admission.admit(request, "the-request", unit)

        with pytest.raises(ApiError) as caught:
            self.database.read(work)
        assert [unit.entries for unit in units if unit.entries] == []
        return caught.value


@pytest.fixture
def caller(database: Database) -> Caller:
    made = database.write(lambda unit: accounts.create_account(unit, ACCOUNT))
    services = {"secretsmanager": Service.of("secretsmanager", secrets.ACTIONS)}
    return Caller(
        database=database,
        admission=Admission(services, frozenset({Region(REGION), Region("us-east-1")})),
        key_id=made.access_key_id,
        secret=made.secret_access_key,
    )


def test_a_signed_request_becomes_a_call(caller: Caller) -> None:
    admitted = caller.admit(caller.sign())
    call = admitted.call
    assert call.principal == accounts.root_principal(ACCOUNT)
    assert call.session.access_key_id == caller.key_id
    assert (call.account_id, call.region, call.service, call.action) == (
        ACCOUNT,
        REGION,
        "secretsmanager",
        "GetSecretValue",
    )
    assert (call.request_id, call.source_ip, call.user_agent) == ("the-request", "192.0.2.7", "tests/1.0")
    assert admitted.request == {"SecretId": "db"}
    assert admitted.refusal is None
    assert admitted.passage.action.name == "GetSecretValue"


def test_the_region_is_that_of_the_signature(caller: Caller) -> None:
    assert caller.admit(caller.sign(region="us-east-1")).call.region == "us-east-1"


def test_a_region_that_is_not_served_is_refused(caller: Caller) -> None:
    for region in ("eu-west-1", "nowhere"):
        error = caller.refused(caller.sign(region=region))
        assert isinstance(error, InvalidSignatureException)
        assert error.message == "Credential should be scoped to a valid region."


def test_a_service_that_is_not_served_is_refused(caller: Caller) -> None:
    error = caller.refused(caller.sign(service="dynamodb"))
    assert isinstance(error, InvalidSignatureException)
    assert "'dynamodb' is not served" in error.message


def test_a_request_without_or_with_a_wrong_signature_is_refused(caller: Caller) -> None:
    unsigned = msgspec.structs.replace(caller.sign(), headers=(("host", "127.0.0.1:7768"),))
    assert isinstance(caller.refused(unsigned), MissingAuthenticationTokenException)
    other_body = msgspec.structs.replace(caller.sign(), body=b'{"SecretId":"other"}')
    assert isinstance(caller.refused(other_body), InvalidSignatureException)
    stranger = replace(caller, secret="x" * 40)
    assert isinstance(caller.refused(stranger.sign()), InvalidSignatureException)
    unknown = replace(caller, key_id="AKIAAAAAAAAAAAAAAAAA")
    assert isinstance(caller.refused(unknown.sign()), UnrecognizedClientException)


def test_nothing_is_read_of_the_input_before_the_signature_holds(caller: Caller) -> None:
    """Neither the operation nor the body tells anything to who cannot sign."""
    stranger = replace(caller, secret="x" * 40)
    for request in (stranger.sign("Nonsense"), stranger.sign(body=b"not json")):
        assert isinstance(caller.refused(request), InvalidSignatureException)


def test_a_signature_in_the_query_is_refused_here(caller: Caller) -> None:
    assert isinstance(caller.refused(caller.sign(presign=True)), IncompleteSignatureException)


def test_operations_that_are_unknown_or_not_served_are_refused(caller: Caller) -> None:
    bare = Service.of("secretsmanager", tuple(a for a in secrets.ACTIONS if a.name == "GetSecretValue"))
    narrow = replace(caller, admission=Admission({"secretsmanager": bare}, frozenset({Region(REGION)})))
    assert narrow.admit(caller.sign()).call.action == "GetSecretValue"
    for operation in ("Nonsense", "DescribeSecret"):
        assert isinstance(narrow.refused(caller.sign(operation)), UnknownOperationException)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"not json", SerializationException),
        (b'{"SecretId":1}', SerializationException),
        (b"{}", ValidationException),
        (b'{"SecretId":"' + b"x" * 3000 + b'"}', ValidationException),
    ],
)
def test_unreadable_input_of_a_known_caller_is_refused_with_a_call_to_record(
    caller: Caller, body: bytes, error: type[ApiError]
) -> None:
    admitted = caller.admit(caller.sign(body=body))
    assert isinstance(admitted.refusal, error)
    assert admitted.request is None

    def record(unit: Unit) -> bytes:
        assert admitted.refusal is not None
        record_refusal(admitted.passage, admitted.call, admitted.refusal, unit)
        return unit.entries[0].body

    body_of_record = caller.database.read(record)
    assert f'"errorCode":"{error.__name__}"'.encode() in body_of_record
    assert caller.key_id.encode() in body_of_record


def test_what_was_admitted_does_not_show_the_value_that_it_carries(caller: Caller) -> None:
    body = b'{"Name":"db","ClientRequestToken":"%b","SecretString":"%b"}' % (b"0" * 32, MARKER.encode())
    admitted = caller.admit(caller.sign("CreateSecret", body))
    assert admitted.request is not None
    assert admitted.request["SecretString"] == MARKER
    assert MARKER not in repr(admitted)


def action(name: str) -> Action:
    return Action(name=name, handler=lambda _call, _request, _unit: {}, subject=no_resource, mutates=False)


@pytest.mark.parametrize("names", [["Nonsense"], ["GetSecretValue", "GetSecretValue"]])
def test_actions_that_do_not_fit_the_model_end_the_start(names: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="unknown to the model, or given twice"):
        Service.of("secretsmanager", tuple(action(name) for name in names))


def test_a_service_without_a_model_ends_the_start() -> None:
    with pytest.raises(ConfigurationError, match="no model"):
        Service.of("nonsense", ())


def at_second(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def set_time(now: float) -> None:
        monkeypatch.setattr("turnlock.shell.admission.time.monotonic", lambda: now)

    return set_time


def test_refusals_are_counted_and_logged_at_a_bounded_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    set_time, refusals = at_second(monkeypatch), RefusalLog()
    request = HttpRequest(
        method="POST",
        path="/",
        headers=(("authorization", MARKER),),
        body=MARKER.encode(),
        source_ip="192.0.2.7",
    )
    with capture_logs() as logged:
        for second in (100.0, 100.9, 101.0):
            set_time(second)
            for _ in range(20):
                refusals.note(InvalidSignatureException(), request)
    assert refusals.refused == 60
    assert len(logged) == 2 * RefusalLog.LINES
    assert logged[0] == {
        "action": "request_refused",
        "code": "InvalidSignatureException",
        "source_ip": "192.0.2.7",
        "refused": 1,
        "event": "a request was refused",
        "log_level": "warning",
    }
    assert logged[-1]["refused"] == 45


def test_tracebacks_of_requests_that_failed_are_logged_at_the_same_rate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever finds a request that fails before it is known who sent it could fill the disk."""
    set_time, refusals = at_second(monkeypatch), RefusalLog()
    set_time(100.0)
    with capture_logs() as logged:
        for _ in range(20):
            refusals.failed(RuntimeError(), "id")
    assert [line["action"] for line in logged] == ["request_failed"] * RefusalLog.LINES
    assert MARKER not in str(logged)
