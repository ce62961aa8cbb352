"""The benchmark's requests: what a server accepts, and no two alike."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.signing import Target, read_requests, write_requests
from turnlock.errors import ApiError
from turnlock.wire import HttpRequest, read_claim, signing_key, verify

SECRET_KEY = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
TARGET = Target(
    host="127.0.0.1:7768",
    region="eu-central-1",
    key_id="AKIDEXAMPLE",
    secret_key=SECRET_KEY,
    names=[f"bench/{number}" for number in range(3)],
)


def received(request: bytes) -> HttpRequest:
    head, _, body = request.partition(b"\r\n\r\n")
    lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
    headers = tuple((name.lower(), value) for name, value in lines)
    return HttpRequest(method="POST", path="/", headers=headers, body=body)


def test_every_request_carries_a_signature_that_holds(tmp_path: Path) -> None:
    assert write_requests(TARGET, 10, tmp_path / "requests") == 10
    for request in map(received, read_requests(tmp_path / "requests")):
        claim = read_claim(request)
        verify(claim, request, signing_key(SECRET_KEY, claim), datetime.now(UTC))
        with pytest.raises(ApiError):
            verify(claim, request, signing_key("another", claim), datetime.now(UTC))


def test_no_two_requests_are_alike_and_there_is_an_end_to_them(tmp_path: Path) -> None:
    written = write_requests(TARGET, 10_000, tmp_path / "requests")
    requests = read_requests(tmp_path / "requests")
    assert written == len(requests) == len(set(requests)) == 3 * 300


def test_the_key_is_in_no_representation() -> None:
    assert SECRET_KEY not in repr(TARGET)
