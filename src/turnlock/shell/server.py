"""The server's shell: from a request to a call, and from its outcome to an answer.

Asynchronous only here. One request's way: limits → admission (signature, operation, input) → gate → durable record →
answer. On SQLite a read takes that way inline, on the event loop's thread; on PostgreSQL on a bounded pool of threads.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import structlog
from prometheus_client import CONTENT_TYPE_LATEST

from turnlock import policies, wire
from turnlock.core.action import Answer, Pending
from turnlock.errors import AccessDeniedException, ApiError, ThrottlingException
from turnlock.shell import logs, metrics
from turnlock.shell.admission import READ_AT_ONCE, Admitted, RefusalLog, read_input
from turnlock.shell.application import Application
from turnlock.shell.gate import pass_through, preparation, record_refusal
from turnlock.shell.metrics_readers import MetricsReaders
from turnlock.storage import Unit, outbox
from turnlock.trail import WriteBudget
from turnlock.wire import HttpRequest, HttpResponse

log = structlog.get_logger(__name__)

PENDING = 32
"""Threads that wait for functions which were invoked."""

PREPARING = 2
"""Threads on which the heavy part of a request is done before its unit of work (`Action.prepare`); others wait."""

_HEALTHY = HttpResponse(status=200, headers=(("content-type", "text/plain"),), body=b"ok\n")


class Server:
    """One worker's requests. Made inside the worker's event loop."""

    def __init__(self, application: Application, loop: asyncio.AbstractEventLoop) -> None:
        self._app = application
        self._loop = loop
        self._refusals = RefusalLog()
        self._written = WriteBudget()
        self._metrics = application.metrics
        self._metrics_readers = MetricsReaders(application.config)
        self._readers = application.readers(loop)
        self._pending = ThreadPoolExecutor(PENDING, "pending")
        self._preparing = ThreadPoolExecutor(PREPARING, "preparing")
        self._request_ids = RequestIds()

    async def respond(self, request: HttpRequest) -> HttpResponse:
        """Return the answer to one request, whatever is in it."""
        if request.method == "GET":
            if request.path == "/health":
                return _HEALTHY
            if request.path == "/metrics":
                page = await self._loop.run_in_executor(None, self._metrics_page, request)
                if page is not None:
                    return page
        return await self.respond_to_function(request)

    async def respond_to_function(self, request: HttpRequest) -> HttpResponse:
        """Return the answer to one request to the AWS API: all that a function may ask."""
        request_id = self._request_ids.draw()
        began = time.perf_counter()
        try:
            if len(request.body) > READ_AT_ONCE:
                await self._loop.run_in_executor(self._preparing, getattr, request, "body_digest")
            admitted, outcome = await self._readers.run(partial(self._admit_and_read, request, request_id))
            if admitted.unread is not None:
                read = await self._loop.run_in_executor(self._preparing, read_input, admitted)
                admitted, outcome = await self._readers.run(partial(self._read_further, read))
            if outcome is None:
                outcome = await self._carry_on(admitted)
            return self._answer(admitted, outcome, began)
        except Exception as error:  # noqa: BLE001 (`failed` logs it)
            if isinstance(error, ApiError):
                self._refusals.note(error, request)
                self._metrics.refused(error.code)
            else:
                self._refusals.failed(error, request_id)
                self._metrics.failed()
            return self._app.admission.refusal(wire.as_api_error(error), request, request_id)

    def refuse(self, error: ApiError, request: HttpRequest) -> HttpResponse:
        """Return the answer to a request whose body was never read whole: the last one on its connection."""
        self._refusals.note(error, request)
        self._metrics.refused(error.code)
        return self._app.admission.refusal(error, request, self._request_ids.draw())

    def close(self) -> None:
        """Write what waits to be written, then let go of everything."""
        self._preparing.shutdown(wait=True, cancel_futures=True)
        self._readers.close()
        self._app.close()
        self._pending.shutdown(wait=True, cancel_futures=True)

    async def _carry_on(self, admitted: Admitted) -> Answer | ApiError:
        """Carry out what a call does beyond one look at the store: what it prepares, what it changes, what it leaves pending."""
        work = partial(self._carry_out, admitted, prepared=await self._prepared(admitted))
        if not admitted.passage.action.mutates:
            return await self._readers.run(work)
        outcome = await asyncio.wrap_future(self._app.database.submit(work), loop=self._loop)
        if isinstance(outcome, Pending):
            outcome = await self._loop.run_in_executor(self._pending, _finish, outcome)
        return outcome

    async def _prepared(self, admitted: Admitted) -> Callable[[], Any] | None:
        """Have done what an action prepares; None where there is nothing, or nobody who may call."""
        if admitted.passage.action.prepare is None:
            return None
        found = await self._readers.run(partial(_preparation, admitted))
        if found is None:
            return None
        work = self._preparing.submit(found)
        await asyncio.gather(asyncio.wrap_future(work, loop=self._loop), return_exceptions=True)
        return work.result

    def _answer(self, admitted: Admitted, outcome: Answer | ApiError, began: float) -> HttpResponse:
        """Return the answer to a call whose outcome is kept, and count it."""
        call, protocol = admitted.call, admitted.protocol
        code = outcome.code if isinstance(outcome, ApiError) else metrics.OK
        self._metrics.answered(call.service, call.action, code, time.perf_counter() - began)
        if isinstance(outcome, ApiError):
            return protocol.fault(outcome, call.request_id)
        return protocol.respond(admitted.passage.operation, outcome, call.request_id)

    def _metrics_page(self, request: HttpRequest) -> HttpResponse | None:
        """Return what Prometheus reads, without the outbox when the store does not answer; None to who may not read it."""
        if not self._metrics_readers.includes(request):
            return None
        try:
            backlog = self._app.database.read(outbox.backlog)
        except Exception:
            log.exception("the outbox could not be counted", action="backlog_unknown")
            backlog = None
        return HttpResponse(
            status=200,
            headers=(("content-type", CONTENT_TYPE_LATEST),),
            body=self._metrics.exposition(backlog),
        )

    def _admit_and_read(
        self, request: HttpRequest, request_id: str, unit: Unit
    ) -> tuple[Admitted, Answer | ApiError | None]:
        """Admit a request and, where it changes nothing, carry it out on the same snapshot.

        The outcome is None for what is still to be done: in a unit that writes, or after what has to be prepared.
        """
        token = logs.REQUEST_ID.set(request_id)
        try:
            admitted = self._app.admission.admit(request, request_id, unit)
            return (admitted, None) if admitted.unread is not None else self._read(admitted, unit)
        finally:
            logs.REQUEST_ID.reset(token)

    def _read_further(self, admitted: Admitted, unit: Unit) -> tuple[Admitted, Answer | ApiError | None]:
        """Go on with a call whose large input was read meanwhile."""
        token = logs.REQUEST_ID.set(admitted.call.request_id)
        try:
            return self._read(admitted, unit)
        finally:
            logs.REQUEST_ID.reset(token)

    def _read(self, admitted: Admitted, unit: Unit) -> tuple[Admitted, Answer | ApiError | None]:
        if admitted.refusal is not None:
            record_refusal(admitted.passage, admitted.call, admitted.refusal, unit)
            return admitted, self._charged(admitted, admitted.refusal, unit)
        action = admitted.passage.action
        if action.mutates or action.prepare is not None:
            return admitted, None
        return admitted, self._charged(admitted, _pass_through(admitted, unit), unit)

    def _carry_out(
        self, admitted: Admitted, unit: Unit, *, prepared: Callable[[], Any] | None = None
    ) -> Answer | ApiError:
        """Carry a call out in a unit of its own, on whichever thread runs it."""
        token = logs.REQUEST_ID.set(admitted.call.request_id)
        try:
            return self._charged(admitted, _pass_through(admitted, unit, prepared), unit)
        finally:
            logs.REQUEST_ID.reset(token)

    def _charged(self, admitted: Admitted, outcome: Answer | ApiError, unit: Unit) -> Answer | ApiError:
        """Charge the caller for the records of a call that needs no right.

        Where that is too much, what it gets is ThrottlingException and no record; nothing that it did stands. What a refused
        call has left does: that a code was judged, and counted as wrong.
        """
        call = admitted.call
        needs_none = (call.service, call.action) in policies.ALWAYS_ALLOWED
        refused = outcome is admitted.refusal or isinstance(outcome, AccessDeniedException)
        if not (needs_none or refused):
            return outcome
        written = sum(len(entry.body) for entry in unit.entries)
        if self._written.spend(call.principal, call.source_ip, written):
            return outcome
        unit.entries.clear()
        if unit.writes and not isinstance(outcome, ApiError):
            raise ThrottlingException
        return ThrottlingException()


class RequestIds:
    """Draws request ids: unique, in the form of a UUID; nothing hangs on whether they can be guessed."""

    def __init__(self) -> None:
        self._random = random.Random(os.urandom(32))  # noqa: S311 (a system call for each id costs more than the id)

    def draw(self) -> str:
        """Return a version 4 UUID as text."""
        digits = f"{self._random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def _pass_through(
    admitted: Admitted, unit: Unit, prepared: Callable[[], Any] | None = None
) -> Answer | ApiError:
    assert admitted.request is not None
    return pass_through(admitted.passage, admitted.call, admitted.request, unit, prepared)


def _preparation(admitted: Admitted, unit: Unit) -> Callable[[], Any] | None:
    assert admitted.request is not None
    return preparation(admitted.passage, admitted.call, admitted.request, unit)


def _finish(pending: Pending) -> Answer | ApiError:
    try:
        return pending.finish()
    except ApiError as error:
        return error
