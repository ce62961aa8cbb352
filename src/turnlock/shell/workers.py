"""The processes that serve: a main one that holds the address, and workers, each with an application and an event loop of its own.

Each worker accepts from a socket of its own on the shared address (SO_REUSEPORT), which the main process keeps: connections
that wait there outlive a worker. A worker that ends is started again; all end with the main process, however that ends.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import structlog
import uvloop

from turnlock.config import Config
from turnlock.confinement.walls import forbid_cores
from turnlock.errors import ConfigurationError
from turnlock.functions import settle_confinement
from turnlock.root_key_rotation import hold_served
from turnlock.shell.application import Application
from turnlock.shell.function_listener import FunctionListener
from turnlock.shell.http import Certificates, Limits, Listener
from turnlock.shell.server import Server

log = structlog.get_logger(__name__)

MakeApplication = Callable[[str], Application]
"""Builds a worker's application; it is given the URL at which functions reach the worker."""

BACKLOG: Final = 1024

DRAIN_SECONDS: Final = 8.0
"""How long a worker that is to end goes on answering what was asked."""

END_SECONDS: Final = 15.0
"""How long a worker may take to end before it is killed."""

SOON, SHORT_LIVED, RESTART_SECONDS = 0.1, 5.0, 3.5
"""Seconds until a worker is started again; a life that was short; and seconds until the next start after one."""

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE = 1, 4
_TOLD: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD})
_ENDS: Final = frozenset({signal.SIGINT, signal.SIGTERM})


def serve(config: Config, make: MakeApplication) -> None:
    """Listen and serve until SIGINT or SIGTERM; SIGHUP reads the certificate again.

    `make` builds a worker's application, given the URL at which its functions reach it. ConfigurationError when another
    process listens at the address, the certificate cannot be used, or the root key is being rotated.
    """
    refuse_taken_address(config)
    certificates(config)
    hold_served(config.data_dir)
    sockets = [listening_socket(config) for _ in range(config.workers)]
    guard_process()
    _warn_of_swap()
    settle_confinement()
    Workers([partial(_work, config, make, one, os.getpid()) for one in sockets], sockets).run()


class Workers:
    """The worker processes, as the main one sees them: it starts them, starts again those that end, and ends them.

    Signals are blocked and asked for: none is lost, whenever it comes. Only on a main thread.
    """

    def __init__(self, works: list[Callable[[], None]], sockets: list[socket.socket]) -> None:
        self._works = works
        self._sockets = sockets
        self._running: dict[int, tuple[int, float]] = {}
        """By process id: which worker it is, and when it was started."""
        self._due: dict[int, float] = {}
        """By number: when a worker is to be started."""
        self._killed_at: float | None = None

    def run(self) -> None:
        """Return once all workers have ended, which SIGINT or SIGTERM asks for."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _TOLD)
        self._due = dict.fromkeys(range(len(self._works)), 0.0)
        try:
            while self._killed_at is None or self._running:
                self._start_due()
                told = signal.sigtimedwait(_TOLD, self._patience())
                # Stopped (SIGSTOP) past the time-out, CPython 3.11 returns a siginfo that nobody has filled in.
                if told is not None and told.si_signo in _TOLD:
                    self._heed(signal.Signals(told.si_signo))
                self._reap()
                if self._killed_at is not None and time.monotonic() > self._killed_at:
                    self._tell(signal.SIGKILL)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _patience(self) -> float:
        until = min(
            [*self._due.values(), *([] if self._killed_at is None else [self._killed_at])], default=None
        )
        return 5.0 if until is None else min(5.0, max(0.01, until - time.monotonic()))

    def _heed(self, told: signal.Signals) -> None:
        if told in _ENDS:
            if self._killed_at is None:
                self._killed_at = time.monotonic() + END_SECONDS
                self._due.clear()
                for one in self._sockets:
                    one.close()
            self._tell(signal.SIGTERM)
        elif told is signal.SIGHUP:
            self._tell(signal.SIGHUP)

    def _tell(self, number: signal.Signals) -> None:
        for pid in self._running:
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _start_due(self) -> None:
        for number, due in list(self._due.items()):
            if due <= time.monotonic():
                del self._due[number]
                pid = os.fork()
                if pid == 0:
                    for other in self._sockets:
                        if other is not self._sockets[number]:
                            other.close()
                    _be_worker(self._works[number])
                self._running[pid] = (number, time.monotonic())

    def _reap(self) -> None:
        for pid, (number, started) in list(self._running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            del self._running[pid]
            if self._killed_at is not None:
                continue
            log.error("a worker ended", action="worker_ended", status=os.waitstatus_to_exitcode(status))
            lived = time.monotonic() - started
            self._due[number] = time.monotonic() + (SOON if lived > SHORT_LIVED else RESTART_SECONDS)


def _be_worker(work: Callable[[], None]) -> None:
    """Do a worker's work and end the process, in which nothing of the main one's goes on.

    Until the loop heeds them, SIGINT and SIGTERM end it at once: nothing was begun.
    """
    status = 1
    try:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in _ENDS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _TOLD)
        work()
        status = 0
    except BaseException:
        log.exception("a worker failed", action="worker_failed")
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def _work(config: Config, make: MakeApplication, listening: socket.socket, parent_pid: int) -> None:
    """Serve in a worker's process until it is told to end."""
    guard_process(parent_pid=parent_pid)
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    functions = FunctionListener(secure=config.secure)
    application = make(functions.endpoint)
    server = Server(application, loop)
    listener = Listener(
        listening,
        server,
        loop,
        limits=_limits(config),
        certificates=certificates(config),
        proxies=config.proxy_from,
    )
    ended = asyncio.Event()
    for number in _ENDS:
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, listener.reload)
    application.start()
    functions.serve(server, loop)
    _settle_collector()
    listener.start()
    log.info(
        "a worker is ready",
        action="worker_ready",
        address=f"{config.host}:{config.port}",
        tls=config.secure,
        data_dir=str(config.data_dir),
    )
    loop.run_until_complete(_until(ended, listener, functions))
    server.close()


async def _until(ended: asyncio.Event, listener: Listener, functions: FunctionListener) -> None:
    await ended.wait()
    await listener.drain(DRAIN_SECONDS)
    functions.close()


def _limits(config: Config) -> Limits:
    """Return the limits of the public port; fewer connections where the system gives fewer descriptors."""
    limits = Limits(per_address=config.connections_per_address)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * limits.total + 2 * config.connections_per_address
    soft = wanted if most == resource.RLIM_INFINITY else min(most, wanted)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
    total = max(16, min(max(limits.total, 2 * limits.per_address), soft // 2))
    return Limits(per_address=min(limits.per_address, total), total=total)


def _settle_collector() -> None:
    """What is loaded now stays; a collector that walks it again and again would only cost time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def certificates(config: Config) -> Certificates | None:
    """Return what a configuration says the port shows; None where it speaks no TLS. Raises ConfigurationError."""
    if config.tls_certificate is None or config.tls_key is None:
        return None
    return Certificates(config.tls_certificate, config.tls_key)


def listening_socket(config: Config) -> socket.socket:
    """Return a socket that listens at the configured address, beside those of the other workers. Raises ConfigurationError."""
    try:
        family, kind, protocol, _, address = _resolved(config)
        one = socket.socket(family, kind, protocol)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if config.workers > 1:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(address)
        one.listen(BACKLOG)
    except OSError as error:
        raise _taken(config, error) from error
    return one


def refuse_taken_address(config: Config) -> None:
    """Raise ConfigurationError unless the address is free.

    Workers share it (SO_REUSEPORT), and so would another server of this user: each would get a part of the requests.
    """
    try:
        family, kind, protocol, _, address = _resolved(config)
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise _taken(config, error) from error


def _resolved(config: Config) -> tuple[int, int, int, str, Any]:
    return socket.getaddrinfo(config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]


def _taken(config: Config, error: OSError) -> ConfigurationError:
    return ConfigurationError(f"--listen {config.host}:{config.port} cannot be used: {error.strerror}.")


def _warn_of_swap() -> None:
    """Say so when memory may be written to a disk, where a value could be found later."""
    with suppress(OSError):
        if len(Path("/proc/swaps").read_text(encoding="utf-8").splitlines()) > 1:
            log.warning("swap is in use; encrypt it or turn it off", action="swap_in_use")


def guard_process(*, parent_pid: int | None = None) -> None:
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
