"""The server over TLS: clients that verify it, and rotation functions that do too."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPException, HTTPSConnection
from pathlib import Path

import pytest
from botocore.exceptions import SSLError

from tests.clients.conftest import Served
from tests.processes import REGION, START_SECONDS, ServerProcess, wait_until
from tests.rotated import create_secret, new_role, rotate
from turnlock.local_servers import EmbeddedPostgres
from turnlock.local_servers.authority import loopback_identity
from turnlock.shell.bodies import MAX_BODY

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a server's certificate behind its authority's, its key, and the authority's alone."""
    directory = tmp_path_factory.mktemp("tls")
    identity = loopback_identity(datetime.now(UTC))
    (directory / "server.pem").write_bytes(identity.certificate + identity.ca)
    (directory / "server.key").write_bytes(identity.key)
    (directory / "ca.pem").write_bytes(identity.ca)
    return directory


@pytest.fixture(scope="module")
def secure(authority: Path) -> Iterator[Served]:
    """A server that speaks TLS only."""
    options = ("--regions", REGION, "--tls-cert", str(authority / "server.pem"))
    process = ServerProcess(
        authority / "turnlock", options=(*options, "--tls-key", str(authority / "server.key"))
    )
    context = ssl.create_default_context(cafile=str(authority / "ca.pem"))
    process.launch()
    try:
        wait_until(lambda: healthy(process.port, context), START_SECONDS, "a healthy server", 0.05)
        yield Served(process=process, scheme="https")
    finally:
        process.kill()


def healthy(port: int, context: ssl.SSLContext) -> bool:
    connection = HTTPSConnection("127.0.0.1", port, timeout=5, context=context)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        time.sleep(0.05)
        return False
    finally:
        connection.close()


def test_a_client_that_verifies_the_server_is_served(secure: Served, authority: Path) -> None:
    client = secure.client(AWS_CA_BUNDLE=str(authority / "ca.pem"))
    client.create_secret(Name="over-tls", SecretString="v")
    assert client.get_secret_value(SecretId="over-tls")["SecretString"] == "v"


def test_a_client_that_does_not_know_the_authority_refuses_the_server(secure: Served) -> None:
    with pytest.raises(SSLError):
        secure.client().list_secrets()


def test_a_client_that_sends_too_large_a_body_reads_why(secure: Served, authority: Path) -> None:
    context = ssl.create_default_context(cafile=str(authority / "ca.pem"))
    for _ in range(10):
        connection = HTTPSConnection("127.0.0.1", secure.process.port, timeout=30, context=context)
        connection.request("POST", "/", b"x" * 3 * MAX_BODY)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert b"RequestEntityTooLargeException" in answer.read()
        connection.close()


def shown(port: int) -> bytes:
    """Return the certificate that the server shows to a new connection."""
    return ssl.get_server_certificate(("127.0.0.1", port)).encode()


def test_a_certificate_that_was_renewed_is_shown_without_a_restart(secure: Served, authority: Path) -> None:
    before = shown(secure.process.port)
    kept = {name: (authority / name).read_bytes() for name in ("server.pem", "server.key")}
    context = ssl.create_default_context(cafile=str(authority / "ca.pem"))
    open_before = HTTPSConnection("127.0.0.1", secure.process.port, timeout=30, context=context)
    open_before.connect()
    identity = loopback_identity(datetime.now(UTC))
    try:
        (authority / "server.pem").write_bytes(identity.certificate)
        time.sleep(3)
        assert shown(secure.process.port) == before, "a certificate without its key was taken"
        (authority / "server.key").write_bytes(identity.key)
        os.kill(secure.process.pid, signal.SIGHUP)
        wait_until(lambda: shown(secure.process.port) != before, START_SECONDS, "the new certificate")
    finally:
        for name, content in kept.items():
            (authority / name).write_bytes(content)
    wait_until(lambda: shown(secure.process.port) == before, START_SECONDS, "the old certificate")
    assert list(secure.process.events("certificate_refused"))
    open_before.close()


def test_connections_that_never_shake_hands_are_closed_and_keep_nobody_out(
    secure: Served, authority: Path
) -> None:
    context = ssl.create_default_context(cafile=str(authority / "ca.pem"))
    hello = bytes.fromhex("16030100050100000100")
    half_open = [socket.create_connection(("127.0.0.1", secure.process.port), 30) for _ in range(600)]
    try:
        for line in half_open[::2]:
            with suppress(OSError):
                line.sendall(hello)
        began = time.monotonic()
        for _ in range(10):
            assert healthy(secure.process.port, context)
        assert time.monotonic() - began < 10
        half_open[-1].settimeout(30)
        with suppress(ConnectionResetError):
            assert half_open[-1].recv(1) == b""
    finally:
        for line in half_open:
            line.close()


def test_a_rotation_function_verifies_the_server_and_rotates(
    secure: Served, authority: Path, postgresql_server: EmbeddedPostgres
) -> None:
    client = secure.client(AWS_CA_BUNDLE=str(authority / "ca.pem"))
    role = new_role(postgresql_server)
    arn = create_secret(client, role)
    rotate(client, arn)
    assert role.accepts(json.loads(client.get_secret_value(SecretId=arn)["SecretString"]))
