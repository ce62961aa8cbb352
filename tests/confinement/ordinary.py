"""Becoming an ordinary user of the machine, of no account and no groups, who can still reach this Python: for root's tests."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from turnlock.confinement import kernel, namespaces, places, seccomp
from turnlock.confinement.orders import Confinement, shown

UID = 54321


def confinement(home: Path, seen: list[Path]) -> Confinement:
    """Return the walls of a child that sees the system, this Python and some directories."""
    return Confinement(
        demand="required",
        system_calls="function",
        places=[shown(str(path)) for path in seen],
        interpreter=True,
        etc={},
        home=str(home),
        home_bytes=256 << 20,
        shm_bytes=0,
        user=(UID, UID),
        bind_ports=[],
        connects=True,
        memory_counted=False,
        processes=None,
        address_bytes=None,
        file_bytes=None,
        cpu_seconds=None,
        open_files=1024,
        nice=0,
    )


def become_ordinary(base: Path, *seen: Path, groups: Sequence[int] = ()) -> None:
    """Return in a process of user UID, which sees only the system, this Python, a /tmp of its own and `seen`.

    `base` is an empty directory; `groups` are supplementary ones. The calling process, which must be root, waits and ends as that one does.
    """
    os.umask(0o022)
    namespaces.enter()
    # All devices and shared memory: what it starts may be a database.
    all_of_it = {**confinement(base, list(seen)), "system_calls": "server", "shm_bytes": 64 << 20}
    places.build_root(cast("Confinement", all_of_it), (UID, UID))
    if child := os.fork():
        os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) & 0xFF)
    kernel.mount("proc", f"{base}/proc", "proc")
    kernel.change_root(str(base))
    os.setgroups(groups)
    os.setresgid(UID, UID, UID)
    os.setresuid(UID, UID, UID)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    os.environ.update(HOME="/tmp", TMPDIR="/tmp")


def forbid_namespaces() -> None:
    """Refuse this process and all that it starts new user namespaces, as some distributions do to ordinary users."""
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    column = seccomp.MACHINES[os.uname().machine][1]
    number = seccomp._UNSHARE[column]
    refused = (0x06, 0, 0, 0x0005_0000 | errno.ENOSPC)  # as where max_user_namespaces is 0
    made = [(0x20, 0, 0, 0), (0x15, 0, 1, number), refused, (0x06, 0, 0, seccomp.ALLOW)]
    kernel.filter_system_calls(b"".join(struct.pack("=HBBI", *one) for one in made), len(made))
