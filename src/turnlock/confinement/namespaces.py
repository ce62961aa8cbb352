"""Namespaces and a user of a process's own: what hides all others from it, and takes all it started with it when it ends.

    launcher ── waits ──┐      as the function's own user, outside the new process namespace
      ├─ init           │      the first in it: when it ends, the kernel ends every process in there
      └─ the function ◀─┘      the second

The launcher holds the only writing end of init's lifeline: however it ends (SIGKILL from the server, the server's own end),
the line breaks, init ends, and nothing that the function started is left, whatever session or group it moved to.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

from turnlock.confinement import kernel

FIRST_USER: Final = 0x7000_0000
"""The user of a process started by root is this number plus its process id: nobody's, and no two live ones' the same.

It lies above what systemd hands to containers and below what a signed 32-bit number ends at (systemd, UIDS-GIDS).
"""
_FLAGS = kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC


def own_user() -> int:
    """Return the user that the function will be: a fresh one where this process is root, else the present one."""
    return FIRST_USER + os.getpid() if os.geteuid() == 0 else os.geteuid()


def enter() -> bool:
    """Move to new namespaces: mounts and IPC at once, processes for what is started next. False where the kernel refuses.

    Without root a user namespace comes first, in which this process may do what the others need.
    """
    user, group = os.geteuid(), os.getegid()
    try:
        kernel.unshare(_FLAGS if user == 0 else _FLAGS | kernel.CLONE_NEWUSER)
        if user != 0:
            _write("setgroups", "deny")
            _write("uid_map", f"{user} {user} 1")
            _write("gid_map", f"{group} {group} 1")
        kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    except OSError:
        return False
    return True


def _write(name: str, text: str) -> None:
    Path(f"/proc/self/{name}").write_text(text, encoding="ascii")


def become(user: int) -> None:
    """Give up root for `user`, with no group but its own; where this process is not root, only its capabilities.

    Never root: SystemExit when the kernel does not let go of it.
    """
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    if 0 in (*os.getresuid(), *os.getresgid()):
        sys.exit("a function may not run as root")


def settle_apart(user: int, keep_owner: Callable[[], None]) -> None:
    """Return in the function's process, second in the new process namespace, with a /proc of its own.

    The calling process stays behind as the launcher and never returns; `keep_owner` ties it to its owner again once it
    is no longer root, which the kernel takes as a reason to forget the tie.
    """
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(writing)
        _be_init(user, reading)
    os.close(reading)
    function = os.fork()
    if function != 0:
        become(user)
        keep_owner()
        _end_as(function)
    os.close(writing)
    with suppress(OSError):  # in a container's mask of /proc; then no rule will allow it
        kernel.mount("proc", "/proc", "proc", kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)


def _be_init(user: int, lifeline: int) -> NoReturn:
    """Wait for the launcher's end; orphans are reaped by the kernel."""
    try:
        become(user)
        # Also while it is stopped, as a function is between two events: then it would not see the line break.
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        _let_go_of_output()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        os.read(lifeline, 1)
    finally:
        os._exit(0)


def _end_as(function: int) -> NoReturn:
    """Wait for the function and end as it did."""
    _let_go_of_output()
    status = os.waitstatus_to_exitcode(os.waitpid(function, 0)[1])
    if status < 0:
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status if status >= 0 else 128 - status)


def _let_go_of_output() -> None:
    """Leave the pipe to the function alone: its reader must see when the last writer is gone."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
