"""Bytes that are no HTTP, or HTTP that no client sends, at the socket of a running server: it closes or refuses, and goes on."""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests import proofs
from tests.hostile.test_generated_requests import draws_of
from tests.processes import ServerProcess

pytestmark = pytest.mark.slow

MESSAGES = 2_400 if proofs.FULL else 1_000
SECONDS = 8.0
"""The longest that the server may keep a connection whose client has said all it will say; less than it grants a body."""


def exchange(port: int, data: bytes, *, ends: bool = True) -> bytes:
    """Send bytes and, where it `ends`, the end of the stream; return all that comes back until the other side closes."""
    with socket.create_connection(("127.0.0.1", port), SECONDS) as connection:
        try:
            connection.sendall(data)
            if ends:
                connection.shutdown(socket.SHUT_WR)
        except TimeoutError:
            raise
        except OSError:  # the other side has closed already
            pass
        answer = b""
        with suppress(ConnectionResetError):
            while chunk := connection.recv(65_536):
                answer += chunk
        return answer


def statuses(answer: bytes) -> list[int]:
    """Return the status of each response in what came back."""
    return [
        int(line.split(b" ")[1])
        for line in answer.replace(b"HTTP/1.", b"\nHTTP/1.").split(b"\n")
        if line.startswith(b"HTTP/1.")
    ]


class Messages:
    """Draws bytes: a signed request written out, and then spoilt below what an HTTP library lets one send."""

    def __init__(self, server: ServerProcess) -> None:
        self._draws = draws_of(server.data_dir, "raw", host=f"127.0.0.1:{server.port}")
        self._dice = self._draws.dice

    def draw(self) -> bytes:
        request = self._draws.draw()
        headers = [
            (name.encode("latin-1", "replace"), value.encode("latin-1", "replace"))
            for name, value in request.headers
        ]
        headers.append((b"content-length", str(len(request.body)).encode()))
        target = request.path + (f"?{request.query}" if request.query else "")
        first = f"{request.method} {target} HTTP/1.1".encode("latin-1", "replace")
        spoil: Callable[..., bytes] = self._dice.choice(
            (
                self._plain,
                self._bad_line,
                self._bad_header,
                self._bad_length,
                self._bad_chunks,
                self._flipped,
                self._cut,
                self._many,
                self._noise,
            )
        )
        return spoil(first, headers, request.body)

    def _plain(self, first: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        return b"\r\n".join((first, *(b"%s: %s" % pair for pair in headers), b"", b"")) + body

    def _bad_line(self, _first: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        lines = (
            b"POST / HTTP/9.9",
            b"POST / HTTP/1.0",
            b"POST /",
            b"POST",
            b"",
            b" POST / HTTP/1.1",
            b"POST  / HTTP/1.1",
            b"PO\0ST / HTTP/1.1",
            b"POST / HTTP/1.1 x",
            b"CONNECT a:1 HTTP/1.1",
            b"OPTIONS * HTTP/1.1",
            b"GET http://other/ HTTP/1.1",
            b"POST \xff\xfe HTTP/1.1",
            b"POST /%zz HTTP/1.1",
            b"PRI * HTTP/2.0",
            b"POST /" + b"a" * 100_000 + b" HTTP/1.1",
            b"x" * 100_000,
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        )
        return self._plain(self._dice.choice(lines), headers, body)

    def _bad_header(self, first: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        extra = self._dice.choice(
            (
                (b"", b"x"),
                (b"no colon", b""),
                (b"a b", b"c"),
                (b"x\0y", b"z"),
                (b"x", b"\0"),
                (b"x", b"a\r\n b"),
                (b"x", b"a\rb"),
                (b"x" * 70_000, b"y"),
                (b"x", b"y" * 600_000),
                (b"host", b"other"),
                (b"host", b""),
                (b"expect", b"100-continue"),
                (b"upgrade", b"websocket"),
                (b"connection", b"upgrade, x"),
                (b"transfer-encoding", b"gzip"),
                (b"content-encoding", b"gzip"),
                (b"content-type", b"\xff"),
            )
        )
        at = self._dice.randrange(len(headers) + 1)
        return self._plain(first, [*headers[:at], extra, *headers[at:]], body)

    def _bad_length(self, first: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        odd = (
            b"-1",
            b"+5",
            b"0x10",
            b"1e3",
            b"",
            b"9" * 30,
            b"99999999",
            b"1, 1",
            b"5 5",
            b"\xb2",
            b"1048577",
        )
        others = [pair for pair in headers if pair[0] != b"content-length"]
        lengths = [(b"content-length", self._dice.choice(odd)) for _ in range(self._dice.choice((1, 1, 2)))]
        return self._plain(first, [*others, *lengths], body)

    def _bad_chunks(self, first: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        kept = headers if self._dice.random() < 0.5 else headers[:-1]
        chunked = self._plain(first, [*kept, (b"transfer-encoding", b"chunked")], b"")
        sizes = (
            b"%x" % len(body),
            b"ffffffffffffffff1",
            b"-1",
            b"zz",
            b"",
            b"%x;ext=%s" % (len(body), b"e" * 9_000),
        )
        return (
            chunked
            + self._dice.choice(sizes)
            + b"\r\n"
            + body
            + self._dice.choice((b"\r\n0\r\n\r\n", b"0\r\n", b""))
        )

    def _flipped(self, first: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        message = bytearray(self._plain(first, headers, body))
        for _ in range(self._dice.choice((1, 3, 20))):
            message[self._dice.randrange(len(message))] ^= 1 << self._dice.randrange(8)
        return bytes(message)

    def _cut(self, first: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        message = self._plain(first, headers, body)
        return message[: self._dice.randrange(len(message))]

    def _many(self, first: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> bytes:
        if self._dice.random() < 0.5:
            return self._plain(first, headers, body) * self._dice.choice((2, 5))
        extra = [(b"x-%d" % number, b"v") for number in range(self._dice.choice((90, 500, 5_000)))]
        return self._plain(first, [*headers, *extra], body)

    def _noise(self, first: bytes, _headers: list[tuple[bytes, bytes]], _body: bytes) -> bytes:
        return self._dice.choice((b"", first + b"\r\n")) + self._dice.randbytes(
            self._dice.choice((1, 40, 9_000))
        )


def test_no_bytes_are_a_fault_of_ours_and_none_holds_a_connection(server: ServerProcess) -> None:
    messages, client = Messages(server), server.client()
    seen: Counter[int] = Counter()
    for number in range(MESSAGES):
        message = messages.draw()
        found = statuses(exchange(server.port, message))
        assert all(status < 500 for status in found), (message[:2_000], found)
        seen.update(found or [0])
        if number % 100 == 0:
            assert client.get_secret_value(SecretId="healthy")["SecretString"] == "whole"
    assert server.answers()
    assert client.get_secret_value(SecretId="healthy")["SecretString"] == "whole"
    assert len(list(server.events("request_failed"))) == len(list(server.events("action_failed"))) == 0
    assert {0, 200, 400} <= set(seen), seen
    proofs.record(
        "hostile bytes", "sqlite", messages=MESSAGES, **{f"status_{key}": seen[key] for key in sorted(seen)}
    )
