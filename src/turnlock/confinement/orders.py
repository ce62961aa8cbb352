"""What an owner orders a launcher to do: JSON on standard input, so that neither `ps` nor /proc shows a credential.

A function and a local database are started by the same orders. `start.start` sends them; `launcher` carries them out.
"""

from __future__ import annotations

from typing import Literal, TypedDict

Demand = Literal["required", "offered", "none"]
"""`required`: nothing runs where the kernel lacks a part. `offered`: with what the kernel has. `none`: as the server's user."""
SystemCalls = Literal["function", "server"]
"""The table of `seccomp`: a `server` may listen and share memory between its processes, a `function` may not."""


class Place(TypedDict):
    """A file or directory of the machine that the child sees."""

    source: str
    """Where it is outside. One that is not there is passed over, unless it is writable."""
    target: str
    """Where the child sees it, an absolute path: `/var/task` for a package that lies elsewhere."""
    writable: bool


class Confinement(TypedDict):
    """The walls around one child: it sees `places`, a /proc and /dev of its own, and of /etc what programs need to run."""

    demand: Demand
    system_calls: SystemCalls
    places: list[Place]
    """Beside the system's programs and libraries (/usr, /bin, /lib, …), which every child sees, read-only."""
    interpreter: bool
    """Whether the child sees this Python and its packages too."""
    etc: dict[str, str]
    """Further files in its /etc, by name: their text. `passwd` and `group` name root and the child's user unless given here."""
    home: str
    """An empty directory that the owner made for this child and removes after it. The root directory is built there, so nothing
    is ever written to it; only where there are no namespaces is it the home itself."""
    home_bytes: int
    """Size of its /tmp, which is memory and ends with the child; the sum of all that it may keep there. 0: no /tmp."""
    shm_bytes: int
    """Size of its /dev/shm; 0: none. Lambda has none; PostgreSQL's parallel queries need one."""
    user: tuple[int, int] | None
    """(uid, gid) to become where the owner is root, for files that outlive the child; None for a fresh one that owns nothing.
    Where the owner is not root the child keeps the owner's user, without the power of it: it sees nothing that is not a place."""
    bind_ports: list[int]
    """The TCP ports that it may bind (Landlock ABI 4)."""
    connects: bool
    """Whether it may connect to TCP ports (Landlock ABI 4)."""
    memory_counted: bool
    """Whether a cgroup counts its memory. Where none does, a function gets no memory that only the kernel could count."""
    processes: int | None
    """Processes and threads at once, counted for its user; None for no limit, as for the following."""
    address_bytes: int | None
    """Address space of each process; None where the program reserves more than it uses."""
    file_bytes: int | None
    """Size of each file that it writes."""
    cpu_seconds: int | None
    """Of each process, over its whole life."""
    open_files: int
    nice: int


class Orders(TypedDict):
    """What the owner wants."""

    owner_pid: int
    """The process that the child must not outlive."""
    owner_signal: int
    """What the child gets when its owner ends: SIGKILL, or what lets a database close its files. It is killed a minute later."""
    command: list[str]
    """The program and its arguments, by paths that the child sees; empty to end once the walls are up."""
    environment: dict[str, str]
    """The whole environment. HOME and TMPDIR are added: the child's own /tmp, or `home` without namespaces. A value that is the target
    of a place is its source there."""
    work_in: str
    """The working directory, as the child sees it; empty for its home."""
    cgroup: str
    """The directory of the cgroup (`cgroups.Cgroup.path`) that `start` puts it into; empty for the owner's."""
    confinement: Confinement


def shown(source: str, *, at: str = "", writable: bool = False) -> Place:
    """Return the place `source`, which the child sees under the same path unless `at` is another one."""
    return Place(source=source, target=at or source, writable=writable)
