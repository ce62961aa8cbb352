"""The transaction in which everything is said to a PostgreSQL server that others have shaped.

Whoever owns the database sets defaults for every session in it (ALTER DATABASE … SET), a role does so for itself, and either may
keep functions, operators and tables of the catalogue's names in a schema that the search path reaches. So:

1. every statement runs in a transaction whose first statement sets the search path, and what else changes the meaning of a
   statement, for this transaction alone: nothing stays on the connection, which a pooler may share;
2. that statement, and every other one, names functions, operators, types and tables with their schema;
3. the session must belong to the role that logged in, and acts as that role, whatever its settings say;
4. values go as parameters, identifiers by the driver's quoting; nothing that was read becomes text of a statement.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import IsolationLevel

from turnlock.rotators.engines.engine import DatabaseFailed, redacted
from turnlock.rotators.engines.postgresql.login import Connection

_BEGIN: LiteralString = """
SELECT pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true),
       pg_catalog.set_config('role', 'none', true),
       pg_catalog.set_config('standard_conforming_strings', 'on', true),
       pg_catalog.set_config('datestyle', 'ISO, YMD', true),
       pg_catalog.set_config('timezone', 'UTC', true),
       pg_catalog.set_config('row_security', 'on', true),
       pg_catalog.set_config('application_name', 'turnlock-rotation', true),
       pg_catalog.set_config('idle_in_transaction_session_timeout', %(idle_in_transaction_session_timeout)s, true),
       pg_catalog.set_config('lock_timeout', %(lock_timeout)s, true),
       pg_catalog.set_config('statement_timeout', %(statement_timeout)s, true),
       session_user::pg_catalog.text, pg_catalog.current_setting('server_version_num')::pg_catalog.int4
"""

_LIMITS = {
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "15s",
    "statement_timeout": "20s",
}
"""A stopped holder of the lock is thrown out after the first; whoever waits for it waits longer than that."""

_SETTINGS: LiteralString = """
SELECT s.name, s.setting, s.source, s.reset_val FROM pg_catalog.pg_settings s
WHERE s.name OPERATOR(pg_catalog.=) 'default_transaction_read_only'
   OR s.name OPERATOR(pg_catalog.=) 'password_encryption'
"""

_OF_SERVER = frozenset({"default", "command line", "configuration file", "environment variable"})
_OF_ROLE = frozenset({"user", "database user"})

OWN_GRANTS_SINCE = 160000
"""PostgreSQL 16: memberships have the options INHERIT and SET, CREATEROLE needs ADMIN on the role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What the server, the database and the role have set for a session."""

    version: int
    """`server_version_num`: 150018 is 15.18."""
    server_reads_only: bool
    """True: the whole server is told to begin transactions as read only, and not this role or database."""
    encryption: str
    """How the server keeps passwords: `scram-sha-256` or `md5`."""
    encryption_of_database: bool
    """True: the database's owner has set another one, which does not count."""


@contextmanager
def fixed(connection: Connection, *, read_only: bool | None) -> Iterator[int]:
    """Open a transaction as above, and give the server's version; psycopg's errors, and DatabaseFailed for 3.

    `read_only`: True and False whatever the defaults are, None as they are.
    """
    connection.isolation_level, connection.read_only = IsolationLevel.READ_COMMITTED, read_only
    with connection.transaction():
        row = connection.execute(_BEGIN, _LIMITS).fetchone()
        assert row is not None
        *_, user, version = row
        if user.encode() != connection.pgconn.user:
            raise DatabaseFailed("The session does not belong to the user that logged in.")
        yield version


def defaults(connection: Connection) -> Defaults:
    """Read the session's defaults, in a transaction of its own."""
    with fixed(connection, read_only=True) as version:
        rows = {name: rest for name, *rest in connection.execute(_SETTINGS).fetchall()}
    reads_only, reads_only_from, _ = rows["default_transaction_read_only"]
    encryption, encryption_from, at_reset = rows["password_encryption"]
    # What another client of a pooler has left in the session is not the server's.
    kept = encryption if encryption_from in _OF_SERVER | _OF_ROLE else at_reset
    of_database = encryption_from == "database"
    return Defaults(
        version=version,
        server_reads_only=reads_only == "on" and reads_only_from in _OF_SERVER,
        encryption="md5" if kept in {"md5", "on"} and not of_database else "scram-sha-256",
        encryption_of_database=of_database and kept != "scram-sha-256",
    )


def words(error: psycopg.Error, connection: Connection) -> str:
    """Return the SQLSTATE and the server's primary message, redacted: the rest may quote the statement."""
    pgconn = connection.pgconn
    fields = {"host": pgconn.host, "username": pgconn.user, "password": pgconn.password, "dbname": pgconn.db}
    values = {name: value.decode(errors="replace") for name, value in fields.items()}
    primary = redacted(error.diag.message_primary or "the connection was lost", values)
    return f"{error.sqlstate}: {primary}" if error.sqlstate else primary
