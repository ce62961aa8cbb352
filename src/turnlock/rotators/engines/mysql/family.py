"""What MySQL and MariaDB have in common as engines: one change at a time, by the statements that only one product has."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pymysql

from turnlock.rotators.engines.engine import Account, Credential, DatabaseFailed
from turnlock.rotators.engines.mysql.session import (
    LOCK_SECONDS,
    Connection,
    current_account,
    holds,
    log_in,
    reporting,
    run,
)


class MySQLFamily:
    """The base of the two engines. The certificate is verified for the secret's host name as PostgreSQL's is.

    Without TLS ("ssl": false) caching_sha2_password encrypts the password with a key that the server sends unproved.
    """

    names: frozenset[str]
    default_port = 3306
    default_dbname = ""
    longest_username = 32

    def connect(self, credential: Credential, timeout: float) -> Connection:
        """Log in; see `mysql_session.log_in`."""
        return log_in(credential, timeout)

    def check(self, connection: Connection) -> None:
        """Run a trivial query; DatabaseFailed when the server does not carry it out."""
        with reporting(connection, "The query failed"):
            run(connection, "SELECT NOW()")

    def account(self, connection: Connection) -> Account:
        """Return the account that the login was matched with, its host part included unless its password has expired."""
        if connection.expired:
            user = connection.user
            return Account(user=user.decode() if isinstance(user, bytes) else str(user))
        with reporting(connection, "The query failed"):
            return current_account(connection)

    @contextmanager
    def exclusively(
        self, connection: Connection, username: str, confirm: Callable[[], None]
    ) -> Iterator[None]:
        """Hold the lock of a user's name, then `confirm`, then the block.

        A process that is stopped meanwhile loses its session, and the lock with it, after ten seconds of silence: sooner
        than the next one's patience ends, so that it finds its connection gone when it wakes. Statements on accounts
        commit by themselves here, so the last one of a block must be the one that makes the password valid.

        A session whose password has expired takes no lock on MySQL: its statement names the old password instead, and fails
        once that is not the password any more.
        """
        name = "turnlock " + hashlib.sha256(username.encode()).hexdigest()[:40]
        with reporting(connection, "The password change failed"):
            _await_lock(connection, name)
            try:
                confirm()
                yield
            finally:
                # A session that is closed gives it back as well.
                with suppress(pymysql.err.Error, OSError):
                    run(connection, "SELECT RELEASE_LOCK(%s)", name)


def _await_lock(connection: Connection, name: str) -> None:
    if connection.expired and not connection.is_mariadb:
        return
    deadline = time.monotonic() + LOCK_SECONDS
    while not _locked(connection, name):
        if time.monotonic() > deadline:
            raise DatabaseFailed("Another rotation of this user does not end.")


def _locked(connection: Connection, name: str) -> bool:
    if connection.expired:
        return holds(connection, "GET_LOCK(%s, 3) = 1", name)
    return run(connection, "SELECT GET_LOCK(%s, 3)", name) == [(1,)]
