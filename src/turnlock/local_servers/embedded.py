"""A real PostgreSQL server as a child of this process."""

from __future__ import annotations

import ctypes
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, urlencode

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from turnlock.errors import ConfigurationError
from turnlock.local_servers import cluster
from turnlock.local_servers.child import ChildServer
from turnlock.local_servers.cluster import SUPERUSER, Layout
from turnlock.local_servers.confined import Enclosure
from turnlock.local_servers.process import HOST, Account, read_since, read_theirs, size_of

_TICK = 0.02
_IPC_RMID = 0
_INITIALISATION_SECONDS = 120
_ANSWER_SECONDS = 2.0
_STARTUP = b"user\0postgres\0\0"
_STARTUP_MESSAGE = struct.pack("!II", 8 + len(_STARTUP), 3 << 16) + _STARTUP
"""Version 3.0 of the protocol (PostgreSQL, "Message Formats")."""

_SETTINGS: Mapping[str, str] = {
    "listen_addresses": HOST,
    "password_encryption": "scram-sha-256",
    "shared_buffers": "16MB",
    "max_connections": "50",
    "huge_pages": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_destination": "stderr",
}


class EmbeddedPostgres(ChildServer):
    """One PostgreSQL cluster in one directory, and the server that runs it.

    Takes the `directory` (made when absent; None: a temporary one that `stop` removes), the superuser's name and `password`
    (None: a new random one; needed for a cluster that exists), `port` (None: one that the system gives at the first
    start, then kept), `tls` (offer TLS beside plain connections), `fsync` (False only where data may be lost),
    further server `settings` by name, and the directory of PostgreSQL's `programs` (None: the wheel's, or the system's
    where TLS is asked for, which the wheel's are built without). As root, the server runs as the user `pgserver` and
    the directories above its own are made passable for everyone, unless it is `confined`. ConfigurationError when it cannot be had.

    Use it as a context manager, or call `start` and `stop`. One thread at a time.
    """

    product = "The embedded PostgreSQL"
    _patience = 30.0
    _ends = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)

    def __init__(
        self,
        directory: Path | None = None,
        *,
        superuser: str = SUPERUSER,
        password: str | None = None,
        port: int | None = None,
        tls: bool = False,
        fsync: bool = True,
        settings: Mapping[str, str] | None = None,
        programs: Path | None = None,
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
        self._superuser = superuser
        self._programs = programs or (cluster.system_programs() if tls else cluster.bundled_programs())
        self._layout: Layout | None = None

    # What it is.

    @property
    def socket_directory(self) -> Path:
        """Where the unix socket is: libpq's `host` for it."""
        return self._laid_out.socket

    @property
    def log_path(self) -> Path:
        """The server's log."""
        return self._laid_out.log

    @property
    def ssl_ca_path(self) -> Path | None:
        """The certificate to verify the server with; None when it offers no TLS."""
        return self._laid_out.ca if self._tls else None

    def conninfo(self, user: str, password: str, dbname: str = "postgres") -> str:
        """Return libpq's connection string over TCP; with TLS, verified, when the server offers it."""
        return make_conninfo(
            "", host=HOST, port=self.port, user=user, password=password, dbname=dbname, **self._tls_options()
        )

    def dsn(self, user: str, password: str, dbname: str = "postgres", *, driver: str | None = None) -> str:
        """Return the same as a URL, `postgresql://…`, or `postgresql+<driver>://…` for SQLAlchemy."""
        scheme = f"postgresql+{driver}" if driver else "postgresql"
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        options = f"?{urlencode(self._tls_options())}" if self._tls else ""
        return f"{scheme}://{login}@{HOST}:{self.port}/{quote(dbname, safe='')}{options}"

    def admin_url(self, dbname: str = "postgres", *, driver: str | None = "psycopg") -> str:
        """Return the superuser's URL; `driver=None` for the plain form."""
        return self.dsn(self._superuser, self.password, dbname, driver=driver)

    # What it does.

    def stop(self) -> None:
        """End the server in good order (its fast shutdown) and remove a temporary directory."""
        self._shut_down()
        if self._layout and self._layout.socket.parent != self._layout.root:
            shutil.rmtree(self._layout.socket, ignore_errors=True)
            self._layout = None
        if self._temporary and self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)
            self._directory = self._layout = None

    def kill(self) -> None:
        """End the server as a crash would (SIGKILL), wait until nothing of it runs, and clear what it left behind.

        The next `start` goes through crash recovery.
        """
        segment = None if self._confined else _shared_memory_id(self._laid_out)
        self._crash(self._laid_out.log)
        if segment is not None:
            ctypes.CDLL(None).shmctl(segment, _IPC_RMID, None)
        self._laid_out.pid_file.unlink(missing_ok=True)
        for left_over in self._laid_out.socket.glob(".s.PGSQL.*"):
            left_over.unlink(missing_ok=True)

    def create_login(self, name: str, password: str, *, database: str | None = None) -> None:
        """Make a role that may log in, and a `database` that it owns; only a SCRAM verifier goes to the server."""
        with psycopg.connect(self.conninfo(self._superuser, self.password), autocommit=True) as connection:
            verifier = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
            role = sql.Identifier(name)
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(verifier.decode()))
            )
            if database:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), role)
                )

    # How.

    def _shared_account(self) -> Account | None:
        return cluster.server_account()

    @property
    def _laid_out(self) -> Layout:
        return self._known(self._layout, "directory")

    def _tls_options(self) -> dict[str, str]:
        authority = self.ssl_ca_path
        return {"sslmode": "verify-full", "sslrootcert": str(authority)} if authority else {}

    def _prepare(self) -> None:
        if self._directory is None:
            self._directory = Path(tempfile.mkdtemp(prefix="turnlock-pg-"))
        self._account = self._own_account(self._directory)
        if self._account and not self._confined:
            cluster.let_through(self._programs / "postgres")
        self._layout = cluster.lay_out(self._directory, self._account, passable=not self._confined)
        if self._layout.initialised:
            if self._password is None:
                raise ConfigurationError(f"The cluster in {self._directory} exists; its password is needed.")
            return
        self._password = self._password or secrets.token_urlsafe(24)
        with cluster.password_file(self._layout, self._password, self._account) as file:
            command = cluster.initialisation(
                self._layout, self._programs, self._superuser, file, durable=self._fsync
            )
            try:
                self._run_program(command, self._within(file), _INITIALISATION_SECONDS)
            except OSError as error:
                raise ConfigurationError(f"initdb did not run: {type(error).__name__}") from error

    def _within(self, *readable: Path) -> Enclosure:
        layout = self._laid_out
        places = (*cluster.places_of(self._programs), *readable)
        return self._enclosure(layout.root, places, (layout.data, layout.socket))

    def _launch(self) -> None:
        account, layout = self._account, self._laid_out
        cluster.write_access_rules(layout, account)
        settings = {
            **_SETTINGS,
            "port": str(self.port),
            "unix_socket_directories": str(layout.socket),
            "fsync": "on" if self._fsync else "off",
        }
        if self._tls:
            certificate, key = cluster.write_certificates(layout, account)
            settings |= {"ssl": "on", "ssl_cert_file": str(certificate), "ssl_key_file": str(key)}
        settings |= self._settings
        program = [str(self._programs / "postgres"), "-D", str(layout.data)]
        for name, value in settings.items():
            program += ["-c", f"{name}={value}"]
        log_start = size_of(layout.log)
        try:
            self._start_program(program, self._within(), layout.log)
        except OSError as error:
            raise ConfigurationError(f"{self.product} could not be started.") from error
        self._await_answer(self._running_process, log_start)

    def _await_answer(self, process: subprocess.Popen[bytes], log_start: int) -> None:
        deadline = time.monotonic() + self._patience
        while process.poll() is None and time.monotonic() < deadline:
            # A stranger on our port could answer too; the process's own state decides about that.
            if _asks_for_a_password(self.port) and _state(self._laid_out) == "ready":
                return
            time.sleep(_TICK)
        self._shut_down()
        words = read_since(self._laid_out.log, log_start)
        raise ConfigurationError(f"{self.product} did not start: {words[-2000:].strip()}")


def _asks_for_a_password(port: int) -> bool:
    """Tell whether a PostgreSQL takes connections at a port.

    libpq's ping would wait without end, and hold up every thread of this process, where somebody listens and says nothing.
    """
    try:
        with socket.create_connection((HOST, port), timeout=_ANSWER_SECONDS) as probe:
            probe.sendall(_STARTUP_MESSAGE)
            return probe.recv(1) == b"R"
    except OSError:
        return False


def _lock_file_lines(layout: Layout) -> list[str]:
    return [line.strip() for line in read_theirs(layout.pid_file).splitlines()]


def _state(layout: Layout) -> str:
    lines = _lock_file_lines(layout)
    return lines[7] if len(lines) > 7 else ""


def _shared_memory_id(layout: Layout) -> int | None:
    lines = _lock_file_lines(layout)
    return int(lines[6].split()[1]) if len(lines) > 6 and lines[6] else None
