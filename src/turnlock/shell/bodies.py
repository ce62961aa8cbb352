"""Bodies of requests: read whole, within a size and a time, before anybody proved who sends them."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from granian.rsgi import ProtocolClosed  # type: ignore[attr-defined]  # named in no __all__

from turnlock.errors import (
    ApiError,
    RequestEntityTooLargeException,
    SerializationException,
    ThrottlingException,
)
from turnlock.wire import Headers

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers; of headers there may be 100 (hyper's own limit)."""

HEAD_SECONDS = 10
"""How long a client may take to send a request's line and headers, the first of a connection or the next."""

MAX_BODY = 1024 * 1024
"""Bytes of a request's body: the largest value is 64 KiB, and JSON escapes a byte with at most six."""

LARGE_BODY = 70 * 1024 * 1024
"""Bytes where packages of functions come in: 50 MiB in Base64."""

LARGE_EVENT = 7 * 1024 * 1024
"""Bytes where events of functions come in: they may have 6 MiB, and who sends a little more is told so in Lambda's words."""

LARGE_BODIES = 4
"""How many larger than MAX_BODY are read at once: nobody has proved yet who they are."""

BODY_SECONDS = 10.0
"""How long a client may take to send a body, and again to send the rest of one that was refused."""

MAX_REST = 8 * 1024 * 1024
"""Bytes that are still taken in after a body was refused for its size; a client that announces more is not heard out."""

RESTS = 16
"""How many such rests are taken in at once; the other clients find the connection closed, perhaps while they send."""

LEAST_PIECE = 1024
"""Bytes that a piece of such a rest counts for at least: each costs a turn of the loop, however small it is."""


class Bodies:
    """Reads the bodies of one worker's requests."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._patience = Patience(loop, BODY_SECONDS)
        self._large = LargeBodies()
        self._rests = asyncio.Semaphore(RESTS)

    async def read(self, path: str, headers: Headers, protocol: Any) -> bytes:
        """Return the body of an RSGI request with this path and these headers.

        Raises RequestEntityTooLargeException, ThrottlingException, and SerializationException for one that did not arrive
        whole, or not within BODY_SECONDS.
        """
        task = self._patience.begin()
        try:
            length = _first("content-length", headers)
            if length is None:
                return await _chunks(protocol)
            if not length.isdecimal():
                raise RequestEntityTooLargeException
            if int(length) <= MAX_BODY:
                return bytes(await protocol())
            with self._large.place(path, int(length)):
                return bytes(await protocol())
        except ProtocolClosed:
            raise SerializationException("The request body did not arrive whole.") from None
        except asyncio.CancelledError:
            raise SerializationException("The request body did not arrive in time.") from None
        finally:
            self._patience.end(task)

    def awaited(self) -> int:
        """Return how many bodies, or rests of bodies, are on their way now."""
        return len(self._patience)

    async def take_rest(self, refusal: ApiError, headers: Headers, protocol: Any) -> None:
        """Take in and throw away what a client still sends of a body that `read` refused for its size, once it is answered.

        Many clients read only after they have sent all; were the connection closed before that, they would see it break
        and never the answer (RFC 9112, 9.6). A client that waits for 100 (Continue) is told to send nothing.
        """
        if not _is_heard_out(refusal, headers) or self._rests.locked():
            return
        task = self._patience.begin()
        try:
            async with self._rests:
                # What came in chunks is being iterated already, and Granian lets that begin once.
                begun = _first("content-length", headers) is None
                await _throw_away(protocol if begun else aiter(protocol))
        except (ProtocolClosed, asyncio.CancelledError):
            return
        finally:
            self._patience.end(task)


class Patience:
    """Cancels the tasks of one event loop that take too long over something. One timer for all: nearly none is ever late.

    asyncio's own time limits make a timer for each task, which costs a request ten times as much.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self._seconds = seconds
        self._until: dict[asyncio.Task[Any], float] = {}
        """The moments at which tasks are late, the first one first."""
        self._armed = False

    def __len__(self) -> int:
        """Return how many tasks have not ended yet what they do."""
        return len(self._until)

    def begin(self) -> asyncio.Task[Any]:
        """Have the task that runs cancelled after the time, unless `end` is called with it before; return it."""
        task = asyncio.current_task(self._loop)
        assert task is not None
        self._until[task] = self._loop.time() + self._seconds
        if not self._armed:
            self._armed = True
            self._loop.call_later(self._seconds, self._look)
        return task

    def end(self, task: asyncio.Task[Any]) -> None:
        """Leave a task alone; one that is not waited for is no error."""
        self._until.pop(task, None)

    def _look(self) -> None:
        now = self._loop.time()
        for task, until in list(self._until.items()):
            if until > now:
                self._loop.call_later(until - now, self._look)
                return
            del self._until[task]
            task.cancel()
        self._armed = False


class LargeBodies:
    """The few bodies beyond MAX_BODY that one worker reads at once, and only where packages and events come in."""

    PACKAGES = re.compile(r"/2015-03-31/functions(/[^/]+/code)?/?")
    """CreateFunction and UpdateFunctionCode."""
    EVENTS = re.compile(r"/2015-03-31/functions/[^/]+/invocations/?")

    def __init__(self) -> None:
        self._places = LARGE_BODIES

    @contextmanager
    def place(self, path: str, length: int) -> Iterator[None]:
        """Hold a place while a body beyond MAX_BODY is read. Raises RequestEntityTooLargeException, ThrottlingException when all are taken."""
        if length > self._most(path):
            raise RequestEntityTooLargeException
        if not self._places:
            raise ThrottlingException
        self._places -= 1
        try:
            yield
        finally:
            self._places += 1

    def _most(self, path: str) -> int:
        if self.PACKAGES.fullmatch(path):
            return LARGE_BODY
        return LARGE_EVENT if self.EVENTS.fullmatch(path) else MAX_BODY


def _first(wanted: str, headers: Headers) -> str | None:
    for name, value in headers:
        if name == wanted:
            return value
    return None


async def _chunks(protocol: Any) -> bytes:
    body = bytearray()
    async for chunk in protocol:
        body += chunk
        if len(body) > MAX_BODY:
            body.clear()  # the error's traceback keeps this frame until the rest has come
            raise RequestEntityTooLargeException
    return bytes(body)


def _is_heard_out(refusal: ApiError, headers: Headers) -> bool:
    """Tell whether a body was refused for its size, and its rest is on its way and not too large by far."""
    if not isinstance(refusal, RequestEntityTooLargeException | ThrottlingException):
        return False
    length = _first("content-length", headers)
    if length is None:
        return True
    return _first("expect", headers) is None and length.isdecimal() and int(length) <= MAX_REST


async def _throw_away(pieces: Any) -> None:
    left = MAX_REST
    while left > 0:
        try:
            left -= max(len(await anext(pieces)), LEAST_PIECE)
        except StopAsyncIteration:
            return
