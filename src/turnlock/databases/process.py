"""A child process that never outlives the process that started it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from threading import Thread

from turnlock.databases import launch

HOST = "127.0.0.1"
"""The only address that a server started here listens on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The system user that a server runs as."""

    uid: int
    gid: int


def start_bound(program: Sequence[str], *, account: Account | None, log: Path) -> subprocess.Popen[bytes]:
    """Start `program` with an empty environment and its output appended to `log`; return its process.

    The kernel sends it SIGQUIT when this process ends, however it ends. That signal follows the *thread* which started
    the child, so a thread of its own starts it and stays until it has ended. OSError when it cannot be started.
    """
    started: Future[subprocess.Popen[bytes]] = Future()

    def keep() -> None:
        try:
            process = _spawn(program, account=account, log=log)
        except OSError as error:
            started.set_exception(error)
            return
        started.set_result(process)
        process.wait()

    Thread(target=keep, name="keeper of a database server", daemon=True).start()
    return started.result(timeout=30)


def _spawn(program: Sequence[str], *, account: Account | None, log: Path) -> subprocess.Popen[bytes]:
    uid, gid = (account.uid, account.gid) if account else (-1, -1)
    launcher = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), str(uid), str(gid)]
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        return subprocess.Popen(  # noqa: S603  (fixed program, no shell)
            [*launcher, *program],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={"LC_ALL": "C"},
            cwd="/",
            start_new_session=True,
        )
    finally:
        os.close(output)


def free_port() -> int:
    """Return a TCP port of HOST that nobody listens on at this moment."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
