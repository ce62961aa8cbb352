"""A client whose body is too large reads why, although it sends all of it first; within bounds that keep it harmless."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.hostile.test_limits import GRACE
from tests.hostile.test_raw_socket import statuses
from tests.processes import ServerProcess
from turnlock.shell.bodies import MAX_BODY
from turnlock.shell.http.limits import MAX_REST, RESTS, Limits

pytestmark = pytest.mark.slow

BODY_SECONDS = Limits().body_seconds

HEAD = b"POST / HTTP/1.1\r\nhost: a\r\n"
INNER = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n"
"""A request that is a part of a body, or comes after one: never to be answered."""

CLOSED_SOON = BODY_SECONDS - 2.0
"""Seconds within which a connection that is not read from any more is closed."""


def in_one(size: int) -> bytes:
    """Return a request whose body has about this size, filled with what looks like requests."""
    body = INNER * (size // len(INNER) + 1)
    return HEAD + b"content-length: %d\r\n\r\n" % len(body) + body


def in_chunks(size: int) -> bytes:
    chunk = INNER * 1_000
    chunks = (b"%x\r\n" % len(chunk) + chunk + b"\r\n") * (size // len(chunk) + 1)
    return HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def to_the_end(connection: socket.socket) -> bytes:
    """Return all that comes until the other side closes in good order; ConnectionResetError when it does not."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def connect(server: ServerProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), BODY_SECONDS + GRACE)


def announce(server: ServerProcess, size: int, *more: bytes) -> socket.socket:
    """Announce a body, send none of it, and read the refusal; return the connection as it is then."""
    connection = connect(server)
    connection.sendall(HEAD + b"content-length: %d\r\n" % size + b"".join(more) + b"\r\n")
    answer = b""
    while b"RequestEntityTooLarge" not in answer:
        piece = connection.recv(65_536)
        assert piece, answer
        answer += piece
    assert statuses(answer) == [413]
    assert b"\r\nconnection: close\r\n" in answer
    return connection


def closes_within(connection: socket.socket, seconds: float) -> bool:
    connection.settimeout(seconds)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False


@pytest.mark.parametrize("write", [in_one, in_chunks])
@pytest.mark.parametrize("size", [MAX_BODY + 1, 2 * MAX_BODY, MAX_REST - 100_000])
@pytest.mark.parametrize("pause", [0.0, 0.3], ids=["at once", "head first"])
def test_who_sends_everything_before_it_reads_is_answered_once(
    server: ServerProcess, write: Callable[[int], bytes], size: int, pause: float
) -> None:
    head, end, body = write(size).partition(b"\r\n\r\n")
    with connect(server) as connection:
        connection.sendall(head + end)
        time.sleep(pause)
        connection.sendall(body + INNER)
        time.sleep(pause)
        answer = to_the_end(connection)
    assert statuses(answer) == [413], answer
    assert b"RequestEntityTooLargeException" in answer


def test_a_client_of_the_standard_library_reads_why(server: ServerProcess) -> None:
    def pieces() -> Iterator[bytes]:
        yield from [b"x" * 10_000] * 300

    for body in (b"x" * 3 * MAX_BODY, pieces()):
        connection = HTTPConnection("127.0.0.1", server.port, timeout=30)
        connection.request("POST", "/", body, encode_chunked=True)
        response = connection.getresponse()
        assert (response.status, response.headers["connection"]) == (413, "close")
        assert b"RequestEntityTooLargeException" in response.read()
        connection.close()


def test_who_stores_too_large_a_secret_with_boto3_reads_why(server: ServerProcess) -> None:
    client = server.client(parameter_validation=False)
    for _ in range(20):
        with pytest.raises(ClientError) as caught:
            client.create_secret(Name="large", SecretBinary=b"\0" * 2 * MAX_BODY)
        assert caught.value.response["Error"]["Code"] == "RequestEntityTooLargeException"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 413
    assert client.get_secret_value(SecretId="healthy")["SecretString"] == "whole"


def test_who_waits_for_leave_to_send_is_refused_without(server: ServerProcess) -> None:
    for _ in range(50):
        with announce(server, 2 * MAX_BODY, b"expect: 100-continue\r\n") as connection:
            assert closes_within(connection, CLOSED_SOON)


def test_beyond_the_bound_nothing_is_taken_in(server: ServerProcess) -> None:
    with announce(server, MAX_REST + 1) as connection:
        assert closes_within(connection, CLOSED_SOON)
    endless = in_chunks(MAX_BODY + 2 * MAX_REST)
    with connect(server) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        connection.sendall(endless)


@pytest.mark.parametrize("sends", [b"", b"x"], ids=["nothing", "drops"])
def test_who_is_slow_is_cut_off_in_time(server: ServerProcess, sends: bytes) -> None:
    began = time.monotonic()
    with announce(server, 2 * MAX_BODY) as connection:
        try:
            while not closes_within(connection, 1):
                connection.sendall(sends)
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert BODY_SECONDS - 1 < time.monotonic() - began < BODY_SECONDS + GRACE


def test_few_are_heard_out_at_once_and_the_others_are_answered_all_the_same(server: ServerProcess) -> None:
    with ExitStack() as stack:
        silent = [stack.enter_context(announce(server, 2 * MAX_BODY)) for _ in range(RESTS)]
        assert closes_within(stack.enter_context(announce(server, 2 * MAX_BODY)), CLOSED_SOON)
        assert not closes_within(silent[0], 0.1)
        assert server.client().get_secret_value(SecretId="healthy")["SecretString"] == "whole"
        began = time.monotonic()
        for connection in silent:
            connection.close()
        while closes_within(stack.enter_context(announce(server, 2 * MAX_BODY)), 0.1):
            assert time.monotonic() - began < CLOSED_SOON, "their places were not given back"


def most_memory(server: ServerProcess) -> int:
    """Return the most memory that the server's processes ever had at once, in bytes."""
    states = [Path(f"/proc/{one.pid}/status").read_text() for one in server.servers()]
    return sum(1024 * int(found[1]) for text in states if (found := re.search(r"VmHWM:\s+(\d+)", text)))


def test_what_is_taken_in_is_not_kept(server: ServerProcess) -> None:
    def send(request: bytes) -> list[int]:
        with connect(server) as connection:
            connection.sendall(request)
            return statuses(to_the_end(connection))

    large = in_one(MAX_REST - 100_000)
    with ThreadPoolExecutor(RESTS // 2) as threads:  # a place may be free only after its connection is closed
        assert list(threads.map(send, [in_one(2 * MAX_BODY)] * RESTS)) == [[413]] * RESTS
        before = most_memory(server)
        assert before > 0
        assert list(threads.map(send, [large] * 4 * RESTS)) == [[413]] * 4 * RESTS
    assert most_memory(server) - before < 16 * 1024 * 1024
