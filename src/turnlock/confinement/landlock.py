"""Landlock (the kernel's documentation, userspace-api/landlock): rules that a process lays upon itself and cannot take off.

The rights are numbered as in `linux/landlock.h`. What the running kernel does not know yet is left out of what is asked for;
`WHOLE` is the first version that holds all of it.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from typing import Final

from turnlock.confinement import kernel

WHOLE: Final = 6
"""ABI 6 (Linux 6.12): files since 1, truncation 3, TCP 4, devices' ioctl 5, signals and abstract sockets 6."""

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_RULE_PATH_BENEATH, _RULE_NET_PORT = 1, 2

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
"""The rights that a rule for what is no directory may name."""
_FILE_RIGHTS: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights over files, by the ABI from which they are known."""
_BIND_TCP, _CONNECT_TCP = 1 << 0, 1 << 1
_SCOPES: Final = 0b11
"""Abstract Unix sockets and signals: only within the domain."""

READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
USE: Final = _READ_FILE | _WRITE_FILE
"""What a device such as /dev/null is for."""


def abi() -> int:
    """Return the kernel's Landlock version; 0 when it has none, or it is turned off."""
    try:
        return kernel.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG))
    except OSError:
        return 0


class _Ruleset(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("network", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("rights", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


class _NetPort(ctypes.Structure):
    _fields_ = (("rights", ctypes.c_uint64), ("port", ctypes.c_uint64))


def all_file_rights(version: int) -> int:
    """Return every right over files that this ABI knows."""
    return next(rights for since, rights in sorted(_FILE_RIGHTS.items(), reverse=True) if version >= since)


def restrict(
    *,
    readable: Iterable[str],
    usable: Iterable[str],
    writable: Iterable[str],
    bind_ports: Iterable[int] = (),
    connects: bool = True,
) -> None:
    """Allow the calling thread, and what it starts, these paths and what is beneath them, and nothing else.

    `readable` can be read and executed, `usable` (devices) read and written, `writable` all. What is not there is passed over. Of
    TCP ports only `bind_ports` can be bound, and others' be connected to if it `connects`: from ABI 4 on, before nothing of that
    is limited. no_new_privs must be set. OSError when the kernel refuses.
    """
    version = abi()
    if not version:
        raise OSError(os.strerror(95))
    known = all_file_rights(version)
    network = _BIND_TCP | (0 if connects else _CONNECT_TCP)
    wanted = _Ruleset(known, network if version >= 4 else 0, _SCOPES if version >= WHOLE else 0)
    ruleset = kernel.syscall(
        _CREATE_RULESET, ctypes.byref(wanted), ctypes.c_size_t(ctypes.sizeof(wanted)), ctypes.c_uint32(0)
    )
    try:
        for paths, rights in ((readable, READ), (usable, USE), (writable, known & ~_IOCTL_DEV)):
            for path in paths:
                _allow_beneath(ruleset, path, rights & known)
        for port in bind_ports if version >= 4 else ():
            _add(ruleset, _RULE_NET_PORT, _NetPort(_BIND_TCP, port))
        kernel.syscall(_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow_beneath(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        _add(ruleset, _RULE_PATH_BENEATH, _PathBeneath(rights, place))
    finally:
        os.close(place)


def _add(ruleset: int, kind: int, rule: ctypes.Structure) -> None:
    kernel.syscall(
        _ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(kind), ctypes.byref(rule), ctypes.c_uint32(0)
    )
