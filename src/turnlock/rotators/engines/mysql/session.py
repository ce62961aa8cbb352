"""A session with a server of MySQL's family: verified TLS, true verdicts on a login, and settings that nobody else chose.

The server may be anybody until its certificate is verified, and without TLS it stays so. It gets no clear-text password, no
file of ours (LOAD DATA LOCAL is never granted), and what it sends that is no answer is an answer that could not be read.
"""

from __future__ import annotations

import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar

import pymysql
from pymysql.constants import CLIENT, CR, ER

from turnlock.rotators.engines.engine import (
    Account,
    Credential,
    DatabaseFailed,
    Refused,
    Unreachable,
    redacted,
)

_JUDGED = frozenset({1045, 1698, 1862, 3118, 3955, 4151})
"""ER_ACCESS_DENIED_ERROR, …_NO_PASSWORD_ERROR, ER_MUST_CHANGE_PASSWORD_LOGIN, ER_ACCOUNT_HAS_BEEN_LOCKED (MySQL's and MariaDB's
number), ER_USER_ACCESS_DENIED_FOR_USER_ACCOUNT_BLOCKED_BY_PASSWORD_LOCK: the server looked at the credential. All others (a
blocked host, no free connection, no such database) judge none."""

EXPIRED = 1820
"""ER_MUST_CHANGE_PASSWORD: a session whose password has expired may change it and do nothing else."""

_GARBLED = (RuntimeError, LookupError, AssertionError, TypeError, AttributeError, struct.error)
"""What PyMySQL raises beside its own errors when a server's packets are not what they should be, or ask for a local file."""

_IDLE_SECONDS = 10
LOCK_SECONDS = 15
_STATEMENT_SECONDS = 20.0
"""A stopped holder of the lock is thrown out after the first; whoever waits for it waits longer than that."""

_NO_TLS_ADVICE = (
    'the server offers no TLS; put "ssl": false into the secret to allow an unencrypted connection'
)
_OTHER = "the server takes the session for another account's: it did not judge the password"
_SESSION = (
    "SET SESSION sql_mode = {}, autocommit = 1, sql_quote_show_create = 1, sql_select_limit = 18446744073709551615,"
    f" wait_timeout = {_IDLE_SECONDS}, lock_wait_timeout = {LOCK_SECONDS}"
)
_MYSQL_MODE = "''"
_MARIADB_MODE = "'NO_AUTO_CREATE_USER'"
"""Without it MariaDB makes an account, without a password, for a GRANT to one that has just been dropped."""

_WHO = """\
LEFT(CURRENT_USER(), CHAR_LENGTH(CURRENT_USER()) - CHAR_LENGTH(SUBSTRING_INDEX(CURRENT_USER(), '@', -1)) - 1) = BINARY %s"""


if TYPE_CHECKING:
    _Plain = pymysql.connections.Connection[Any]
else:
    _Plain = pymysql.connections.Connection  # generic in its stubs only


class Connection(_Plain):
    """A session whose patience differs between the login and the statements after it."""

    server_version: str
    _sock: socket.socket
    expired = False
    """The password has expired: only statements that change it are carried out."""

    def be_patient(self, seconds: float) -> None:
        """Wait so long for each answer from now on."""
        self._read_timeout = seconds

    @property
    def encrypted(self) -> bool:
        """True when TLS is spoken."""
        return isinstance(self._sock, ssl.SSLSocket)

    @property
    def is_mariadb(self) -> bool:
        """True when the server calls itself MariaDB."""
        return "MariaDB" in self.server_version

    def set_character_set(self, charset: str, collation: str | None = None) -> None:
        """Nothing: `_prepare` does it, since a session with an expired password may not on MySQL."""


class _Refusing:
    """In place of a way to authenticate that is not wanted here, whatever the server asks for."""

    reason: ClassVar[str]

    def __init__(self, _connection: object) -> None:
        pass

    def authenticate(self, _packet: object) -> None:
        raise pymysql.err.OperationalError(0, self.reason)


class _InClear(_Refusing):
    reason = "the server asks for the password in clear text and does not get it"


class _Ed25519:
    """Answers what cannot be right, so that MariaDB goes on to the account's next way to authenticate, or says no.

    An account may have several, and one that does not exist is asked for the way of some other account.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def authenticate(self, _packet: object) -> Any:
        self._connection.write_packet(bytes(64))
        try:
            answer = self._connection._read_packet()  # noqa: SLF001  (what PyMySQL's own plugins do)
        except pymysql.err.OperationalError as error:
            words = "the server asked for ed25519, which this function cannot do: use mysql_native_password"
            raise pymysql.err.OperationalError(error.args[0], f"{error.args[-1]}; {words}") from None
        if not answer.is_auth_switch_request():
            return answer
        answer.read_uint8()
        return self._connection._process_auth(answer.read_string(), answer)  # noqa: SLF001


_UNWANTED: dict[str, Callable[[Any], Any]] = {
    "mysql_clear_password": _InClear,
    "mysql_old_password": _InClear,
    "dialog": _InClear,
    "client_ed25519": _Ed25519,
}


def log_in(credential: Credential, timeout: float) -> Connection:
    """Log in within `timeout` seconds for each answer; Refused or Unreachable with the server's redacted words.

    A server that takes the session for somebody else's (no grant tables, an anonymous or a proxied account) proves
    nothing about the password: Unreachable.
    """
    connection: Connection | None = None
    try:
        connection = _connected(
            host=credential.host,
            port=credential.port,
            user=credential.username,
            password=credential.password.encode(),
            database=credential.dbname or None,
            charset="utf8mb4",
            autocommit=None,
            connect_timeout=timeout,
            read_timeout=timeout,
            write_timeout=timeout,
            program_name="turnlock-rotation",
            auth_plugin_map=_UNWANTED,
            local_infile=False,
            client_flag=CLIENT.HANDLE_EXPIRED_PASSWORDS,
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


def _require_judged(connection: Connection, credential: Credential) -> None:
    """Prepare the session; Unreachable unless the login says that this user's password was looked at, as TLS was wanted."""
    if credential.tls and not connection.encrypted:
        raise Unreachable(_NO_TLS_ADVICE)
    try:
        _prepare(connection)
        ((proxy,),) = run(connection, "SELECT @@proxy_user")
        if proxy is not None or current_account(connection).user != credential.username:
            raise Unreachable(_OTHER)
    except pymysql.err.Error as error:
        if not error.args or error.args[0] != EXPIRED:
            raise
        connection.expired = True
        _require_own_sandbox(connection, credential)


def _prepare(connection: Connection) -> None:
    """Set what a server's settings or its init_connect may have set otherwise."""
    run(connection, "SET NAMES utf8mb4")
    run(connection, _SESSION.format(_MARIADB_MODE if connection.is_mariadb else _MYSQL_MODE))
    if connection.is_mariadb:
        run(connection, "SET SESSION old_passwords = 0")


def _require_own_sandbox(connection: Connection, credential: Credential) -> None:
    """Ask who an expired password's session is for. MySQL carries out nothing but the change; MariaDB evaluates a SET."""
    if connection.is_mariadb and not holds(connection, _WHO, credential.username):
        raise Unreachable(_OTHER)


def holds(connection: Connection, condition: str, *values: object) -> bool:
    """Tell whether a condition holds, where MariaDB answers no query: an unknown mode is refused."""
    try:
        run(connection, f"SET SESSION sql_mode = IF({condition}, {_MARIADB_MODE}, 'it does not')", *values)
    except pymysql.err.Error as error:
        if not error.args or error.args[0] != ER.WRONG_VALUE_FOR_VAR:
            raise
        return False
    return True


def current_account(connection: Connection) -> Account:
    """Return the account that the login was matched with; raises PyMySQL's errors."""
    ((text,),) = run(connection, "SELECT CURRENT_USER()")
    user, _, host = str(text).rpartition("@")
    return Account(user=user, host=host)


def _connected(**options: Any) -> Connection:
    with _readable():
        return Connection(**options)


@contextmanager
def _readable() -> Iterator[None]:
    """Turn what PyMySQL does not foresee of a server into an error of PyMySQL's."""
    try:
        yield
    except _GARBLED:
        raise pymysql.err.InterfaceError("the server's answer could not be read") from None


def run(connection: Connection, statement: str, *values: object) -> list[tuple[Any, ...]]:
    """Run one statement and return its rows; raises PyMySQL's errors."""
    with connection.cursor() as cursor:
        text = cursor.mogrify(statement, values or None)
        with _readable():
            cursor.execute(text)
            return list(cursor.fetchall())


def rows_by_name(connection: Connection, query: str, *values: object) -> list[dict[str, Any]]:
    """Run one query and return its rows by the columns' names, in lower case; raises PyMySQL's errors."""
    with connection.cursor() as cursor:
        text = cursor.mogrify(query, values or None)
        with _readable():
            cursor.execute(text)
            names = [str(column[0]).lower() for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


@contextmanager
def reporting(connection: Connection, what: str) -> Iterator[None]:
    """Turn a statement's error into DatabaseFailed with the server's number and redacted words."""
    try:
        yield
    except (pymysql.err.Error, OSError) as error:
        raise DatabaseFailed(f"{what}: {_words(error, _values(connection))}") from None


def account_name(account: Account) -> tuple[str, str]:
    """Return the two halves of an account's name, for `%s@%s`."""
    return account.user, account.host or "%"


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


def _words(error: Exception, values: Mapping[str, str]) -> str:
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
