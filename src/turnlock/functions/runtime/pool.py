"""The processes that are alive: a bounded number, warm ones kept for a while, all of them gone after `close`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import structlog

from turnlock.core.ports import Clock
from turnlock.errors import FunctionError
from turnlock.functions.model import FaultKind
from turnlock.functions.runtime.process import FunctionProcess, ProcessKey, ProcessSpec

_ABORT_TICK_SECONDS = 0.05
_JOIN_SECONDS = 10.0
_LOOK_SECONDS = 0.25
"""How often idle processes are looked at that only signals keep from running."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolLimits:
    """The pool's numbers; seconds are of the monotonic clock."""

    processes: int = 16
    """How many processes may be alive at once."""
    idle_seconds: float = 120.0
    """A warm process that served nobody for so long is ended."""
    wait_seconds: float = 30.0
    """How long an invocation waits while every process is busy."""
    start_seconds: float = 10.0
    """How long a process may take until it asks for its first event (Lambda's own limit of the init phase)."""
    credential_seconds: float = 60.0
    """A warm process whose credentials have no more than this left is replaced."""


class NoProcess(FunctionError):
    """No process could be had."""

    def __init__(self, kind: FaultKind, error_type: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.error_type = error_type


@dataclass(slots=True)
class _Start:
    """The right to start one process, and so a place that is taken."""

    secret_arn: str
    forgotten: bool = False


class ProcessPool:
    """Lends processes out: `acquire` one, then `release` it, whatever happened in between."""

    def __init__(self, limits: PoolLimits, clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._changed = threading.Condition()
        self._idle: list[FunctionProcess] = []
        self._busy: set[FunctionProcess] = set()
        self._ending: list[FunctionProcess] = []
        self._starting: list[_Start] = []
        self._closed = False
        self._next_look = 0.0
        # The kernel ties a process's life to the thread that forked it, so one thread, as old as the pool, forks all.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="functions-starter")
        self._reaper = threading.Thread(target=self._reap, name="functions-reaper", daemon=True)
        self._reaper.start()

    def acquire(
        self, key: ProcessKey, spec: Callable[[], ProcessSpec], fresh: timedelta, abort: threading.Event
    ) -> tuple[FunctionProcess, bool]:
        """Return a process for `key`, and whether it was started for this call; `spec` is called only then.

        `fresh` is the time for which a warm process's credentials must still be good. Raises NoProcess when the pool
        stays full, is closed, `abort` is set, or the machine cannot start a process; and whatever `spec` raises.
        """
        claimed = self._claim(key, fresh, abort)
        if isinstance(claimed, FunctionProcess):
            return claimed, False
        try:
            process = self._start(spec())
        except BaseException:
            self._give_up(claimed)
            raise
        with self._changed:
            process.forgotten = claimed.forgotten
            self._busy.add(process)
        self._give_up(claimed)
        if self.closed:
            self.release(process, reusable=False)
            raise _closed()
        return process, True

    def release(self, process: FunctionProcess, *, reusable: bool) -> None:
        """Take a process back; one that cannot be used again has ended when this returns."""
        with self._changed:
            keep = reusable and not (self._closed or process.forgotten)
            if keep:
                self._busy.discard(process)
                process.idle_since = time.monotonic()
                self._idle.append(process)
                self._changed.notify_all()
        if not keep:
            process.end()
            with self._changed:
                self._busy.discard(process)
                self._changed.notify_all()

    def warm(self, function_arn: str, secret_arn: str) -> FunctionProcess | None:
        """Return the idle process that the next invocation for the pair would be served by, without taking it."""
        margin = timedelta(seconds=self._limits.credential_seconds)
        with self._changed:
            for process in reversed(self._idle):
                if (process.key.function_arn, process.key.secret_arn) == (function_arn, secret_arn):
                    return process if self._usable(process, margin) else None
        return None

    def forget(self, secret_arn: str) -> None:
        """Kill the idle processes of a secret; those that are busy or starting end after the invocation in hand."""
        with self._changed:
            for process in [*self._busy, *self._idle]:
                if process.key.secret_arn == secret_arn:
                    process.forgotten = True
            for start in self._starting:
                start.forgotten |= start.secret_arn == secret_arn
            self._discard([process for process in self._idle if process.forgotten])

    @property
    def closed(self) -> bool:
        """True from the beginning of `close`."""
        with self._changed:
            return self._closed

    def close(self) -> None:
        """Kill every process and wait until they are gone; safe to call twice."""
        with self._changed:
            self._closed = True
            for process in self._busy:
                process.kill()
            self._discard(list(self._idle))
            self._changed.notify_all()
            self._changed.wait_for(lambda: not (self._busy or self._starting), _JOIN_SECONDS)
        self._reaper.join(_JOIN_SECONDS)
        self._starter.shutdown(wait=False, cancel_futures=True)

    def _claim(self, key: ProcessKey, fresh: timedelta, abort: threading.Event) -> FunctionProcess | _Start:
        """Take a warm process, or the right to start one."""
        until = time.monotonic() + self._limits.wait_seconds
        margin = max(fresh, timedelta(seconds=self._limits.credential_seconds))
        with self._changed:
            while True:
                if self._closed:
                    raise _closed()
                if abort.is_set():
                    raise NoProcess(
                        FaultKind.ABORTED, "Turnlock.Aborted", "Aborted before a process was free"
                    )
                claimed = self._take_warm(key, margin) or self._take_place(key)
                if claimed is not None:
                    return claimed
                left = until - time.monotonic()
                if left <= 0:
                    sentence = f"Every process was busy for {self._limits.wait_seconds:g} seconds"
                    raise NoProcess(FaultKind.UNAVAILABLE, "TooManyRequestsException", sentence)
                self._changed.wait(min(left, _ABORT_TICK_SECONDS))

    def _take_warm(self, key: ProcessKey, margin: timedelta) -> FunctionProcess | None:
        matching = [process for process in self._idle if process.key == key]
        stale = [process for process in matching if not self._usable(process, margin)]
        self._discard(stale)
        usable = [process for process in matching if process not in stale]
        if not usable:
            return None
        self._idle.remove(usable[-1])
        self._busy.add(usable[-1])
        return usable[-1]

    def _take_place(self, key: ProcessKey) -> _Start | None:
        if self._alive() >= self._limits.processes and self._idle:
            self._discard(self._idle[:1])
        if self._alive() >= self._limits.processes:
            return None
        self._starting.append(_Start(key.secret_arn))
        return self._starting[-1]

    def _give_up(self, start: _Start) -> None:
        """Give back the right to start: it was used, or could not be."""
        with self._changed:
            self._starting = [other for other in self._starting if other is not start]
            self._changed.notify_all()

    def _alive(self) -> int:
        """Count the processes, without those that are already killed."""
        return len(self._idle) + len(self._busy) + len(self._starting)

    def _usable(self, process: FunctionProcess, margin: timedelta) -> bool:
        return not process.exited and process.credentials.good_for(margin, now=self._clock.now())

    def _discard(self, processes: list[FunctionProcess]) -> None:
        """Kill idle processes now and leave their remains to the reaper. The caller holds the lock."""
        for process in processes:
            process.kill()
            self._idle.remove(process)
        if processes:
            self._ending += processes
            self._changed.notify_all()

    def _start(self, spec: ProcessSpec) -> FunctionProcess:
        try:
            future: Future[FunctionProcess] = self._starter.submit(FunctionProcess, spec)
        except RuntimeError:
            raise _closed() from None
        try:
            return future.result(self._limits.start_seconds)
        except TimeoutError:
            if not future.cancel():
                future.add_done_callback(_end_late)
            raise NoProcess(
                FaultKind.UNAVAILABLE, "Turnlock.StartFailed", "No process could be forked in time"
            ) from None
        except OSError as error:
            sentence = f"No process could be started: {error.strerror}"
            raise NoProcess(FaultKind.UNAVAILABLE, "Turnlock.StartFailed", sentence) from None

    def _reap(self) -> None:
        """End what is discarded or idle for too long, until the pool is closed and nothing is left."""
        while True:
            with self._changed:
                if not (self._ending or self._closed):
                    self._changed.wait(self._until_next_expiry())
                limit = time.monotonic() - self._limits.idle_seconds
                self._discard([process for process in self._idle if process.idle_since <= limit])
                self._discard(self._restless())
                ending, self._ending = self._ending, []
                finished = self._closed
            for process in ending:
                process.end()
            if finished and not ending:
                return

    def _restless(self) -> list[FunctionProcess]:
        """Return the processes that were stopped by signals and run all the same: nothing may run on behalf of no event."""
        if time.monotonic() < self._next_look:
            return []
        self._next_look = time.monotonic() + _LOOK_SECONDS
        found = [process for process in self._idle if process.must_be_watched and process.runs_on()]
        for process in found:
            structlog.get_logger("turnlock.functions").warning(
                "a function ran between two events and was ended",
                action="function_restless",
                function=process.key.function_arn,
            )
        return found

    def _until_next_expiry(self) -> float:
        """Return the seconds until the least recently used process has been idle for too long, or one must be looked at."""
        if not self._idle:
            return self._limits.idle_seconds
        left = max(0.0, self._idle[0].idle_since + self._limits.idle_seconds - time.monotonic())
        return min(left, _LOOK_SECONDS) if any(one.must_be_watched for one in self._idle) else left


def _closed() -> NoProcess:
    return NoProcess(FaultKind.ABORTED, "Turnlock.Aborted", "The server is shutting down")


def _end_late(future: Future[FunctionProcess]) -> None:
    """End a process that came after everybody had stopped waiting for it."""
    if future.exception() is None:
        future.result().end()
