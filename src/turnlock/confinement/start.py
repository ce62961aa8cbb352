"""Starting a confined child from the server: the orders go to the launcher in memory, and nothing of them is seen outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any, Final

from turnlock.confinement.orders import Orders

LAUNCHER: Final = Path(__file__).with_name("launcher.py")
_ENVIRONMENT: Final = {"LANG": "C.UTF-8", "PATH": "/usr/local/bin:/usr/bin:/bin", "TZ": ":UTC"}
"""Of the launcher; the child's is in its orders."""


def start(
    orders: Orders, *, output: int | IO[Any] = subprocess.PIPE, launcher: Path = LAUNCHER
) -> subprocess.Popen[bytes]:
    """Start the launcher, in a session of its own; OSError when the machine refuses.

    The process that is returned is the launcher: it passes signals on, and its exit status is the child's, `walls.REFUSED` when a
    required wall could not be had (the reason is on `output`, where the child's standard output and error go). SIGKILL to it ends all
    that the child started, where there are namespaces. The calling thread must live as long as the child may: the kernel gives the
    child `owner_signal` when that thread ends.
    """
    letter = os.memfd_create("orders", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(letter), "wb") as target:
            target.write(json.dumps(orders).encode())
        os.lseek(letter, 0, os.SEEK_SET)
        return subprocess.Popen(  # noqa: S603 -- our own interpreter and our own file
            [sys.executable, "-I", "-B", str(launcher)],
            stdin=letter,
            stdout=output,
            stderr=subprocess.STDOUT,
            bufsize=0,
            cwd="/",
            env=_ENVIRONMENT,
            start_new_session=True,
        )
    finally:
        os.close(letter)
