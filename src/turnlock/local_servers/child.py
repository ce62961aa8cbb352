"""The life of a database server that is a child of this process: started, stopped, started again on the same port."""

from __future__ import annotations

import os
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self, TypeVar

from turnlock.errors import ConfigurationError
from turnlock.local_servers.confined import Enclosure, instance_account
from turnlock.local_servers.process import HOST, Account, free_port, open_log, start_bound

T = TypeVar("T")


class ChildServer(ABC):
    """One server's process, its directory, its port and its master user's password; what a product does is its own.

    The arguments are those that its products explain; `confined` puts its programs behind the common walls, as what strangers use,
    with a user of the directory's own. Use it as a context manager, or call `start` and `stop`. One thread
    at a time.
    """

    product: ClassVar[str]
    """The server's name in messages."""
    _patience: ClassVar[float]
    """Seconds to wait for it to start or to stop."""
    _ends: ClassVar[Sequence[signal.Signals]]
    """What asks it to end, the gentlest first."""

    def __init__(
        self,
        directory: Path | None,
        *,
        password: str | None,
        port: int | None,
        tls: bool,
        fsync: bool,
        settings: Mapping[str, str] | None,
        confined: bool,
    ) -> None:
        self._temporary = directory is None
        self._directory = directory
        self._password = password
        self._port = port
        self._tls = tls
        self._fsync = fsync
        self._settings = dict(settings or {})
        self._confined = confined
        self._account: Account | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def host(self) -> str:
        """The address it listens on."""
        return HOST

    @property
    def port(self) -> int:
        """The TCP port; it stays the same over restarts. ConfigurationError before the first start."""
        return self._known(self._port, "port")

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        return self._running_process.pid

    @property
    def running(self) -> bool:
        """True while the server's process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def password(self) -> str:
        """The master user's password, to be stored by whoever keeps the directory."""
        return self._known(self._password, "password")

    def start(self) -> None:
        """Start the server and wait until it answers; ConfigurationError with its own words when it does not."""
        if self.running:
            return
        self._prepare()
        free_choice = self._port is None
        for attempts_left in (2, 1, 0) if free_choice else (0,):
            if free_choice:
                self._port = free_port()
            try:
                self._launch()
            except ConfigurationError:
                if not attempts_left:
                    raise
            else:
                return

    @abstractmethod
    def _shared_account(self) -> Account | None:
        """Return the account that a server which is not confined runs as, or None for our own."""

    @abstractmethod
    def stop(self) -> None:
        """End the server in good order and remove a temporary directory."""

    def restart(self) -> None:
        """Stop in good order and start again on the same port."""
        self._shut_down()
        self.start()

    @abstractmethod
    def _prepare(self) -> None:
        """Have a directory from which the server can be started; ConfigurationError when there can be none."""

    @abstractmethod
    def _launch(self) -> None:
        """Start the process on the port and return once it answers; ConfigurationError when it does not."""

    def _own_account(self, directory: Path) -> Account | None:
        return instance_account(directory) if self._confined else self._shared_account()

    def _enclosure(self, root: Path, readable: Sequence[Path], writable: Sequence[Path]) -> Enclosure:
        return Enclosure(mount=root / "mount", account=self._account, readable=readable, writable=writable)

    def _run_program(self, program: Sequence[str], within: Enclosure, seconds: float) -> None:
        """Run one of the product's programs to its end. ConfigurationError with its words when it fails, OSError when it does not run."""
        if self._confined:
            within.run(program, seconds=seconds)
            return
        try:
            subprocess.run(  # noqa: S603  (fixed program, no shell)
                program,
                check=True,
                capture_output=True,
                timeout=seconds,
                env={"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                cwd="/",
                user=self._account.uid if self._account else None,
                group=self._account.gid if self._account else None,
                extra_groups=[] if self._account else None,
            )
        except subprocess.CalledProcessError as error:
            words = bytes(error.stderr or error.stdout).decode(errors="replace")[-2000:].strip()
            raise ConfigurationError(f"{Path(program[0]).name} failed: {words}") from None
        except subprocess.TimeoutExpired:
            raise ConfigurationError(f"{Path(program[0]).name} took longer than {seconds:g} s.") from None

    def _start_program(self, program: Sequence[str], within: Enclosure, log: Path) -> None:
        """Start the server once nothing of the former one is left; OSError when it cannot be started."""
        output = open_log(log, self._patience)
        try:
            if self._confined:
                self._process = within.start(program, port=self.port, output=output)
            else:
                self._process = start_bound(program, account=self._account, log=output)
        finally:
            os.close(output)

    def _crash(self, log: Path) -> None:
        """End the server as a crash would (SIGKILL), and wait until nothing of it runs."""
        process = self._running_process
        process.kill()
        process.wait(self._patience)
        os.close(open_log(log, self._patience))
        self._process = None

    @property
    def _running_process(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ConfigurationError(f"{self.product} is not running.")
        return self._process

    def _known(self, value: T | None, what: str) -> T:
        if value is None:
            raise ConfigurationError(f"{self.product} has no {what} before its first start.")
        return value

    def _shut_down(self) -> None:
        if self._process is None:
            return
        for request in self._ends:
            self._process.send_signal(request)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(self._patience)
                break
        self._process = None
