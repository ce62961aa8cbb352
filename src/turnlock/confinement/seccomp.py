"""The system calls that a child may not make, as a filter that the kernel runs before each one (seccomp(2), in classic BPF).

A small table of our own, for the maintained bindings need a library of the system. Everything that is not in it is allowed: what a
child may reach is decided by its root directory and its user, and the table takes away what those do not cover. A refused call
fails as on a kernel that lacks it, so that programs which try it go on without. Numbers are those of the kernel's
`unistd_64.h` (x86_64) and `asm-generic/unistd.h` (aarch64); filters are inherited and cannot be taken off.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterable, Sequence
from typing import Final

from turnlock.confinement import kernel
from turnlock.confinement.orders import SystemCalls

Instruction = tuple[int, int, int, int]
"""One instruction of classic BPF: code, jump if true, jump if false, operand."""

MACHINES: Final = {"x86_64": (0xC000_003E, 0), "aarch64": (0xC000_00B7, 1)}
"""By the name in uname(2): the kernel's number of the architecture (AUDIT_ARCH_…) and the column of its numbers."""
NO_CALL: Final = -1

ALLOW: Final = 0x7FFF_0000
_ERRNO = 0x0005_0000
_LOAD, _AND, _RETURN = 0x20, 0x54, 0x06
_IF_EQUAL, _IF_AT_LEAST, _IF_ANY_BIT = 0x15, 0x35, 0x45
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
"""Where struct seccomp_data has them."""
_X32: Final = 0x4000_0000
"""Calls of the x32 ABI have this bit: the same calls again under other numbers."""

_NEW_NAMESPACES: Final = 0x7E02_0000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET; in clone's flags NEWTIME (0x80) is part of a signal."""
_NEW_TIME = 0x80

_ABSENT: Final = {
    # Other ways to do what is refused here, and large interfaces with a history of holes.
    "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "clone3": (435, 435),  # its flags are in memory, where no filter sees them: programs fall back to clone
    "bpf": (321, 280), "userfaultfd": (323, 282), "perf_event_open": (298, 241), "memfd_secret": (447, 447),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "lookup_dcookie": (212, 18), "nfsservctl": (180, 42),
    "uselib": (134, NO_CALL), "create_module": (174, NO_CALL), "get_kernel_syms": (177, NO_CALL),
    "query_module": (178, NO_CALL), "_sysctl": (156, NO_CALL), "modify_ldt": (154, NO_CALL), "vserver": (236, NO_CALL),
}  # fmt: skip
"""Answered ENOSYS. (x86_64, aarch64)."""

_FORBIDDEN: Final = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "kcmp": (312, 272), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "move_mount": (429, 429),
    "open_tree": (428, 428), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "statmount": (457, 457), "listmount": (458, 458), "open_tree_attr": (467, 467),
    "setns": (308, 268), "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "reboot": (169, 142), "syslog": (103, 116),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "sethostname": (170, 161), "setdomainname": (171, 162), "settimeofday": (164, 170), "clock_settime": (227, 112),
    "adjtimex": (159, 171), "clock_adjtime": (305, 266), "iopl": (172, NO_CALL), "ioperm": (173, NO_CALL),
    "vhangup": (153, 58), "migrate_pages": (256, 238), "move_pages": (279, 239),
}  # fmt: skip
"""Answered EPERM."""

_NO_SERVER: Final = {"listen": (50, 201)}
"""Answered EPERM, but to a server."""
_NO_SHARED_QUEUES: Final = {
    "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
}  # fmt: skip
"""Memory of System V IPC and POSIX queues, which belongs to no process: ENOSYS, but to a server."""
_UNCOUNTED: Final = {"memfd_create": (319, 279)}
"""Memory that has no process, so that only a cgroup counts it: ENOSYS where there is none, but to a server."""

_CLONE, _UNSHARE, _PERSONALITY = (56, 220), (272, 97), (135, 92)
_SOCKET, _SOCKETPAIR, _MMAP, _FCNTL = (41, 198), (53, 199), (9, 222), (72, 25)
_SETRLIMIT, _PRLIMIT, _CORE = (160, 164), (302, 261), 4
"""RLIMIT_CORE: at 0 the kernel would start the program that kernel.core_pattern may name."""
_SENDTO, _SENDMSG, _SENDMMSG = (44, 206), (46, 211), (307, 269)
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_STREAM, _DATAGRAM, _TYPE_BITS = 1, 2, 0xF
_DEFAULT, _TCP, _UDP = 0, 6, 17
_ROUTE = 0
"""NETLINK_ROUTE, by which the C library learns the machine's addresses. NETLINK_SOCK_DIAG would show all sockets there are."""
_ORDINARY_PERSONALITIES: Final = (0, 8, 0xFFFF_FFFF)
"""Linux, Linux 32 bit, and the question which one is in force."""
_LEASES: Final = (1024, 1040)
"""F_SETLEASE and F_SETDELEG. Whoever owns a file, as the server's own user does, makes everybody else's open of it wait for 45 s."""
_FAST_OPEN: Final = 0x2000_0000
"""MSG_FASTOPEN connects while it sends, and Landlock is not asked."""
_SHARED_ANONYMOUS: Final = 0x21
"""MAP_SHARED | MAP_ANONYMOUS; MAP_SHARED_VALIDATE has the first bit too."""


def program(kind: SystemCalls, machine: str, *, memory_counted: bool) -> list[Instruction]:
    """Return the filter of a kind of child. KeyError for a machine that the table does not know."""
    architecture, column = MACHINES[machine]
    absent, forbidden = dict(_ABSENT), dict(_FORBIDDEN)
    if kind == "function":
        forbidden |= _NO_SERVER
        absent |= _NO_SHARED_QUEUES
    uncounted = kind == "function" and not memory_counted
    if uncounted:
        absent |= _UNCOUNTED
    body = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, architecture),
        _refuse(errno.ENOSYS),
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, 0, 1, _X32),
        _refuse(errno.ENOSYS),
    ]
    for table, number in ((absent, errno.ENOSYS), (forbidden, errno.EPERM)):
        for call in table.values():
            body += _when(call[column], [_refuse(number)])
    for calls, block in _by_arguments(kind, uncounted=uncounted):
        body += _when(calls[column], block)
    return [*body, (_RETURN, 0, 0, ALLOW)]


def install(kind: SystemCalls, *, memory_counted: bool) -> None:
    """Put the filter on the calling process and all that it starts. no_new_privs must be set; OSError when the kernel refuses."""
    try:
        made = program(kind, os.uname().machine, memory_counted=memory_counted)
    except KeyError:
        raise OSError(errno.ENOSYS, "no table of system calls for this machine") from None
    code = b"".join(struct.pack("=HBBI", *instruction) for instruction in made)
    kernel.filter_system_calls(code, len(made))


def _refuse(number: int) -> Instruction:
    return (_RETURN, 0, 0, _ERRNO | number)


def _argument(index: int) -> Instruction:
    """Load the low half of an argument, which is all that the kernel looks at in those that are judged here."""
    return (_LOAD, 0, 0, _ARGUMENTS + 8 * index)


def _when(call: int, block: Sequence[Instruction]) -> list[Instruction]:
    """Run the block, which ends in a verdict, for this call."""
    return [] if call == NO_CALL else [(_IF_EQUAL, 0, len(block), call), *block]


def _only(values: Iterable[int], otherwise: int) -> list[Instruction]:
    """Allow the call when what is loaded is one of the values; else refuse it."""
    tests = [step for value in values for step in ((_IF_EQUAL, 0, 1, value), (_RETURN, 0, 0, ALLOW))]
    return [*tests, _refuse(otherwise)]


def _none_of(bits: int, otherwise: int) -> list[Instruction]:
    return [(_IF_ANY_BIT, 0, 1, bits), _refuse(otherwise), (_RETURN, 0, 0, ALLOW)]


def _but(values: Iterable[int], otherwise: int) -> list[Instruction]:
    """Refuse the call when what is loaded is one of the values; else allow it."""
    tests = [step for value in values for step in _when(value, [_refuse(otherwise)])]
    return [*tests, (_RETURN, 0, 0, ALLOW)]


def _by_arguments(kind: SystemCalls, *, uncounted: bool) -> list[tuple[tuple[int, int], list[Instruction]]]:
    """Return the calls that are judged by their arguments."""
    rules = [
        (_CLONE, [_argument(0), *_none_of(_NEW_NAMESPACES, errno.EPERM)]),
        (_UNSHARE, [_argument(0), *_none_of(_NEW_NAMESPACES | _NEW_TIME, errno.EPERM)]),
        (_PERSONALITY, [_argument(0), *_only(_ORDINARY_PERSONALITIES, errno.EPERM)]),
        (_SOCKET, _socket()),
        (_SOCKETPAIR, [_argument(0), *_only((_UNIX,), errno.EAFNOSUPPORT)]),
        (_FCNTL, [_argument(1), *_but(_LEASES, errno.EINVAL)]),
        (_SETRLIMIT, [_argument(0), *_but((_CORE,), errno.EPERM)]),
        (_PRLIMIT, _core_limit()),
    ]
    if kind == "server":  # a function may connect anyway
        for call, flags in ((_SENDTO, 3), (_SENDMSG, 2), (_SENDMMSG, 3)):
            rules.append((call, [_argument(flags), *_none_of(_FAST_OPEN, errno.EOPNOTSUPP)]))
    if uncounted:
        shared = [
            (_AND, 0, 0, _SHARED_ANONYMOUS),
            (_IF_EQUAL, 0, 1, _SHARED_ANONYMOUS),
            _refuse(errno.ENOMEM),
        ]
        rules.append((_MMAP, [_argument(3), *shared, (_RETURN, 0, 0, ALLOW)]))
    return rules


def _core_limit() -> list[Instruction]:
    """Let prlimit ask for the limit of cores, and not set it: the third argument, an address, is 0 where it only asks."""
    return [
        _argument(1),
        (_IF_EQUAL, 1, 0, _CORE),
        (_RETURN, 0, 0, ALLOW),
        _argument(2),
        (_IF_EQUAL, 0, 2, 0),
        (_LOAD, 0, 0, _ARGUMENTS + 8 * 2 + 4),
        (_IF_EQUAL, 1, 0, 0),
        _refuse(errno.EPERM),
        (_RETURN, 0, 0, ALLOW),
    ]


def _socket() -> list[Instruction]:
    """Allow Unix sockets, TCP and UDP over either IP, and the routing part of netlink."""
    protocols = [_argument(2), *_only((_DEFAULT, _TCP, _UDP), errno.EPROTONOSUPPORT)]
    internet = [
        _argument(1),
        (_AND, 0, 0, _TYPE_BITS),
        (_IF_EQUAL, 2, 0, _STREAM),
        (_IF_EQUAL, 1, 0, _DATAGRAM),
        _refuse(errno.EPERM),
        *protocols,
    ]
    routing = [_argument(2), *_only((_ROUTE,), errno.EPROTONOSUPPORT)]
    return [
        _argument(0),
        *_when(_UNIX, [(_RETURN, 0, 0, ALLOW)]),
        *_when(_NETLINK, routing),
        *_when(_INET, internet),
        *_when(_INET6, internet),
        _refuse(errno.EAFNOSUPPORT),
    ]
