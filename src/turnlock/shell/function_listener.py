"""Where functions on this machine reach the server: plain HTTP/1.1 on a loopback port that the system gives.

The public port may speak TLS under a name that does not lead to this machine, with a certificate whose authority no
function knows, behind a proxy. Functions are given this address as `AWS_ENDPOINT_URL` instead: it needs no name and no
certificate, for what is sent to it does not leave the kernel. It serves the AWS API alone (no `/metrics`), and trusts
its peers no more than the public port does: any process on the machine may connect, and every request must be signed.

h11 frames the messages: it is strict, and what functions send is too little for its speed to matter.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final, Protocol
from urllib.parse import unquote

import h11
import structlog

from turnlock.errors import ApiError, RequestEntityTooLargeException, SerializationException
from turnlock.shell.bodies import BODY_SECONDS, HEAD_SECONDS, MAX_BODY, MAX_HEAD, LargeBodies
from turnlock.wire import HttpRequest, HttpResponse

log = structlog.get_logger(__name__)

HOST: Final = "127.0.0.1"

MAX_CONNECTIONS: Final = 512
"""Connections at once; one more takes the place of the connection that has been idle for longest."""

_READ_BYTES = 65536


class Responder(Protocol):
    """What answers the requests: the server."""

    async def respond_to_function(self, request: HttpRequest) -> HttpResponse:
        """Return the answer to one request."""
        ...

    def refuse(self, error: ApiError, request: HttpRequest) -> HttpResponse:
        """Return the answer to a request that was not read whole."""
        ...


_Idle = dict[asyncio.StreamWriter, None]
"""Connections between two requests, the one that has been idle for longest first."""


class FunctionListener:
    """One worker's listener. The port is taken when it is made, so that functions can be told before the loop runs.

    `secure` is what `aws:SecureTransport` is to be for its requests: true where the public port speaks TLS, for a policy
    that demands TLS guards against a network, and there is none between a function and this port.
    """

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure
        self._socket = socket.create_server((HOST, 0), backlog=128)
        self._idle = _Idle()
        self._open = 0
        self._large = LargeBodies()
        self._server: asyncio.Server | None = None

    @property
    def endpoint(self) -> str:
        """The URL for `AWS_ENDPOINT_URL`."""
        return f"http://{HOST}:{self._socket.getsockname()[1]}"

    async def serve(self, responder: Responder) -> None:
        """Accept connections on the running loop from now on; returns at once."""

        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._carry(reader, writer, responder)

        self._server = await asyncio.start_server(carry, sock=self._socket, limit=_READ_BYTES)

    def close(self) -> None:
        """Accept no connection any more."""
        if self._server is not None:
            self._server.close()
        self._socket.close()

    async def _carry(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, responder: Responder
    ) -> None:
        """Carry one connection from its first request to its end."""
        self._open += 1
        try:
            if self._open > MAX_CONNECTIONS and not self._end_an_idle_one():
                return
            requests = _Requests(reader, writer, self._idle, secure=self._secure)
            while await requests.wait():
                if not await self._answer(requests, responder):
                    return
        except (OSError, TimeoutError, h11.ProtocolError):
            pass  # The peer is gone, too slow, or does not speak HTTP/1.1: there is nobody to tell.
        except Exception:
            log.exception("a function's connection failed", action="function_connection_failed")
        finally:
            self._open -= 1
            writer.close()

    async def _answer(self, requests: _Requests, responder: Responder) -> bool:
        """Answer the next request; False when the connection cannot be used for another."""
        head = await requests.head()
        try:
            body = await requests.body(head, self._large)
        except ApiError as error:
            await requests.send(responder.refuse(error, requests.made_of(head, b"")))
            return False
        return await requests.send(await responder.respond_to_function(requests.made_of(head, body)))

    def _end_an_idle_one(self) -> bool:
        oldest = next(iter(self._idle), None)
        if oldest is None:
            return False
        del self._idle[oldest]
        oldest.close()
        return True


class _Requests:
    """The requests of one connection and their answers, as h11 frames them.

    Each wait on the peer but the one for a further request is bounded: TimeoutError. h11.RemoteProtocolError for what is no
    HTTP/1.1, ConnectionResetError for a connection that ends in the middle of a request.
    """

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, idle: _Idle, *, secure: bool
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._idle = idle
        self._secure = secure
        self._framing = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)

    async def wait(self) -> bool:
        """Wait for the first bytes of a request, for as long as that takes; False at the connection's end."""
        if self._framing.trailing_data[0]:
            return True
        self._idle[self._writer] = None
        try:
            data = await self._reader.read(_READ_BYTES)
        finally:
            self._idle.pop(self._writer, None)
        self._framing.receive_data(data)
        return bool(data)

    async def head(self) -> h11.Request:
        """Return the next request's line and headers."""
        async with asyncio.timeout(HEAD_SECONDS):
            event = await self._event()
        if not isinstance(event, h11.Request):
            raise ConnectionResetError
        # h11 lets chunks win over a length, as RFC 9112 (6.3) allows; it also says that such a request is an attack.
        if {b"content-length", b"transfer-encoding"} <= {name for name, _ in event.headers}:
            raise h11.RemoteProtocolError("both a length and chunks")
        return event

    async def body(self, head: h11.Request, large: LargeBodies) -> bytes:
        """Return the request's body; RequestEntityTooLargeException, ThrottlingException, SerializationException as `Bodies.read`."""
        length = int(dict(head.headers).get(b"content-length", b"0")[:12])
        try:
            async with asyncio.timeout(BODY_SECONDS):
                if length <= MAX_BODY:
                    return await self._whole(MAX_BODY)
                with large.place(_path(head)[0], length):
                    return await self._whole(length)
        except TimeoutError:
            raise SerializationException("The request body did not arrive in time.") from None

    async def send(self, response: HttpResponse) -> bool:
        """Send an answer; return whether another request may follow on the connection."""
        length = ("content-length", str(len(response.body)))
        event = h11.Response(status_code=response.status, headers=[*response.headers, length])
        parts = (event, h11.Data(data=response.body), h11.EndOfMessage())
        self._writer.write(b"".join(self._framing.send(part) or b"" for part in parts))
        async with asyncio.timeout(BODY_SECONDS):
            await self._writer.drain()
        if self._framing.our_state is not h11.DONE or self._framing.their_state is not h11.DONE:
            return False
        self._framing.start_next_cycle()
        return True

    def made_of(self, head: h11.Request, body: bytes) -> HttpRequest:
        """Return the request as the server takes it."""
        path, query = _path(head)
        return HttpRequest(
            method=head.method.decode("ascii"),
            path=path,
            query=query,
            headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers),
            body=body,
            source_ip=HOST,
            secure=self._secure,
        )

    async def _whole(self, most: int) -> bytes:
        body = bytearray()
        while not isinstance(event := await self._event(), h11.EndOfMessage):
            if not isinstance(event, h11.Data):
                raise ConnectionResetError
            body += event.data
            if len(body) > most:
                raise RequestEntityTooLargeException
        return bytes(body)

    async def _event(self) -> object:
        while (event := self._framing.next_event()) is h11.NEED_DATA:
            if self._framing.they_are_waiting_for_100_continue:
                go_on = h11.InformationalResponse(status_code=100, headers=[])
                self._writer.write(self._framing.send(go_on) or b"")
            self._framing.receive_data(await self._reader.read(_READ_BYTES))
        return event


def _path(head: h11.Request) -> tuple[str, str]:
    """Return a request's path, percent-decoded once, and its query as sent."""
    path, _, query = head.target.decode("latin-1").partition("?")
    return unquote(path), query
