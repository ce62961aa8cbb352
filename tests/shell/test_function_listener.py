"""The loopback port at which functions reach their worker: framing, limits, and what it does not serve."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any, TypeVar

import pytest

from turnlock.errors import ApiError, RequestEntityTooLargeException, SerializationException
from turnlock.shell.bodies import LARGE_BODY, MAX_BODY
from turnlock.shell.function_listener import LIMITS, FunctionListener
from turnlock.shell.http import Limits
from turnlock.wire import HttpRequest, HttpResponse

T = TypeVar("T")


class Echo:
    """Answers with what was asked, and keeps it."""

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self.refusals: list[ApiError] = []
        self.hold: asyncio.Event | None = None

    async def respond_to_function(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        if self.hold is not None:
            await self.hold.wait()
        return HttpResponse(status=200, headers=(("x-a", "b"),), body=request.body)

    def refuse(self, error: ApiError, request: HttpRequest) -> HttpResponse:
        self.refusals.append(error)
        return HttpResponse(status=413, headers=(), body=b"refused")


@asynccontextmanager
async def serving(
    *, secure: bool = False, limits: Limits = LIMITS
) -> AsyncIterator[tuple[FunctionListener, Echo]]:
    listener, echo = FunctionListener(secure=secure, limits=limits), Echo()
    listener.serve(echo, asyncio.get_running_loop())
    try:
        yield listener, echo
    finally:
        listener.close()


def run(test: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return asyncio.run(test())


def connect(listener: FunctionListener) -> socket.socket:
    host, _, port = listener.endpoint.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def in_thread(work: Callable[..., T], *arguments: Any) -> Awaitable[T]:
    return asyncio.get_running_loop().run_in_executor(None, work, *arguments)


def ask(listener: FunctionListener, *requests: tuple[str, str, bytes]) -> list[tuple[int, bytes]]:
    """Send the requests on one connection, one after the other, and return the answers."""
    connection = HTTPConnection(listener.endpoint.removeprefix("http://"), timeout=10)
    answers = []
    try:
        for method, path, body in requests:
            connection.request(method, path, body, {"Host": "here", "X-Two": "1"})
            response: HTTPResponse = connection.getresponse()
            answers.append((response.status, response.read()))
    finally:
        connection.close()
    return answers


def send(listener: FunctionListener, data: bytes) -> bytes:
    """Send bytes, and return all that comes until the connection ends."""
    with connect(listener) as line:
        line.sendall(data)
        received = b""
        while piece := line.recv(65536):
            received += piece
        return received


def test_requests_on_one_connection_arrive_as_they_were_sent() -> None:
    async def scenario() -> None:
        async with serving() as (listener, echo):
            asked = ("POST", "/a%20b?c=%20", b"one"), ("GET", "/", b""), ("POST", "/", b"x" * MAX_BODY)
            assert await in_thread(ask, listener, *asked) == [
                (200, b"one"),
                (200, b""),
                (200, b"x" * MAX_BODY),
            ]
            first = echo.requests[0]
            assert (first.method, first.path, first.query) == ("POST", "/a b", "c=%20")
            assert (first.source_ip, first.secure) == ("127.0.0.1", False)
            assert ("x-two", "1") in first.headers

    run(scenario)


def test_where_the_public_port_speaks_tls_a_functions_requests_count_as_secure() -> None:
    async def scenario() -> bool:
        async with serving(secure=True) as (listener, echo):
            await in_thread(ask, listener, ("GET", "/", b""))
            return echo.requests[0].secure

    assert run(scenario)


@pytest.mark.parametrize(
    "head",
    [
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\n X: folded\r\nContent-Length\r\n\r\n",
        b"POST / HTTP/1.1\r\n" + b"X: " + b"y" * 100_000 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"GET / HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_not_one_clear_request_is_refused(head: bytes) -> None:
    async def scenario() -> tuple[bytes, int]:
        async with serving() as (listener, echo):
            return await asyncio.wait_for(in_thread(send, listener, head), 10), len(echo.requests)

    answer, carried_out = run(scenario)
    assert carried_out == 0
    assert answer == b"" or (answer.startswith(b"HTTP/1.1 4") and answer.count(b"HTTP/1.1") == 1)


def test_a_body_beyond_the_limit_is_refused_before_it_is_read() -> None:
    async def scenario() -> list[type[ApiError]]:
        async with serving(limits=Limits(body_seconds=1)) as (listener, echo):
            for path, length in (("/", MAX_BODY + 1), ("/2015-03-31/functions", LARGE_BODY + 1)):
                head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n".encode()
                assert b"413" in await asyncio.wait_for(in_thread(send, listener, head), 10)
            assert not echo.requests
            return [type(error) for error in echo.refusals]

    assert run(scenario) == [RequestEntityTooLargeException] * 2


def test_a_chunked_body_that_grows_beyond_the_limit_is_refused() -> None:
    async def scenario() -> bytes:
        async with serving(limits=Limits(body_seconds=1)) as (listener, _):
            head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            piece = b"%x\r\n" % MAX_BODY + b"x" * MAX_BODY + b"\r\n"
            return await asyncio.wait_for(in_thread(send, listener, head + piece + b"1\r\ny\r\n"), 10)

    assert b"413" in run(scenario)


def test_a_body_that_does_not_arrive_is_given_up() -> None:
    async def scenario() -> list[type[ApiError]]:
        async with serving(limits=Limits(body_seconds=0.2)) as (listener, echo):
            head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab"
            await asyncio.wait_for(in_thread(send, listener, head), 10)
            return [type(error) for error in echo.refusals]

    assert run(scenario) == [SerializationException]


def test_a_head_that_does_not_arrive_is_given_up() -> None:
    async def scenario() -> bytes:
        async with serving(limits=Limits(head_seconds=0.2)) as (listener, _):
            return await asyncio.wait_for(in_thread(send, listener, b"POST / HT"), 10)

    assert run(scenario) == b""


def test_where_all_places_are_taken_the_longest_idle_connection_makes_room() -> None:
    async def scenario() -> None:
        async with serving(limits=Limits(total=3)) as (listener, _):
            idle = [await in_thread(connect, listener) for _ in range(3)]
            await asyncio.sleep(0.1)
            assert await in_thread(ask, listener, ("POST", "/", b"new")) == [(200, b"new")]
            assert await in_thread(idle[0].recv, 1) == b""
            for line in idle:
                line.close()

    run(scenario)


def test_where_every_connection_is_at_work_a_further_one_is_closed() -> None:
    async def scenario() -> None:
        async with serving(limits=Limits(total=2)) as (listener, echo):
            echo.hold = asyncio.Event()
            asked = [asyncio.ensure_future(in_thread(ask, listener, ("POST", "/", b"x"))) for _ in range(2)]
            while len(echo.requests) < 2:
                await asyncio.sleep(0.01)
            assert await in_thread(send, listener, b"") == b""
            echo.hold.set()
            assert await asyncio.gather(*asked) == [[(200, b"x")]] * 2

    run(scenario)
