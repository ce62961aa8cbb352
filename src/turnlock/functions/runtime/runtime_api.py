"""The Lambda Runtime API (version 2018-06-01), one listener for one process.

The API itself knows no authentication, and every process of the machine can reach a port on 127.0.0.1. So the address
that the process is given holds an unguessable path segment, and nobody else can take its events or answer for it.

    STARTING ──next──▶ READY ──offer()──▶ BUSY ──response, error──▶ ANSWERED ──next──▶ READY
    STARTING ──init/error──▶ FAILED                                  every phase ──close()──▶ CLOSED

A request that has no place in its phase is answered 403 and changes nothing.

What a function, or a stranger, can make the server hold is bounded: MOST_CONNECTIONS connections with a thread each, heads of which
a hundred lines of a kilobyte are kept, one answer that is being read (the one before it is cut off; the two may overlap for a
moment) and one event that is being sent.
"""

from __future__ import annotations

import hmac
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from turnlock.functions.runtime.bounded import CHUNK_BYTES, GIVE_WAY_SECONDS, CuttingReader, Sole, Timed, shut
from turnlock.functions.runtime.faults import Answer, Failure, read_failure

MAX_PAYLOAD_BYTES: Final = 6 * 1024 * 1024
"""Lambda's quota for a synchronous event and its answer."""

_STRANGER_SECONDS = 5.0
"""How long a connection may take to show that it is the process's own."""
MOST_CONNECTIONS: Final = 8
"""Connections at once; a client needs one, and has a second while it opens another. Strangers' give way first."""
_BODIES_AT_ONCE = 2
_JOIN_SECONDS = 5.0
_ROUTE = re.compile(
    r"/2018-06-01/runtime/(?:(?P<next>invocation/next)|(?P<init>init/error)"
    r"|invocation/(?P<id>[A-Za-z0-9-]{1,64})/(?P<end>response|error))"
)


class Phase(Enum):
    """Where the process is in the life that the Runtime API prescribes."""

    STARTING = "starting"
    """It has not asked for anything yet."""
    READY = "ready"
    """It waits for an event."""
    BUSY = "busy"
    """It was given an event and has not answered."""
    ANSWERED = "answered"
    """It has answered and not yet asked for the next event."""
    FAILED = "failed"
    """It reported that it cannot start."""
    CLOSED = "closed"
    """The listener is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One event on its way to the process."""

    request_id: str
    function_arn: str
    deadline_ms: int
    """Milliseconds since the epoch."""
    trace_id: str
    body: bytes = field(repr=False)


class RuntimeApi:
    """One listener on 127.0.0.1 at a port that the system chooses, and the state of the process that it serves."""

    def __init__(self) -> None:
        self.prefix = f"/{secrets.token_urlsafe(24)}"
        self._changed = threading.Condition()
        self._phase = Phase.STARTING
        self._delivery: Delivery | None = None
        self._outcome: Answer | Failure | None = None
        self.wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._listener = _Listener(self)
        self._thread = threading.Thread(target=self._listener.run, name="runtime-api", daemon=True)
        self._thread.start()

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT`, without the prefix."""
        return f"127.0.0.1:{self._listener.server_port}"

    @property
    def phase(self) -> Phase:
        """The present phase. `wake_fd` becomes readable whenever it has changed."""
        with self._changed:
            return self._phase

    @property
    def outcome(self) -> Answer | Failure | None:
        """What the process said to the last event, or why it could not start; None while it has said nothing."""
        with self._changed:
            return self._outcome

    def offer(self, delivery: Delivery) -> bool:
        """Hand `delivery` to the waiting process; False when it is not waiting."""
        with self._changed:
            if self._phase is not Phase.READY:
                return False
            self._delivery, self._outcome = delivery, None
            self._enter(Phase.BUSY)
            return True

    def next(self) -> Delivery | None:
        """Wait for an event; None when there will be none: the phase is wrong, or the listener was closed."""
        with self._changed:
            if self._phase not in (Phase.STARTING, Phase.ANSWERED):
                return None
            self._enter(Phase.READY)
            self._changed.wait_for(lambda: self._phase is not Phase.READY)
            return self._delivery if self.phase is Phase.BUSY else None

    def answer(self, request_id: str, outcome: Answer | Failure) -> bool:
        """Take the outcome of event `request_id`; False when that is not the event in hand."""
        with self._changed:
            if (
                self._phase is not Phase.BUSY
                or self._delivery is None
                or self._delivery.request_id != request_id
            ):
                return False
            self._delivery, self._outcome = None, outcome
            self._enter(Phase.ANSWERED)
            return True

    def awaits(self, request_id: str | None) -> bool:
        """Tell whether an outcome of that event would be taken now; None asks for an error of the start."""
        with self._changed:
            if request_id is None:
                return self._phase is Phase.STARTING
            event = self._delivery
            return self._phase is Phase.BUSY and event is not None and event.request_id == request_id

    def fail(self, failure: Failure) -> bool:
        """Take the reason why the process cannot start; False when it has started."""
        with self._changed:
            if self._phase is not Phase.STARTING:
                return False
            self._outcome = failure
            self._enter(Phase.FAILED)
            return True

    def clear_wake(self) -> None:
        """Make `wake_fd` unreadable until the next change."""
        try:
            os.eventfd_read(self.wake_fd)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Stop listening and end every connection; safe to call twice, by one thread at a time."""
        with self._changed:
            if self._phase is Phase.CLOSED:
                return
            self._enter(Phase.CLOSED)
            os.close(self.wake_fd)
        self._listener.stop()
        self._thread.join(_JOIN_SECONDS)

    def _enter(self, phase: Phase) -> None:
        """Change the phase. The caller holds the lock, so nobody writes to the descriptor once it is closed."""
        self._phase = phase
        self._changed.notify_all()
        os.eventfd_write(self.wake_fd, 1)


class _Listener(ThreadingHTTPServer):
    """Accepts until it is stopped; unlike `serve_forever` it never polls. At most MOST_CONNECTIONS are open at once."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 128  # else a stranger's burst keeps the function's own waiting for a second

    def __init__(self, api: RuntimeApi) -> None:
        self.api = api
        self._stopped = threading.Event()
        self._slots = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._connections: dict[socket.socket, int] = {}
        """How dear each is, the oldest first: a stranger's, the process's own, the one that waits for an event."""
        self._lock = threading.Lock()
        self.bodies = Sole(_BODIES_AT_ONCE)
        """The connection whose answer is being read."""
        self.events = Sole(_BODIES_AT_ONCE)
        """The connection to which an event is being sent."""
        super().__init__(("127.0.0.1", 0), _Handler)

    def run(self) -> None:
        while not self._stopped.is_set():
            self.handle_request()
        self.server_close()

    def stop(self) -> None:
        """Wake the accepting thread, which closes the port, and end the connections that are open."""
        self._stopped.set()
        self.socket.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for connection in self._connections:
                shut(connection)

    def value(self, connection: socket.socket, worth: int) -> None:
        """Say how dear a connection is: 0 a stranger's, 1 the process's own, 2 the one that waits for an event."""
        with self._lock:
            if connection in self._connections:
                self._connections[connection] = worth

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._slots.acquire(blocking=False):
            self._cut_the_least()
            if not self._slots.acquire(timeout=GIVE_WAY_SECONDS):
                super().shutdown_request(request)
                return
        with self._lock:
            self._connections[request] = 0
            if self._stopped.is_set():
                shut(request)
        super().process_request(request, client_address)

    def _cut_the_least(self) -> None:
        with self._lock:
            least = min(self._connections.items(), key=lambda one: one[1], default=None)
            if least is not None and least[1] < 2:
                shut(least[0])

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            known = self._connections.pop(request, None) is not None
        super().shutdown_request(request)
        if known:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: a connection that breaks is a process that ended, which its owner sees and reports."""


class _Handler(BaseHTTPRequestHandler):
    """Turns HTTP into the calls of RuntimeApi."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one segment for head and body: with two, Nagle's algorithm costs 40 ms
    server: _Listener

    def setup(self) -> None:
        super().setup()
        self.rfile.close()
        self._source = Timed(self.connection, time.monotonic() + _STRANGER_SECONDS)
        self.rfile: CuttingReader = CuttingReader(self._source)

    def handle_one_request(self) -> None:
        self.rfile.head_bytes = 0
        super().handle_one_request()

    def do_GET(self) -> None:
        route = self._authorised_route()
        if route is None or not route["next"]:
            self._reply(HTTPStatus.FORBIDDEN)
            return
        self.server.value(self.connection, 2)
        delivery = self.server.api.next()
        self.server.value(self.connection, 1)
        if delivery is None:
            self._refuse("InvalidStateTransition")
            return
        headers = {
            "Lambda-Runtime-Aws-Request-Id": delivery.request_id,
            "Lambda-Runtime-Deadline-Ms": str(delivery.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": delivery.function_arn,
            "Lambda-Runtime-Trace-Id": delivery.trace_id,
        }
        with self.server.events.taken_by(self.connection):
            self._reply(HTTPStatus.OK, delivery.body, headers)

    def do_POST(self) -> None:
        route = self._authorised_route()
        if route is None or not (route["init"] or route["end"]):
            self._reply(HTTPStatus.FORBIDDEN)
            return
        length = self._length()
        if not self.server.api.awaits(route["id"]):
            self._pass_over(length or 0)
            self._refuse("InvalidRequestID")
            return
        with self.server.bodies.taken_by(self.connection):
            body = None if length is None else self._body(length)
            outcome = self._outcome(body, is_error=route["end"] != "response")
            if isinstance(outcome, Failure) and route["init"]:
                taken = self.server.api.fail(outcome)
            else:
                taken = self.server.api.answer(route["id"] or "", outcome)
        if not taken:
            self._refuse("InvalidRequestID")
        elif body is None:
            self._reply(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
        else:
            self._reply(HTTPStatus.ACCEPTED, b'{"status":"OK"}')

    def _authorised_route(self) -> re.Match[str] | None:
        """Return the route when the path carries the prefix; None, and an end to the connection, for a stranger."""
        prefix = self.server.api.prefix
        shown, rest = self.path[: len(prefix)], self.path[len(prefix) :]
        if not hmac.compare_digest(shown.encode(), prefix.encode()):
            self.close_connection = True
            return None
        self._source.until = None
        self.connection.settimeout(None)
        self.server.value(self.connection, 1)
        return _ROUTE.fullmatch(rest)

    def _length(self) -> int | None:
        """Return the length of the body; None, and an end to the connection, when it is missing, wrong or too large."""
        text = self.headers.get("Content-Length", "")
        if text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= MAX_PAYLOAD_BYTES:
            return int(text)
        self.close_connection = True
        return None

    def _body(self, length: int) -> bytes:
        """Return the whole body; ConnectionResetError when the connection ends first: half an answer is none."""
        body = bytearray()  # not a list of chunks: they may be of a byte or two
        for chunk in self._chunks(length):
            body += chunk
        return bytes(body)

    def _pass_over(self, length: int) -> None:
        """Read a body that nobody waits for, so that its sender comes to read the refusal."""
        self._source.until = time.monotonic() + _STRANGER_SECONDS
        for _ in self._chunks(length):
            pass
        self._source.until = None
        self.connection.settimeout(None)

    def _chunks(self, length: int) -> Iterator[bytes]:
        while length:
            chunk = self.rfile.read1(min(length, CHUNK_BYTES))
            if not chunk:
                raise ConnectionResetError
            length -= len(chunk)
            yield chunk

    def _outcome(self, body: bytes | None, *, is_error: bool) -> Answer | Failure:
        if body is None:
            sentence = (
                f"Response payload size exceeded maximum allowed payload size ({MAX_PAYLOAD_BYTES} bytes)."
            )
            return Failure(error_type="Function.ResponseSizeTooLarge", message=sentence)
        if not is_error:
            return Answer(body=body)
        return read_failure(body, self.headers.get("Lambda-Runtime-Function-Error-Type", ""))

    def _refuse(self, error_type: str) -> None:
        self._reply(HTTPStatus.FORBIDDEN, json.dumps({"errorType": error_type}).encode())

    def _reply(self, status: HTTPStatus, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- http.server's naming
        """Log nothing: the path holds the secret prefix."""
