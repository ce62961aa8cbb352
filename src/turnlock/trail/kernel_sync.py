"""Syncing a file without waiting for it: the kernel is asked, and says when the data is on the disk.

Linux's own asynchronous I/O (io_submit(2), IOCB_CMD_FDSYNC, since Linux 4.18) does what fdatasync does and rings an eventfd.
Neither the event loop's thread waits for the disk, nor a second thread for the interpreter's lock: while a group of records
is on its way the loop reads for the next one (measured: docs/decisions/0021-hot-path.md).
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import platform
from collections.abc import Callable
from types import MappingProxyType
from typing import ClassVar, Final, Protocol

Told = Callable[[OSError | None], None]
"""Is called once the data is on the disk, or with why it is not."""

_SETUP, _DESTROY, _SUBMIT, _GETEVENTS = range(4)
_CALLS: Final = MappingProxyType({"x86_64": (206, 207, 209, 208), "aarch64": (0, 1, 2, 4)})
"""By machine: the numbers of io_setup, io_destroy, io_submit and io_getevents, which the C library has no names for."""

_FDSYNC, _RING_EVENTFD = 3, 1


class FileSync(Protocol):
    """Makes what was written to a file durable; one file at a time."""

    def start(self, descriptor: int, told: Told) -> None:
        """Begin; `told` is called later, on the event loop's thread, or before this returns."""
        ...

    def wait(self) -> None:
        """Block until what was begun is over and told; nothing when nothing was begun."""
        ...

    def close(self) -> None:
        """Let go of the kernel's resources; nothing is under way."""
        ...


class _Request(ctypes.Structure):
    """`struct iocb` of linux/aio_abi.h, on little-endian machines."""

    _fields_: ClassVar = [
        ("data", ctypes.c_uint64),
        ("key", ctypes.c_uint32),
        ("rw_flags", ctypes.c_int32),
        ("opcode", ctypes.c_uint16),
        ("priority", ctypes.c_int16),
        ("descriptor", ctypes.c_uint32),
        ("buffer", ctypes.c_uint64),
        ("bytes", ctypes.c_uint64),
        ("offset", ctypes.c_int64),
        ("reserved", ctypes.c_uint64),
        ("flags", ctypes.c_uint32),
        ("eventfd", ctypes.c_uint32),
    ]


class _Event(ctypes.Structure):
    """`struct io_event` of linux/aio_abi.h."""

    _fields_: ClassVar = [
        ("data", ctypes.c_uint64),
        ("request", ctypes.c_uint64),
        ("result", ctypes.c_int64),
        ("result2", ctypes.c_int64),
    ]


class KernelSync:
    """A FileSync by Linux's asynchronous I/O; what the kernel does not take is synced at once, by fdatasync."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Raises OSError where the machine or its kernel has no such thing (containers may forbid it)."""
        self._calls = _CALLS.get(platform.machine())
        if self._calls is None:
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.restype = ctypes.c_long
        self._context = ctypes.c_ulong(0)
        if self._call(_SETUP, ctypes.c_long(1), ctypes.byref(self._context)) != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        self._rung = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._request = _Request(opcode=_FDSYNC, flags=_RING_EVENTFD, eventfd=self._rung)
        self._requests = (ctypes.POINTER(_Request) * 1)(ctypes.pointer(self._request))
        self._event = _Event()
        self._told: Told | None = None
        self._loop = loop
        loop.add_reader(self._rung, self._look)

    def start(self, descriptor: int, told: Told) -> None:
        """See `FileSync`."""
        self._request.descriptor = descriptor
        self._told = told
        if self._call(_SUBMIT, self._context, ctypes.c_long(1), self._requests) != 1:
            self._tell(_fdatasync(descriptor))

    def wait(self) -> None:
        """See `FileSync`."""
        while self._told is not None:
            self._take(at_least=1)

    def close(self) -> None:
        """See `FileSync`."""
        if self._rung >= 0:
            self._loop.remove_reader(self._rung)
            self._call(_DESTROY, self._context)
            os.close(self._rung)
            self._rung = -1

    def _look(self) -> None:
        try:
            os.eventfd_read(self._rung)
        except BlockingIOError:  # taken already, by `wait`
            return
        self._take(at_least=0)

    def _take(self, *, at_least: int) -> None:
        count, one = ctypes.c_long(at_least), ctypes.c_long(1)
        if self._call(_GETEVENTS, self._context, count, one, ctypes.byref(self._event), None) == 1:
            result = int(self._event.result)
            self._tell(None if result == 0 else OSError(-result, os.strerror(-result)))

    def _tell(self, failure: OSError | None) -> None:
        told, self._told = self._told, None
        if told is not None:
            told(failure)

    def _call(self, which: int, *arguments: object) -> int:
        assert self._calls is not None
        return int(self._syscall(ctypes.c_long(self._calls[which]), *arguments))


def _fdatasync(descriptor: int) -> OSError | None:
    try:
        os.fdatasync(descriptor)
    except OSError as error:
        return error
    return None
