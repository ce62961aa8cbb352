"""One connection: requests in, one after the other, and their answers out in the same order.

While a request is carried out, nothing more is read than the piece that has come already; nor is a request begun before the
kernel has taken the whole answer to the one before.
"""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from typing import Any, Protocol

import structlog

from turnlock.core.address import peer_address
from turnlock.errors import (
    ApiError,
    RequestEntityTooLargeException,
    SerializationException,
    ThrottlingException,
)
from turnlock.shell.bodies import MAX_BODY, LargeBodies
from turnlock.shell.http.framing import (
    CONTINUE,
    END_OF_HEAD,
    Head,
    Unclear,
    check_beginning,
    read_head,
    write_answer,
)
from turnlock.shell.http.limits import (
    COUNTED_BODY,
    FAREWELL_BYTES,
    FAREWELL_SECONDS,
    LEAST_PIECE,
    MAX_REST,
    PIECE,
    PIECES_AT_ONCE,
    RESTS,
    Limits,
)
from turnlock.shell.http.memory import Memory
from turnlock.shell.http.peers import Peer, Peers
from turnlock.wire import HttpRequest, HttpResponse

log = structlog.get_logger(__name__)

NEVER = float("inf")


class Responder(Protocol):
    """What answers the requests."""

    async def respond(self, request: HttpRequest) -> HttpResponse:
        """Return the answer to one request."""
        ...

    def refuse(self, error: ApiError, request: HttpRequest) -> HttpResponse:
        """Return the answer to a request whose body was not read whole."""
        ...


class Shared:
    """What the connections of one listener have in common."""

    def __init__(
        self, responder: Responder, limits: Limits, loop: asyncio.AbstractEventLoop, *, secure: bool
    ) -> None:
        self.responder = responder
        self.limits = limits
        self.loop = loop
        self.secure = secure
        """What requests say of TLS."""
        self.peers = Peers(limits.per_address, limits.total)
        self.memory = Memory(limits.memory, self.peers)
        self.large = LargeBodies()
        self.turns = Turns(loop)
        self.connections: set[Connection] = set()
        self.piece = memoryview(bytearray(PIECE))
        """Where each read goes first: they follow one another on one thread."""
        self.rests = RESTS
        self.draining = False


class Turns:
    """The order in which large bodies are read, and requests taken up that came behind others of their connections.

    A few in each turn of the loop, and what has come alone in between: else libuv reads as much as 32 pieces of each connection
    before anything else is done, and 500 connections that pipeline are given a request each.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: deque[Connection] = deque()

    def wait(self, connection: Connection) -> None:
        """Have a connection go on when its turn comes."""
        if not self._waiting:
            self._loop.call_soon(self._give)
        self._waiting.append(connection)

    def _give(self) -> None:
        for _ in range(min(PIECES_AT_ONCE, len(self._waiting))):
            self._waiting.popleft().take_turn()
        if self._waiting:
            self._loop.call_soon(self._give)


class _State(enum.Enum):
    ARRIVING = enum.auto()
    """Accepted; a TLS handshake or a proxy's line may be on its way."""
    HEAD = enum.auto()
    """Between two requests, or in a request's head; or the last answer is not read yet."""
    BODY = enum.auto()
    WORKING = enum.auto()
    REST = enum.auto()
    """Answered; what still comes of the body is thrown away."""
    LEAVING = enum.auto()
    """Nothing is answered any more; the last answer is on its way."""
    CLOSED = enum.auto()


class Connection(asyncio.BufferedProtocol):
    """One connection of a peer, from its acceptance to its end."""

    def __init__(self, shared: Shared, host: str, peer: Peer, arrival_seconds: float) -> None:
        """`host` is the peer's address."""
        self.peer = peer
        self.held = 0
        self.deadline = shared.loop.time() + arrival_seconds
        """When the peer will have been waited for too long, in the loop's time."""
        self.arrival: asyncio.Task[None] | None = None
        self._shared = shared
        self._loop = shared.loop
        self._source_ip = peer_address(host)
        self._transport: Any = None
        self._state = _State.ARRIVING
        self._received = bytearray()
        self._searched = 0
        """Up to where no end of a head is in what was received."""
        self._begun = True
        """Whether a byte of the next request has come, or is to come as the first of the connection."""
        self._head: Head | None = None
        self._large = False
        self._paused = self._blocked = self._ended = self._queued = False
        """Not read from; not to be written to; the peer sends no more; a request that has come waits for its turn."""
        self._carried = 0
        self._left = 0
        self._task: asyncio.Task[None] | None = None
        peer.waiting[self] = None
        shared.connections.add(self)

    def move(self, host: str) -> bool:
        """Be another peer's, whom a proxy has announced; False when there is no place for it."""
        peer = self._shared.peers.admit(host)
        if peer is None:
            self.release()
            return False
        if self.gone:
            self._shared.peers.leave(peer)
            return False
        self.peer.waiting.pop(self, None)
        self._shared.peers.leave(self.peer)
        self.peer = peer
        peer.waiting[self] = None
        self._source_ip = peer_address(host)
        return True

    # What the transport tells.

    def connection_made(self, transport: Any) -> None:
        """See asyncio."""
        self._transport = transport
        if self._state is _State.CLOSED:
            transport.abort()
            return
        transport.set_write_buffer_limits(high=1)  # a transport of TLS takes 0 for "always full"
        self._state = _State.HEAD
        self.deadline = self._loop.time() + self._shared.limits.head_seconds

    def get_buffer(self, _sizehint: int) -> memoryview:
        """See asyncio."""
        return self._shared.piece

    def buffer_updated(self, nbytes: int) -> None:
        """See asyncio."""
        state = self._state
        if nbytes == PIECE and (state is _State.REST or state is _State.BODY):
            self._pause()
            self._shared.turns.wait(self)
        if state is _State.REST or state is _State.LEAVING:
            self._throw_away(nbytes)
        elif state is not _State.CLOSED:
            self._received += self._shared.piece[:nbytes]
            if state is _State.WORKING or self._blocked or self._queued:
                self._pause()
                self._account()
            else:
                self._advance()

    def eof_received(self) -> bool:
        """See asyncio; a peer that sends no more may still read what it asked for."""
        self._ended = True
        if self._state is _State.BODY:
            self._refuse(SerializationException("The request body did not arrive whole."))
        stays = (
            self._state is _State.WORKING
            or self._blocked
            or self._queued
            or self._transport.get_write_buffer_size() > 0
        )
        return stays and bool(self._transport.can_write_eof())

    def pause_writing(self) -> None:
        """See asyncio: the kernel does not take all of an answer."""
        self._blocked = True
        self.deadline = self._loop.time() + self._shared.limits.write_seconds

    def resume_writing(self) -> None:
        """See asyncio: the kernel has taken all."""
        self._blocked = False
        if self._state is _State.HEAD:
            self._go_on()
        else:
            self._account()

    def connection_lost(self, _exc: Exception | None) -> None:
        """See asyncio. What a request has begun is carried out all the same."""
        self.release()

    # What the listener does.

    def take_turn(self) -> None:
        """Read the next piece of a body, or take up the request that came behind another."""
        if self._queued:
            self._queued = False
            if self._state is _State.HEAD:
                self._read_again()
                self._advance()
        elif self._paused and (self._state is _State.REST or self._state is _State.BODY):
            self._paused = False
            self._transport.resume_reading()

    def late(self) -> None:
        """End what has taken the peer too long."""
        if self._state is _State.BODY:
            self._refuse(SerializationException("The request body did not arrive in time."))
        elif self._state is _State.HEAD and not self._blocked:
            self._close()
        else:
            self.evict()

    def retire(self) -> None:
        """End once nothing is asked any more: at once between two requests."""
        if self._state is _State.HEAD and not self._received and not self._blocked:
            self._close()

    def evict(self) -> None:
        """End at once."""
        self.release()
        if self._transport is not None:
            self._transport.abort()
        elif self.arrival is not None:
            self.arrival.cancel()

    def release(self) -> None:
        """Give back all that is held here; a second time does nothing."""
        if self._state is _State.CLOSED:
            return
        self._received = bytearray()
        self._give_back_large()
        self._end_rest()
        self._state = _State.CLOSED
        self._head = None
        self._shared.memory.hold(self, 0)
        self.peer.waiting.pop(self, None)
        self._shared.connections.discard(self)
        self._shared.peers.leave(self.peer)

    # Requests.

    def _advance(self) -> None:
        """Go on with what was received, up to the next request that can be answered."""
        try:
            body = self._next_request()
        except Unclear as error:
            self._reject(error.status)
        except ApiError as error:
            self._refuse(error)
        else:
            if body is not None:
                self._begin(body)
            elif self._ended:
                self._close()
            else:
                self._account()

    def _next_request(self) -> bytes | None:
        """Return the next request's body, once it and the head are there. Raises Unclear, ApiError."""
        if self._state is _State.HEAD:
            head = self._next_head()
            if head is None:
                return None
            self._head = head
            self._state = _State.BODY
            self.deadline = self._loop.time() + self._shared.limits.body_seconds
            if head.length > MAX_BODY:
                self._shared.large.take(head.path, head.length)
                self._large = True
            body = self._next_body(head)
            if body is None and head.expects:
                self._transport.write(CONTINUE)
            return body
        assert self._head is not None
        return self._next_body(self._head)

    def _next_head(self) -> Head | None:
        received = self._received
        while received and received[0] in b"\r\n":
            del received[: len(received) - len(received.lstrip(b"\r\n"))]
        if not received:
            return None
        end = received.find(END_OF_HEAD, self._searched)
        if end < 0:
            check_beginning(received)
            self._searched = max(0, len(received) - len(END_OF_HEAD) + 1)
            if not self._begun:
                self._begun = True
                self.deadline = self._loop.time() + self._shared.limits.head_seconds
            return None
        check_beginning(received[:1])
        self._searched = 0
        data = bytes(received[: end + len(END_OF_HEAD)])
        del received[: len(data)]
        return read_head(data)

    def _next_body(self, head: Head) -> bytes | None:
        received, chunks = self._received, head.chunks
        if chunks is not None:
            if received:
                self._received = bytearray()
                chunks.feed(bytes(received))
            if chunks.size > MAX_BODY:
                raise RequestEntityTooLargeException
            return chunks.body() if chunks.complete else None
        if len(received) < head.length:
            return None
        if not head.length:
            return b""
        body = bytes(memoryview(received)[: head.length])
        self._received = received[head.length :]
        return body

    def _begin(self, body: bytes) -> None:
        assert self._head is not None
        self._carried = len(body) if len(body) > COUNTED_BODY and not self._large else 0
        self._account()
        if self._state is not _State.BODY:
            return
        request = self._request(self._head, body)
        self._state = _State.WORKING
        self.deadline = NEVER
        self.peer.waiting.pop(self, None)
        self._task = self._loop.create_task(self._carry_out(request, to_head=self._head.method == "HEAD"))

    async def _carry_out(self, request: HttpRequest, *, to_head: bool) -> None:
        try:
            response = await self._shared.responder.respond(request)
            if self._state is not _State.WORKING:
                return
            assert self._head is not None
            last = self._head.last or self._shared.draining
            answer = write_answer(response, last=last, to_head=to_head)
        except Exception:
            log.exception("a request was not answered", action="request_unanswered")
            self.evict()
            return
        self._answered(answer, last=last)

    def _answered(self, answer: bytes, *, last: bool) -> None:
        self._task = None
        self._give_back_large()
        self._carried = 0
        self._state = _State.HEAD
        self._begun = False
        self.peer.waiting[self] = None
        self._head = None
        self._transport.write(answer)
        if last:
            self._leave(unread=bool(self._received) or self._paused)
        elif self._blocked:
            self._account()
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Take up the next request, or wait for it."""
        self.deadline = self._loop.time() + self._shared.limits.idle_seconds
        if self._received:
            self._queued = True
            self._shared.turns.wait(self)
            return
        self._read_again()
        if self._ended:
            self._close()
        elif self.held:
            self._account()

    def _read_again(self) -> None:
        if self._paused:
            self._paused = False
            self._transport.resume_reading()

    def _request(self, head: Head, body: bytes) -> HttpRequest:
        return HttpRequest(
            method=head.method,
            path=head.path,
            query=head.query,
            headers=head.headers,
            body=body,
            source_ip=self._source_ip,
            secure=self._shared.secure,
        )

    # Ends.

    def _reject(self, status: int | None) -> None:
        """End a connection whose peer sends no clear message; without an answer where it speaks TLS or HTTP/2."""
        self._head = None
        if status is None:
            self._close()
            return
        self._transport.write(write_answer(HttpResponse(status=status, headers=(), body=b""), last=True))
        self._leave(unread=True)

    def _refuse(self, error: ApiError) -> None:
        """Answer a request without its body, and hear the peer out where it has been told that it sends too much.

        Many clients read only after they have sent all; were the connection closed before that, they would see it break
        and never the answer (RFC 9112, 9.6). A client that waits for 100 (Continue) is told to send nothing.
        """
        head = self._head
        assert head is not None
        response = self._shared.responder.refuse(error, self._request(head, b""))
        self._transport.write(write_answer(response, last=True, to_head=head.method == "HEAD"))
        self._give_back_large()
        if not (
            _is_heard_out(error, head)
            and self._shared.rests
            and self._state is not _State.CLOSED
            and not self._ended
        ):
            self._leave(unread=True)
            return
        self._shared.rests -= 1
        self._state = _State.REST
        self.deadline = self._loop.time() + self._shared.limits.body_seconds
        if head.chunks is not None:
            head.chunks.discard()
        self._left = MAX_REST if head.chunks is not None else head.length - len(self._received)
        self._received = bytearray()
        self._account()
        if self._left <= 0:
            self._leave(unread=True)

    def _throw_away(self, size: int) -> None:
        if self._state is _State.LEAVING:
            self._left -= max(size, LEAST_PIECE)
            if self._left <= 0:
                self.evict()
            return
        chunks = None if self._head is None else self._head.chunks
        if chunks is None:
            self._left -= size
        else:
            self._left -= max(size, LEAST_PIECE)
            try:
                chunks.feed(bytes(self._shared.piece[:size]))
            except Unclear:
                self._left = 0
            if chunks.complete:
                self._left = 0
        if self._left <= 0:
            self._leave(unread=True)

    def _leave(self, *, unread: bool) -> None:
        """End once the peer has the last answer. What it still sends is thrown away for a moment, and then breaks."""
        if self._state is _State.CLOSED:
            return
        if self._ended or not unread or not self._transport.can_write_eof():
            self._close()
            return
        self._end_rest()
        self._received = bytearray()
        self._carried = 0
        self._state = _State.LEAVING
        self._left = FAREWELL_BYTES
        seconds = self._shared.limits.write_seconds if self._blocked else FAREWELL_SECONDS
        self.deadline = self._loop.time() + seconds
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        self._transport.write_eof()
        self._account()

    def _close(self) -> None:
        """End in good order: what was written is sent first, for as long as the peer may take."""
        if self._state is _State.CLOSED:
            return
        self._end_rest()
        self._received = bytearray()
        self._carried = 0
        self._state = _State.LEAVING
        self._left = FAREWELL_BYTES
        self.deadline = self._loop.time() + self._shared.limits.write_seconds
        self._account()
        self._transport.close()

    @property
    def gone(self) -> bool:
        """Whether it has ended and given back all."""
        return self._state is _State.CLOSED

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _end_rest(self) -> None:
        if self._state is _State.REST:
            self._shared.rests += 1
            self._state = _State.LEAVING

    def _give_back_large(self) -> None:
        if self._large:
            self._large = False
            self._shared.large.give_back()

    def _account(self) -> None:
        """Tell the memory what is held here; without room the connection ends."""
        if self._state is _State.CLOSED:
            return
        held = self._carried + (self._transport.get_write_buffer_size() if self._blocked else 0)
        if not self._large:
            held += len(self._received)
            if self._head is not None and self._head.chunks is not None and self._state is _State.BODY:
                held += self._head.chunks.size
        if held == self.held or self._shared.memory.hold(self, held):
            return
        if self._state is _State.BODY:
            self._refuse(ThrottlingException())
        else:
            self.evict()


def _is_heard_out(refusal: ApiError, head: Head) -> bool:
    """Tell whether a body was refused for its size, and its rest is on its way and not too large by far."""
    if not isinstance(refusal, RequestEntityTooLargeException | ThrottlingException):
        return False
    return head.chunks is not None or (not head.expects and head.length <= MAX_REST)
