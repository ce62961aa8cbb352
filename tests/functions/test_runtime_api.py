from __future__ import annotations

import http.client
import json
import select
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from turnlock.functions.runtime.faults import Answer, Failure
from turnlock.functions.runtime.runtime_api import MAX_PAYLOAD_BYTES, Delivery, Phase, RuntimeApi

NEXT = "/2018-06-01/runtime/invocation/next"
INIT_ERROR = "/2018-06-01/runtime/init/error"
DELIVERY = Delivery(
    request_id="r-1", function_arn="arn:f", deadline_ms=1234, trace_id="Root=1", body=b'{"a":1}'
)

Reply = tuple[int, bytes, dict[str, str]]
Call = Callable[..., Reply]
Eventually = Callable[..., bool]


@pytest.fixture
def api() -> Iterator[RuntimeApi]:
    made = RuntimeApi()
    yield made
    made.close()


@pytest.fixture
def call(api: RuntimeApi) -> Call:
    """Send one request on a connection of its own."""

    def send(
        method: str, path: str, body: bytes | None = None, /, prefix: str | None = None, **headers: str
    ) -> Reply:
        connection = http.client.HTTPConnection(api.address, timeout=10)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, (api.prefix if prefix is None else prefix) + path, body, named)
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        return reply.status, content, dict(reply.headers)

    return send


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as executor:
        yield executor


@pytest.fixture
def taken(api: RuntimeApi, call: Call, pool: ThreadPoolExecutor, eventually: Eventually) -> Reply:
    """An event that the process has taken and not answered."""
    polled: Future[Reply] = pool.submit(call, "GET", NEXT)
    assert eventually(lambda: api.phase is Phase.READY)
    assert api.offer(DELIVERY)
    return polled.result(60)


def response(request_id: str, end: str = "response") -> str:
    return f"/2018-06-01/runtime/invocation/{request_id}/{end}"


def test_an_event_is_handed_over_with_its_headers(api: RuntimeApi, taken: Reply) -> None:
    status, body, headers = taken
    assert (status, body) == (200, DELIVERY.body)
    assert headers["Lambda-Runtime-Aws-Request-Id"] == "r-1"
    assert headers["Lambda-Runtime-Deadline-Ms"] == "1234"
    assert headers["Lambda-Runtime-Invoked-Function-Arn"] == "arn:f"
    assert headers["Lambda-Runtime-Trace-Id"] == "Root=1"
    assert api.phase is Phase.BUSY
    assert api.outcome is None


def test_a_response_ends_the_event(api: RuntimeApi, taken: Reply, call: Call) -> None:
    assert call("POST", response("r-1"), b'"done"')[0] == 202
    assert api.outcome == Answer(body=b'"done"')
    assert api.phase is Phase.ANSWERED


def test_an_error_ends_the_event(api: RuntimeApi, taken: Reply, call: Call) -> None:
    report = json.dumps({"errorType": "KeyError", "errorMessage": "x", "stackTrace": []}).encode()
    assert call("POST", response("r-1", "error"), report)[0] == 202
    assert api.outcome == Failure(error_type="KeyError", message="x")


def test_a_second_answer_or_one_for_another_event_is_refused(
    api: RuntimeApi, taken: Reply, call: Call
) -> None:
    assert call("POST", response("r-2"), b"1")[0] == 403
    assert api.phase is Phase.BUSY
    assert call("POST", response("r-1"), b"1")[0] == 202
    assert call("POST", response("r-1"), b"2")[0] == 403
    assert api.outcome == Answer(body=b"1")


def test_polling_with_an_event_in_hand_is_refused(api: RuntimeApi, taken: Reply, call: Call) -> None:
    assert call("GET", NEXT)[0] == 403
    assert api.phase is Phase.BUSY


def test_an_event_is_only_offered_to_a_process_that_waits(api: RuntimeApi) -> None:
    assert not api.offer(DELIVERY)


def test_an_init_error_is_taken_before_the_first_poll_only(api: RuntimeApi, call: Call) -> None:
    assert call("POST", INIT_ERROR, b'{"errorType":"ImportError","errorMessage":"no"}')[0] == 202
    assert api.phase is Phase.FAILED
    assert api.outcome == Failure(error_type="ImportError", message="no")
    assert call("POST", INIT_ERROR, b"{}")[0] == 403
    assert call("GET", NEXT)[0] == 403


def test_a_response_before_any_event_is_refused(api: RuntimeApi, call: Call) -> None:
    assert call("POST", response("r-1"), b"1")[0] == 403
    assert api.outcome is None


@pytest.mark.parametrize("prefix", ["", "/", "/guess"])
def test_a_stranger_without_the_prefix_gets_nothing(api: RuntimeApi, call: Call, prefix: str) -> None:
    assert call("GET", NEXT, prefix=prefix)[:2] == (403, b"")
    assert call("POST", INIT_ERROR, b"{}", prefix=prefix)[0] == 403
    assert api.phase is Phase.STARTING


def test_every_listener_has_a_prefix_and_a_port_of_its_own(api: RuntimeApi) -> None:
    other = RuntimeApi()
    try:
        assert other.prefix != api.prefix
        assert other.address != api.address
    finally:
        other.close()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/2018-06-01/runtime/restore/next"),
        ("GET", INIT_ERROR),
        ("POST", NEXT),
        ("POST", response("../x")),
        ("GET", ""),
        ("GET", f"{NEXT}?x=1"),
    ],
)
def test_unknown_routes_change_nothing(api: RuntimeApi, call: Call, method: str, path: str) -> None:
    assert call(method, path, b"{}" if method == "POST" else None)[0] == 403
    assert api.phase is Phase.STARTING


def test_the_largest_answer_is_taken(api: RuntimeApi, taken: Reply, call: Call) -> None:
    assert call("POST", response("r-1"), b"x" * MAX_PAYLOAD_BYTES)[0] == 202
    assert isinstance(api.outcome, Answer)


@pytest.mark.parametrize("length", [str(MAX_PAYLOAD_BYTES + 1), "-1", "", "1e3", "9" * 5000])
def test_an_answer_of_unacceptable_length_is_a_failure_and_is_not_read(
    api: RuntimeApi, taken: Reply, call: Call, length: str
) -> None:
    assert call("POST", response("r-1"), b"", Content_Length=length)[0] == 413
    assert isinstance(api.outcome, Failure)
    assert api.outcome.error_type == "Function.ResponseSizeTooLarge"


def test_half_an_answer_is_none(api: RuntimeApi, taken: Reply) -> None:
    host, port = api.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        head = f"POST {api.prefix}{response('r-1')} HTTP/1.1\r\nContent-Length: 10\r\n\r\n12345"
        connection.sendall(head.encode())
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(100) == b""
    assert api.phase is Phase.BUSY


def test_a_header_of_a_mebibyte_is_cut_and_not_refused(api: RuntimeApi, taken: Reply, call: Call) -> None:
    cause = "x" * 1_000_000
    status, _, _ = call(
        "POST", response("r-1", "error"), b'{"errorType":"E"}', Lambda_Runtime_Function_XRay_Error_Cause=cause
    )
    assert status == 202
    assert api.outcome == Failure(error_type="E", message="")


def test_garbage_breaks_its_own_connection_only(api: RuntimeApi, call: Call) -> None:
    host, port = api.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"\x00\xff\r\n\r\n")
        assert b"400" in connection.recv(1000)
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        connection.sendall(b"GET /\xc3\xa9\xff HTTP/1.1\r\n\r\n")
        assert b"403" in connection.recv(1000)
    assert call("GET", NEXT, prefix="")[0] == 403


def test_a_change_of_phase_wakes_whoever_selects(api: RuntimeApi, call: Call) -> None:
    assert select.select([api.wake_fd], [], [], 0)[0] == []
    call("POST", INIT_ERROR, b"{}")
    assert select.select([api.wake_fd], [], [], 5)[0] == [api.wake_fd]
    api.clear_wake()
    api.clear_wake()
    assert select.select([api.wake_fd], [], [], 0)[0] == []


def test_closing_ends_the_port_the_polls_and_the_threads(
    api: RuntimeApi, call: Call, pool: ThreadPoolExecutor, eventually: Eventually
) -> None:
    before = {thread for thread in threading.enumerate() if "runtime-api" not in thread.name}
    host, port = api.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5) as silent:
        polled = pool.submit(call, "GET", NEXT)
        assert eventually(lambda: api.phase is Phase.READY)
        api.close()
        api.close()
        assert silent.recv(10) == b""
    assert isinstance(polled.exception(5), (OSError, http.client.HTTPException)) or polled.result()[0] == 403
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, int(port)), timeout=5)
    assert eventually(
        lambda: (
            not [
                thread
                for thread in threading.enumerate()
                if thread not in before and not thread.name.startswith("ThreadPoolExecutor")
            ]
        )
    )


def test_no_repr_shows_what_is_carried() -> None:
    shown = (
        repr(DELIVERY)
        + repr(Answer(body=b"hunter2"))
        + repr(Failure(error_type="hunter2", message="hunter2"))
    )
    assert "hunter2" not in shown
    assert '"a"' not in shown
