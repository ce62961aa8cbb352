"""Namespaces and a user of a process's own: what hides all others from it, and takes all it started with it when it ends.

    launcher ── waits ──┐      as the child's own user, outside the new process namespace
      ├─ init           │      the first in it: when it ends, the kernel ends every process in there
      └─ the child ◀────┘      the second

The launcher holds the only writing end of init's lifeline: however it ends (SIGKILL from the server, the server's own end),
the line breaks, init ends, and nothing that the child started is left, whatever session or group it moved to. Signals that ask a
program to do something (SIGTERM, SIGINT, SIGHUP, …) are passed on by the launcher, which ends as the child did.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

from turnlock.confinement import kernel
from turnlock.confinement.orders import Confinement

FIRST_USER: Final = 0x7000_0000
"""The user of a process started by root is this number plus its process id: nobody's, and no two live ones' the same.

It lies above what systemd hands to containers and below what a signed 32-bit number ends at (systemd, UIDS-GIDS).
"""
_FLAGS = kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWIPC


_PASSED_ON = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
_ORPHAN_SECONDS = 60
"""How long a child may take to end once its owner is gone and has left it to do so in good order."""


def user_of(wanted: Confinement) -> tuple[int, int]:
    """Return (uid, gid) that the child will be: where this process is root the given or a fresh one, else the present one."""
    if os.geteuid() != 0:
        return os.geteuid(), os.getegid()
    fresh = FIRST_USER + os.getpid()
    uid, gid = wanted["user"] or (fresh, fresh)
    return uid, gid


def enter() -> None:
    """Move to new namespaces: mounts and IPC at once, processes for what is started next. OSError where the kernel refuses.

    Without root a user namespace comes first, in which this process may do what the others need.
    """
    user, group = os.geteuid(), os.getegid()
    kernel.unshare(_FLAGS if user == 0 else _FLAGS | kernel.CLONE_NEWUSER)
    if user != 0:
        _write("setgroups", "deny")
        _write("uid_map", f"{user} {user} 1")
        _write("gid_map", f"{group} {group} 1")
    kernel.mount("none", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)


def _write(name: str, text: str) -> None:
    Path(f"/proc/self/{name}").write_text(text, encoding="ascii")


def become(user: tuple[int, int]) -> None:
    """Give up root for `user`, with no group but its own; where this process is not root, only its capabilities.

    Never root: SystemExit when the kernel does not let go of it.
    """
    if os.geteuid() == 0:
        uid, gid = user
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    if 0 in (*os.getresuid(), *os.getresgid()):
        sys.exit("a confined process may not run as root")


def settle_apart(user: tuple[int, int], keep_owner: Callable[[], None]) -> None:
    """Return in the child's process, second in the new process namespace.

    The calling process stays behind as the launcher and never returns; `keep_owner` ties it to its owner again once it
    is no longer root, which the kernel takes as a reason to forget the tie.
    """
    reading, writing = os.pipe()
    if os.fork() == 0:
        os.close(writing)
        _be_init(user, reading)
    os.close(reading)
    owner = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _PASSED_ON)
    child = os.fork()
    if child != 0:
        _pass_on_signals(child, owner)
        become(user)
        keep_owner()
        _end_as(child)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)
    os.close(writing)


def _pass_on_signals(child: int, owner: int) -> None:
    """Give the child what the launcher is told; a child whose owner has ended is given a time to end, then killed."""

    def pass_on(number: int, _frame: FrameType | None) -> None:
        os.kill(child, number)
        if os.getppid() != owner:
            signal.alarm(_ORPHAN_SECONDS)

    for number in _PASSED_ON:
        signal.signal(number, pass_on)
    signal.signal(signal.SIGALRM, lambda *_: os.kill(child, signal.SIGKILL))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _PASSED_ON)


def _be_init(user: tuple[int, int], lifeline: int) -> NoReturn:
    """Wait for the launcher's end; orphans are reaped by the kernel."""
    try:
        become(user)
        # Also while it is stopped, as functions are between two events: then it would not see the line break.
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        _let_go_of_output()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        os.read(lifeline, 1)
    finally:
        os._exit(0)


def _end_as(child: int) -> NoReturn:
    """Wait for the child and end as it did."""
    _let_go_of_output()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status < 0:
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status if status >= 0 else 128 - status)


def _let_go_of_output() -> None:
    """Leave the pipe to the child alone: its reader must see when the last writer is gone."""
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.close(null)
