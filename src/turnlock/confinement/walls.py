"""Putting the walls up, in the order in which each step still has the power that it needs."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

from turnlock.confinement import kernel, landlock, namespaces, places
from turnlock.confinement.orders import Confinement

REFUSED: Final = 78
"""The exit status (EX_CONFIG of sysexits.h) that says: what was required to confine the function could not be had."""


def confine(wanted: Confinement, keep_owner: Callable[[], None]) -> None:
    """Return in the process that may run the function: another one than the caller where namespaces could be had.

     1  namespaces of its own, and ways for a stranger to the files that it may read
     2  a home of its own, of bounded size
     3  a process of its own (`namespaces.settle_apart`), which sees no other
     4  limits, a user of its own, no capability and no way to get one
     5  Landlock

    SystemExit when root cannot be given up, and with the status REFUSED when something is missing that was required.
    """
    os.umask(0o022)
    user, was_root = namespaces.own_user(), os.geteuid() == 0
    readable = places.readable_places([*wanted["readable"]])
    apart = wanted["demand"] != "none" and namespaces.enter()
    if wanted["demand"] == "required":
        _require_all(apart=apart)
    if apart:
        _furnish(wanted, user, readable)
        namespaces.settle_apart(user, keep_owner)
    elif wanted["demand"] != "none" and os.geteuid() == 0:
        os.chown(wanted["home"], user, user)
    apply_limits(wanted, apart=apart)
    if wanted["demand"] != "none":
        namespaces.become(user)
    give_up_powers()
    if wanted["demand"] != "none" and landlock.abi():
        own_proc = "/proc" if apart else "/proc/self"
        scratch = [places.SCRATCH] if apart and was_root else []
        landlock.restrict(
            readable=[*readable, own_proc],
            usable=places.DEVICES,
            writable=[os.path.realpath(wanted["home"]), *scratch],
        )


def _require_all(*, apart: bool) -> None:
    version = landlock.abi()
    if version < landlock.WHOLE and not (apart and version >= 3):
        sys.exit(
            f"{REFUSED}Landlock ABI {landlock.WHOLE} (Linux 6.12) is needed, and this one has {version}."
        )


def _furnish(wanted: Confinement, user: int, readable: list[str]) -> None:
    """Open the ways, and lay a file system of the home's size over it."""
    home = os.path.realpath(wanted["home"])
    if os.geteuid() == 0:
        places.open_ways([*readable, home], scratch_bytes=wanted["home_bytes"])
    bounds = f"mode=0700,uid={user},gid={user},size={wanted['home_bytes']},nr_inodes=16384"
    if os.geteuid() != 0:
        bounds = f"mode=0700,size={wanted['home_bytes']},nr_inodes=16384"
    kernel.mount("tmpfs", home, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, bounds)


def apply_limits(wanted: Confinement, *, apart: bool) -> None:
    """Lower the limits for good. Processes are counted by user: only one that nobody else is can be limited so."""
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_NOFILE, wanted["open_files"])
    limit(resource.RLIMIT_CPU, wanted["cpu_seconds"])
    limit(resource.RLIMIT_FSIZE, wanted["file_bytes"])
    if wanted["address_bytes"] is not None:
        limit(resource.RLIMIT_AS, wanted["address_bytes"])
    if wanted["demand"] != "none" and (apart or os.geteuid() == 0):
        limit(resource.RLIMIT_NPROC, wanted["processes"])
    with suppress(OSError):
        os.nice(wanted["nice"])
        # Where sessions are scheduled as groups (autogroup), niceness within one counts for nothing outside it.
        Path("/proc/self/autogroup").write_text(str(wanted["nice"]), encoding="ascii")


def limit(kind: int, wanted: int) -> None:
    """Lower one resource limit for good; what is already lower stays."""
    hard = resource.getrlimit(kind)[1]
    value = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(kind, (value, value))


def give_up_powers() -> None:
    """No set-user-id programs, no core dumps, no tracing by others of the same user; private files."""
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    os.umask(0o077)
