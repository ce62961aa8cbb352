"""A child process that never outlives the process that started it, and the log by which one knows that all of it has ended."""

from __future__ import annotations

import fcntl
import os
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from turnlock.errors import ConfigurationError
from turnlock.local_servers import launch

HOST = "127.0.0.1"
"""The only address that a server started here listens on."""

_TICK = 0.02
_LARGEST_READ = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The system user that a server runs as."""

    uid: int
    gid: int


def start_bound(
    program: Sequence[str], *, account: Account | None, log: Path | int
) -> subprocess.Popen[bytes]:
    """Start `program` with an empty environment and its output appended to `log`; return its process.

    `log` is a path, or an open file that stays the caller's. The kernel sends the program SIGQUIT when this process ends, however
    it ends. OSError when it cannot be started.
    """
    if isinstance(log, int):
        return kept_by_a_thread(lambda: _spawn(program, account=account, output=log))
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return kept_by_a_thread(lambda: _spawn(program, account=account, output=output))
    finally:
        os.close(output)


def kept_by_a_thread(
    spawn: Callable[[], subprocess.Popen[bytes]], *, ended: Callable[[], None] = lambda: None
) -> subprocess.Popen[bytes]:
    """Start a child from a thread of its own, which stays until it has ended; OSError as `spawn` raises it.

    The signal that the kernel sends when its owner ends follows the *thread* which started the child. The thread calls `ended` last,
    even when nothing was started.
    """
    started: Future[subprocess.Popen[bytes]] = Future()

    def keep() -> None:
        try:
            process = spawn()
        except OSError as error:
            ended()
            started.set_exception(error)
            return
        started.set_result(process)
        process.wait()
        ended()

    Thread(target=keep, name="keeper of a database server", daemon=True).start()
    return started.result(timeout=30)


def _spawn(program: Sequence[str], *, account: Account | None, output: int) -> subprocess.Popen[bytes]:
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(uid), str(gid)]
    return subprocess.Popen(  # noqa: S603  (fixed program, no shell)
        [*launcher, *program],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env={"LC_ALL": "C"},
        cwd="/",
        start_new_session=True,
    )


def open_log(path: Path, seconds: float) -> int:
    """Open a server's log to append to it, and lock it once nothing of the former server is left; the caller closes it.

    Every process of a server has the log as its standard error, and with it the lock: it is free when the last of them has ended,
    whatever namespaces they were in. ConfigurationError when that takes longer than `seconds`.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise ConfigurationError(
                    f"Processes of the former server still write {path.name}: another server may hold its files."
                ) from None
            time.sleep(_TICK)
        else:
            return descriptor


def read_theirs(path: Path) -> str:
    """Return the text of a small file in a directory that a server writes; empty when it is not there or no regular file.

    What a stranger could put there is not followed, waited for or read without end.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        return os.read(descriptor, _LARGEST_READ).decode(errors="replace")
    finally:
        os.close(descriptor)


def read_since(path: Path, start: int) -> str:
    """Return what was written to a log since it had `start` bytes, its last 64 KiB at most; empty when it is not there."""
    try:
        with path.open("rb") as file:
            file.seek(max(start, file.seek(0, os.SEEK_END) - _LARGEST_READ))
            return file.read(_LARGEST_READ).decode(errors="replace")
    except OSError:
        return ""


def size_of(path: Path) -> int:
    """Return a file's size, 0 when it is not there."""
    return path.stat().st_size if path.exists() else 0


def free_port() -> int:
    """Return a TCP port of HOST that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
