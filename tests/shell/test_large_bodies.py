"""Bodies of packages: what of them is done on the event loop, and who may send one."""

from __future__ import annotations

import asyncio
import base64
import configparser
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from turnlock import app
from turnlock.config import Config
from turnlock.core.arn import Region
from turnlock.errors import RequestEntityTooLargeException
from turnlock.shell.admission import READ_AT_ONCE
from turnlock.shell.application import Application
from turnlock.shell.bodies import LARGE_BODY, LARGE_EVENT, MAX_BODY, LargeBodies
from turnlock.shell.server import Server
from turnlock.wire import HttpRequest, HttpResponse
from turnlock.wire.rest_json_protocol import RestJsonProtocol

REGION = "eu-central-1"
PATH = "/2015-03-31/functions"
MOST_SECONDS = 0.05
"""CPU time of the loop's thread that one request may take (docs/decisions/0030)."""


@dataclass(kw_only=True)
class Place:
    """An application, and the root user's access key."""

    application: Application
    credentials: Credentials


def signed(
    place: Place,
    service: str,
    body: bytes,
    content_type: str = "application/json",
    *,
    method: str = "POST",
    path: str = PATH,
) -> HttpRequest:
    request = AWSRequest(
        method, f"http://here{path}", data=body, headers={"Content-Type": content_type, "Host": "here"}
    )
    SigV4Auth(place.credentials, service, REGION).add_auth(request)
    headers = tuple((name.lower(), value) for name, value in request.headers.items())
    return HttpRequest(method=method, path=path, headers=headers, body=body, source_ip="127.0.0.1")


def answered(place: Place, request: HttpRequest) -> tuple[HttpResponse, float]:
    """Return the answer, and the CPU seconds that the loop's thread spent on it."""

    async def ask() -> tuple[HttpResponse, float]:
        server = Server(place.application, asyncio.get_running_loop())
        began = time.thread_time()
        response = await server.respond(request)
        return response, time.thread_time() - began

    return asyncio.run(ask())


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    config = Config(data_dir=tmp_path, host="127.0.0.1", port=0, regions=frozenset({Region(REGION)}))
    app.initialise(config)
    profile = configparser.ConfigParser()
    profile.read(tmp_path / "credentials")
    keys = profile["default"]
    application = app.build(config)
    yield Place(
        application=application,
        credentials=Credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"]),
    )
    application.close()


def test_a_package_is_hashed_and_decoded_beside_the_loop(place: Place) -> None:
    package = base64.b64encode(os.urandom(12 * READ_AT_ONCE)).decode()
    wanted = {
        "FunctionName": "f",
        "Role": "arn:aws:iam::123456789012:role/r",
        "Runtime": "python3.11",
        "Handler": "m.h",
        "Code": {"ZipFile": package},
    }
    response, seconds = answered(place, signed(place, "lambda", json.dumps(wanted).encode()))
    assert (response.status, b"Could not unzip" in response.body) == (400, True)
    assert seconds < MOST_SECONDS


def test_a_large_body_that_is_not_what_the_model_says_is_refused(place: Place) -> None:
    response, seconds = answered(place, signed(place, "lambda", b"[" + b" " * 2 * READ_AT_ONCE + b"]"))
    assert response.status == 400
    assert seconds < MOST_SECONDS


@pytest.mark.parametrize(
    ("service", "content_type"),
    [("iam", "application/x-www-form-urlencoded"), ("secretsmanager", "application/x-amz-json-1.1")],
)
def test_no_other_service_takes_one(place: Place, service: str, content_type: str) -> None:
    form = b"Action=ListUsers&Version=2010-05-08&x=" + b"y" * 2 * READ_AT_ONCE
    response, seconds = answered(place, signed(place, service, form, content_type))
    assert response.status == 413
    assert seconds < MOST_SECONDS


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", PATH),
        ("GET", f"{PATH}/f"),
        ("PUT", f"{PATH}/f/configuration"),
        ("POST", f"{PATH}/f/policy"),
        ("POST", f"{PATH}/f/versions"),
        ("POST", f"{PATH}/f/aliases"),
        ("DELETE", f"{PATH}/f"),
    ],
)
def test_no_other_operation_takes_one(
    place: Place, monkeypatch: pytest.MonkeyPatch, method: str, path: str
) -> None:
    """A body of 70 MiB is one step of the JSON parser, during which no other thread runs: who has no use for it has none parsed."""
    parsed: list[str] = []
    monkeypatch.setattr(
        RestJsonProtocol, "parse", lambda _self, operation, _request: parsed.append(operation.name)
    )
    body = b'{"Description":"' + b"x" * 2 * READ_AT_ONCE + b'"}'
    response, _ = answered(place, signed(place, "lambda", body, method=method, path=path))
    assert (response.status, parsed) == (413, [])


@pytest.mark.parametrize(
    ("path", "most"),
    [
        (PATH, LARGE_BODY),
        (f"{PATH}/f/code", LARGE_BODY),
        (f"{PATH}/f/invocations", LARGE_EVENT),
        (f"{PATH}/f", MAX_BODY),
        (f"{PATH}/f/configuration", MAX_BODY),
        (f"{PATH}/f/code/more", MAX_BODY),
        (f"{PATH}x", MAX_BODY),
        ("/", MAX_BODY),
    ],
)
def test_only_packages_and_events_are_taken_in(path: str, most: int) -> None:
    places = LargeBodies()
    if most > MAX_BODY:
        places.take(path, most)
    with pytest.raises(RequestEntityTooLargeException):
        places.take(path, most + 1)


def test_without_a_signature_nothing_of_one_is_read(place: Place) -> None:
    form = b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15&x=" + b"y=1&" * READ_AT_ONCE
    headers = (("host", "here"), ("content-type", "application/x-www-form-urlencoded"))
    request = HttpRequest(method="POST", path=PATH, headers=headers, body=form, source_ip="127.0.0.1")
    response, seconds = answered(place, request)
    assert response.status in (400, 403)
    assert seconds < MOST_SECONDS
