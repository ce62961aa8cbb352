"""What this machine gives for confining children, and what it leaves open: asked of the kernel, not of version numbers."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

from turnlock.confinement import cgroups, landlock, places
from turnlock.confinement.orders import Confinement, Orders
from turnlock.confinement.start import start

_PROBE_SECONDS = 20.0
_MIB = 1024 * 1024

NO_PLACES: Final = (
    "hosted functions have no root directory of their own: they change modes, times and attributes of what the server's user owns,"
    " and connect to its sockets that have a path"
)
NO_PORTS: Final = "functions can bind TCP ports, but not listen at them (Landlock of ABI 4, Linux 6.7)"
NO_SCOPES: Final = "abstract Unix sockets of the machine can be connected to (Landlock of ABI 6, Linux 6.12)"
NO_MEMORY: Final = (
    "no cgroup counts memory: the kernel's own for sockets, pipes and file locks of a function is bounded by its number of"
    " files alone, and it has no memfd, shared anonymous maps or System V IPC"
)
NO_FREEZING: Final = "no cgroup freezes functions between two events: signals stop them, and one that runs is ended within 0.5 s"
CORES_PIPED: Final = (
    "the kernel starts the program of kernel.core_pattern, as root, for a child that crashes: the server was started with a hard limit of"
    " 0 bytes for cores, where 1 would keep it from that (LimitCORE=1)"
)
NO_CPU: Final = "no cgroup shares the CPU out: functions give way by nice(2) alone, local databases do not"
NO_DATABASE_MEMORY: Final = (
    "no cgroup counts the memory of local databases: a statement can use up the machine's"
)


@cache
def missing() -> str | None:
    """Return why a child cannot have all that is required of its walls, in words; None when it can.

    A child that does nothing is started with all of them, once for each process that asks.
    """
    home = tempfile.mkdtemp(prefix="turnlock-probe-")
    try:
        status, output = _run(_nothing(home))
    except subprocess.TimeoutExpired:
        return "A confined process did not start in time."
    except OSError as error:
        return f"A confined process cannot be started: {error.strerror}."
    finally:
        Path(home).rmdir()
    if status == 0:
        return None
    return output.decode(errors="replace").strip()[-400:] or "A confined process ended at once."


def _run(orders: Orders) -> tuple[int, bytes]:
    """Return the exit status and the output of a child that ends by itself."""
    with start(orders) as process:
        try:
            output, _ = process.communicate(timeout=_PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return process.returncode, output


def left_open() -> list[str]:
    """Return what the walls of this machine do not hold though all that is required is there, a phrase for each."""
    own = cgroups.own()
    features = frozenset() if own is None else own.features
    version = landlock.abi()
    told = {
        NO_PORTS: version < 4,
        NO_SCOPES: version < landlock.WHOLE,
        NO_MEMORY: "memory" not in features,
        NO_DATABASE_MEMORY: "memory" not in features,
        NO_FREEZING: "freeze" not in features,
        NO_CPU: "cpu" not in features,
        CORES_PIPED: _cores_are_piped(),
    }
    return [phrase for phrase, is_open in told.items() if is_open]


def _cores_are_piped() -> bool:
    """Tell whether the kernel starts a program for a child that crashes: one named by a pipe, where children must have the limit 0."""
    with suppress(OSError):
        pattern = Path("/proc/sys/kernel/core_pattern").read_text(encoding="utf-8")
        return pattern.startswith("|") and resource.getrlimit(resource.RLIMIT_CORE)[1] == 0
    return False


def shown_with(paths: Iterable[Path]) -> tuple[Path, str] | None:
    """Return the first of the paths that lies within what every child sees, and the directory in which it does; None for none."""
    seen = [os.path.realpath(place) for place in (*places.system_places(), *places.interpreter_places())]
    for path in paths:
        real = Path(os.path.realpath(path))
        for place in seen:
            if real.is_relative_to(place):
                return path, place
    return None


def _nothing(home: str) -> Orders:
    """Return the orders of a child that ends once its walls are up."""
    return Orders(
        owner_pid=os.getpid(),
        owner_signal=signal.SIGKILL,
        command=[],
        environment={},
        work_in="",
        cgroup="",
        confinement=Confinement(
            demand="required",
            system_calls="function",
            places=[],
            interpreter=False,
            etc={},
            home=home,
            home_bytes=_MIB,
            shm_bytes=0,
            user=None,
            bind_ports=[],
            connects=False,
            memory_counted=False,
            processes=None,
            address_bytes=None,
            file_bytes=None,
            cpu_seconds=None,
            open_files=64,
            nice=0,
        ),
    )
