"""Clients that have not signed take up connections, memory and turns from one address; a client at another one is served meanwhile."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests import proofs
from tests.processes import ServerProcess
from turnlock.shell.bodies import MAX_BODY
from turnlock.shell.http import Limits

pytestmark = pytest.mark.slow

ATTACKER = "127.0.0.2"
CONNECTIONS = 1_000
SECONDS = 6.0
MOST_SECONDS = 2.0
"""The longest that a request of the other client may take, on a busy machine; the proof records p99."""

BESIDE = 96 * 1024 * 1024
"""Bytes that the processes may grow by beside the ceiling for what is counted: objects, TLS, the allocator."""

HEAD = b"POST / HTTP/1.1\r\nhost: a\r\n"
HEALTH = b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.fixture
def flooded(tmp_path: Path) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path / "turnlock") as process:
        process.client().create_secret(Name="healthy", SecretString="whole")
        yield process


def idle(_line: socket.socket) -> None:
    pass


def slow_head(line: socket.socket) -> None:
    line.sendall(HEAD + b"x: ")


def slow_body(line: socket.socket) -> None:
    line.sendall(HEAD + b"content-length: 1000\r\n\r\n")


def slow_chunks(line: socket.socket) -> None:
    line.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n3e8\r\n")


def held_body(line: socket.socket) -> None:
    line.sendall(HEAD + b"content-length: %d\r\n\r\n" % MAX_BODY + b"x" * (MAX_BODY - 1))


def held_chunks(line: socket.socket) -> None:
    line.sendall(HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % MAX_BODY + b"x" * (MAX_BODY - 1))


def long_head(line: socket.socket) -> None:
    line.sendall(HEAD + b"x: " + b"y" * 60_000)


def announced_large(line: socket.socket) -> None:
    line.sendall(b"POST /2015-03-31/functions HTTP/1.1\r\nhost: a\r\ncontent-length: 70000000\r\n\r\n")


def too_large(line: socket.socket) -> None:
    line.sendall(HEAD + b"content-length: 8000000\r\n\r\n" + b"x" * 100_000)


def unread(line: socket.socket) -> None:
    line.setblocking(False)
    for _ in range(100):
        line.send(HEALTH * 40)


def unread_refusals(line: socket.socket) -> None:
    line.setblocking(False)
    for _ in range(100):
        line.send((HEAD + b"\r\n") * 40)


def nonsense(line: socket.socket) -> None:
    line.sendall(b"A" * 70_000)


def gone(line: socket.socket) -> None:
    line.close()


def reset(line: socket.socket) -> None:
    line.sendall(HEALTH * 10)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    line.close()


def memory(server: ServerProcess) -> int:
    states = [Path(f"/proc/{one.pid}/status").read_text() for one in server.servers()]
    return sum(1024 * int(found[1]) for text in states if (found := re.search(r"VmRSS:\s+(\d+)", text)))


@pytest.mark.parametrize(
    "attack",
    [
        idle,
        slow_head,
        slow_body,
        slow_chunks,
        held_body,
        held_chunks,
        long_head,
        announced_large,
        too_large,
        unread,
        unread_refusals,
        nonsense,
        gone,
        reset,
    ],
)
def test_a_client_at_another_address_is_served_while(
    flooded: ServerProcess, attack: Callable[[socket.socket], None]
) -> None:
    client, before = flooded.client(), memory(flooded)
    lines: list[socket.socket] = []
    until = time.monotonic() + SECONDS

    def open_many() -> None:
        for _ in range(CONNECTIONS // 4):
            if time.monotonic() > until:
                return
            with suppress(OSError):
                line = socket.create_connection(("127.0.0.1", flooded.port), 3, source_address=(ATTACKER, 0))
                lines.append(line)
                attack(line)

    threads = [threading.Thread(target=open_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    took, most = [], 0
    while time.monotonic() < until:
        began = time.monotonic()
        assert client.get_secret_value(SecretId="healthy")["SecretString"] == "whole"
        took.append(time.monotonic() - began)
        if len(took) % 50 == 1:
            most = max(most, memory(flooded))
    for thread in threads:
        thread.join()
    for line in lines:
        line.close()
    took.sort()
    assert took[int(len(took) * 0.99)] < MOST_SECONDS
    assert most - before < Limits().memory + BESIDE
    began = time.monotonic()
    assert client.get_secret_value(SecretId="healthy")["SecretString"] == "whole"
    assert time.monotonic() - began < MOST_SECONDS, "it has not recovered"
    assert not list(flooded.events("request_unanswered"))
    proofs.record(
        "floods from one address",
        attack.__name__,
        requests=len(took),
        p99_ms=round(1000 * took[int(len(took) * 0.99)]),
        grown_mib=(most - before) // 2**20,
    )
