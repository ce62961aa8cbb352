"""A PostgreSQL that Turnlock starts for a DB instance: a superuser of Turnlock's own, and a master user that cannot become one."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from typing import Final

import psycopg
from psycopg import sql

from turnlock.errors import ConfigurationError
from turnlock.local_servers import EmbeddedPostgres, cluster
from turnlock.rds.local.server import LocalServer, Master
from turnlock.rds.model import INTERNAL_USER

_Connection = psycopg.Connection[tuple[object, ...]]

INTERNAL_DATABASE: Final = INTERNAL_USER
"""The superuser's own database, as on RDS. A master user may own every other one, and the owner of a database decides with
ALTER DATABASE … SET about the sessions of everybody who connects to it."""

_MASTER_ROLES = ("pg_monitor", "pg_signal_backend", "pg_read_all_data", "pg_write_all_data")
"""What a master user is beside CREATEDB and CREATEROLE; never a superuser, as on RDS."""

_SESSION: Final = "-c search_path=pg_catalog,pg_temp -c statement_timeout=60s -c lock_timeout=10s"
"""Of the superuser's sessions: stronger than what a database or a role sets."""

_CONNECT_SECONDS: Final = 10
_SESSION_SECONDS: Final = 120.0
"""How long a session may last. The server's own limits, above, are the word of a server whose master user may have got into it."""

_WAYS_OUT: Final = (
    # CREATEROLE of PostgreSQL 15 may give anyone these roles, and with them the server's files and programs. A role that is
    # not there cannot be given, and nobody can make one whose name begins with pg_. A superuser needs none of them.
    "DELETE FROM pg_catalog.pg_auth_members WHERE roleid IN (4569, 4570, 4571)",
    "DELETE FROM pg_catalog.pg_authid WHERE oid IN (4569, 4570, 4571)",
    # Of a data directory whose master user could raise itself: 10 is the superuser that initdb made.
    """UPDATE pg_catalog.pg_authid SET rolsuper = false, rolreplication = false, rolbypassrls = false
    WHERE oid <> 10 AND (rolsuper OR rolreplication OR rolbypassrls)""",
)
"""pg_read_server_files, pg_write_server_files and pg_execute_server_program by their fixed ids (pg_authid.dat), since version 11."""


class LocalPostgres(EmbeddedPostgres):
    """A PostgreSQL whose superuser is Turnlock's own, with TLS where the machine's programs offer it."""

    def start(self) -> None:
        """Start it, and take away the roles with which a master user could reach the server's files and programs."""
        if self.running:
            return
        super().start()
        try:
            self._close_ways_out()
        except BaseException:
            self._shut_down()
            raise

    def set_master(self, master: Master) -> None:
        """Make the role, or give it its password; only a SCRAM verifier goes to the server."""
        try:
            with self._as_superuser(INTERNAL_DATABASE) as connection:
                _set_role(connection, master)
                _set_database(connection, master)
        except psycopg.Error as error:
            words = error.diag.message_primary or type(error).__name__
            raise ConfigurationError(f"The master user could not be set: {words}") from None

    def restate_rights(self, username: str) -> None:
        """Do nothing: a role's attributes are only changed by the superuser."""

    @contextmanager
    def _as_superuser(self, dbname: str) -> Iterator[_Connection]:
        """Log in where no one else shapes the session; whatever listens at the port is never sent the password itself.

        psycopg's OperationalError when the server goes silent.
        """
        target = self.conninfo(self._superuser, self.password, dbname)
        with (
            psycopg.connect(
                target,
                autocommit=True,
                require_auth="scram-sha-256",
                options=_SESSION,
                connect_timeout=_CONNECT_SECONDS,
            ) as connection,
            _bounded(connection),
        ):
            yield connection

    def _close_ways_out(self) -> None:
        try:
            with self._as_superuser("template1") as connection:
                _make_internal_database(connection)
            with self._as_superuser(INTERNAL_DATABASE) as connection:
                for statement in _WAYS_OUT:
                    connection.execute(statement)
        except psycopg.Error as error:
            words = error.diag.message_primary or type(error).__name__
            raise ConfigurationError(f"The server could not be closed: {words}") from None


@contextmanager
def _bounded(connection: _Connection) -> Iterator[None]:
    """End a connection's socket after _SESSION_SECONDS, under whatever waits for it."""

    def end(line: socket.socket) -> None:
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)

    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        timer = Timer(_SESSION_SECONDS, end, (line,))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()


def _make_internal_database(connection: _Connection) -> None:
    owner = connection.execute(
        "SELECT datdba FROM pg_catalog.pg_database WHERE datname = %s", (INTERNAL_DATABASE,)
    ).fetchone()
    if owner is None:
        name = sql.Identifier(INTERNAL_DATABASE)
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(name))
        connection.execute(sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(name))
    elif owner != (10,):
        raise ConfigurationError(
            f"The database {INTERNAL_DATABASE} is Turnlock's, and here it belongs to a user."
        )


def _set_role(connection: _Connection, master: Master) -> None:
    verifier = connection.pgconn.encrypt_password(
        master.password.encode(), master.username.encode(), b"scram-sha-256"
    )
    role = sql.Identifier(master.username)
    there = connection.execute(
        "SELECT 1 FROM pg_catalog.pg_roles WHERE rolname = %s", (master.username,)
    ).fetchone()
    verb = sql.SQL("ALTER ROLE" if there else "CREATE ROLE")
    connection.execute(
        sql.SQL("{} {} LOGIN CREATEDB CREATEROLE PASSWORD {}").format(
            verb, role, sql.Literal(verifier.decode())
        )
    )
    for granted in _MASTER_ROLES:
        statement = sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(sql.Identifier(granted), role)
        connection.execute(statement)


def _set_database(connection: _Connection, master: Master) -> None:
    """Make the database, or make it the master's: a RDS user expects to own the one that was there."""
    if master.dbname is None:
        return
    there = connection.execute(
        "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s", (master.dbname,)
    ).fetchone()
    words = "ALTER DATABASE {} OWNER TO {}" if there else "CREATE DATABASE {} OWNER {}"
    connection.execute(sql.SQL(words).format(sql.Identifier(master.dbname), sql.Identifier(master.username)))


def make_postgresql(directory: Path, password: str, port: int | None, *, confined: bool) -> LocalServer:
    """Return the server of a DB instance; ConfigurationError when the machine has no PostgreSQL."""
    try:
        programs, tls = cluster.system_programs(), True
    except ConfigurationError:
        programs, tls = cluster.bundled_programs(), False
    return LocalPostgres(
        directory,
        superuser=INTERNAL_USER,
        password=password,
        port=port,
        tls=tls,
        programs=programs,
        confined=confined,
    )
