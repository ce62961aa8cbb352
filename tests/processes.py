"""Turnlock servers as real processes: started, stopped in the middle, killed, started again on the same data and port."""

from __future__ import annotations

import configparser
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.request import Request, urlopen

import boto3
from botocore.config import Config as ClientConfig

from turnlock.local_servers.process import Account, start_bound

Client = Any
"""boto3's Secrets Manager client."""

REGION = "eu-central-1"
START_SECONDS = 30.0
END_SECONDS = 10.0
TICK_SECONDS = 0.01
SERVE = ("-m", "turnlock", "serve")
"""What Python is told to run; another entry takes the same options."""


def wait_until(reached: Callable[[], object], seconds: float, what: str, tick: float = TICK_SECONDS) -> None:
    """Wait until a condition holds; AssertionError, naming `what`, when it does not in time."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, f"not within {seconds:g} seconds: {what}"
        time.sleep(tick)


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One living process, told from a later one of the same number by when it started (proc(5))."""

    pid: int
    parent: int
    session: int
    started: int
    command: str

    @property
    def is_function(self) -> bool:
        """Whether it is a rotation function's launcher, with which the function ends."""
        return "launcher.py" in self.command and self.session == self.pid

    @property
    def alive(self) -> bool:
        """Whether it still runs; a zombie does not."""
        # Not its command, which is gone before it is.
        now = _process(self.pid)
        return now is not None and now.started == self.started

    def signal(self, number: int) -> None:
        """Send it a signal, unless it is gone."""
        if self.alive:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _process(pid: int) -> Process | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except (OSError, IndexError):
        return None
    # A zombie with more than one thread is still ending.
    if fields[0] == "X" or (fields[0] == "Z" and int(fields[17]) <= 1):
        return None
    return Process(
        pid=pid, parent=int(fields[1]), session=int(fields[3]), started=int(fields[19]), command=command
    )


def family(pid: int) -> list[Process]:
    """Return a process, all that descend from it, and all of its session: the elder before the younger."""
    numbers = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    everyone = [one for number in numbers if (one := _process(number))]
    known = {pid}
    found: list[Process] = []
    for one in sorted(everyone, key=lambda one: (one.started, one.pid)):
        if one.pid == pid or one.parent in known or one.session == pid:
            known.add(one.pid)
            found.append(one)
    return found


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class ServerProcess:
    """`turnlock serve` in a session of its own. It ends with the tests' process, however that ends.

    `data_dir` is made at the first start; the log is beside it and is kept. `options` follow those for the directory,
    the address and the store; `entry` is what Python runs with them, as `account` where that is given (root alone can). Use it as a context manager: on leaving, it is
    killed and nothing of it may remain.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        database: str | None = None,
        options: Sequence[str] = (),
        entry: Sequence[str] = SERVE,
        account: Account | None = None,
    ) -> None:
        self.data_dir = data_dir
        self.database = database
        self.port = free_port()
        self.log_path = data_dir.with_name(f"{data_dir.name}.log")
        self.options = tuple(options)
        self.entry = tuple(entry)
        self.account = account
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note(f"The server's log, {self.log_path}, ends with:\n{self.log_tail()}")
        self.kill()

    @property
    def pid(self) -> int:
        """The main process."""
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def metrics(self, address: str | None = None) -> Any:
        """Return the open answer to who reads `/metrics` with the token of the data directory."""
        token = (self.data_dir / "metrics-token").read_text().strip()
        url = f"{address or f'http://127.0.0.1:{self.port}'}/metrics"
        return urlopen(Request(url, headers={"Authorization": f"Bearer {token}"}), timeout=30)

    def launch(self) -> None:
        """Start it, and wait for nothing."""
        assert not self.running
        command = [sys.executable, *self.entry, "--data-dir", str(self.data_dir)]
        command += ["--listen", f"127.0.0.1:{self.port}", *self.options]
        if self.database is not None:
            command += ["--database", self.database]
        self._process = start_bound(command, account=self.account, log=self.log_path)

    def start(self) -> None:
        """Start it and wait until it is healthy; on failure nothing of it remains."""
        self.launch()
        try:
            wait_until(lambda: not self.running or self.answers(), START_SECONDS, "a healthy server")
            assert self.running, f"the server ended:\n{self.log_tail()}"
        except BaseException:
            self.kill()
            raise

    def family(self) -> list[Process]:
        """Return every process of the server: the main one, its workers, and their functions."""
        return family(self.pid)

    def functions(self) -> list[Process]:
        """Return the processes that run rotation functions."""
        return [one for one in self.family() if one.is_function]

    def servers(self) -> list[Process]:
        """Return the main process and the workers."""
        return [one for one in self.family() if not one.is_function]

    def kill(self) -> None:
        """Kill the main process (SIGKILL); what belongs to it must then end by itself, within END_SECONDS."""
        if self._process is None:
            return
        members = self.family()
        self._process.kill()
        self._process.wait(END_SECONDS)
        self.require_gone(members)
        self._process = None

    def require_gone(self, members: Sequence[Process]) -> None:
        """Wait until these processes and the whole session are gone; else end them and raise AssertionError."""
        session = self.pid
        deadline = time.monotonic() + END_SECONDS
        left = [*members]
        while left and time.monotonic() < deadline:
            time.sleep(TICK_SECONDS)
            left = [one for one in (*members, *family(session)) if one.alive]
        for one in left:
            one.signal(signal.SIGKILL)
        assert not left, f"these outlived their parent: {left}"

    def stop(self) -> None:
        """End it in good order (SIGTERM)."""
        assert self._process is not None
        members = self.family()
        self._process.terminate()
        self._process.wait(START_SECONDS)
        self.require_gone(members)
        self._process = None

    @property
    def credentials(self) -> tuple[str, str]:
        """The root user's access key: its id and its secret."""
        profile = configparser.ConfigParser()
        profile.read(self.data_dir / "credentials")
        return profile["default"]["aws_access_key_id"], profile["default"]["aws_secret_access_key"]

    def client(self, **settings: Any) -> Client:
        """Return boto3's client for the root user; `settings` are botocore's, and nothing is retried by default."""
        key_id, secret = self.credentials
        defaults: dict[str, Any] = {
            "connect_timeout": 5,
            "read_timeout": 30,
            "max_pool_connections": 32,
            "retries": {"total_max_attempts": 1},
        }
        return boto3.Session().client(
            "secretsmanager",
            region_name=REGION,
            endpoint_url=f"http://127.0.0.1:{self.port}",
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            config=ClientConfig(**{**defaults, **settings}),
        )

    def log_tail(self, size: int = 6000) -> str:
        """Return the end of what it wrote."""
        return self.log_path.read_text(errors="replace")[-size:] if self.log_path.exists() else ""

    def events(self, action: str) -> Iterator[dict[str, Any]]:
        """Return the log's entries of one action, of all its starts, in order."""
        for line in self.log_path.read_text(errors="replace").splitlines():
            with suppress(ValueError):
                entry = json.loads(line)
                if isinstance(entry, dict) and entry.get("action") == action:
                    yield entry

    def answers(self) -> bool:
        """Tell whether it is healthy."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()
