"""What a function, or a stranger on the machine, can make the server hold by the Runtime API."""

from __future__ import annotations

import socket
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest

from tests.processes import wait_until
from turnlock.functions.runtime import runtime_api
from turnlock.functions.runtime.faults import Answer
from turnlock.functions.runtime.runtime_api import (
    MAX_PAYLOAD_BYTES,
    MOST_CONNECTIONS,
    Delivery,
    Phase,
    RuntimeApi,
)

NEXT = "/2018-06-01/runtime/invocation/next"
DELIVERY = Delivery(request_id="r-1", function_arn="arn:f", deadline_ms=1234, trace_id="Root=1", body=b"{}")
MIB = 1024 * 1024
PATIENCE = 30.0


@pytest.fixture
def api() -> Iterator[RuntimeApi]:
    made = RuntimeApi()
    yield made
    made.close()


def opened(api: RuntimeApi, stack: ExitStack, sent: bytes) -> socket.socket:
    """Open a connection and send what the kernel takes."""
    host, port = api.address.split(":")
    connection = stack.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE))
    connection.settimeout(PATIENCE)
    with suppress(OSError):
        connection.sendall(sent)
    return connection


def head(api: RuntimeApi, request: str, *headers: str) -> bytes:
    method, _, path = request.partition(" ")
    return "\r\n".join((f"{method} {api.prefix}{path} HTTP/1.1", "Host: x", *headers, "", "")).encode()


def poll(api: RuntimeApi, stack: ExitStack, delivery: Delivery = DELIVERY) -> socket.socket:
    """Take an event; return the connection that it comes on, unread."""
    connection = opened(api, stack, head(api, f"GET {NEXT}"))
    wait_until(lambda: api.offer(delivery), PATIENCE, "the event is taken")
    return connection


@pytest.fixture
def held() -> Iterator[Callable[[], int]]:
    """Count what Python's objects hold, in bytes, from here on: what the allocator keeps of freed ones is not the server's."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()


def falls_below(held: Callable[[], int], most: int) -> None:
    """Wait until less than `most` bytes are held: connections that were cut let go of theirs in threads of their own."""
    wait_until(lambda: held() < most, PATIENCE, f"less than {most} bytes held")


def threads() -> int:
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def test_half_sent_answers_hold_no_more_than_two(api: RuntimeApi, held: Callable[[], int]) -> None:
    """Before, each of them held its 6 MiB: 130 connections grew the server by 800 MiB."""
    with ExitStack() as stack:
        poll(api, stack)
        start = head(
            api, "POST /2018-06-01/runtime/invocation/r-1/response", f"Content-Length: {MAX_PAYLOAD_BYTES}"
        )
        for _ in range(60):
            opened(api, stack, start + b"x" * (MAX_PAYLOAD_BYTES - 1))
        falls_below(held, 2 * MAX_PAYLOAD_BYTES + MIB)
        assert api.phase is Phase.BUSY


def test_the_last_answer_that_is_begun_is_the_one_that_counts(api: RuntimeApi) -> None:
    with ExitStack() as stack:
        poll(api, stack)
        path = "POST /2018-06-01/runtime/invocation/r-1/response"
        half = opened(api, stack, head(api, path, "Content-Length: 10") + b"half")
        time.sleep(0.1)
        whole = opened(api, stack, head(api, path, "Content-Length: 7") + b'"whole"')
        assert b"202" in whole.recv(1000)
        assert half.recv(10) == b""
        assert api.outcome == Answer(body=b'"whole"')


def test_answers_for_no_event_are_passed_over(api: RuntimeApi, held: Callable[[], int]) -> None:
    with ExitStack() as stack:
        path = "POST /2018-06-01/runtime/invocation/r-9/response"
        for _ in range(20):
            opened(api, stack, head(api, path, f"Content-Length: {MAX_PAYLOAD_BYTES}") + b"x" * 4 * MIB)
        falls_below(held, 10 * MIB)


def test_connections_and_threads_are_bounded_and_the_functions_own_is_kept(api: RuntimeApi) -> None:
    """Before, 2,900 connections were 2,900 threads."""
    with ExitStack() as stack:
        own = opened(api, stack, head(api, f"GET {NEXT}"))
        wait_until(lambda: api.phase is Phase.READY, PATIENCE, "the function waits for an event")
        for _ in range(200):
            opened(api, stack, b"GET /guess HTTP/1.1\r\nHost: x\r\nA: ")
        assert threads() <= MOST_CONNECTIONS + 1
        assert api.offer(DELIVERY)
        assert own.recv(1000).startswith(b"HTTP/1.1 200")


def test_idle_connections_of_the_function_itself_give_way_too(api: RuntimeApi) -> None:
    with ExitStack() as stack:
        for _ in range(40):
            opened(api, stack, head(api, "GET /2018-06-01/unknown"))
        assert threads() <= MOST_CONNECTIONS + 1
        poll(api, stack)
        assert api.phase is Phase.BUSY


def test_unread_events_are_held_once(api: RuntimeApi, held: Callable[[], int]) -> None:
    with ExitStack() as stack:
        for number in range(12):
            name = f"r-{number}"
            body = b"x" * MAX_PAYLOAD_BYTES
            poll(
                api,
                stack,
                Delivery(request_id=name, function_arn="arn:f", deadline_ms=1, trace_id="Root=1", body=body),
            )
            del body
            path = f"POST /2018-06-01/runtime/invocation/{name}/response"
            answer = opened(api, stack, head(api, path, "Content-Length: 2", "Connection: close") + b"{}")
            assert b"202" in answer.recv(1000)
        falls_below(held, 40 * MIB)


def test_a_stranger_who_sends_byte_by_byte_is_ended_in_time(
    api: RuntimeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtime_api, "_STRANGER_SECONDS", 0.4)
    with ExitStack() as stack:
        connection = opened(api, stack, b"G")

        def is_cut() -> bool:
            with suppress(OSError):
                connection.sendall(b"x")
                return False
            return True

        wait_until(is_cut, PATIENCE, "the end of the connection", 0.05)


def test_a_head_without_end_is_ended_and_not_kept(api: RuntimeApi, held: Callable[[], int]) -> None:
    with ExitStack() as stack:
        for _ in range(MOST_CONNECTIONS):
            opened(api, stack, head(api, f"GET {NEXT}")[:-2] + b"A: " + b"x" * 4 * MIB)
        falls_below(held, 20 * MIB)
        assert api.phase is Phase.STARTING


def test_a_body_in_pieces_of_two_bytes_costs_its_length(api: RuntimeApi, held: Callable[[], int]) -> None:
    with ExitStack() as stack:
        poll(api, stack)
        path = "POST /2018-06-01/runtime/invocation/r-1/response"
        connection = opened(api, stack, head(api, path, "Content-Length: 40001"))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(20_000):
            connection.sendall(b"11")
        connection.sendall(b"1")
        assert b"202" in connection.recv(1000)
        falls_below(held, 5 * MIB)
