"""The life of a database server that is a child of this process: started, stopped, started again on the same port."""

from __future__ import annotations

import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self, TypeVar

from turnlock.databases.process import HOST, free_port
from turnlock.errors import ConfigurationError

T = TypeVar("T")


class ChildServer(ABC):
    """One server's process, its directory, its port and its master user's password; what a product does is its own.

    The arguments are those that its products explain. Use it as a context manager, or call `start` and `stop`. One thread
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
    ) -> None:
        self._temporary = directory is None
        self._directory = directory
        self._password = password
        self._port = port
        self._tls = tls
        self._fsync = fsync
        self._settings = dict(settings or {})
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
