"""Starting `child.py`, and ending what was started."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support import StorePlace


@contextmanager
def child(place: StorePlace, verb: str, name: str, count: int) -> Iterator[subprocess.Popen[str]]:
    """Run a child on the store; it is killed (SIGKILL) at the end if it is still there."""
    command = [
        sys.executable,
        str(Path(__file__).with_name("child.py")),
        place.url or "-",
        str(place.data_dir),
    ]
    process = subprocess.Popen([*command, verb, name, str(count)], stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=30)
