"""Load generators: both walk a file of prepared requests over a number of connections, one request at a time on each.

wrk is used where it is installed; otherwise a client of our own, which is slower than the bare server and so flatters the
ratio: figures say which one made them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import msgspec

_MARKER = "RESULT "


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What one run against one server gave."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    failures: int
    """Answers other than 2xx and 3xx, refused connections, time-outs."""

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run: where to, how wide, how long, with which requests."""

    host: str
    connections: int
    seconds: int
    requests: Path


Command = Callable[[Run], list[str]]


def _wrk(run: Run) -> list[str]:
    script = Path(__file__).with_name("walk.lua")
    options = ["-t1", f"-c{run.connections}", f"-d{run.seconds}s", "--timeout", "10s", "-s", str(script)]
    return ["wrk", *options, f"http://{run.host}/"]


def _own(run: Run) -> list[str]:
    arguments = [run.host, str(run.connections), str(run.seconds), str(run.requests)]
    return [sys.executable, "-m", "bench.client", *arguments]


GENERATORS: Mapping[str, Command] = MappingProxyType({"wrk": _wrk, "own": _own})


def preferred() -> str:
    """Return the name of the best generator that is here."""
    return "wrk" if shutil.which("wrk") else "own"


def measure(generator: str, run: Run) -> Measurement:
    """Run a generator to its end; RuntimeError with its words when it gives no result."""
    environment = {**os.environ, "TURNLOCK_BENCH_REQUESTS": str(run.requests)}
    done = subprocess.run(
        GENERATORS[generator](run),
        env=environment,
        capture_output=True,
        text=True,
        timeout=run.seconds + 60,
        check=False,
    )
    for line in done.stdout.splitlines():
        if line.startswith(_MARKER):
            return msgspec.json.decode(line.removeprefix(_MARKER), type=Measurement)
    raise RuntimeError(f"{generator} gave no result: {done.stdout} {done.stderr}")
