"""PostgreSQL as an engine: true verdicts on a login, and a password change that cannot come too late."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from psycopg import pq, sql

from turnlock.rotators.engines.engine import Account, Credential, DatabaseFailed, Twin
from turnlock.rotators.engines.postgresql import rehearsal as postgresql_rehearsal
from turnlock.rotators.engines.postgresql import strangers as postgresql_strangers
from turnlock.rotators.engines.postgresql import twins as postgresql_twins
from turnlock.rotators.engines.postgresql.login import LONGEST_NAME, Connection, log_in
from turnlock.rotators.engines.postgresql.transaction import defaults, fixed, words
from turnlock.rotators.rehearsal import Change, Finding

_OLDEST_LIBPQ = 170000
"""The first libpq whose trace holds the messages of the start-up."""


class PostgreSQL:
    """The engine of `postgres` and `aurora-postgresql` secrets.

    The certificate is verified for the secret's host name against the authorities in the file that SSL_CA_FILE names,
    or the system's. Only SCRAM and MD5 log-ins count: a server that does not ask for a password proves nothing, and
    one that asks for it in clear text does not get it. Use one connection in one thread.
    """

    names = frozenset({"postgres", "aurora-postgresql"})
    default_port = 5432
    default_dbname = "postgres"
    longest_username = LONGEST_NAME

    def __init__(self) -> None:
        if pq.version() < _OLDEST_LIBPQ:
            raise RuntimeError("psycopg's libpq is too old: version 17 or newer is needed")

    def connect(self, credential: Credential, timeout: float) -> Connection:
        """Log in within `timeout` seconds; see `postgresql_login.log_in`."""
        return log_in(credential, timeout)

    def set_password(
        self, connection: Connection, username: str, password: str, confirm: Callable[[], None]
    ) -> None:
        """Give the role a new password, sent only as a verifier; DatabaseFailed when the server will not.

        One transaction takes a lock for the role, then calls `confirm`, then changes the password and commits. This
        closes the race with a later attempt: while we hold the lock nobody else can pass `confirm`, and a process that
        is stopped after `confirm` loses its transaction after ten seconds, before the next one's patience ends, so
        that it finds its connection gone when it wakes. It does not close it against whoever changes the role's
        password without this lock: an administrator, another tool, or a secret that names the same role through
        another database (such locks are per database).
        """
        with _exclusively(connection, username, password, confirm) as (_version, verifier):
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(username), sql.Literal(verifier))
            )

    def renew_twin(self, connection: Connection, twin: Twin, confirm: Callable[[], None]) -> None:
        """Make the twin or renew it, as `postgresql_twins` says, in one transaction like that of `set_password`."""
        with _exclusively(connection, twin.username, twin.password, confirm) as (version, verifier):
            postgresql_strangers.require_none(connection, master=connection.pgconn.user.decode())
            postgresql_twins.renew(connection, twin, verifier, version)

    def account(self, connection: Connection) -> Account:
        """Return the role that logged in, whichever role it acts as."""
        with _told("The query", connection), fixed(connection, read_only=True):
            return Account(user=connection.pgconn.user.decode())

    def strangers(self, connection: Connection) -> dict[str, str]:
        """Return the event triggers of the session's database, to the owners of their functions."""
        with _told("The query", connection), fixed(connection, read_only=True):
            return postgresql_strangers.strangers(connection)

    def rehearse(self, connection: Connection, change: Change, *, by_master: bool) -> list[Finding]:
        """Look whether the session could make the change, in transactions that can only read."""
        with _told("The look", connection):
            return list(postgresql_rehearsal.look(connection, change, by_master=by_master))

    def check(self, connection: Connection) -> None:
        """Run a trivial query; DatabaseFailed when the server does not carry it out."""
        with _told("The query", connection), fixed(connection, read_only=True):
            connection.execute("SELECT current_timestamp").fetchone()


@contextmanager
def _told(what: str, connection: Connection) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        raise DatabaseFailed(f"{what} failed: {words(error, connection)}") from None


@contextmanager
def _exclusively(
    connection: Connection, username: str, password: str, confirm: Callable[[], None]
) -> Iterator[tuple[int, str]]:
    """Open the transaction that `set_password` describes; give the server's version and the password's verifier."""
    with _told("The password change", connection):
        found = defaults(connection)
        verifier = connection.pgconn.encrypt_password(
            password.encode(), username.encode(), found.encryption.encode()
        )
        # A user or a database that only reads by default may still get a password; a server that only reads is told so.
        with fixed(connection, read_only=None if found.server_reads_only else False) as version:
            connection.execute(
                "SELECT pg_catalog.pg_advisory_xact_lock(%s::pg_catalog.int8)", (_lock_key(username),)
            )
            # A database that commits asynchronously could forget the password after a crash.
            connection.execute(
                "SELECT pg_catalog.set_config('synchronous_commit', 'on', true)"
                " WHERE pg_catalog.current_setting('synchronous_commit') OPERATOR(pg_catalog.=) 'off'"
            )
            confirm()
            yield version, verifier.decode()


def _lock_key(username: str) -> int:
    digest = hashlib.sha256(b"turnlock rotation of role " + username.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)
