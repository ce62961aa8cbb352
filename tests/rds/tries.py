"""What code inside a database server tries against the machine: shell commands, each of which ends with 0 when harm was done."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = os.geteuid() == 0
WHOLE_MACHINE = Path("/etc/fstab").exists()
OTHER_UID = 0x71FF_FFFF
"""The user of the neighbouring instance where we are root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One try. `{data}` is Turnlock's directory, `{own}` the instance's, `{other}` a neighbour's; see `Scene.names`."""

    name: str
    command: str
    as_root: bool = False
    """Whether it does harm too where Turnlock is root and the server, unconfined, runs as the user of all instances."""
    of_the_machine: bool = False
    """Whether it is about files that a test's own small root directory has not."""
    outside: str = ""
    """A path that is there afterwards, seen from outside, when harm was done."""

    @property
    def works_without_walls(self) -> bool:
        """Whether it does harm here when the server is not confined."""
        return (self.as_root or not ROOT) and (WHOLE_MACHINE or not self.of_the_machine)

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def _connects(family: str, address: str, where: str) -> str:
    return (
        f"perl -MSocket -e 'socket(S, {family}, SOCK_STREAM, 0) && connect(S, {address}) or exit 1' {where}"
    )


def _opens(socket: str) -> str:
    return f"perl -MSocket -e 'socket(S, {socket}) or exit 1'"


_FAST_OPEN = (
    "perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, 0)"
    " && send(S, 1, 0x20000000, pack_sockaddr_in($ARGV[0], INADDR_LOOPBACK)) or exit 1' {port}"
)
_TO_PORT = ("AF_INET", 'pack_sockaddr_in($ARGV[0], inet_aton("127.0.0.1"))')
_TO_PATH = ("AF_UNIX", "pack_sockaddr_un($ARGV[0])")
_TO_NAME = ("AF_UNIX", 'pack("Sa*", AF_UNIX, "\\0$ARGV[0]")')
_LISTENS = (
    "perl -MSocket -e 'socket(S, AF_INET, SOCK_STREAM, 0) && bind(S, pack_sockaddr_in($ARGV[0], INADDR_LOOPBACK))"
    " && listen(S, 1) or exit 1' {free}"
)

_OF_IT = "grep -qs {pattern} /proc/{pid}/cmdline && "
"""A number names another process in another namespace."""

TRIES = (
    Try(name="read the root key", command="cat {data}/root.key"),
    Try(name="read the credentials", command="cat {data}/credentials"),
    Try(name="read the store", command="cat {data}/turnlock.db"),
    Try(name="list the data directory", command="ls {data}/root.key"),
    Try(name="find it by proc", command="cat /proc/*/root{data}/root.key"),
    Try(name="find it by a working directory", command="cat /proc/*/cwd{data}/root.key"),
    Try(
        name="read it by a symbolic link", command="ln -s {data}/root.key {own}/data/l1 && cat {own}/data/l1"
    ),
    Try(name="link the root key", command="ln {data}/root.key {own}/data/l2"),
    Try(name="change the root key's mode", command="chmod 604 {data}/root.key && chmod 600 {data}/root.key"),
    Try(
        name="change the root key's time",
        command="touch -cd 2001-01-01 {data}/root.key && test -e {data}/root.key",
    ),
    Try(name="write the root key", command="test -e {data}/root.key && : >> {data}/root.key"),
    Try(
        name="rename the credentials",
        command="mv {data}/credentials {data}/c && mv {data}/c {data}/credentials",
    ),
    Try(name="plant a file in the data directory", command="touch {data}/planted", outside="{data}/planted"),
    Try(
        name="plant an instance",
        command="mkdir -p {data}/databases/planted",
        outside="{data}/databases/planted",
    ),
    Try(
        name="write the authorities",
        command="test -e {data}/databases/ca-bundle.pem && echo x >> {data}/databases/ca-bundle.pem",
    ),
    Try(
        name="write its own lock",
        command="echo x >> {data}/databases/shop.lock",
        outside="{data}/databases/shop.lock",
    ),
    Try(name="plant an authority", command="touch {own}/tls/planted", outside="{own}/tls/planted"),
    Try(name="write beside its data", command="touch {own}/planted", outside="{own}/planted"),
    Try(name="replace its data directory", command="mv {own}/data {own}/moved && mv {own}/moved {own}/data"),
    Try(name="read another instance's files", command="cat {other}/data/table", as_root=True),
    Try(name="list another instance's files", command="ls {other}/data/table", as_root=True),
    Try(
        name="write another instance's files",
        command="test -e {other}/data/table && echo x >> {other}/data/table",
        as_root=True,
    ),
    Try(
        name="enter another instance's socket", command=_connects(*_TO_PATH, "{other}/socket/s"), as_root=True
    ),
    Try(name="connect to a port of Turnlock", command=_connects(*_TO_PORT, "{port}"), as_root=True),
    Try(name="connect to a port while it sends", command=_FAST_OPEN, as_root=True),
    Try(name="connect to its own port", command=_connects(*_TO_PORT, "{own_port}"), as_root=True),
    Try(name="connect to a socket elsewhere", command=_connects(*_TO_PATH, "{path_socket}"), as_root=True),
    Try(name="connect to an abstract socket", command=_connects(*_TO_NAME, "{abstract}"), as_root=True),
    Try(name="listen at another port", command=_LISTENS, as_root=True),
    Try(name="see other processes", command="grep -qs {pattern} /proc/[0-9]*/cmdline", as_root=True),
    Try(name="read a process's environment", command=_OF_IT + "cat /proc/{pid}/environ"),
    Try(name="signal another process", command=_OF_IT + "kill -0 {pid}"),
    Try(name="stop another process", command=_OF_IT + "kill -STOP {pid} && kill -CONT {pid}"),
    Try(
        name="see the machine's users",
        command="grep -q ^daemon: /etc/passwd",
        as_root=True,
        of_the_machine=True,
    ),
    Try(
        name="read the machine's settings",
        command="ls /etc/fstab /etc/shells",
        as_root=True,
        of_the_machine=True,
    ),
    Try(name="read the operator's files", command="cat {home}/notes", as_root=True),
    Try(name="plant a file in tmp", command="touch /tmp/{marker}", outside="/tmp/{marker}", as_root=True),
    Try(
        name="plant a file in shared memory",
        command="touch /dev/shm/{marker}",
        outside="/dev/shm/{marker}",
        as_root=True,
    ),
    Try(name="make a user namespace", command="unshare -U true", as_root=True),
    Try(name="list all sockets by sock_diag", command=_opens("16, 2, 4"), as_root=True),
    Try(name="hear the kernel's events", command=_opens("16, 2, 15"), as_root=True),
    Try(name="see the machine's devices", command="ls /dev/tty /dev/ptmx", as_root=True, of_the_machine=True),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A machine with something to steal; the server under test has its files in `own`."""

    base: Path
    names: dict[str, str]

    @property
    def own(self) -> Path:
        """The directory of the instance that tries."""
        return Path(self.names["own"])


@contextmanager
def scene(base: Path) -> Iterator[Scene]:
    """Set it up in an empty directory that strangers can pass."""
    data, marker = base / "turnlock", f"turnlock-{uuid.uuid4().hex[:12]}"
    own, other, home = data / "databases" / "shop", data / "databases" / "other", base / "operator"
    for directory in (data, data / "databases", other, other / "data", other / "socket", home):
        directory.mkdir(mode=0o755)
    for name in ("root.key", "credentials", "turnlock.db"):
        (data / name).write_text("secret")
        (data / name).chmod(0o600)
    (data / "databases" / "ca-bundle.pem").write_text("pem")
    (home / "notes").write_text("the operator's")
    (other / "data" / "table").write_text("rows")
    with ExitStack() as stack:
        port = _answering(stack, socket.AF_INET, ("127.0.0.1", 0))
        _answering(stack, socket.AF_UNIX, str(other / "socket" / "s"))
        _answering(stack, socket.AF_UNIX, str(base / "path"))
        _answering(stack, socket.AF_UNIX, f"\0{marker}")
        (base / "path").chmod(0o777)
        beside = subprocess.Popen(["/bin/sh", "-c", f"while :; do sleep 1; done; : {marker}"], cwd="/")
        stack.callback(beside.wait)
        stack.callback(beside.kill)
        for place in ("/tmp", "/dev/shm"):
            stack.callback(Path(place, marker).unlink, missing_ok=True)
        names = {"data": data, "own": own, "other": other, "home": home, "marker": marker, "pid": beside.pid}
        names |= {
            "port": port,
            "free": _free(),
            "pattern": f"[t]{marker[1:]}",
            "path_socket": base / "path",
            "abstract": marker,
        }
        yield Scene(base=base, names={name: str(value) for name, value in names.items()})


def owned_by(scene: Scene, uid: int) -> None:
    """Give the neighbour's files to a user, closed to others."""
    for path in (*Path(scene.names["other"]).glob("*/*"), *Path(scene.names["other"]).iterdir()):
        path.chmod(0o700)
        if ROOT:
            os.chown(path, uid, uid)


def _answering(stack: ExitStack, family: int, address: object) -> int:
    listener = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
    listener.bind(address)  # type: ignore[arg-type]
    listener.listen(64)

    def answer() -> None:
        while True:
            try:
                listener.accept()[0].close()
            except OSError:
                return

    threading.Thread(target=answer, daemon=True).start()
    stack.callback(listener.shutdown, socket.SHUT_RDWR)
    return listener.getsockname()[1] if family == socket.AF_INET else 0


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
