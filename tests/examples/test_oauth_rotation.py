"""examples/oauth-rotation against a real OAuth server, while a client works without pause: it never sees a refusal."""

from __future__ import annotations

import base64
import http.client
import json
import threading
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest

from tests.examples.oauth_server import Server, running
from tests.own_functions import EXAMPLES, Operator, zipped
from tests.processes import ServerProcess
from turnlock.confinement import landlock

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(landlock.abi() < 3, reason="this kernel cannot confine functions of one's own"),
]
CACHED_SECONDS = 1.0
"""How long the client works with a value that it has read."""
ROTATIONS = 3


@pytest.fixture(scope="module")
def provider() -> Iterator[tuple[Server, str]]:
    with running() as started:
        yield started


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    with ServerProcess(tmp_path_factory.mktemp("oauth") / "turnlock") as server:
        yield Operator(server=server)


def refresh(value: dict[str, Any]) -> int:
    """Get an access token as an application does; return the status."""
    url = urlsplit(value["token_endpoint"])
    words = f"{quote(value['client_id'], safe='')}:{quote(value['client_secret'], safe='')}"
    connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=10)
    try:
        connection.request(
            "POST",
            url.path,
            urlencode({"grant_type": "refresh_token", "refresh_token": value["refresh_token"]}),
            {
                "Authorization": "Basic " + base64.b64encode(words.encode()).decode(),
                "Content-Type": "application/x-www-form-urlencoded",
            },
        )
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


class Application(threading.Thread):
    """Gets access tokens without pause, with a value that it reads once in CACHED_SECONDS."""

    def __init__(self, operator: Operator, secret: str) -> None:
        super().__init__(daemon=True)
        self.operator, self.secret = operator, secret
        self.statuses: list[int] = []
        self.values: set[str] = set()
        self.ending = threading.Event()

    def run(self) -> None:
        read_at, value = 0.0, {}
        while not self.ending.is_set():
            if time.monotonic() - read_at > CACHED_SECONDS:
                read_at, value = time.monotonic(), self.operator.value(self.secret)
                self.values.add(value["client_secret"])
            self.statuses.append(refresh(value))
            time.sleep(0.01)


def test_a_client_that_caches_is_never_refused(operator: Operator, provider: tuple[Server, str]) -> None:
    server, url = provider
    first = {
        "token_endpoint": f"{url}/token",
        "introspect_endpoint": f"{url}/introspect",
        "secrets_endpoint": f"{url}/secrets",
        "client_id": "mobile-app",
        "client_secret": server.client.secrets["first"],
        "secret_label": "first",
        "refresh_token": server.issue(),
    }
    secret = operator.create_secret("mobile/oauth", first)
    function = operator.create_function("oauth", zipped(EXAMPLES / "oauth-rotation"))
    application = Application(operator, secret)
    application.start()
    values = [first]
    try:
        for _ in range(ROTATIONS):
            token = operator.rotate(secret, function)
            operator.await_rotated(secret, token)
            values.append(operator.value(secret))
            time.sleep(1.5 * CACHED_SECONDS)
    finally:
        application.ending.set()
        application.join(60)
    assert set(application.statuses) == {200}, "refused"
    assert len(application.statuses) > 100
    assert application.values >= {one["client_secret"] for one in values[1:]}
    assert len({one["client_secret"] for one in values}) == ROTATIONS + 1
    assert len({one["refresh_token"] for one in values}) == ROTATIONS + 1
    print(f"{len(application.statuses)} tokens were got during {ROTATIONS} rotations, none was refused")
    assert [refresh(one) for one in values] == [401] * (ROTATIONS - 1) + [200, 200], "the overlap is two"


def test_a_step_that_runs_twice_adds_one_secret() -> None:
    """CreateSecret whose answer was lost before it kept the value: the provider is asked for the same label again."""
    with running() as (server, url):
        create_twice(server, url)


def create_twice(server: Server, url: str) -> None:
    namespace: dict[str, Any] = {"__name__": "oauth_rotation"}
    source = (EXAMPLES / "oauth-rotation" / "main.py").read_text()
    exec(compile(source, "main.py", "exec"), namespace)
    current = {
        "token_endpoint": f"{url}/token",
        "introspect_endpoint": f"{url}/introspect",
        "secrets_endpoint": f"{url}/secrets",
        "client_id": "mobile-app",
        "client_secret": server.client.secrets["first"],
        "secret_label": "first",
        "refresh_token": server.issue(),
    }

    class Secrets:
        """Secrets Manager whose PutSecretValue fails the first time."""

        class exceptions:  # noqa: N801 -- boto3's name
            class ResourceNotFoundException(Exception): ...

        def __init__(self) -> None:
            self.kept: list[dict[str, Any]] = []
            self.fails = True

        def get_secret_value(self, SecretId: str, VersionStage: str) -> dict[str, str]:  # noqa: N803
            if VersionStage == "AWSPENDING":
                raise self.exceptions.ResourceNotFoundException
            return {"SecretString": json.dumps(current)}

        def put_secret_value(self, **request: Any) -> None:
            if self.fails:
                self.fails = False
                raise ConnectionError
            self.kept.append(json.loads(request["SecretString"]))

    secrets = Secrets()
    with pytest.raises(ConnectionError):
        namespace["create"](secrets, "arn", "a-token")
    namespace["create"](secrets, "arn", "a-token")
    assert list(server.client.secrets) == ["first", "a-token"]
    (pending,) = secrets.kept
    assert pending["client_secret"] == server.client.secrets["a-token"]
    namespace["check"](pending)
