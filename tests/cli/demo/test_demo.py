"""The first command of the README, as a person runs it: a process, its lines, its commands, its end."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.processes import Process, family, wait_until

pytestmark = pytest.mark.slow

PATIENCE = 60.0
FIRST = re.compile(
    r"first rotation completed after (?P<seconds>[0-9.]+) s with 0 failed application operations"
)


class Demo:
    """A running `turnlock demo`, its output as it comes."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "turnlock", "demo", *options],
            cwd=directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.output = ""
        self.seen: set[Process] = set()
        """Every process of it that was ever looked at."""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def await_text(self, text: str) -> None:
        wait_until(lambda: text in self.output or self.process.poll() is not None, PATIENCE, text, 0.05)
        self.look()
        assert text in self.output, self.output

    def await_end(self) -> int:
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            self.look()
            assert time.monotonic() < deadline, self.output
            time.sleep(0.1)
        self.close()
        return self.process.returncode

    def close(self) -> None:
        """Wait for its end, and for its last line."""
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def look(self) -> None:
        """Take note of the processes that there are now."""
        self.seen |= set(family(self.process.pid))

    def left(self) -> list[Process]:
        return [one for one in self.seen if one.alive]

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.output += line


@contextmanager
def running(directory: Path, *options: str) -> Iterator[Demo]:
    demo = Demo(directory, *options)
    try:
        yield demo
    finally:
        with suppress(ProcessLookupError):
            demo.process.send_signal(signal.SIGTERM)
        demo.close()
        wait_until(lambda: not demo.left(), 40, f"the end of {demo.left()}")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory of our own: another session of pytest closes pytest's own to the database's user again."""
    with tempfile.TemporaryDirectory(prefix="turnlock-demo-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


def commands_in(output: str) -> str:
    """Return what a person would paste: everything between the heading and the end of the commands."""
    begun = output.split("Try these in a second terminal:", 1)[1]
    return begun.split("json.tool", 1)[0] + "json.tool\n"


def test_it_rotates_without_a_failed_operation_ends_by_itself_and_leaves_nothing_running(place: Path) -> None:
    with running(place, "--rotations", "2", "--every", "1") as demo:
        assert demo.await_end() == 0, demo.output
        assert len(demo.seen) >= 4, "the demo, a server, a worker, a PostgreSQL"
        wait_until(lambda: not demo.left(), 40, f"the end of {demo.left()}")
    first = FIRST.search(demo.output)
    assert first, demo.output
    assert float(first["seconds"]) < 30
    last = demo.output.splitlines()[-2]
    assert "rotations completed 2" in last
    assert "failed operations 0" in last
    assert re.search(r"application operations [1-9]", last)


def test_the_commands_it_prints_work_and_ctrl_c_ends_it(place: Path) -> None:
    with running(place) as demo:
        demo.await_text("json.tool")
        shell = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands_in(demo.output)],
            env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(place)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert shell.returncode == 0, shell.stderr
        for part in ("VersionIdsToStages", "SecretString", "(5 rows)", "eventName"):
            assert part in shell.stdout
        demo.process.send_signal(signal.SIGINT)
        assert demo.await_end() == 0, demo.output
        assert "Everything has ended." in demo.output


def test_a_signal_while_it_starts_ends_what_had_been_started(place: Path) -> None:
    with running(place) as demo:
        demo.await_text("Starting")
        wait_until(lambda: len(family(demo.process.pid)) > 1, PATIENCE, "a child")
        demo.look()
        demo.process.send_signal(signal.SIGTERM)
        assert demo.await_end() == 0
        assert "Ended before it began." in demo.output


def test_a_killed_demo_takes_its_server_and_database_with_it_and_the_next_one_starts_anew(
    place: Path,
) -> None:
    with running(place) as demo:
        demo.await_text("An application is at work")
        demo.process.kill()
        demo.process.wait(PATIENCE)
        wait_until(lambda: not demo.left(), 40, "the end of its children")
    with running(place) as demo:
        demo.await_text("An application is at work")


def test_two_demos_never_share_a_directory(place: Path) -> None:
    with running(place) as demo:
        demo.await_text("Starting")
        with running(place) as second:
            assert second.await_end() == 2
        assert second.output.startswith("turnlock: Another demo is running in ")
        assert second.output.count("\n") == 1


def test_the_end_of_its_server_ends_it_with_one_sentence(place: Path) -> None:
    with running(place) as demo:
        demo.await_text("An application is at work")
        demo.look()
        for one in demo.seen:
            if "turnlock serve" in one.command and one.parent == demo.process.pid:
                one.signal(signal.SIGKILL)
        assert demo.await_end() == 2
        assert "turnlock: The server has ended: " in demo.output.splitlines()[-1]
        assert "Traceback" not in demo.output
