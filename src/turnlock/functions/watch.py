"""Looks at what a running function uses where the kernel has no limit for all its processes together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from enum import Enum
from pathlib import Path
from typing import Final

from turnlock.functions.logs import FunctionOutput

MOST_TASKS: Final = 128
"""Processes and threads of one function, the launcher's two among them."""
OUTPUT_BYTES: Final = 16 * 1024 * 1024
"""What one invocation may write to stdout and stderr."""

_PAGE = os.sysconf("SC_PAGE_SIZE")


class Excess(Enum):
    """The limit that a function went over; the value is the sentence that its caller gets."""

    OUTPUT = f"The function wrote more than {OUTPUT_BYTES} bytes of output and was stopped"
    PROCESSES = f"The function had more than {MOST_TASKS - 3} processes and threads and was stopped"
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

    def look(self) -> Excess | None:
        """Return the limit that is exceeded now; None for none."""
        if self._output.taken > OUTPUT_BYTES:
            return Excess.OUTPUT
        processes = list(_descendants(self._launcher))
        if sum(map(_tasks, processes)) >= MOST_TASKS:
            return Excess.PROCESSES
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
