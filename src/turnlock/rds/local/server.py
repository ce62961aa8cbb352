"""A server that Turnlock starts for a DB instance, whatever its engine: start, stop, and give the master user a password."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Master:
    """The master user that a server shall have, and the database that shall be there."""

    username: str
    password: str = field(repr=False)
    dbname: str | None


class LocalServer(Protocol):
    """One server process with its directory. What goes wrong is a ConfigurationError with the server's own words."""

    @property
    def port(self) -> int:
        """The TCP port of 127.0.0.1 that it listens on, once it has started."""
        ...

    @property
    def running(self) -> bool:
        """True while its process lives."""
        ...

    def start(self) -> None:
        """Start it and wait until it answers; nothing happens while it runs."""
        ...

    def stop(self) -> None:
        """End it in good order."""
        ...

    def set_master(self, master: Master) -> None:
        """Give it the master user with this password, and the database; what is there already stays."""
        ...

    def restate_rights(self, username: str) -> None:
        """Give a master user that is there the rights of one, and no others."""
        ...


class MakeServer(Protocol):
    """Makes a server of one engine."""

    def __call__(self, directory: Path, password: str, port: int | None, *, confined: bool) -> LocalServer:
        """Return it, not started; `password` is INTERNAL_USER's, `port` None for a free one."""
        ...
