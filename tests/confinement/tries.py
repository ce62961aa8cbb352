"""What a function tries against its machine: each is a sentence, and returns where it comes through. Runs inside the function.

`world` names what is there to be reached: paths, sockets, processes, ports. OSError or Held says that the wall stood.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

World = dict[str, Any]
Try = Callable[[World], object]

TRIES: dict[str, Try] = {}
_libc = ctypes.CDLL(None, use_errno=True)
_ARM = os.uname().machine == "aarch64"


class Held(OSError):
    """The wall stood, though no call failed."""


def attempt(name: str) -> Callable[[Try], Try]:
    """Name a try."""

    def keep(act: Try) -> Try:
        TRIES[name] = act
        return act

    return keep


def _call(number: int, on_arm: int, *arguments: object) -> int:
    result = _libc.syscall(ctypes.c_long(on_arm if _ARM else number), *arguments)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)


def _c(name: str, *arguments: object) -> int:
    result = getattr(_libc, name)(*arguments)
    if result == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)


def _in_child(act: Callable[[], object]) -> object:
    """Do it in a process of its own, that what comes through changes nothing for the next try."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            act()
        except OSError as error:
            os._exit(error.errno or 1)
        os._exit(0)
    os.close(reading)
    os.close(writing)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        raise OSError(status, os.strerror(abs(status)))
    return "done"


def _write(path: str, text: str = "x") -> int:
    return Path(path).write_text(text)


# Files of the server.
attempt("read the root key")(lambda w: Path(w["key"]).read_bytes())
attempt("list the data directory")(lambda w: os.listdir(w["data"]))  # noqa: PTH208
attempt("learn that the root key is there")(lambda w: Path(w["key"]).stat())
attempt("write to the root key")(lambda w: _write(w["key"]))
attempt("cut the root key")(lambda w: os.truncate(w["key"], 0))
attempt("remove the root key")(lambda w: Path(w["key"]).unlink())
attempt("rename the root key")(lambda w: Path(w["key"]).rename(w["key"] + ".old"))
attempt("link the root key into its home")(lambda w: os.link(w["key"], "/tmp/linked"))
attempt("change the mode of the root key")(lambda w: Path(w["key"]).chmod(0o666))
attempt("change the mode of the data directory")(lambda w: Path(w["data"]).chmod(0o755))
attempt("change the times of the root key")(lambda w: os.utime(w["key"], (1, 1)))
attempt("change the owner of the root key")(lambda w: os.chown(w["key"], os.getuid(), os.getgid()))
attempt("set an attribute of the root key")(lambda w: os.setxattr(w["key"], "user.x", b"y"))
attempt("read the attributes of the root key")(lambda w: os.listxattr(w["key"]))
attempt("make a file in the data directory")(lambda w: _write(w["data"] + "/new"))
attempt("go to the data directory")(lambda w: _in_child(lambda: os.chdir(w["data"])))
attempt("open the data directory as a place")(lambda w: os.open(w["data"], os.O_PATH))
attempt("watch the data directory")(
    lambda w: _c("inotify_add_watch", _libc.inotify_init(), w["data"].encode(), 0xFFF)
)
attempt("see how full the data directory's disk is")(lambda w: os.statvfs(w["data"]))
attempt("read a file of a group of the server")(lambda w: Path(w["group_file"]).read_text())
attempt("read another function's code")(lambda w: Path(w["neighbour"]).read_text())
attempt("read /etc/shadow")(lambda w: Path("/etc/shadow").read_text())
attempt("list /root")(lambda w: _nothing_but(w, "/root"))
attempt("list /home")(lambda w: os.listdir("/home"))  # noqa: PTH208
attempt("list /var")(lambda w: _nothing_but(w, "/var"))
attempt("list /run")(lambda w: os.listdir("/run"))  # noqa: PTH208
attempt("read /sys")(lambda w: os.listdir("/sys/fs"))  # noqa: PTH208
attempt("read the server's environment")(lambda w: Path(f"/proc/{w['server']}/environ").read_bytes())
attempt("reach the machine by the root of init")(lambda w: Path("/proc/1/root" + w["key"]).read_bytes())
attempt("reach the machine by the root of the server")(
    lambda w: Path(f"/proc/{w['server']}/root{w['key']}").read_bytes()
)
attempt("read the memory of init")(lambda w: Path("/proc/1/mem").read_bytes())
attempt("read init's environment")(lambda w: Path("/proc/1/environ").read_bytes())


def _nothing_but(world: World, path: str) -> object:
    """List a directory of which only places are shown."""
    names = [str(Path(path, name)) for name in os.listdir(path)]  # noqa: PTH208
    strange = [name for name in names if not any(place.startswith(name) for place in world["places"])]
    if not strange:
        raise Held
    return strange


@attempt("climb out of its root directory")
def _(world: World) -> object:
    def climb() -> None:
        os.chdir("/")
        for _ in range(20):
            os.chdir("..")
        Path(world["key"].lstrip("/")).read_bytes()

    return _in_child(climb)


@attempt("find an open file of the server among its own")
def _(world: World) -> object:
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            target = os.readlink(f"/proc/self/fd/{name}")  # noqa: PTH115
        except OSError:
            continue
        if target.startswith(world["data"]):
            return target
    raise Held


# What it sees cannot be changed.
attempt("write beside its own code")(lambda w: _write(w["task_root"] + "/new.py"))
attempt("change the mode of its own code")(lambda w: Path(w["task_root"], "tries.py").chmod(0o777))
attempt("write to /usr")(lambda w: _write("/usr/new"))
attempt("write to the interpreter's packages")(lambda w: _write(os.path.dirname(os.__file__) + "/new.py"))  # noqa: PTH120
attempt("write to /etc")(lambda w: _write("/etc/hosts"))
attempt("make a device")(lambda w: os.mknod("/tmp/disk", 0o600 | 0o060000, os.makedev(254, 0)))
attempt("mount a file system")(lambda w: _c("mount", b"tmpfs", b"/tmp", b"tmpfs", 0, None))
attempt("bind /usr writable")(lambda w: _c("mount", b"none", b"/usr", None, 32 | 4096, None))
attempt("take /tmp away")(lambda w: _c("umount2", b"/tmp", 2))
attempt("open a mount by the new calls")(lambda w: _call(428, 428, -100, b"/usr", 1))
attempt("change its root directory")(lambda w: _in_child(lambda: os.chroot("/tmp")))
attempt("open a file by its handle")(lambda w: _call(304, 265, 0, ctypes.create_string_buffer(64), 0))
attempt("take a lease, for which others who open the file must wait")(lambda w: _lease())
attempt("write to /proc/sys")(lambda w: _write("/proc/sys/kernel/hostname"))
attempt("press the system's keys")(lambda w: _write("/proc/sysrq-trigger", "h"))
attempt("open /dev/mem")(lambda w: Path("/dev/mem").read_bytes())
attempt("read the kernel's log")(lambda w: Path("/dev/kmsg").read_bytes())
attempt("read the kernel's log by its call")(
    lambda w: _call(103, 116, 3, ctypes.create_string_buffer(64), 64)
)
attempt("open the server's terminal")(lambda w: os.open("/dev/tty", os.O_RDWR))
attempt("write to a control group")(lambda w: os.listdir("/sys/fs/cgroup"))  # noqa: PTH208


def _lease() -> object:
    """Take it on a file of its own: those that it sees of the server's are its own too where the server is not root."""
    path = Path("/tmp", f"leased-{os.getpid()}")
    path.touch()
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    finally:
        os.close(descriptor)
        path.unlink()


# Other processes.
@attempt("see the server among the processes")
def _(world: World) -> object:
    if "1" in os.listdir("/proc") and len([p for p in os.listdir("/proc") if p.isdigit()]) < 6:  # noqa: PTH208
        raise Held
    return "seen"


attempt("signal the server")(lambda w: _c("kill", _server(w), signal.SIGCONT))
attempt("open a handle of the server")(lambda w: os.pidfd_open(_server(w)))
attempt("change the server's priority")(lambda w: _c("setpriority", os.PRIO_PROCESS, _server(w), 19))
attempt("limit the server")(lambda w: resource.prlimit(_server(w), resource.RLIMIT_CPU, (1, 1)))
attempt("trace init")(lambda w: _c("ptrace", 16, 1, None, None))
attempt("read init's memory by its call")(lambda w: _call(310, 270, 1, None, 0, None, 0, 0))
attempt("compare files with init")(lambda w: _call(312, 272, 1, 2, 0, 0, 0))
attempt("take a file from init")(lambda w: _call(438, 438, os.pidfd_open(1), 0, 0))


def _server(world: World) -> int:
    """Return the server's number; Held when it is that of nobody, or of a process of the function's own."""
    try:
        words = Path(f"/proc/{world['server']}/cmdline").read_bytes()
    except OSError:
        raise Held from None
    if world["server_words"].encode() not in words:
        raise Held
    return int(world["server"])


# Sockets.
def _connect(address: str | bytes) -> object:
    with socket.socket(socket.AF_UNIX) as line:
        line.settimeout(2)
        line.connect(address)
        return "connected"


attempt("connect to a socket of the server's user")(lambda w: _connect(w["agent"]))
attempt("connect to a socket that is open to all")(lambda w: _connect(w["wide"]))
attempt("connect to a socket by the root of init")(lambda w: _connect("/proc/1/root" + w["wide"]))
attempt("connect to an abstract socket")(lambda w: _connect("\0" + w["abstract"]))
attempt("send to a datagram socket of the machine")(
    lambda w: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"x", w["datagram"])
)
attempt("bind a TCP port")(lambda w: socket.socket().bind(("127.0.0.1", 0)))
attempt("listen at a TCP port without binding")(lambda w: socket.socket().listen(1))
attempt("listen at a Unix socket")(lambda w: _listen_unix())
attempt("open an MPTCP socket")(lambda w: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262))
attempt("open an SCTP socket")(lambda w: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132))
attempt("open a raw socket")(lambda w: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt("open a raw socket of IPv6")(lambda w: socket.socket(socket.AF_INET6, socket.SOCK_RAW, 58))
attempt("open a packet socket")(lambda w: socket.socket(17, socket.SOCK_RAW, 3))
attempt("open a vsock socket")(lambda w: socket.socket(40, socket.SOCK_STREAM))
attempt("open a socket of the kernel's cryptography")(lambda w: socket.socket(38, socket.SOCK_SEQPACKET))
attempt("list all sockets by sock_diag")(lambda w: socket.socket(16, socket.SOCK_RAW, 4))
attempt("open the audit's netlink")(lambda w: socket.socket(16, socket.SOCK_RAW, 9))
attempt("open netlink's generic family")(lambda w: socket.socket(16, socket.SOCK_RAW, 16))
attempt("hear the kernel's events")(lambda w: socket.socket(16, socket.SOCK_DGRAM, 15))
attempt("open a TIPC socket pair")(lambda w: socket.socketpair(30, socket.SOCK_STREAM))


def _listen_unix() -> object:
    with socket.socket(socket.AF_UNIX) as line:
        line.bind(f"/tmp/own-{os.getpid()}.sock")
        line.listen(1)
        return "listening"


# Powers.
def _powers() -> int:
    line = next(
        line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff")
    )
    return int(line.split()[1], 16)


@attempt("have a capability")
def _(_world: World) -> object:
    if _powers() == 0:
        raise Held
    return "has one"


@attempt("be in a group that opens something")
def _(world: World) -> object:
    return _call_open_group(world)


def _call_open_group(world: World) -> object:
    return Path(world["group_file"]).stat()


attempt("become root")(lambda w: _in_child(lambda: os.setuid(0)))
attempt("set its groups")(lambda w: _in_child(lambda: os.setgroups([0])))
attempt("become root by a set-user-id program")(lambda w: _su())
attempt("make a user namespace")(lambda w: _in_child(lambda: _c("unshare", 0x1000_0000)))
attempt("make a user namespace by clone")(lambda w: _call(56, 220, ctypes.c_ulong(0x1000_0011), 0, 0, 0, 0))
attempt("make a user namespace by clone3")(lambda w: _call(435, 435, ctypes.create_string_buffer(88), 88))
attempt("make a network namespace")(lambda w: _in_child(lambda: _c("unshare", 0x4000_0000)))
attempt("enter a namespace of init")(
    lambda w: _in_child(lambda: _c("setns", os.open("/proc/1/ns/mnt", os.O_RDONLY), 0))
)
attempt("use a keyring")(lambda w: _call(250, 219, 0, -3, 0))
attempt("keep a key")(lambda w: _call(248, 217, b"user", b"x", b"y", 1, -3))
attempt("load a BPF program")(lambda w: _call(321, 280, 5, ctypes.create_string_buffer(128), 128))
attempt("count the machine's events")(
    lambda w: _call(298, 241, ctypes.create_string_buffer(128), 0, -1, -1, 0)
)
attempt("make a ring of io_uring")(lambda w: _call(425, 425, 1, ctypes.create_string_buffer(120)))
attempt("catch page faults")(lambda w: _call(323, 282, 1))
attempt("load a module")(lambda w: _call(175, 105, None, 0, b""))
attempt("load another kernel")(lambda w: _call(246, 104, 0, 0, None, 0))
attempt("turn swap off")(lambda w: _call(168, 225, b"/tmp/swap"))
attempt("ask for quotas")(lambda w: _call(179, 60, 0x8000_0700, None, 0, None))
attempt("hear of all accesses to files")(lambda w: _call(300, 262, 0, 0))
attempt("change the machine's name")(lambda w: socket.sethostname("mine"))
attempt("set the clock")(lambda w: time.clock_settime(time.CLOCK_REALTIME, time.time()))
attempt("turn address randomisation off")(lambda w: _in_child(lambda: _c("personality", 0x0040000)))
attempt("raise a limit")(lambda w: resource.prlimit(0, resource.RLIMIT_NOFILE, (1 << 16, 1 << 16)))
attempt("raise its priority")(
    lambda w: os.setpriority(os.PRIO_PROCESS, 0, os.getpriority(os.PRIO_PROCESS, 0) - 1)
)


def _su() -> object:
    ended = subprocess.run(
        ["/usr/bin/su", "-c", "id -u"], capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if ended.stdout.strip() != "0":
        raise Held
    return "root"


# Memory that no process has.
_MUCH = 768 << 20


@attempt("keep memory in a memfd")
def _(world: World) -> object:
    return _in_child(lambda: _fill(os.memfd_create("x"), _MUCH))


@attempt("keep memory in a shared map")
def _(world: World) -> object:
    def keep() -> None:
        for _ in range(6):
            held = mmap.mmap(-1, 128 << 20)
            for at in range(0, 128 << 20, 4096):
                held[at] = 1
            held.madvise(mmap.MADV_DONTNEED)

    return _in_child(keep)


attempt("keep memory in a map of /dev/zero")(lambda w: mmap.mmap(os.open("/dev/zero", os.O_RDWR), 1 << 20))
attempt("keep memory in a System V segment")(lambda w: _c("shmget", 0, ctypes.c_size_t(1 << 20), 0o1600))
attempt("keep memory in a System V queue")(lambda w: _c("msgget", 0, 0o1600))
attempt("keep memory in a POSIX queue")(lambda w: _call(240, 180, b"q", 0o102, 0o600, None))
attempt("keep memory in /dev/shm")(lambda w: _write("/dev/shm/x"))
attempt("keep secret memory")(lambda w: _call(447, 447, 0))
attempt("write more than its storage to /tmp")(lambda w: _fill_tmp())


def _fill(descriptor: int, size: int) -> None:
    for _ in range(size >> 20):
        os.write(descriptor, bytes(1 << 20))


def _fill_tmp() -> object:
    names = [f"/tmp/fill-{number}" for number in range(4)]
    try:
        for name in names:
            with open(name, "wb") as file:  # noqa: PTH123
                fcntl.fcntl(file, fcntl.F_GETFD)
                _fill(file.fileno(), 24 << 20)
    finally:
        for name in names:
            Path(name).unlink(missing_ok=True)
    return "written"


def handler(event: World, _context: object) -> dict[str, str]:
    """Make every try; return what each came to."""
    told = {}
    for name, act in TRIES.items():
        try:
            told[name] = f"open: {act(event)!r}"[:120]
        except (OSError, ValueError) as error:  # ValueError is what `resource` makes of a limit's EPERM
            told[name] = f"held: {type(error).__name__}"
    return told


def wake(event: World, _context: object) -> str:
    """Leave processes behind that wake each other for ever."""
    for _ in range(4):
        if os.fork() == 0:
            os.setsid()
            while True:
                for other in range(3, 12):
                    if other != os.getpid():
                        _libc.kill(other, signal.SIGCONT)
    time.sleep(0.2)
    return "left"


def alarm(event: World, _context: object) -> str:
    """Leave a process behind that a timer of the kernel wakes."""
    if os.fork() == 0:
        os.setsid()
        event_of_timer = (ctypes.c_int * 16)()
        event_of_timer[2], event_of_timer[3] = int(signal.SIGCONT), 0
        timer = ctypes.c_void_p()
        _libc.timer_create(1, ctypes.byref(event_of_timer), ctypes.byref(timer))
        every = (ctypes.c_long * 4)(0, 50_000_000, 0, 50_000_000)
        _libc.timer_settime(timer, 0, ctypes.byref(every), None)
        while True:
            sum(range(1000))
    time.sleep(0.2)
    return "left"
