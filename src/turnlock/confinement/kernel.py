"""The system calls that Python's own library lacks, by ctypes; OSError with the kernel's number when one fails."""

from __future__ import annotations

import ctypes
import os
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_NO_NEW_PRIVS: Final = 38

CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWIPC: Final = 0x0800_0000
CLONE_NEWUSER: Final = 0x1000_0000
CLONE_NEWPID: Final = 0x2000_0000

MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)
_CAPABILITY_VERSION = 0x2008_0522
"""_LINUX_CAPABILITY_VERSION_3: two words for each of the three sets."""


def checked(result: int, what: str) -> int:
    """Return the result of a C call; OSError for -1."""
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(number: int, *arguments: object) -> int:
    """Make a system call that the C library has no function for."""
    return checked(_libc.syscall(ctypes.c_long(number), *arguments), f"system call {number}")


def prctl(option: int, value: int) -> None:
    """Change something of the calling process."""
    arguments = (ctypes.c_ulong(number) for number in (value, 0, 0, 0))
    checked(_libc.prctl(ctypes.c_int(option), *arguments), f"prctl({option})")


def unshare(flags: int) -> None:
    """Leave the namespaces that the flags name for new ones."""
    checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """Mount a file system, or change how one is mounted."""
    names = (text.encode() if text else None for text in (source, target, kind))
    data = options.encode() if options else None
    checked(_libc.mount(*names, ctypes.c_ulong(flags), data), f"mount {kind or 'bind'}")


def drop_capabilities() -> None:
    """Empty the effective, permitted and inheritable sets of the calling thread."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    checked(_libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())), "capset")
