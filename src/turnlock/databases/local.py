"""A server that Turnlock starts for a DB instance, whatever its engine: start, stop, and give the master user a password."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

import psycopg
from psycopg import sql

from turnlock.databases import cluster
from turnlock.databases.embedded import EmbeddedPostgres
from turnlock.databases.mariadb import EmbeddedMariaDB
from turnlock.databases.model import INTERNAL_USER
from turnlock.databases.mysql_files import quoted
from turnlock.errors import ConfigurationError

_MASTER_ROLES = ("pg_monitor", "pg_signal_backend", "pg_read_all_data", "pg_write_all_data")
"""What a master user of PostgreSQL is beside CREATEDB and CREATEROLE; never a superuser, as on RDS."""

_MASTER_RIGHTS = (
    "SELECT, INSERT, UPDATE, DELETE, CREATE, DROP, RELOAD, PROCESS, REFERENCES, INDEX, ALTER, SHOW DATABASES,"
    " CREATE TEMPORARY TABLES, LOCK TABLES, EXECUTE, REPLICATION SLAVE, CREATE VIEW, SHOW VIEW, CREATE ROUTINE,"
    " ALTER ROUTINE, CREATE USER, EVENT, TRIGGER"
)
"""What a master user of MariaDB may do, everywhere (RDS user guide, "Master user account privileges")."""


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


MakeServer = Callable[[Path, str, int | None], LocalServer]
"""Makes a server of one engine: (directory, INTERNAL_USER's password, port or None for a free one)."""


class LocalPostgres(EmbeddedPostgres):
    """A PostgreSQL whose superuser is Turnlock's own, with TLS where the machine's programs offer it."""

    def set_master(self, master: Master) -> None:
        """Make the role, or give it its password; only a SCRAM verifier goes to the server."""
        try:
            with psycopg.connect(self.admin_url(driver=None), autocommit=True) as connection:
                _set_role(connection, master)
                _set_database(connection, master)
        except psycopg.Error as error:
            words = error.diag.message_primary or type(error).__name__
            raise ConfigurationError(f"The master user could not be set: {words}") from None


class LocalMariaDB(EmbeddedMariaDB):
    """A MariaDB whose superuser is Turnlock's own."""

    def set_master(self, master: Master) -> None:
        """Make the user, or give it its password."""
        try:
            import pymysql  # noqa: PLC0415  (an optional extra)
        except ImportError:
            raise ConfigurationError("MariaDB needs the package pymysql: install turnlock[mysql].") from None
        name, password = quoted(master.username), quoted(master.password)
        try:
            self.execute(
                f"CREATE USER IF NOT EXISTS {name}@'%' IDENTIFIED BY {password}",
                f"ALTER USER {name}@'%' IDENTIFIED BY {password}",
                f"GRANT {_MASTER_RIGHTS} ON *.* TO {name}@'%' WITH GRANT OPTION",
                *([] if master.dbname is None else [f"CREATE DATABASE IF NOT EXISTS `{master.dbname}`"]),
            )
        except pymysql.Error as error:
            raise ConfigurationError(
                f"The master user could not be set: {type(error).__name__} {error.args[:1]}"
            ) from None


def _set_role(connection: psycopg.Connection[tuple[object, ...]], master: Master) -> None:
    verifier = connection.pgconn.encrypt_password(
        master.password.encode(), master.username.encode(), b"scram-sha-256"
    )
    role = sql.Identifier(master.username)
    there = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (master.username,)).fetchone()
    verb = sql.SQL("ALTER ROLE" if there else "CREATE ROLE")
    connection.execute(
        sql.SQL("{} {} LOGIN CREATEDB CREATEROLE PASSWORD {}").format(
            verb, role, sql.Literal(verifier.decode())
        )
    )
    for granted in _MASTER_ROLES:
        statement = sql.SQL("GRANT {} TO {} WITH ADMIN OPTION").format(sql.Identifier(granted), role)
        connection.execute(statement)


def _set_database(connection: psycopg.Connection[tuple[object, ...]], master: Master) -> None:
    """Make the database, or make it the master's: a RDS user expects to own the one that was there."""
    if master.dbname is None:
        return
    there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (master.dbname,)).fetchone()
    words = "ALTER DATABASE {} OWNER TO {}" if there else "CREATE DATABASE {} OWNER {}"
    connection.execute(sql.SQL(words).format(sql.Identifier(master.dbname), sql.Identifier(master.username)))


def _postgres(directory: Path, password: str, port: int | None) -> LocalServer:
    try:
        programs, tls = cluster.system_programs(), True
    except ConfigurationError:
        programs, tls = cluster.bundled_programs(), False
    return LocalPostgres(
        directory, superuser=INTERNAL_USER, password=password, port=port, tls=tls, programs=programs
    )


def _mariadb(directory: Path, password: str, port: int | None) -> LocalServer:
    return LocalMariaDB(directory, user=INTERNAL_USER, password=password, port=port, tls=True)


SERVERS: Final[Mapping[str, MakeServer]] = MappingProxyType(
    {"aurora-postgresql": _postgres, "mariadb": _mariadb, "postgres": _postgres}
)
"""By engine; the keys are those of `programs.PROGRAMS`."""
