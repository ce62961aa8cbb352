"""Looks at what a running function uses where the kernel has no limit for all its processes together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Final

from turnlock.functions.runtime.log_lines import FunctionOutput

MOST_TASKS: Final = 128
"""Processes and threads of one function, the launcher's two among them."""
MOST_DESCRIPTORS: Final = 1024
"""Open files of all processes of a function, Lambda's quota: what sockets and pipes hold is the kernel's memory, which no other
limit counts without a cgroup. Kernels before 6.2 do not tell the number, and only each process is limited."""
OUTPUT_BYTES: Final = 16 * 1024 * 1024
"""What one invocation may write to stdout and stderr."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_RESTING = frozenset("TtZXD")
"""The states (proc(5), stat) of a stopped process: stopped, traced, ended, or in a call that ends before it stops."""
_TICKS_TOLERATED = 5
"""Hundredths of a second that stopping may itself take."""


class Excess(Enum):
    """The limit that a function went over; the value is the sentence that its caller gets."""

    OUTPUT = f"The function wrote more than {OUTPUT_BYTES} bytes of output and was stopped"
    PROCESSES = f"The function had more than {MOST_TASKS - 3} processes and threads and was stopped"
    DESCRIPTORS = f"The function had more than {MOST_DESCRIPTORS} open files and was stopped"
    MEMORY = "The function used more memory than its limit and was stopped"

    @property
    def error_type(self) -> str:
        """Lambda's name for the failure where it has one."""
        return (
            "Runtime.OutOfMemory" if self is Excess.MEMORY else f"Turnlock.{self.name.capitalize()}Exceeded"
        )


class Watch:
    """One function's processes, found from its launcher down: orphans come back to the launcher's init."""

    def __init__(self, launcher: int, output: FunctionOutput, *, memory_bytes: int) -> None:
        self._launcher = launcher
        self._output = output
        self._memory_bytes = memory_bytes
        self.most_memory_bytes = 0
        """The most that was seen in memory at once."""
        self._ticks_at_rest = 0

    def look(self) -> Excess | None:
        """Return the limit that is exceeded now; None for none."""
        if self._output.taken > OUTPUT_BYTES:
            return Excess.OUTPUT
        processes = list(_descendants(self._launcher))
        if sum(map(_tasks, processes)) >= MOST_TASKS:
            return Excess.PROCESSES
        if sum(map(_descriptors, processes)) > MOST_DESCRIPTORS:
            return Excess.DESCRIPTORS
        kept = sum(map(_resident, processes))
        if kept > self._memory_bytes:
            # Pages that forks still share were counted for each of them; the exact sum is a hundred times as dear.
            kept = sum(map(_proportional, processes))
        self.most_memory_bytes = max(self.most_memory_bytes, kept)
        return Excess.MEMORY if kept > self._memory_bytes else None

    def signal(self, number: int) -> None:
        """Send a signal to every process, the launcher among them; to those that were started meanwhile too."""
        told: set[int] = set()
        while left := [one for one in _descendants(self._launcher) if one not in told]:
            for process in left:
                told.add(process)
                with suppress(OSError):
                    os.kill(process, number)

    def note_rest(self) -> None:
        """Remember the CPU time used so far, for `is_at_rest`."""
        self._ticks_at_rest = sum(map(_ticks, _descendants(self._launcher)))

    def is_at_rest(self) -> bool:
        """Tell whether every thread is stopped, and has been: processes can wake each other, and themselves by a timer."""
        processes = list(_descendants(self._launcher))
        if any(state not in _RESTING for process in processes for state in _states(process)):
            return False
        return sum(map(_ticks, processes)) <= self._ticks_at_rest + _TICKS_TOLERATED


def _descendants(root: int) -> Iterator[int]:
    """Yield `root` and every process that descends from it, each once."""
    waiting, seen = [root], {root}
    while waiting:
        process = waiting.pop()
        yield process
        children = [child for child in _children(process) if child not in seen]
        seen.update(children)
        waiting += children


def _children(process: int) -> Iterator[int]:
    with suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            with suppress(OSError):
                yield from map(int, (task / "children").read_text(encoding="ascii").split())


def _tasks(process: int) -> int:
    try:
        return sum(1 for _ in Path(f"/proc/{process}/task").iterdir())
    except OSError:
        return 0


def _descriptors(process: int) -> int:
    """Return how many files a process has open: the size of the directory, by Linux 6.2 and later."""
    try:
        return Path(f"/proc/{process}/fd").stat().st_size
    except OSError:
        return 0


def _ticks(process: int) -> int:
    """Return the CPU time that a process has used, all of its threads, in the kernel's ticks."""
    fields = _stat_fields(Path(f"/proc/{process}/stat"))
    return int(fields[11]) + int(fields[12]) if fields else 0


def _states(process: int) -> Iterator[str]:
    """Yield the state of each of a process's threads."""
    with suppress(OSError):
        for task in Path(f"/proc/{process}/task").iterdir():
            fields = _stat_fields(task / "stat")
            if fields:
                yield fields[0]


def _stat_fields(path: Path) -> list[str]:
    """Return the fields of a `stat` file (proc(5)) from the state on; empty for who is gone."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return []


def _resident(process: int) -> int:
    """Return the bytes of memory that are a process's own: shared pages, its launcher's code above all, are left out."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{process}/statm").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * _PAGE


def _proportional(process: int) -> int:
    """Return the bytes of memory of a process, each shared page divided among those that share it."""
    try:
        rollup = Path(f"/proc/{process}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return _resident(process)
    lines = (line.split() for line in rollup.splitlines())
    return next((int(words[1]) * 1024 for words in lines if words[0] == "Pss_Anon:"), 0)
