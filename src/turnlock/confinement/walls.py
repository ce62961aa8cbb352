"""Putting the walls up, in the order in which each step still has the power that it needs."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from turnlock.confinement import kernel, landlock, namespaces, places, seccomp
from turnlock.confinement.orders import Confinement

REFUSED: Final = 78
"""The exit status (EX_CONFIG of sysexits.h) that says: what was required to confine the child could not be had."""
LEAST_LANDLOCK: Final = 3
"""The ABI that is required (Linux 6.2). Within namespaces the later ones add: no ports (4), no abstract sockets (6)."""


def confine(wanted: Confinement, keep_owner: Callable[[], None]) -> str:
    """Return in the process that may become the child, another one than the caller where namespaces could be had.

     1  namespaces of its own, and a root directory that shows its places
     2  a process of its own (`namespaces.settle_apart`), which sees no other
     3  limits, a user of its own, no capability and no way to get one
     4  Landlock and the filter of system calls

    The result is the child's home as it sees it. SystemExit when root cannot be given up, and with the status REFUSED when
    something is missing that was required.
    """
    os.umask(0o022)
    user, apart, home = namespaces.user_of(wanted), False, wanted["home"]
    give_way(wanted["nice"])
    if wanted["demand"] != "none":
        apart = _separate(wanted, user)
        if apart:
            namespaces.settle_apart(user, keep_owner)
            _move_in(wanted)
            home = places.SCRATCH if wanted["home_bytes"] else "/"
        elif os.geteuid() == 0:
            os.chown(home, *user)
    apply_limits(wanted, apart=apart)
    if wanted["demand"] != "none":
        namespaces.become(user)
    give_up_powers()
    if wanted["demand"] != "none" and landlock.abi():
        _close_files(wanted, home, apart=apart)
    if wanted["demand"] != "none":
        _filter_calls(wanted)
    return home


def _separate(wanted: Confinement, user: tuple[int, int]) -> bool:
    """Move to namespaces and build the root directory there; False where the kernel refuses and that was not required."""
    try:
        namespaces.enter()
        places.build_root(wanted, user)
    except OSError as error:
        if wanted["demand"] == "required":
            _refuse(f"Namespaces with a root directory of its own are needed: {error.strerror}")
        return False
    if wanted["demand"] == "required" and landlock.abi() < LEAST_LANDLOCK:
        _refuse(f"Landlock ABI {LEAST_LANDLOCK} (Linux 6.2) is needed, and this kernel has {landlock.abi()}")
    return True


def _move_in(wanted: Confinement) -> None:
    try:
        places.move_in(wanted["home"])
    except OSError as error:
        _refuse(f"The root directory cannot be changed: {error.strerror}")


def _filter_calls(wanted: Confinement) -> None:
    try:
        seccomp.install(wanted["system_calls"], memory_counted=wanted["memory_counted"])
    except OSError as error:
        if wanted["demand"] == "required":
            _refuse(f"A filter of system calls is needed: {error.strerror}")


def _refuse(reason: str) -> None:
    sys.stderr.write(f"{reason}.\n")
    sys.exit(REFUSED)


def _close_files(wanted: Confinement, home: str, *, apart: bool) -> None:
    """Add Landlock: within a root of its own only `/tmp` and what is writable; without, it names all that may be seen."""
    visible = places.visible_places(wanted)
    readable = ["/"] if apart else [*(place["source"] for place in visible), "/proc/self", *places.settings()]
    writable = [place["target"] if apart else place["source"] for place in visible if place["writable"]]
    if wanted["shm_bytes"]:
        writable.append(places.SHARED_MEMORY)
    if wanted["home_bytes"] or not apart:
        writable.append(home)
    landlock.restrict(
        readable=readable,
        usable=places.devices_of(wanted),
        writable=writable,
        bind_ports=wanted["bind_ports"],
        connects=wanted["connects"],
    )


NO_CORE: Final = 1
"""RLIMIT_CORE at which the kernel neither writes a core nor hands it to a program. `seccomp` keeps a child from another."""


def forbid_cores() -> None:
    """Let the kernel make no core of this process and those that it starts: with NO_CORE, or 0 where the limit was so low before."""
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (NO_CORE, NO_CORE))
    except (OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def apply_limits(wanted: Confinement, *, apart: bool) -> None:
    """Lower the limits for good. Processes are counted by user: only one that nobody else is can be limited so."""
    # 0 keeps a core from being written, and not from a pipe in kernel.core_pattern: for that the kernel has the value 1, at which
    # it starts no program (fs/coredump.c). Nor is a file written: each program's core is larger.
    limit(resource.RLIMIT_CORE, NO_CORE)
    limit(resource.RLIMIT_NOFILE, wanted["open_files"])
    limit(resource.RLIMIT_CPU, wanted["cpu_seconds"])
    limit(resource.RLIMIT_FSIZE, wanted["file_bytes"])
    limit(resource.RLIMIT_AS, wanted["address_bytes"])
    limit(resource.RLIMIT_MSGQUEUE, 0)
    if wanted["demand"] != "none" and (apart or os.geteuid() == 0):
        limit(resource.RLIMIT_NPROC, wanted["processes"])


def give_way(nice: int) -> None:
    """Lower the priority of this process and of all that it starts; while /proc can still be written to."""
    with suppress(OSError):
        os.nice(nice)
        # Where sessions are scheduled as groups (autogroup), niceness within one counts for nothing outside it.
        Path("/proc/self/autogroup").write_text(str(nice), encoding="ascii")


def limit(kind: int, wanted: int | None) -> None:
    """Lower one resource limit for good; what is already lower stays, and None changes nothing."""
    if wanted is None:
        return
    hard = resource.getrlimit(kind)[1]
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (value, value))


def give_up_powers() -> None:
    """No set-user-id programs, no core dumps, no tracing by others of the same user; private files."""
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    os.umask(0o077)
