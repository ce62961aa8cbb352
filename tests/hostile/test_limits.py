"""How long and how large a request may be at the socket, and that who is slow keeps nobody else waiting."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.hostile.test_raw_socket import exchange, statuses
from tests.processes import ServerProcess
from turnlock.shell.http.limits import MAX_HEAD, MAX_REST, Limits

pytestmark = pytest.mark.slow

HEAD_SECONDS, BODY_SECONDS = Limits().head_seconds, Limits().body_seconds

HEAD = b"POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n"
GRACE = 6.0
"""Seconds beyond a limit that a busy machine may take."""


def kept_for(port: int, talk: Callable[[socket.socket], None]) -> tuple[float, bytes]:
    """Return how many seconds the server kept a connection whose client only `talk`s, and what it said last."""
    with socket.create_connection(("127.0.0.1", port), HEAD_SECONDS + BODY_SECONDS + GRACE) as connection:
        began, said = time.monotonic(), b""
        talk(connection)
        while chunk := connection.recv(65_536):
            said = chunk
        return time.monotonic() - began, said


def half_a_head(connection: socket.socket) -> None:
    connection.sendall(HEAD)


def a_head_in_drops(connection: socket.socket) -> None:
    connection.sendall(HEAD)
    for _ in range(4):
        time.sleep(1)
        connection.sendall(b"x: y\r\n")


def one_request_and_no_other(connection: socket.socket) -> None:
    connection.sendall(HEALTH)


def half_a_body(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"content-length: 9\r\n\r\n1234")


def half_a_body_in_chunks(connection: socket.socket) -> None:
    connection.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n4\r\n1234\r\n")


def test_who_is_slow_is_cut_off_in_time_and_keeps_nobody_waiting(server: ServerProcess) -> None:
    talks = (half_a_head, a_head_in_drops, one_request_and_no_other, half_a_body, half_a_body_in_chunks)
    with ThreadPoolExecutor(len(talks) * 20) as threads:
        crowd = [threads.submit(kept_for, server.port, talk) for talk in talks for _ in range(20)]
        time.sleep(1)
        client = server.client()
        began = time.monotonic()
        for _ in range(20):
            assert client.get_secret_value(SecretId="healthy")["SecretString"] == "whole"
        assert time.monotonic() - began < HEAD_SECONDS
        ends = [one.result() for one in crowd]
    longest = max(HEAD_SECONDS, BODY_SECONDS) + GRACE
    assert max(seconds for seconds, _ in ends) < longest
    late = [said for _, said in ends[-40:]]
    assert all(statuses(said) == [400] and b"did not arrive in time" in said for said in late)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (HEAD + b"x: y\r\n" * 98 + b"\r\n", 400),
        (HEAD + b"x: y\r\n" * 100 + b"\r\n", 431),
        (HEAD + b"x: " + b"y" * (MAX_HEAD - 5_000) + b"\r\n\r\n", 400),
        (HEAD + b"x: " + b"y" * MAX_HEAD * 4 + b"\r\n\r\n", 431),
        (b"POST /" + b"x" * 70_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 414),
        (HEAD + b"content-length: %d\r\n\r\n" % (MAX_REST + 1), 413),
        (HEAD + b"content-length: 5\r\ncontent-length: 6\r\n\r\n12345", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0),
    ],
    ids=["100", "102", "long", "too-long", "uri", "length", "two-lengths", "http-2"],
)
def test_what_is_too_large_is_refused_unread(server: ServerProcess, message: bytes, status: int) -> None:
    assert (statuses(exchange(server.port, message, ends=False)) or [0])[0] == status
