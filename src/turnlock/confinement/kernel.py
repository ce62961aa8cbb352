"""The system calls that Python's own library lacks, by ctypes; OSError with the kernel's number when one fails."""

from __future__ import annotations

import ctypes
import os
from typing import Final

PR_SET_PDEATHSIG: Final = 1
PR_SET_DUMPABLE: Final = 4
PR_SET_NO_NEW_PRIVS: Final = 38
_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER = 22, 2

CLONE_NEWNS: Final = 0x0002_0000
CLONE_NEWIPC: Final = 0x0800_0000
CLONE_NEWUSER: Final = 0x1000_0000
CLONE_NEWPID: Final = 0x2000_0000

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
MS_BIND: Final = 4096
MS_REC: Final = 16384
MS_PRIVATE: Final = 1 << 18

MNT_DETACH: Final = 2

_AT_FDCWD = -100
_AT_RECURSIVE = 0x8000
_MOUNT_SETATTR = 442
_PIVOT_ROOT: Final = {"x86_64": 155, "aarch64": 41}

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
    checked(_libc.mount(*names, ctypes.c_ulong(flags), data), f"mount {kind or 'bind'} {target}")


def add_mount_flags(target: str, flags: int, *, recursive: bool = True) -> None:
    """Add MS_RDONLY, MS_NOSUID, MS_NODEV or MS_NOEXEC to a mount, and to all beneath it; what is set already stays set.

    So a user namespace may do it too, where flags that the machine has set cannot be taken away (mount_setattr(2), Linux 5.12).
    """
    attributes = (ctypes.c_uint64 * 4)(flags, 0, 0, 0)
    syscall(
        _MOUNT_SETATTR,
        ctypes.c_int(_AT_FDCWD),
        target.encode(),
        ctypes.c_uint(_AT_RECURSIVE if recursive else 0),
        attributes,
        ctypes.c_size_t(ctypes.sizeof(attributes)),
    )


def change_root(directory: str) -> None:
    """Make a mount the root of all processes in this mount namespace, and take the former root out of it (pivot_root(2))."""
    os.chdir(directory)
    syscall(_PIVOT_ROOT[os.uname().machine], b".", b".")
    unmount(".")
    os.chdir("/")


def unmount(target: str) -> None:
    """Take a mount and all beneath it out of this mount namespace at once."""
    checked(_libc.umount2(target.encode(), ctypes.c_int(MNT_DETACH)), f"unmount {target}")


class _Filter(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def filter_system_calls(instructions: bytes, length: int) -> None:
    """Put a filter of `length` instructions of classic BPF on the calling thread and what it starts (seccomp(2))."""
    made = _Filter(length, instructions)
    arguments = (
        ctypes.c_ulong(_SECCOMP_MODE_FILTER),
        ctypes.byref(made),
        ctypes.c_ulong(0),
        ctypes.c_ulong(0),
    )
    checked(_libc.prctl(ctypes.c_int(_PR_SET_SECCOMP), *arguments), "prctl(PR_SET_SECCOMP)")


def drop_capabilities() -> None:
    """Empty the effective, permitted and inheritable sets of the calling thread."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    checked(_libc.capset(ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)())), "capset")
