"""One connection's requests and answers at a socket, and what is done about peers that are slow, greedy or gone."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import pytest
import uvloop

from turnlock.errors import (
    ApiError,
    RequestEntityTooLargeException,
    SerializationException,
    ThrottlingException,
)
from turnlock.shell.bodies import LARGE_BODIES, MAX_BODY
from turnlock.shell.http import Limits, Listener
from turnlock.shell.http.limits import MAX_REST, RESTS
from turnlock.wire import HttpRequest, HttpResponse

T = TypeVar("T")

HEAD = b"POST / HTTP/1.1\r\nHost: a\r\n"
GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"
SOON = 5.0
"""Seconds within which what happens at once has happened, on a busy machine too."""


class Answering:
    """Answers with the path and the body, or what a test says."""

    def __init__(self) -> None:
        self.requests: list[HttpRequest] = []
        self.refusals: list[ApiError] = []
        self.hold: asyncio.Event | None = None
        self.large: bytes | None = None

    async def respond(self, request: HttpRequest) -> HttpResponse:
        self.requests.append(request)
        if self.hold is not None:
            await self.hold.wait()
        body = self.large or request.path.encode() + b":" + request.body
        return HttpResponse(status=200, headers=(), body=body)

    def refuse(self, error: ApiError, request: HttpRequest) -> HttpResponse:
        self.refusals.append(error)
        return HttpResponse(status=413, headers=(), body=type(error).__name__.encode())


class Served:
    """A listener on the running loop, with clients on threads."""

    def __init__(self, listener: Listener, port: int, answering: Answering) -> None:
        self.listener = listener
        self.port = port
        self.answering = answering
        self.shared = listener._shared

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 20, source_address=(source, 0))

    async def opened(self, data: bytes = b"", *, source: str = "127.0.0.1") -> socket.socket:
        """Connect, send, and leave the connection open."""

        def work() -> socket.socket:
            line = self.connect(source)
            with suppress(OSError):
                line.sendall(data)
            return line

        return await in_thread(work)

    async def exchange(self, data: bytes, *, source: str = "127.0.0.1", ends: bool = False) -> bytes:
        """Send bytes; return all that comes until the server closes."""

        def work() -> bytes:
            with self.connect(source) as line:
                with suppress(OSError):
                    line.sendall(data)
                    if ends:
                        line.shutdown(socket.SHUT_WR)
                return to_the_end(line)

        return await in_thread(work)


def to_the_end(line: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionResetError):
        while piece := line.recv(65_536):
            received += piece
    return received


def in_thread(work: Callable[..., T], *arguments: Any) -> Awaitable[T]:
    return asyncio.get_running_loop().run_in_executor(None, work, *arguments)


@asynccontextmanager
async def serving(limits: Limits | None = None) -> AsyncIterator[Served]:
    answering = Answering()
    listening = socket.create_server(("127.0.0.1", 0), backlog=512)
    port = listening.getsockname()[1]
    listener = Listener(listening, answering, asyncio.get_running_loop(), limits=limits)
    listener.start()
    try:
        yield Served(listener, port, answering)
    finally:
        listener.close()
        assert not listener._shared.connections
        assert listener._shared.memory.held == 0
        assert listener._shared.peers._open == 0


def run(scenario: Callable[[], Coroutine[Any, Any, T]]) -> T:
    async def bounded() -> T:
        return await asyncio.wait_for(scenario(), 60)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())


async def until(reached: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not reached():
            await asyncio.sleep(0.01)


def test_requests_sent_at_once_are_answered_in_order_and_one_at_a_time() -> None:
    async def scenario() -> None:
        async with serving() as served:
            served.answering.hold = asyncio.Event()
            line = await served.opened(b"".join(GET % number for number in range(300)))
            await until(lambda: served.answering.requests)
            await asyncio.sleep(0.1)
            assert len(served.answering.requests) == 1
            served.answering.hold.set()
            await in_thread(line.shutdown, socket.SHUT_WR)
            answers = await in_thread(to_the_end, line)
            bodies = [part.split(b"\r\n\r\n")[1] for part in answers.split(b"HTTP/1.1 200 OK")[1:]]
            assert bodies == [b"/%d:" % number for number in range(300)]
            line.close()

    run(scenario)


def test_a_body_is_taken_to_its_end_and_what_follows_is_the_next_request() -> None:
    async def scenario() -> None:
        async with serving() as served:
            inner = GET % 666
            sent = HEAD + b"Content-Length: %d\r\n\r\n" % len(inner) + inner + GET % 1
            answer = await served.exchange(sent, ends=True)
            assert [request.path for request in served.answering.requests] == ["/", "/1"]
            assert served.answering.requests[0].body == inner
            assert answer.count(b"HTTP/1.1 200") == 2

    run(scenario)


def test_nothing_is_carried_out_after_the_last_request_of_a_connection() -> None:
    async def scenario() -> None:
        async with serving() as served:
            for first in (
                b"GET /a HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
                b"GET /a HTTP/1.0\r\n\r\n",
                HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
                b"GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
            ):
                answer = await served.exchange(first + GET % 666)
                assert answer.count(b"HTTP/1.1") == 1
                assert b"\r\nconnection: close\r\n" in answer
            assert "/666" not in [request.path for request in served.answering.requests]

    run(scenario)


def test_a_client_that_waits_for_leave_to_send_gets_it() -> None:
    async def scenario() -> None:
        async with serving() as served:
            line = await served.opened(HEAD + b"Content-Length: 2\r\nExpect: 100-continue\r\n\r\n")
            assert await in_thread(line.recv, 100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            await in_thread(line.sendall, b"hi")
            assert (await in_thread(line.recv, 1000)).endswith(b"/:hi")
            line.close()

    run(scenario)


@pytest.mark.parametrize(
    ("limits", "sent"),
    [
        (Limits(head_seconds=0.3), b""),
        (Limits(head_seconds=0.3), b"GET / HT"),
        (Limits(head_seconds=0.3), GET % 1 + b"GET / HT"),
        (Limits(idle_seconds=0.3), GET % 1),
        (Limits(body_seconds=0.3), HEAD + b"Content-Length: 9\r\n\r\n1234"),
        (Limits(body_seconds=0.3), HEAD + b"Transfer-Encoding: chunked\r\n\r\n4\r\n1234\r\n"),
        (Limits(body_seconds=0.3), HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_BODY + 1)),
    ],
    ids=["nothing", "head", "second head", "idle", "body", "chunks", "rest"],
)
def test_who_is_slow_to_send_is_closed(limits: Limits, sent: bytes) -> None:
    async def scenario() -> float:
        async with serving(limits) as served:
            began = time.monotonic()
            await served.exchange(sent)
            return time.monotonic() - began

    assert run(scenario) < SOON


def test_who_does_not_read_is_closed_and_nothing_more_of_it_is_carried_out() -> None:
    async def scenario() -> None:
        async with serving(Limits(write_seconds=0.5)) as served:
            served.answering.large = b"x" * 4 * 1024 * 1024
            line = await served.opened(b"".join(GET % number for number in range(50)))
            await until(lambda: served.shared.memory.held)
            assert served.shared.memory.held < 5 * 1024 * 1024
            await until(lambda: not served.shared.connections)
            assert len(served.answering.requests) < 3
            line.close()

    run(scenario)


def test_an_address_with_all_its_places_gives_up_the_connection_that_has_waited_longest() -> None:
    async def scenario() -> None:
        async with serving(Limits(per_address=5, total=100)) as served:
            others = [await served.opened(source="127.0.0.2") for _ in range(5)]
            idle = [await served.opened() for _ in range(5)]
            await until(lambda: len(served.shared.connections) == 10)
            newest = await served.opened(GET % 1)
            assert b"200 OK" in await in_thread(newest.recv, 1000)
            assert await in_thread(idle[0].recv, 1) == b""
            for other in others:
                await in_thread(other.sendall, GET % 2)
                assert b"200 OK" in await in_thread(other.recv, 1000)
            for line in (*others, *idle, newest):
                line.close()

    run(scenario)


def test_where_all_places_are_taken_the_address_with_the_most_makes_room() -> None:
    async def scenario() -> None:
        async with serving(Limits(per_address=8, total=10)) as served:
            few = [await served.opened(source="127.0.0.2") for _ in range(2)]
            many = [await served.opened(source="127.0.0.3") for _ in range(8)]
            await until(lambda: len(served.shared.connections) == 10)
            newest = await served.opened(GET % 1)
            assert b"200 OK" in await in_thread(newest.recv, 1000)
            assert await in_thread(many[0].recv, 1) == b""
            await in_thread(few[0].sendall, GET % 2)
            assert b"200 OK" in await in_thread(few[0].recv, 1000)
            for line in (*few, *many, newest):
                line.close()

    run(scenario)


def test_bodies_that_do_not_come_whole_have_a_ceiling_and_others_are_served() -> None:
    async def scenario() -> None:
        ceiling = 4 * MAX_BODY
        async with serving(Limits(memory=ceiling)) as served:
            held = [
                await served.opened(HEAD + b"Content-Length: %d\r\n\r\n" % MAX_BODY + b"x" * (MAX_BODY - 1))
                for _ in range(20)
            ]
            await asyncio.sleep(0.2)
            assert served.shared.memory.held <= ceiling
            other = await served.opened(
                HEAD + b"Content-Length: 100000\r\n\r\n" + b"y" * 50_000, source="127.0.0.2"
            )
            await asyncio.sleep(0.1)
            await in_thread(other.sendall, b"y" * 50_000)
            assert b"200 OK" in await in_thread(other.recv, 1000)
            for line in (*held, other):
                line.close()

    run(scenario)


def test_what_waits_behind_a_request_at_work_has_the_same_ceiling() -> None:
    async def scenario() -> None:
        async with serving(Limits(memory=200_000)) as served:
            served.answering.hold = asyncio.Event()
            lines = [await served.opened(GET % 1 * 2_000) for _ in range(10)]
            await asyncio.sleep(0.3)
            assert served.shared.memory.held <= 200_000
            served.answering.hold.set()
            for line in lines:
                line.close()

    run(scenario)


def test_large_bodies_have_few_places_that_are_given_back() -> None:
    async def scenario() -> None:
        async with serving() as served:
            head = b"POST /2015-03-31/functions HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (
                2 * MAX_BODY
            )
            begun = [await served.opened(head) for _ in range(LARGE_BODIES)]
            await until(lambda: served.shared.large._places == 0)
            more = await served.opened(head)
            assert b"ThrottlingException" in await in_thread(more.recv, 1000)
            for line in (*begun, more):
                line.close()
            await until(lambda: served.shared.large._places == LARGE_BODIES)
            line = await served.opened(head + b"x" * 2 * MAX_BODY)
            assert b"200 OK" in await in_thread(line.recv, 1000)
            line.close()

    run(scenario)


def test_a_refused_body_is_heard_out_within_bounds_and_its_place_given_back() -> None:
    async def scenario() -> None:
        async with serving(Limits(body_seconds=1)) as served:
            for size in (MAX_BODY + 1, MAX_REST - 100):
                answer = await served.exchange(
                    HEAD + b"Content-Length: %d\r\n\r\n" % size + b"x" * size + GET % 666
                )
                assert b"RequestEntityTooLargeException" in answer
            chunk = b"%x\r\n" % 100_000 + b"x" * 100_000 + b"\r\n"
            body = chunk * 20 + b"0\r\n\r\n"
            answer = await served.exchange(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body + GET % 666)
            assert b"RequestEntityTooLargeException" in answer
            assert [type(one) for one in served.answering.refusals] == [RequestEntityTooLargeException] * 3
            assert not served.answering.requests
            await until(lambda: served.shared.rests == RESTS)

    run(scenario)


def test_a_body_that_ends_early_is_refused_as_such() -> None:
    async def scenario() -> None:
        async with serving() as served:
            await served.exchange(HEAD + b"Content-Length: 9\r\n\r\n1234", ends=True)
            await served.exchange(HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\n1234", ends=True)
            assert [type(one) for one in served.answering.refusals] == [SerializationException] * 2

    run(scenario)


def test_a_peer_that_is_gone_costs_no_other_its_answer() -> None:
    async def scenario() -> None:
        async with serving() as served:
            served.answering.hold = asyncio.Event()
            gone = await served.opened(GET % 1)
            stays = await served.opened(GET % 2)
            await until(lambda: len(served.answering.requests) == 2)
            gone.close()
            await asyncio.sleep(0.1)
            served.answering.hold.set()
            assert b"/2:" in await in_thread(stays.recv, 1000)
            stays.close()

    run(scenario)


def test_who_drains_answers_what_was_asked_and_closes_what_is_idle() -> None:
    async def scenario() -> None:
        async with serving() as served:
            served.answering.hold = asyncio.Event()
            idle, busy = await served.opened(), await served.opened(GET % 1)
            await until(lambda: served.answering.requests)
            drained = asyncio.create_task(served.listener.drain(20))
            assert await in_thread(idle.recv, 1) == b""
            served.answering.hold.set()
            answer = await in_thread(to_the_end, busy)
            assert b"connection: close" in answer
            await drained
            with pytest.raises(ConnectionRefusedError):
                served.connect()
            for line in (idle, busy):
                line.close()

    run(scenario)


def test_no_room_in_memory_is_said_where_it_can_be() -> None:
    async def scenario() -> None:
        async with serving(Limits(memory=10_000)) as served:
            answer = await served.exchange(HEAD + b"Content-Length: 20000\r\n\r\n" + b"x" * 20_000, ends=True)
            assert b"ThrottlingException" in answer or answer == b""
            assert all(isinstance(one, ThrottlingException) for one in served.answering.refusals)
            assert not served.answering.requests

    run(scenario)
