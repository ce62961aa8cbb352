"""Each way not to be let in has its own AWS error, at the socket of a running server."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from unittest.mock import patch

import pytest
from msgspec import structs

from tests.hostile.generated import Draws
from tests.hostile.test_generated_requests import draws_of
from tests.processes import ServerProcess
from turnlock.shell.bodies import MAX_BODY
from turnlock.wire import HttpRequest

pytestmark = pytest.mark.slow

BODY = b'{"SecretId":"healthy"}'


def signed(draws: Draws, body: bytes = BODY, *, ago: timedelta = timedelta()) -> HttpRequest:
    """Return a GetSecretValue that was signed some time ago, or will be."""
    model, _ = draws.operations[0]
    with patch("botocore.auth.get_current_datetime", lambda: datetime.now(UTC).replace(tzinfo=None) - ago):
        return draws.signed(model, "GetSecretValue", body)


def with_header(request: HttpRequest, name: str, change: Callable[[str], str | None]) -> HttpRequest:
    """Return the request with one header changed after it was signed; None leaves it out."""
    changed = [(one, change(value) if one == name else value) for one, value in request.headers]
    return structs.replace(
        request, headers=tuple((one, value) for one, value in changed if value is not None)
    )


def send(server: ServerProcess, request: HttpRequest) -> tuple[int, str, str]:
    """Return status, code and message of what comes back."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
    target = request.path + (f"?{request.query}" if request.query else "")
    try:
        connection.request(request.method, target, request.body, dict(request.headers))
        response = connection.getresponse()
        answer = json.loads(response.read())
    finally:
        connection.close()
    assert response.headers["x-amzn-requestid"]
    return response.status, answer.get("__type", ""), answer.get("message", answer.get("Message", ""))


def unsigned_target(draws: Draws) -> HttpRequest:
    """Return a request whose signature does not say that it covers X-Amz-Target."""
    return with_header(signed(draws), "authorization", lambda text: text.replace(";x-amz-target", ""))


WAYS: dict[str, tuple[Callable[[Draws], HttpRequest], int, str, str]] = {
    "no signature": (
        lambda draws: with_header(signed(draws), "authorization", lambda _: None),
        400,
        "MissingAuthenticationTokenException",
        "Missing Authentication Token",
    ),
    "wrong secret": (
        lambda draws: signed(replace(draws, secret="wrong")),
        400,
        "InvalidSignatureException",
        "does not match",
    ),
    "unknown key": (
        lambda draws: signed(replace(draws, key_id="AKIAUNKNOWNUNKNOWN99")),
        400,
        "UnrecognizedClientException",
        "security token",
    ),
    "past date": (
        lambda draws: signed(draws, ago=timedelta(minutes=6)),
        400,
        "InvalidSignatureException",
        "Signature expired",
    ),
    "future date": (
        lambda draws: signed(draws, ago=-timedelta(minutes=6)),
        400,
        "InvalidSignatureException",
        "not yet current",
    ),
    "tampered body": (
        lambda draws: structs.replace(signed(draws), body=BODY.replace(b"healthy", b"Healthy")),
        400,
        "InvalidSignatureException",
        "",
    ),
    "tampered header": (
        lambda draws: with_header(signed(draws), "x-amz-target", lambda text: text.replace("Get", "Put")),
        400,
        "InvalidSignatureException",
        "does not match",
    ),
    "unsigned X-Amz-Target": (unsigned_target, 400, "InvalidSignatureException", "not signed"),
    "signatures in header and query": (
        lambda draws: structs.replace(
            signed(draws), query="X-Amz-Signature=0&X-Amz-Algorithm=AWS4-HMAC-SHA256"
        ),
        400,
        "IncompleteSignatureException",
        "",
    ),
    "mangled header": (
        lambda draws: with_header(
            signed(draws), "authorization", lambda text: text.replace("Signature=", "Sig=")
        ),
        400,
        "IncompleteSignatureException",
        "",
    ),
    "oversized": (
        lambda draws: signed(draws, b"x" * (MAX_BODY + 1)),
        413,
        "RequestEntityTooLargeException",
        "",
    ),
    "not JSON": (lambda draws: signed(draws, b'{"SecretId":'), 400, "SerializationException", ""),
    "wrong type": (lambda draws: signed(draws, b'{"SecretId":7}'), 400, "SerializationException", ""),
    "too long": (
        lambda draws: signed(draws, b'{"SecretId":"%s"}' % (b"x" * 3000)),
        400,
        "ValidationException",
        "1 validation error",
    ),
    "required member": (lambda draws: signed(draws, b"{}"), 400, "ValidationException", "1 validation error"),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_way_has_its_own_error(server: ServerProcess, way: str) -> None:
    make, status, code, words = WAYS[way]
    told = send(server, make(draws_of(server.data_dir, way, host=f"127.0.0.1:{server.port}")))
    assert told[:2] == (status, code), told
    assert words in told[2]


def test_what_is_wrong_with_none_is_answered(server: ServerProcess) -> None:
    request = signed(draws_of(server.data_dir, "right", host=f"127.0.0.1:{server.port}"))
    assert send(server, request)[:2] == (200, "")
