"""Become another program that ends when the starting process ends; run as a script, never imported for its effects.

    python -I -S launch.py OWNER_PID UID GID PROGRAM [ARGUMENT …]

UID and GID are -1 to keep the present ones. It is a program of its own because nothing may run Python between fork and
exec in a process with threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Drop to the account, bind this process's life to its parent's, and execute the program."""
    owner, uid, gid = (int(text) for text in arguments[:3])
    program = arguments[3:]
    if uid >= 0:
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    # After the change of user, which clears the setting. SIGQUIT is PostgreSQL's immediate shutdown; a shell that starts
    # something in the background has it ignored, and programs inherit that.
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    if ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGQUIT), 0, 0, 0) != 0:
        sys.exit("this kernel cannot bind a process to its parent's life")
    if os.getppid() != owner:  # it ended before the line above
        sys.exit("the owner is gone")
    os.execv(program[0], program)  # noqa: S606  (no shell is the point)


if __name__ == "__main__":
    main(sys.argv[1:])
