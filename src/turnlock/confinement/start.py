"""Starting a confined child from the server: the orders go to the launcher by a pipe, and nothing of them is seen outside."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from turnlock.confinement.orders import Orders

LAUNCHER: Final = Path(__file__).with_name("launcher.py")
_ENVIRONMENT: Final = {"LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin", "TZ": ":UTC"}
"""Of the launcher; the child's is in its orders."""
_PIPE_BYTES = 1024 * 1024
"""More than any orders are, so that handing them over does not wait."""
_HAND_OVER_SECONDS = 10.0
"""For whom the kernel gives no such pipe: its user has too many pages of pipes (pipe(7)), which functions of that user can bring about."""


def start(
    orders: Orders, *, output: int | IO[Any] = subprocess.PIPE, launcher: Path = LAUNCHER
) -> subprocess.Popen[bytes]:
    """Start the launcher, in a session of its own; OSError when the machine refuses.

    The process that is returned is the launcher: it passes signals on, and its exit status is the child's, `walls.REFUSED` when a
    required wall could not be had (the reason is on `output`, where the child's standard output and error go). SIGKILL to it ends all
    that the child started, where there are namespaces. The calling thread must live as long as the child may: the kernel gives the
    child `owner_signal` when that thread ends.
    """
    reading, writing = os.pipe()
    try:
        with suppress(PermissionError):
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        process = subprocess.Popen(  # noqa: S603 -- our own interpreter and our own file
            [sys.executable, "-I", "-B", str(launcher)],
            stdin=reading,
            stdout=output,
            stderr=subprocess.STDOUT,
            bufsize=0,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
        )
        os.close(reading)
        reading = -1
        _hand_over(orders, process, writing)
        return process
    finally:
        for descriptor in (reading, writing):
            if descriptor >= 0:
                os.close(descriptor)


def _hand_over(orders: Orders, process: subprocess.Popen[bytes], writing: int) -> None:
    """Give the launcher its orders, once it is in its cgroup: moving it takes 10 ms, while which its interpreter starts."""
    try:
        if orders["cgroup"]:
            Path(orders["cgroup"], "cgroup.procs").write_text(str(process.pid), encoding="ascii")
        with suppress(BrokenPipeError):  # it has ended already, and whoever waits for it learns that
            _write(writing, json.dumps(orders).encode())
    except OSError:
        process.kill()
        process.communicate()
        raise


def _write(descriptor: int, data: bytes) -> None:
    """Write all of it; TimeoutError when the reader does not come to it, BrokenPipeError when it has ended."""
    os.set_blocking(descriptor, False)
    poller = select.poll()
    poller.register(descriptor, select.POLLOUT)
    until, rest = time.monotonic() + _HAND_OVER_SECONDS, memoryview(data)
    while rest:
        if not poller.poll(max(0.0, until - time.monotonic()) * 1000):
            raise TimeoutError(errno.ETIMEDOUT, "The launcher does not read its orders")
        rest = rest[os.write(descriptor, rest) :]
