"""The server's shell: from bytes on a socket to a call, and from its outcome to bytes; and the processes that listen.

Asynchronous only here. One request's way: limits → admission (signature, operation, input) → gate → durable record →
answer. On SQLite a read takes that way inline, on the event loop's thread; on PostgreSQL on a bounded pool of threads.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import multiprocessing
import os
import random
import signal
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer as Granian
from msgspec import structs
from prometheus_client import CONTENT_TYPE_LATEST

from turnlock import policies, wire
from turnlock.config import Config
from turnlock.confinement.walls import forbid_cores
from turnlock.core.action import Answer, Pending
from turnlock.core.address import peer_address
from turnlock.errors import AccessDeniedException, ApiError, ConfigurationError, ThrottlingException
from turnlock.functions import settle_confinement
from turnlock.root_key_rotation import hold_served
from turnlock.shell import logs, metrics
from turnlock.shell.admission import READ_AT_ONCE, Admitted, RefusalLog, read_input
from turnlock.shell.application import Application
from turnlock.shell.bodies import HEAD_SECONDS, MAX_HEAD, Bodies
from turnlock.shell.function_listener import FunctionListener
from turnlock.shell.gate import pass_through, preparation, record_refusal
from turnlock.shell.metrics_readers import MetricsReaders
from turnlock.storage import Unit, outbox
from turnlock.trail import WriteBudget
from turnlock.wire import Headers, HttpRequest, HttpResponse

log = structlog.get_logger(__name__)

MakeApplication = Callable[[str], Application]
"""Builds a worker's application; it is given the URL at which functions reach the worker."""

PENDING = 32
"""Threads that wait for functions which were invoked."""

PREPARING = 2
"""Threads on which the heavy part of a request is done before its unit of work (`Action.prepare`); others wait."""

_HEALTHY = HttpResponse(status=200, headers=(("content-type", "text/plain"),), body=b"ok\n")
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4


class Server:
    """One worker's requests. Made inside the worker's event loop."""

    def __init__(self, application: Application, loop: asyncio.AbstractEventLoop) -> None:
        self._app = application
        self._loop = loop
        self._refusals = RefusalLog()
        self._written = WriteBudget()
        self._metrics = application.metrics
        self._metrics_readers = MetricsReaders(application.config)
        self.bodies = Bodies(loop)
        self._readers = application.readers(loop, self.bodies.awaited)
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
        fault = self._app.admission.refusal(error, request, self._request_ids.draw())
        return structs.replace(fault, headers=(*fault.headers, ("connection", "close")))

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


class Worker:
    """What Granian runs in each process: its RSGI application."""

    def __init__(self, make: MakeApplication, parent_pid: int, *, secure: bool) -> None:
        self._make = make
        self._parent_pid = parent_pid
        self._secure = secure
        self._server: Server | None = None
        self._functions: FunctionListener | None = None

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        _guard_process(parent_pid=self._parent_pid)
        with _mortal():
            self._functions = FunctionListener(secure=self._secure)
            application = self._make(self._functions.endpoint)
            self._server = Server(application, loop)
        self._listening = loop.create_task(self._functions.serve(self._server))
        application.start()
        # What is loaded now stays; a collector that walks it again and again would only cost time.
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)
        config = application.config
        log.info(
            "a worker is ready",
            action="worker_ready",
            address=f"{config.host}:{config.port}",
            tls=config.secure,
            data_dir=str(config.data_dir),
        )

    def __rsgi_del__(self, _loop: asyncio.AbstractEventLoop) -> None:
        if self._functions is not None:
            self._functions.close()
        if self._server is not None:
            self._server.close()

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        server = self._server
        assert server is not None
        headers = tuple(scope.headers.items())  # once: Granian copies them each time that it is asked
        try:
            body = await server.bodies.read(scope.path, headers, protocol)
        except ApiError as error:
            response = server.refuse(error, _http_request(scope, headers, b""))
            protocol.response_bytes(response.status, list(response.headers), response.body)
            await server.bodies.take_rest(error, headers, protocol)
            return
        response = await server.respond(_http_request(scope, headers, body))
        protocol.response_bytes(response.status, list(response.headers), response.body)


@contextmanager
def _mortal() -> Iterator[None]:
    """Let SIGINT and SIGTERM end the process at once: the loop, which would heed them, does not run yet."""
    handlers = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _http_request(scope: Any, headers: Headers, body: bytes) -> HttpRequest:
    return HttpRequest(
        method=scope.method,
        path=scope.path,
        query=scope.query_string,
        headers=headers,
        body=body,
        source_ip=peer_address(scope.client),
        secure=scope.scheme == "https",
    )


def serve(config: Config, make: MakeApplication) -> None:
    """Listen and serve until SIGINT or SIGTERM; each worker is a process with an application of its own.

    `make` builds a worker's application, given the URL at which its functions reach it. ConfigurationError when another
    process listens at the address, or while the root key is being rotated.
    """
    _refuse_taken_address(config)
    hold_served(config.data_dir)
    granian = listener(config)
    _guard_process()
    _warn_of_swap()
    settle_confinement()
    loader = partial(_worker, make, os.getpid(), secure=config.secure)
    granian.serve(target_loader=loader, wrap_loader=False)


def listener(config: Config) -> Granian:
    """Return the HTTP server as it is set up for a configuration (the benchmark measures it alone, too)."""
    return _Listener(
        "turnlock.shell.server",
        address=config.host,
        port=config.port,
        interface=Interfaces.RSGI,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000, max_buffer_size=MAX_HEAD),
        workers=config.workers,
        websockets=False,
        backlog=1024,
        log_level=LogLevels.warning,
        ssl_cert=config.tls_certificate,
        ssl_key=config.tls_key,
        workers_kill_timeout=15,
        respawn_failed_workers=True,
    )


class _Listener(Granian):
    """Granian, whose workers end at once when they are told to while they start."""

    def signal_handler_interrupt(self, *args: Any, **kwargs: Any) -> None:
        # A worker inherits this and has no handler of its own yet; nothing was begun there.
        if multiprocessing.parent_process() is not None:
            os._exit(0)
        super().signal_handler_interrupt(*args, **kwargs)  # type: ignore[no-untyped-call]  # Granian's own gap


def _worker(make: MakeApplication, parent_pid: int, *, secure: bool) -> Any:
    """Return the RSGI application of one worker process; Granian's types know only plain callables."""
    return Worker(make, parent_pid, secure=secure)


def _refuse_taken_address(config: Config) -> None:
    """Raise ConfigurationError unless the address is free.

    Workers share it (SO_REUSEPORT), and so would another server of this user: each would get a part of the requests.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ConfigurationError(
            f"--listen {config.host}:{config.port} cannot be used: {error.strerror}."
        ) from error


def _warn_of_swap() -> None:
    """Say so when memory may be written to a disk, where a value could be found later."""
    with suppress(OSError):
        if len(Path("/proc/swaps").read_text(encoding="utf-8").splitlines()) > 1:
            log.warning("swap is in use; encrypt it or turn it off", action="swap_in_use")


def _guard_process(*, parent_pid: int | None = None) -> None:
    """No core dumps, no reading by other processes of this user; a worker ends with the process that started it."""
    forbid_cores()
    os.umask(0o077)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    if parent_pid is None:
        return
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:  # it died before the signal was asked for
        os.kill(os.getpid(), signal.SIGKILL)
