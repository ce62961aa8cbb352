"""A real server of MySQL's family as a child of this process: what MariaDB and MySQL have in common."""

from __future__ import annotations

import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from turnlock.errors import ConfigurationError
from turnlock.local_servers import cluster
from turnlock.local_servers.child import ChildServer
from turnlock.local_servers.confined import Enclosure
from turnlock.local_servers.mysql_files import MySQLLayout, lay_out, make_private, quoted, write_certificates
from turnlock.local_servers.process import HOST, Account, read_since, size_of

if TYPE_CHECKING:
    import pymysql

ADMIN = "admin"
"""The master user's name, as RDS's console proposes it."""

_TICK = 0.02
_INITIALISATION_SECONDS = 300
_GREETING = 10
"""The version of the protocol, which is the first byte that a server says (MySQL Internals, "Protocol::HandshakeV10")."""

_FAILED_STATEMENT = re.compile(r"^ERROR: ", re.MULTILINE)

_SETTINGS: Mapping[str, str] = {
    "bind-address": HOST,
    "skip-name-resolve": "ON",
    "innodb-buffer-pool-size": "32M",
    "max-connections": "80",
    "character-set-server": "utf8mb4",
    "local-infile": "OFF",
    "host-cache-size": "0",  # a blocked host is no verdict on a password, and here there is one host
}


class MySQLServer(ChildServer):
    """One data directory, and the server that runs it.

    Takes the `directory` (made when absent; None: a temporary one that `stop` removes), the master user's `password`
    (None: a new random one; needed for a directory that exists) and name, `port` (None: one that the system gives at the
    first start, then kept), `tls` (offer TLS beside plain connections; none is offered otherwise), `fsync` (False only
    where data may be lost) and further server `settings` by name. The master user has every right there is, from any
    host; the server listens on 127.0.0.1 and a socket, and nobody gets in without a password. It never runs as root.
    ConfigurationError when it cannot be had.

    Use it as a context manager, or call `start` and `stop`. One thread at a time.
    """

    _patience = 60.0  # a full crash recovery is in it
    _ends = (signal.SIGTERM, signal.SIGKILL)
    _root_goes: ClassVar[Sequence[str]]
    """The statements that take away the superuser which initialisation leaves without a password."""

    def __init__(
        self,
        directory: Path | None = None,
        *,
        user: str = ADMIN,
        password: str | None = None,
        port: int | None = None,
        tls: bool = False,
        fsync: bool = True,
        settings: Mapping[str, str] | None = None,
        confined: bool = False,
    ) -> None:
        super().__init__(
            directory,
            password=password,
            port=port,
            tls=tls,
            fsync=fsync,
            settings=settings,
            confined=confined,
        )
        self.user = user
        self._layout: MySQLLayout | None = None

    # What one product has of its own.

    @abstractmethod
    def _server_command(self) -> Sequence[str]:
        """Return the words that start the server; ConfigurationError when it is not there."""

    @abstractmethod
    def _initialise_command(self, layout: MySQLLayout) -> Sequence[str]:
        """Return the words that fill an empty data directory, with nobody in it whom the network lets in."""

    @abstractmethod
    def _product_settings(self) -> Mapping[str, str]:
        """Return the settings that only this product has."""

    # What it is.

    @property
    def socket_path(self) -> Path:
        """The unix socket."""
        return self._laid_out.socket

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self._laid_out.log

    @property
    def ssl_ca_path(self) -> Path | None:
        """The certificate to verify the server with; None when it offers no TLS."""
        return self._laid_out.ca if self._tls else None

    def connect(
        self, user: str | None = None, password: str | None = None, database: str | None = None
    ) -> pymysql.Connection[Any]:
        """Log in over TCP, verified when the server offers TLS, as the master user unless another is named.

        Raises PyMySQL's errors; ImportError without the extra `mysql`.
        """
        import pymysql  # noqa: PLC0415  (an optional extra)

        authority = self.ssl_ca_path
        encryption: dict[str, Any] = (
            {"ssl_ca": str(authority), "ssl_verify_identity": True} if authority else {"ssl_disabled": True}
        )
        return pymysql.connect(
            host=HOST,
            port=self.port,
            user=self.user if user is None else user,
            password=self.password if user is None else password or "",
            database=database,
            autocommit=True,
            connect_timeout=10,
            read_timeout=30,
            **encryption,
        )

    # What it does.

    def stop(self) -> None:
        """End the server in good order and remove a temporary directory."""
        self._shut_down()
        if self._layout and self._layout.socket_directory.parent != self._layout.root:
            shutil.rmtree(self._layout.socket_directory, ignore_errors=True)
        if self._temporary and self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = None
        self._layout = None

    def kill(self) -> None:
        """End the server as a crash would (SIGKILL); the next `start` goes through crash recovery."""
        self._crash(self._laid_out.log)

    def execute(self, *statements: str) -> list[tuple[Any, ...]]:
        """Run statements as the master user and return the last one's rows."""
        connection = self.connect()
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                return list(cursor.fetchall())
        finally:
            connection.close()

    # How.

    @property
    def _laid_out(self) -> MySQLLayout:
        return self._known(self._layout, "directory")

    def _prepare(self) -> None:
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="turnlock-my-"))
        self._account = account = self._own_account(self._directory)
        self._layout = layout = lay_out(self._directory, account, passable=not self._confined)
        if layout.initialised:
            if self._password is None:
                raise ConfigurationError(f"The data in {self._directory} exist; their password is needed.")
            return
        self._password = self._password or secrets.token_urlsafe(24)
        shutil.rmtree(layout.data)  # what a first start left that did not come to its end
        make_private(layout.data, account)
        try:
            self._run_program(self._initialise_command(layout), self._within(layout), _INITIALISATION_SECONDS)
        except OSError as error:
            raise ConfigurationError(f"{self.product} was not initialised: {type(error).__name__}") from error

    def _within(self, layout: MySQLLayout, *readable: Path) -> Enclosure:
        places = (layout.ca.parent, *readable)
        return self._enclosure(layout.root, places, (layout.data, layout.socket_directory))

    def _launch(self) -> None:
        account, layout = self._account, self._laid_out
        statements = self._start_statements()
        first = layout.root / "first-statements.sql" if statements else None
        if first is not None:
            # An init-file has one statement a line.
            text = "".join(f"{statement};\n" for statement in statements)
            cluster.write_private(first, text.encode(), account)
        program = [*self._server_command(), *self._options(layout, account)]
        program += [] if first is None else [f"--init-file={first}"]
        log_start = size_of(layout.log)
        layout.socket.unlink(missing_ok=True)
        try:
            self._start_program(program, self._within(layout, *([first] if first else [])), layout.log)
            self._await_answer(self._running_process, log_start)
        except OSError as error:
            raise ConfigurationError(f"{self.product} could not be started.") from error
        finally:
            if first is not None:
                first.unlink(missing_ok=True)
        (layout.root / "initialised").touch()

    def _start_statements(self) -> Sequence[str]:
        """Return what a start runs before it takes connections, with every right: at the first, the master user is made."""
        if self._laid_out.initialised:
            return ()
        name, password = quoted(self.user), quoted(self.password)
        return (
            *self._root_goes,
            f"CREATE USER {name}@'%' IDENTIFIED BY {password}",
            f"GRANT ALL PRIVILEGES ON *.* TO {name}@'%' WITH GRANT OPTION",
        )

    def _options(self, layout: MySQLLayout, account: Account | None) -> list[str]:
        settings = {
            **_SETTINGS,
            **self._product_settings(),
            "datadir": str(layout.data),
            "socket": str(layout.socket),
            "pid-file": str(layout.data / "mysqld.pid"),
            "port": str(self.port),
            "innodb-flush-log-at-trx-commit": "1" if self._fsync else "2",
        }
        if self._tls:
            certificate, key = write_certificates(layout, account)
            settings |= {"ssl-cert": str(certificate), "ssl-key": str(key), "ssl-ca": str(layout.ca)}
        settings |= self._settings
        return [f"--{name}={value}" for name, value in settings.items()]

    def _await_answer(self, process: subprocess.Popen[bytes], log_start: int) -> None:
        deadline = time.monotonic() + self._patience
        while process.poll() is None and time.monotonic() < deadline:
            # A stranger could answer on our port, but not on the socket in our directory.
            if _greets(self._laid_out.socket):
                break
            time.sleep(_TICK)
        words = read_since(self._laid_out.log, log_start)
        # MariaDB goes on when a statement of its init-file fails, with whoever that statement should have kept out.
        if process.poll() is None and time.monotonic() < deadline and not _FAILED_STATEMENT.search(words):
            return
        self._shut_down()
        raise ConfigurationError(f"{self.product} did not start: {words[-2000:].strip()}")


def _greets(path: Path) -> bool:
    """Tell whether a server greets on a unix socket."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(2)
            probe.connect(str(path))
            header = probe.recv(5)
    except OSError:
        return False
    return len(header) == 5 and header[4] == _GREETING
