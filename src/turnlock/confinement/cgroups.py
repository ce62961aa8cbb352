"""Control groups of version 2: what the kernel counts, freezes and ends for all processes of a child together.

    the server's own cgroup
      ├─ turnlock-server           the server itself, where controllers could only so be handed on (no cgroup has both)
      └─ turnlock-PID-STARTED      of one server process, without processes
           ├─ 1                    one child
           └─ 2

A hierarchy is used feature by feature: memory, processes and CPU where its controllers are handed to the server (systemd:
`Delegate=yes`; root), freezing and killing wherever the server may make a cgroup. `features` says what there is.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Final

CONTROLLERS: Final = ("memory", "pids", "cpu")
FEATURES: Final = {"memory": "memory.max", "pids": "pids.max", "cpu": "cpu.weight", "freeze": "cgroup.freeze"}
"""What a child's cgroup can do, by the file that does it."""
CPU_WEIGHT: Final = 100
"""The kernel's default share of the CPU; nice 10 is about a tenth of it."""

_SERVER = "turnlock-server"
_PREFIX = "turnlock-"
_EMPTY_SECONDS = 2.0
"""How long killed processes may take to be gone."""


class Cgroup:
    """One child's cgroup, empty until the launcher moves itself into `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.features = frozenset(name for name, file in FEATURES.items() if (path / file).exists())

    def limit(self, *, memory_bytes: int | None, processes: int | None, cpu_weight: int) -> None:
        """Set what there is a controller for. Memory counts everything: shared, /tmp, the kernel's own for it; no swap."""
        if "memory" in self.features and memory_bytes is not None:
            _write(self.path / "memory.max", str(memory_bytes))
            with suppress(OSError):  # without swap accounting
                _write(self.path / "memory.swap.max", "0")
            _write(self.path / "memory.oom.group", "1")
        if "pids" in self.features and processes is not None:
            _write(self.path / "pids.max", str(processes))
        if "cpu" in self.features:
            _write(self.path / "cpu.weight", str(cpu_weight))

    def freeze(self, frozen: bool) -> None:
        """Stop every process, or let them go on; a signal among them changes nothing. OSError when the kernel refuses."""
        _write(self.path / "cgroup.freeze", "1" if frozen else "0")

    @property
    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has ended it for going over its memory."""
        with suppress(OSError, ValueError):
            lines = (self.path / "memory.events").read_text(encoding="ascii").splitlines()
            return any(int(count) for name, count in map(str.split, lines) if name == "oom_kill")
        return False

    def kill(self) -> None:
        """Kill every process, frozen or not, where the kernel does it as one (Linux 5.14)."""
        with suppress(OSError):
            _write(self.path / "cgroup.kill", "1")

    def remove(self) -> None:
        """Kill what is left and remove the cgroup; what cannot be removed in time is, at a server's next start."""
        self.kill()
        until = time.monotonic() + _EMPTY_SECONDS
        while not _removed(self.path) and time.monotonic() < until:
            time.sleep(0.005)


class Cgroups:
    """The cgroups of this process's children, below `base`, its own cgroup."""

    def __init__(self, base: Path) -> None:
        """Make the place for them and remove what killed servers left; OSError where this process may not."""
        self._path = base / f"{_PREFIX}{os.getpid()}-{_started(os.getpid())}"
        self._numbers = itertools.count(1)
        remove_left_over(base)
        _hand_on(base)
        self._path.mkdir(exist_ok=True)
        _hand_on(self._path)
        probe = self.make()
        self.features = probe.features
        probe.remove()

    def make(self) -> Cgroup:
        """Make the cgroup of one child; OSError when the kernel refuses."""
        path = self._path / str(next(self._numbers))
        path.mkdir()
        return Cgroup(path)

    def close(self) -> None:
        """Remove the place; children that still live keep it until a next start."""
        with suppress(OSError):
            self._path.rmdir()


def own() -> Cgroups | None:
    """Return the cgroups of this process; None where it may make none."""
    return _of(os.getpid())


@cache
def _of(_pid: int) -> Cgroups | None:
    try:
        base = _base()
        return None if base is None else Cgroups(base)
    except (OSError, ValueError):
        return None


def settle() -> None:
    """Move the server to a cgroup below its own where that one can only so hand its controllers on.

    For the main process, before it starts others. Nothing happens where it may not, or where others' processes are there too.
    """
    with suppress(OSError, ValueError):
        base = _base()
        if base is None or _hand_on(base):
            return
        members = (base / "cgroup.procs").read_text(encoding="ascii").split()
        if set(members) == {str(os.getpid())}:
            (base / _SERVER).mkdir(exist_ok=True)
            _write(base / _SERVER / "cgroup.procs", str(os.getpid()))
            _hand_on(base)


def remove_left_over(base: Path) -> None:
    """End and remove the cgroups of servers that are no more: they were killed, and their children may live."""
    for path in base.glob(f"{_PREFIX}*-*"):
        pid, _, started = path.name.removeprefix(_PREFIX).partition("-")
        if pid.isdigit() and _started(int(pid)) != started:
            with suppress(FileNotFoundError):  # another worker of this server does the same
                for child in path.iterdir():
                    if child.is_dir():
                        Cgroup(child).remove()
            _removed(path)


def _base() -> Path | None:
    """Return this process's cgroup in the hierarchy of version 2; None where there is none that it may change."""
    mounted = next(_mounts(), None)
    lines = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    within = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), None)
    if mounted is None or within is None:
        return None
    root, place = mounted
    path = place / Path(within).relative_to(root)
    path = path.parent if path.name == _SERVER else path
    return path if os.access(path, os.W_OK) and os.access(path / "cgroup.procs", os.W_OK) else None


def _mounts() -> Iterator[tuple[str, Path]]:
    """Yield (root within the hierarchy, place) of each mount of version 2 (proc(5), mountinfo)."""
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        mount, _, filesystem = line.partition(" - ")
        if filesystem.startswith("cgroup2 "):
            fields = mount.split()
            yield fields[3], Path(fields[4])


def _hand_on(path: Path) -> bool:
    """Hand the controllers that a cgroup has on to those below it; False while processes of its own stand in the way."""
    offered = (path / "cgroup.controllers").read_text(encoding="ascii").split()
    wanted = [name for name in CONTROLLERS if name in offered]
    for name in wanted:
        try:
            _write(path / "cgroup.subtree_control", f"+{name}")
        except OSError:
            return False
    return True


def _started(pid: int) -> str:
    """Return when a process was started, in the kernel's ticks (proc(5), stat); empty when there is none."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    return ""


def _removed(path: Path) -> bool:
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii")
