"""A launched program ends with its owner, however the owner itself was started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import wait_until
from turnlock.local_servers import launch

OWNER = """
import os, signal, subprocess, sys, time
signal.signal(signal.SIGQUIT, getattr(signal, sys.argv[2]))
child = subprocess.Popen(
    [sys.executable, "-I", "-S", sys.argv[1], str(os.getpid()), "-1", "-1", "/bin/sleep", "60"]
)
while "sleep" not in open(f"/proc/{child.pid}/comm").read():
    time.sleep(0.01)
print(child.pid, flush=True)
"""


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except FileNotFoundError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("quit_signal", ["SIG_DFL", "SIG_IGN"])
def test_a_program_ends_with_its_owner_also_where_the_quit_signal_was_ignored(quit_signal: str) -> None:
    """A shell without job control starts what runs in the background with SIGQUIT ignored."""
    owner = subprocess.run(
        [sys.executable, "-c", OWNER, launch.__file__, quit_signal],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=20,
    )
    pid = int(owner.stdout)
    wait_until(lambda: not is_alive(pid), 60, "the end of the program")
