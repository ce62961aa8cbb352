"""Who may read `/metrics`, which takes no signature: the networks of `--metrics-from`, and of these not what runs here for others.

Functions and local databases are on loopback too. Where the server is root each of them has a user id of its own, and the
kernel says whose the other end of a loopback connection is. Else they have the server's user id and cannot be told from
people: `--metrics-token-file` asks for a bearer token then, of every reader.
"""

from __future__ import annotations

import hmac
import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from turnlock.config import LOOPBACK, Config, is_within
from turnlock.confinement.namespaces import FIRST_USER
from turnlock.errors import ConfigurationError
from turnlock.wire import HttpRequest

READ_BY_CHILDREN: Final = "functions and local databases read /metrics, for they have the server's user (--metrics-token-file asks for a token)"
_SHORTEST, _LONGEST = 16, 4096
_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


class MetricsReaders:
    """The readers of one server's metrics."""

    def __init__(self, config: Config) -> None:
        self._networks = config.metrics_from
        self._token = None if config.metrics_token_file is None else read_token(config.metrics_token_file)
        self._told_apart = os.geteuid() == 0
        self._port = config.port

    def left_open(self) -> list[str]:
        """Return a phrase for who reads the metrics though nobody means them to; none where nobody does."""
        loopback = any(is_within(address, self._networks) for address in ("127.0.0.1", "::1"))
        return [READ_BY_CHILDREN] if loopback and self._token is None and not self._told_apart else []

    def includes(self, request: HttpRequest) -> bool:
        """Tell whether a request may read them. It may look into /proc: not on an event loop."""
        if not is_within(request.source_ip, self._networks):
            return False
        if self._token is not None:
            scheme, _, given = (request.header("authorization") or "").partition(" ")
            return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._token)
        if not self._told_apart or not is_within(request.source_ip, LOOPBACK):
            return True
        owners = list(owners_of(int(request.peer.rpartition(":")[2] or 0), self._port))
        return bool(owners) and all(uid < FIRST_USER for uid in owners)


def read_token(path: Path) -> bytes:
    """Return the bearer token in a file of one line. Raises ConfigurationError for a file that others may read."""
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            token = file.read(_LONGEST + 1).strip()
    except OSError as error:
        raise ConfigurationError(f"--metrics-token-file {path} cannot be read: {error.strerror}.") from None
    if stat.S_ISREG(status.st_mode) and (status.st_mode & 0o077 or status.st_uid not in (os.geteuid(), 0)):
        raise ConfigurationError(
            f"Others may read the file {path}, which holds the metrics' token; make it yours alone (chmod 600)."
        )
    if not _SHORTEST <= len(token) <= _LONGEST or len(token.split()) != 1:
        raise ConfigurationError(
            f"--metrics-token-file {path} is to hold one line, a token of at least {_SHORTEST} characters."
        )
    return token


def owners_of(port: int, server_port: int) -> Iterator[int]:
    """Yield the user ids of this machine's sockets that are connected from a port to the server's (proc(5), /proc/net/tcp)."""
    for table in _TABLES:
        with suppress(OSError):
            for line in table.read_text(encoding="ascii").splitlines()[1:]:
                _, local, remote, _, _, _, _, owner, *_ = line.split()
                if (_port_in(local), _port_in(remote)) == (port, server_port):
                    yield int(owner)


def _port_in(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
