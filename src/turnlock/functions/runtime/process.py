"""One process of one function: started confined, given one event at a time, killed with everything it started."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from turnlock.confinement import cgroups
from turnlock.confinement.orders import Confinement, Demand, Place, shown
from turnlock.confinement.start import start
from turnlock.core.credentials import TemporaryCredentials
from turnlock.functions.runtime.faults import Answer, Failure
from turnlock.functions.runtime.launcher import FunctionOrders
from turnlock.functions.runtime.log_lines import FunctionOutput
from turnlock.functions.runtime.runtime_api import Delivery, Phase, RuntimeApi
from turnlock.functions.runtime.watch import MOST_TASKS, Excess, Watch

OPEN_FILES: Final = 1024
"""Lambda's quota of file descriptors."""
CPU_SECONDS: Final = 3600
"""Of one process over its whole life; an invocation is bounded by the wall clock."""

_LAUNCHER = Path(__file__).with_name("launcher.py")
_TICK_SECONDS = 0.05
"""How often an abort and a silent death are looked for; everything else wakes the waiter at once."""
_TASKS_AT_REST = 32
"""How far the kernel's limit lies above the watch's: a bomb that the kernel stops goes on burning until the watch ends it."""
_LAUNCHER_BYTES = 64 * 1024 * 1024
"""What the two processes of the launcher may keep beside the function's memory and /tmp."""
_NICE_WEIGHT = 10
"""The share of the CPU, of 100, that goes with a nice value above 0."""
_SETTLE_SECONDS = 1.0
_REAP_SECONDS = 5.0
_BASE_ENVIRONMENT: Final[Mapping[str, str]] = {
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "TZ": ":UTC",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessKey:
    """What two invocations must have in common to be served by the same process."""

    function_arn: str
    secret_arn: str
    memory_bytes: int
    environment: frozenset[tuple[str, str]] = field(repr=False)
    revision: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """How to start a process."""

    key: ProcessKey
    task_root: Path
    """Where the package lies."""
    seen_at: Path | None = None
    """Where the function sees it; None for where it lies. `command` and `work_in` are by the paths that it sees."""
    environment: Mapping[str, str] = field(repr=False)
    """The function's environment, but for what the process adds: the API's address, HOME, TMPDIR and the package's place."""
    credentials: TemporaryCredentials
    command: tuple[str, ...] = ()
    """The program that takes events; empty for a Python handler."""
    work_in: Path | None = None
    """The working directory; None for the process's own home."""
    places: tuple[Place, ...] = ()
    """What it sees beside the system's files, the interpreter's and its package."""
    demand: Demand = "offered"
    address_bytes: int | None = None
    """Address space of each of its processes; None for no limit of that kind."""
    memory_bytes: int
    """What all its processes together may keep in memory."""
    disk_bytes: int
    nice: int = 0
    log_stream: str = ""
    freezes: bool = False
    """Whether it is stopped between two events."""


class Wait(Enum):
    """How waiting for a process ended."""

    REACHED = "reached"
    """What was waited for has happened."""
    DEADLINE = "deadline"
    """Time is up."""
    ABORTED = "aborted"
    """The caller does not want the answer any more."""
    DIED = "died"
    """The process is gone, and what was waited for cannot happen any more."""


class FunctionProcess:
    """A running function.

    Constructing starts it; OSError when the machine refuses. The thread that constructs must live as long as the
    process may: the kernel kills the process when that thread ends. All methods but `kill` belong to whoever holds
    the process, one thread at a time.
    """

    def __init__(self, spec: ProcessSpec) -> None:
        self.key = spec.key
        self.credentials = spec.credentials
        self.log_stream = spec.log_stream
        self._freezes = spec.freezes
        self.frozen = False
        """True between two events, where it is stopped then."""
        self._stopped = False
        self._found_running = 0
        self.forgotten = False
        """True when it must not serve again."""
        self.idle_since = 0.0
        """`time.monotonic()` of its last release."""
        self._reaping = threading.Lock()
        self._exit_status: int | None = None
        self.excess: Excess | None = None
        """The limit for which it was killed."""
        self._home = tempfile.mkdtemp(prefix="turnlock-function-")
        self.api = RuntimeApi()
        self._cgroup: cgroups.Cgroup | None = None
        try:
            self._cgroup = _make_cgroup(spec)
            self._popen = start(self._orders(spec), launcher=_LAUNCHER)
        except OSError:
            self.api.close()
            self._leave_nothing()
            raise
        assert self._popen.stdout is not None
        self._pipe = self._popen.stdout
        self.output = FunctionOutput(self._pipe.fileno())
        self._watch = Watch(self.pid, self.output, memory_bytes=spec.memory_bytes)

    @property
    def pid(self) -> int:
        """The process id, which is also its process group's and its session's."""
        return self._popen.pid

    @property
    def most_memory_bytes(self) -> int:
        """The most that its processes were seen to keep in memory at once."""
        self._watch.look()
        return self._watch.most_memory_bytes

    @property
    def secrets(self) -> frozenset[str]:
        """What the process was given and no log may show."""
        return frozenset(
            (self.credentials.secret_access_key, self.credentials.session_token, self.api.prefix[1:])
        )

    @property
    def exited(self) -> bool:
        """True when it has ended by itself or was killed."""
        with self._reaping:
            if self._exit_status is not None:
                return True
            # Without reaping: as long as the zombie holds the number, the group's id cannot name anybody else.
            try:
                return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
            except ChildProcessError:
                return True

    @property
    def exit_status(self) -> int | None:
        """The exit status, or the negative number of the signal that ended it; None before `end`."""
        return self._exit_status

    def await_start(self, seconds: float, abort: threading.Event) -> Wait:
        """Wait until it takes events or says that it cannot."""
        return self._wait(lambda: self.api.phase in (Phase.READY, Phase.FAILED), seconds, abort)

    def run(self, delivery: Delivery, seconds: float, abort: threading.Event) -> Wait:
        """Hand over one event and wait for its outcome, which is then in `outcome`."""
        self._thaw()
        if not self.api.offer(delivery):
            return Wait.DIED
        return self._wait(lambda: self.outcome is not None, seconds, abort)

    @property
    def outcome(self) -> Answer | Failure | None:
        """What it said last."""
        return self.api.outcome

    def settle(self, abort: threading.Event) -> bool:
        """Wait, shortly, until it asks for the next event; False when it does not, and so cannot serve again."""
        return self._wait(lambda: self.api.phase is Phase.READY, _SETTLE_SECONDS, abort) is Wait.REACHED

    def freeze(self) -> None:
        """Stop every process of it until the next event, as Lambda does: nothing runs on behalf of no event."""
        if not self._freezes:
            return
        self.frozen = True
        if self._cgroup is not None and "freeze" in self._cgroup.features:
            with contextlib.suppress(OSError):
                self._cgroup.freeze(True)
                return
        self._stopped = True
        self._found_running = 0
        self._watch.signal(signal.SIGSTOP)
        self._watch.note_rest()

    @property
    def must_be_watched(self) -> bool:
        """Whether it is stopped by signals, which its processes could send to each other: `runs_on` must be asked often."""
        return self._stopped

    def runs_on(self) -> bool:
        """Tell whether what was stopped by signals was found to run at two looks in a row.

        One look is not enough: on a busy machine a process gets its signal, and the CPU time to obey it, some time after it was sent.
        """
        if self._watch.is_at_rest():
            self._found_running = 0
            return False
        self._watch.note_rest()
        self._found_running += 1
        return self._found_running > 1

    def _thaw(self) -> None:
        if self.frozen and not self._stopped and self._cgroup is not None:
            with contextlib.suppress(OSError):
                self._cgroup.freeze(False)
        elif self._stopped:
            self._watch.signal(signal.SIGCONT)
        self.frozen = self._stopped = False

    def kill(self) -> None:
        """Kill it and its process group; may be called by any thread, at any time."""
        with self._reaping:
            if self._exit_status is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.pid, signal.SIGKILL)
                if self._cgroup is not None:
                    self._cgroup.kill()

    def end(self) -> None:
        """Kill it, reap it, and give back everything it held; safe to call twice."""
        self.kill()
        with self._reaping:
            if self._exit_status is not None:
                return
            self._exit_status = self._reap()
        self.output.pump()
        self.api.close()
        self._pipe.close()
        if self._cgroup is not None and self._cgroup.ran_out_of_memory:
            self.excess = Excess.MEMORY
        self._leave_nothing()

    def _leave_nothing(self) -> None:
        if self._cgroup is not None:
            self._cgroup.remove()
        shutil.rmtree(self._home, ignore_errors=True)

    def _reap(self) -> int:
        try:
            return self._popen.wait(_REAP_SECONDS)
        except subprocess.TimeoutExpired:
            # It hangs in the kernel and dies when that lets go of it; `subprocess` reaps such children later.
            return -signal.SIGKILL

    def _orders(self, spec: ProcessSpec) -> FunctionOrders:
        added = {"AWS_LAMBDA_RUNTIME_API": self.api.address + self.api.prefix}
        return FunctionOrders(
            owner_pid=os.getpid(),
            owner_signal=signal.SIGKILL,
            command=list(spec.command),
            task_root=str(spec.seen_at or spec.task_root),
            task_source=str(spec.task_root),
            environment={**_BASE_ENVIRONMENT, **spec.environment, **added},
            work_in=str(spec.work_in or ""),
            cgroup="" if self._cgroup is None else str(self._cgroup.path),
            confinement=self._confinement(spec),
        )

    def _confinement(self, spec: ProcessSpec) -> Confinement:
        return Confinement(
            demand=spec.demand,
            system_calls="function",
            places=[shown(str(spec.task_root), at=str(spec.seen_at or "")), *spec.places],
            interpreter=True,
            etc={},
            home=self._home,
            home_bytes=spec.disk_bytes,
            shm_bytes=0,
            user=None,
            bind_ports=[],
            connects=True,
            memory_counted=self._cgroup is not None and "memory" in self._cgroup.features,
            processes=MOST_TASKS + _TASKS_AT_REST,
            address_bytes=spec.address_bytes,
            file_bytes=spec.disk_bytes,
            cpu_seconds=CPU_SECONDS,
            open_files=OPEN_FILES,
            nice=spec.nice,
        )

    def _wait(self, reached: Callable[[], bool], seconds: float, abort: threading.Event) -> Wait:
        """Wait for `reached`, keeping the pipe empty so that the function never blocks on its own output."""
        until = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.api.wake_fd, selectors.EVENT_READ)
            if not self.output.ended:
                selector.register(self._pipe, selectors.EVENT_READ)
            while True:
                died = self.exited
                self.api.clear_wake()
                self.output.pump()
                # Looked at after `died`, for an answer may have come with the last breath.
                if reached():
                    return Wait.REACHED
                if died:
                    return Wait.DIED
                if abort.is_set():
                    return Wait.ABORTED
                self.excess = self._watch.look()
                if self.excess is not None:
                    self.kill()
                    return Wait.DIED
                left = until - time.monotonic()
                if left <= 0:
                    return Wait.DEADLINE
                self._sleep(selector, min(left, _TICK_SECONDS))

    def _sleep(self, selector: selectors.BaseSelector, seconds: float) -> None:
        """Sleep until something happens. A pipe at its end is always readable and is no longer listened to."""
        if self.output.ended and len(selector.get_map()) > 1:
            selector.unregister(self._pipe)
        selector.select(seconds)


def _make_cgroup(spec: ProcessSpec) -> cgroups.Cgroup | None:
    """Return a cgroup with the limits of a process; None where this server may make none."""
    owner = cgroups.own()
    if owner is None or spec.demand == "none":
        return None
    made = owner.make()
    made.limit(
        memory_bytes=spec.memory_bytes + spec.disk_bytes + _LAUNCHER_BYTES,
        processes=MOST_TASKS + _TASKS_AT_REST,
        cpu_weight=_NICE_WEIGHT if spec.nice else cgroups.CPU_WEIGHT,
    )
    return made
