"""What MySQL and MariaDB have in common as engines: verified TLS, true verdicts on a login, and one change at a time."""

from __future__ import annotations

import hashlib
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

import pymysql
from pymysql.constants import CR

from turnlock.rotators.engine import Account, Credential, DatabaseFailed, Refused, Unreachable, redacted

_JUDGED = frozenset({1045, 1698, 1862, 3118, 4151})
"""ER_ACCESS_DENIED_ERROR, …_NO_PASSWORD_ERROR, ER_MUST_CHANGE_PASSWORD_LOGIN, ER_ACCOUNT_HAS_BEEN_LOCKED (MySQL's and MariaDB's
number): the server looked at the credential. All others (a blocked host, no free connection, no such database) judge none."""

_IDLE_SECONDS = 10
_LOCK_SECONDS = 15
_STATEMENT_SECONDS = 20.0
"""A stopped holder of the lock is thrown out after the first; whoever waits for it waits longer than that."""

_NO_TLS_ADVICE = (
    'the server offers no TLS; put "ssl": false into the secret to allow an unencrypted connection'
)
_SESSION = (
    "SET SESSION sql_mode = '', sql_quote_show_create = 1,"
    f" wait_timeout = {_IDLE_SECONDS}, lock_wait_timeout = {_LOCK_SECONDS}"
)


if TYPE_CHECKING:
    _Plain = pymysql.connections.Connection[Any]
else:
    _Plain = pymysql.connections.Connection  # generic in its stubs only


class Connection(_Plain):
    """A session whose patience differs between the login and the statements after it."""

    _sock: socket.socket

    def be_patient(self, seconds: float) -> None:
        """Wait so long for each answer from now on."""
        self._read_timeout = seconds

    @property
    def encrypted(self) -> bool:
        """True when TLS is spoken."""
        return isinstance(self._sock, ssl.SSLSocket)


class _Refusing:
    """In place of a way to authenticate that is not wanted here, whatever the server asks for."""

    reason: ClassVar[str]

    def __init__(self, _connection: object) -> None:
        pass

    def authenticate(self, _packet: object) -> None:
        raise pymysql.err.OperationalError(0, self.reason)


class _InClear(_Refusing):
    reason = "the server asks for the password in clear text and does not get it"


class _Ed25519(_Refusing):
    reason = "the account authenticates by ed25519, which this function cannot do: use mysql_native_password"


_UNWANTED: dict[str, Callable[[Any], Any]] = {
    "mysql_clear_password": _InClear,
    "mysql_old_password": _InClear,
    "dialog": _InClear,
    "client_ed25519": _Ed25519,
}


class MySQLFamily:
    """The base of the two engines. The certificate is verified for the secret's host name as PostgreSQL's is.

    Without TLS ("ssl": false) caching_sha2_password encrypts the password with a key that the server sends unproved.
    """

    names: frozenset[str]
    default_port = 3306
    default_dbname = ""
    longest_username = 32

    def connect(self, credential: Credential, timeout: float) -> Connection:
        """Log in within `timeout` seconds for each answer; Refused or Unreachable with the server's redacted words.

        A server that takes the session for somebody else's (no grant tables, an anonymous or a proxied account) proves
        nothing about the password: Unreachable.
        """
        connection: Connection | None = None
        try:
            connection = Connection(
                host=credential.host,
                port=credential.port,
                user=credential.username,
                password=credential.password.encode(),
                database=credential.dbname or None,
                charset="utf8mb4",
                autocommit=True,
                connect_timeout=timeout,
                read_timeout=timeout,
                write_timeout=timeout,
                program_name="turnlock-rotation",
                auth_plugin_map=_UNWANTED,
                **_encryption(credential),
            )
            _require_judged(connection, credential)
        except (pymysql.err.Error, OSError, ValueError) as error:
            _give_up(connection)
            raise _failure(error, credential) from None
        except BaseException:
            _give_up(connection)
            raise
        connection.be_patient(_STATEMENT_SECONDS)
        return connection

    def check(self, connection: Connection) -> None:
        """Run a trivial query; DatabaseFailed when the server does not carry it out."""
        with reporting(connection, "The query failed"):
            run(connection, "SELECT NOW()")

    def account(self, connection: Connection) -> Account:
        """Return the account that the login was matched with, its host part included."""
        with reporting(connection, "The query failed"):
            return _current_account(connection)

    @contextmanager
    def exclusively(
        self, connection: Connection, username: str, confirm: Callable[[], None]
    ) -> Iterator[None]:
        """Hold the lock of a user's name, then `confirm`, then the block.

        A process that is stopped meanwhile loses its session, and the lock with it, after ten seconds of silence: sooner
        than the next one's patience ends, so that it finds its connection gone when it wakes. Statements on accounts
        commit by themselves here, so the last one of a block must be the one that makes the password valid.
        """
        name = "turnlock " + hashlib.sha256(username.encode()).hexdigest()[:40]
        with reporting(connection, "The password change failed"):
            deadline = time.monotonic() + _LOCK_SECONDS
            while run(connection, "SELECT GET_LOCK(%s, 3)", name) != [(1,)]:
                if time.monotonic() > deadline:
                    raise DatabaseFailed("Another rotation of this user does not end.")
            try:
                confirm()
                yield
            finally:
                # A session that is closed gives it back as well.
                with suppress(pymysql.err.Error, OSError):
                    run(connection, "SELECT RELEASE_LOCK(%s)", name)


def _require_judged(connection: Connection, credential: Credential) -> None:
    """Prepare the session; Unreachable unless the login says that this user's password was looked at, as TLS was wanted."""
    if credential.tls and not connection.encrypted:
        raise Unreachable(_NO_TLS_ADVICE)
    run(connection, _SESSION)
    if _current_account(connection).user != credential.username:
        raise Unreachable("the server takes the session for another account's: it did not judge the password")


def _current_account(connection: Connection) -> Account:
    ((text,),) = run(connection, "SELECT CURRENT_USER()")
    user, _, host = str(text).rpartition("@")
    return Account(user=user, host=host)


def run(connection: Connection, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows; raises PyMySQL's errors."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return list(cursor.fetchall())


@contextmanager
def reporting(connection: Connection, what: str) -> Iterator[None]:
    """Turn a statement's error into DatabaseFailed with the server's number and redacted words."""
    try:
        yield
    except (pymysql.err.Error, OSError) as error:
        raise DatabaseFailed(f"{what}: {_words(error, _values(connection))}") from None


def _encryption(credential: Credential) -> dict[str, Any]:
    if not credential.tls:
        return {"ssl_disabled": True}
    return {"ssl": ssl.create_default_context(cafile=os.environ.get("SSL_CA_FILE") or None)}


def _failure(error: Exception, credential: Credential) -> Refused | Unreachable:
    words = _words(error, credential.values)
    number = error.args[0] if error.args else None
    if number == CR.CR_SSL_CONNECTION_ERROR:
        return Unreachable(_NO_TLS_ADVICE)
    return (
        Refused(words) if isinstance(error, pymysql.err.Error) and number in _JUDGED else Unreachable(words)
    )


def _words(error: Exception, values: Any) -> str:
    """Return the error's number and the server's message, redacted; a statement's text is in neither."""
    text = redacted(": ".join(str(part) for part in error.args), values)
    return text or "the connection was lost"


def _values(connection: Connection) -> dict[str, str]:
    fields: dict[str, Any] = {
        "host": connection.host,
        "username": connection.user,
        "password": connection.password,
        "dbname": connection.db,
    }
    return {
        name: value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
        for name, value in fields.items()
    }


def _give_up(connection: Connection | None) -> None:
    if connection is not None:
        with suppress(pymysql.err.Error, OSError):
            connection.close()


def account_name(account: Account) -> tuple[str, str]:
    """Return the two halves of an account's name, for `%s@%s`."""
    return account.user, account.host or "%"


def quoted_account(account: Account) -> str:
    """Return an account's name as SHOW GRANTS writes it when quotes are on."""
    return "@".join(f"`{part.replace('`', '``')}`" for part in account_name(account))
