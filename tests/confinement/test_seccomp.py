"""The table of system calls: judged by an interpreter of its own for both machines, and by the kernel for this one."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from turnlock.confinement import seccomp
from turnlock.confinement.orders import SystemCalls

UNIX, INET, INET6, NETLINK = 1, 2, 10, 16
STREAM, DATAGRAM, RAW = 1, 2, 3
CLOEXEC = 0o2000000


def judge(
    program: Sequence[seccomp.Instruction], architecture: int, call: int, arguments: Sequence[int]
) -> int:
    """Run a filter as the kernel does (its documentation, networking/filter); return 0 to allow, else the error's number."""
    words = {0: call, 4: architecture}
    for index, argument in enumerate(arguments):
        words[16 + 8 * index], words[20 + 8 * index] = argument & 0xFFFF_FFFF, argument >> 32
    at, loaded = 0, 0
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        match code:
            case 0x20:
                loaded = words.get(operand, 0)
            case 0x54:
                loaded &= operand
            case 0x15:
                at += if_true if loaded == operand else if_false
            case 0x35:
                at += if_true if loaded >= operand else if_false
            case 0x45:
                at += if_true if loaded & operand else if_false
            case 0x06:
                return 0 if operand == seccomp.ALLOW else operand & 0xFFFF
            case _:
                raise AssertionError(f"code {code:#x}")


CALLS = {
    "read": (0, 63), "openat": (257, 56), "execve": (59, 221), "clone": (56, 220), "unshare": (272, 97),
    "socket": (41, 198), "socketpair": (53, 199), "mmap": (9, 222), "personality": (135, 92), "listen": (50, 201),
    "memfd_create": (319, 279), "shmget": (29, 194), "semget": (64, 190), "msgget": (68, 186), "mq_open": (240, 180),
    "clone3": (435, 435), "io_uring_setup": (425, 425), "bpf": (321, 280), "ptrace": (101, 117), "mount": (165, 40),
    "pivot_root": (155, 41), "setns": (308, 268), "keyctl": (250, 219), "userfaultfd": (323, 282),
    "perf_event_open": (298, 241), "open_by_handle_at": (304, 265), "fanotify_init": (300, 262), "init_module": (175, 105),
    "kexec_load": (246, 104), "swapon": (167, 224), "quotactl": (179, 60), "process_vm_readv": (310, 270),
    "memfd_secret": (447, 447), "connect": (42, 203), "bind": (49, 200), "futex": (202, 98), "wait4": (61, 260),
    "fcntl": (72, 25), "sendto": (44, 206), "sendmsg": (46, 211), "sendmmsg": (307, 269),
    "setrlimit": (160, 164), "prlimit64": (302, 261),
}  # fmt: skip
SHARED_ANONYMOUS, PRIVATE_ANONYMOUS, SHARED_FILE = 0x21, 0x22, 0x01

VERDICTS: list[tuple[str, list[int], int, int]] = [
    # call, arguments, for a function whose memory nothing counts, for a server
    *((name, [], 0, 0) for name in ("read", "openat", "execve", "connect", "bind", "futex", "wait4")),
    *((name, [], errno.ENOSYS, errno.ENOSYS) for name in ("clone3", "io_uring_setup", "bpf", "keyctl", "userfaultfd")),
    *((name, [], errno.ENOSYS, errno.ENOSYS) for name in ("perf_event_open", "kexec_load", "memfd_secret")),
    *((name, [], errno.EPERM, errno.EPERM) for name in ("ptrace", "mount", "pivot_root", "setns", "open_by_handle_at")),
    *((name, [], errno.EPERM, errno.EPERM) for name in ("fanotify_init", "init_module", "swapon", "quotactl")),
    ("process_vm_readv", [], errno.EPERM, errno.EPERM),
    ("listen", [], errno.EPERM, 0),
    *((name, [], errno.ENOSYS, 0) for name in ("memfd_create", "shmget", "semget", "msgget", "mq_open")),
    ("clone", [0x1200011], 0, 0),
    *(("clone", [flag | 17], errno.EPERM, errno.EPERM) for flag in (0x1000_0000, 0x20000, 0x4000_0000, 0x2000_0000)),
    ("clone", [0x80 | 17], 0, 0),
    ("unshare", [0x400], 0, 0),
    *(("unshare", [flag], errno.EPERM, errno.EPERM) for flag in (0x1000_0000, 0x80, 0x0200_0000, 0x0400_0000, 0x0800_0000)),
    ("socket", [UNIX, STREAM, 0], 0, 0),
    ("socket", [UNIX, DATAGRAM | CLOEXEC, 0], 0, 0),
    *(("socket", [family, STREAM | CLOEXEC, protocol], 0, 0) for family in (INET, INET6) for protocol in (0, 6)),
    *(("socket", [family, DATAGRAM, protocol], 0, 0) for family in (INET, INET6) for protocol in (0, 17)),
    *(("socket", [family, RAW, protocol], errno.EPERM, errno.EPERM) for family in (INET, INET6) for protocol in (0, 1, 255)),
    *(("socket", [INET, STREAM, p], errno.EPROTONOSUPPORT, errno.EPROTONOSUPPORT) for p in (262, 132, 256, 1, 33, 115)),
    ("socket", [INET, 5, 0], errno.EPERM, errno.EPERM),
    ("socket", [INET, 10, 0], errno.EPERM, errno.EPERM),
    ("socket", [NETLINK, RAW | CLOEXEC, 0], 0, 0),
    *(("socket", [NETLINK, RAW, p], errno.EPROTONOSUPPORT, errno.EPROTONOSUPPORT) for p in (2, 4, 9, 12, 15, 16)),
    *(("socket", [f, STREAM, 0], errno.EAFNOSUPPORT, errno.EAFNOSUPPORT) for f in (17, 38, 40, 43, 44, 31, 21, 30, 15, 29)),
    ("socketpair", [UNIX, STREAM, 0], 0, 0),
    ("socketpair", [30, STREAM, 0], errno.EAFNOSUPPORT, errno.EAFNOSUPPORT),
    ("mmap", [0, 4096, 3, PRIVATE_ANONYMOUS], 0, 0),
    ("mmap", [0, 4096, 3, SHARED_FILE], 0, 0),
    ("mmap", [0, 4096, 3, SHARED_ANONYMOUS], errno.ENOMEM, 0),
    ("mmap", [0, 4096, 3, SHARED_ANONYMOUS | 2], errno.ENOMEM, 0),
    ("personality", [0xFFFF_FFFF], 0, 0),
    ("personality", [0], 0, 0),
    *(("fcntl", [3, command], 0, 0) for command in (0, 1, 2, 3, 4, 6, 1025, 1031)),
    *(("fcntl", [3, command, 1], errno.EINVAL, errno.EINVAL) for command in (1024, 1040)),
    *(("sendto", [3, 0, 1, flags, 0, 0], 0, 0) for flags in (0, 0x4000, 0x40)),
    ("sendmsg", [3, 0, 0x4000], 0, 0),
    ("setrlimit", [4, 1], errno.EPERM, errno.EPERM),
    *(("setrlimit", [limit, 1], 0, 0) for limit in (0, 3, 7)),
    *(("prlimit64", [0, 4, new, 1], errno.EPERM, errno.EPERM) for new in (1, 1 << 32, 0x7FFF_0000_1000)),
    ("prlimit64", [0, 4, 0, 1], 0, 0),
    ("prlimit64", [0, 7, 1, 0], 0, 0),
    ("sendmmsg", [3, 0, 1, 0x4000], 0, 0),
    *(("sendto", [3, 0, 1, flags, 0, 0], 0, errno.EOPNOTSUPP) for flags in (0x2000_0000, 0x2000_4000)),
    ("sendmsg", [3, 0, 0x2000_0000], 0, errno.EOPNOTSUPP),
    ("sendmmsg", [3, 0, 1, 0x2000_0000], 0, errno.EOPNOTSUPP),
    *(("personality", [value], errno.EPERM, errno.EPERM) for value in (0x0040000, 0x0400000, 0x0100000, 6)),
]  # fmt: skip


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
@pytest.mark.parametrize(("call", "arguments", "function", "server"), VERDICTS)
def test_a_call_is_judged_as_the_table_says(
    machine: str, call: str, arguments: list[int], function: int, server: int
) -> None:
    architecture, column = seccomp.MACHINES[machine]
    kinds: list[tuple[SystemCalls, int]] = [("function", function), ("server", server)]
    for kind, verdict in kinds:
        program = seccomp.program(kind, machine, memory_counted=False)
        assert judge(program, architecture, CALLS[call][column], arguments) == verdict


def test_what_a_cgroup_counts_is_allowed() -> None:
    program, architecture = seccomp.program("function", "x86_64", memory_counted=True), 0xC000_003E
    assert judge(program, architecture, CALLS["memfd_create"][0], []) == 0
    assert judge(program, architecture, CALLS["mmap"][0], [0, 4096, 3, SHARED_ANONYMOUS]) == 0
    assert judge(program, architecture, CALLS["listen"][0], []) == errno.EPERM


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_calls_of_another_architecture_are_refused(machine: str) -> None:
    program = seccomp.program("function", machine, memory_counted=False)
    assert judge(program, 0x4000_0003, 3, []) == errno.ENOSYS, (
        "read, as a 32-bit program of this machine makes it"
    )
    assert judge(program, seccomp.MACHINES[machine][0], 0x4000_0000 | 41, [40, 1, 0]) == errno.ENOSYS, "x32"


def test_a_machine_that_the_table_does_not_know_has_no_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    names = os.uname()
    monkeypatch.setattr(os, "uname", lambda: os.uname_result((*names[:4], "riscv64")))
    with pytest.raises(OSError, match="no table"):
        seccomp.install("function", memory_counted=False)


TRIES = """
import ctypes, errno, json, os, signal, socket, struct, sys
from turnlock.confinement import kernel, seccomp
libc = ctypes.CDLL(None, use_errno=True)
kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
seccomp.install(sys.argv[1], memory_counted=False)

def tried(act):
    try:
        act()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def call(name, *arguments):
    number = CALLS[name][0 if os.uname().machine == "x86_64" else 1]
    return lambda: kernel.syscall(number, *map(ctypes.c_long, arguments))

def forked():
    if os.fork() == 0:
        os._exit(0)
    os.wait()

import threading, subprocess
CALLS = json.loads(sys.argv[2])
told = {name: tried(call(name, *arguments)) for name, arguments in json.loads(sys.argv[3])}
told |= {
    "fork": tried(forked),
    "program": subprocess.run(["/bin/echo", "said"], capture_output=True, text=True).stdout,
    "thread": tried(lambda: (thread := threading.Thread(target=int), thread.start(), thread.join())),
    "resolver": tried(lambda: socket.getaddrinfo("localhost", 80)),
    "interfaces": tried(socket.if_nameindex),
}
print(json.dumps(told))
"""
MADE = [
    ["ptrace", [16, 1, 0, 0]], ["io_uring_setup", [1, 0]], ["mount", [0, 0, 0, 0, 0]], ["unshare", [0x1000_0000]],
    ["bpf", [0, 0, 0]], ["keyctl", [0, -3, 0]], ["setns", [0, 0]], ["personality", [0x40000]], ["userfaultfd", [1]],
    ["socket", [40, 1, 0]], ["socket", [38, 5, 0]], ["open_by_handle_at", [0, 0, 0]], ["perf_event_open", [0, 0, -1, -1, 0]],
    ["clone3", [0, 0]], ["pivot_root", [0, 0]], ["memfd_secret", [0]], ["process_vm_readv", [1, 0, 0, 0, 0, 0]],
]  # fmt: skip


@pytest.mark.skipif(
    os.uname().machine not in seccomp.MACHINES, reason="no table of system calls for this machine"
)
@pytest.mark.parametrize("kind", ["function", "server"])
def test_the_kernel_refuses_them_and_programs_go_on_working(kind: SystemCalls) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", TRIES, kind, json.dumps(CALLS), json.dumps(MADE)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads(ended.stdout)
    works = {name: told.pop(name) for name in ("fork", "program", "thread", "resolver", "interfaces")}
    assert works == {
        "fork": "done",
        "program": "said\n",
        "thread": "done",
        "resolver": "done",
        "interfaces": "done",
    }
    assert set(told.values()) <= {"EPERM", "ENOSYS", "EAFNOSUPPORT"}, told
    assert len(told) == len({name for name, _ in MADE})
