"""PostgreSQL as an engine: verified TLS, true verdicts on a login, and a password change that cannot come too late."""

from __future__ import annotations

import hashlib
import os
import re
import select
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import pq, sql
from psycopg.conninfo import make_conninfo

from turnlock.rotators import postgresql_rehearsal, postgresql_twins
from turnlock.rotators.engine import Account, Credential, DatabaseFailed, Refused, Twin, Unreachable, redacted
from turnlock.rotators.rehearsal import Change, Finding

_JUDGED = frozenset({"28P01", "28000"})
"""invalid_password and invalid_authorization_specification (PostgreSQL, Appendix A): a verdict on the login, provided
that the server asked for the password first; it also sends 28000 when pg_hba.conf does not let the client near."""

_OLDEST_LIBPQ = 170000
"""The first libpq whose trace holds the messages of the start-up."""

_LIMITS = {
    "idle_in_transaction_session_timeout": "10s",
    "lock_timeout": "15s",
    "statement_timeout": "20s",
}
"""A stopped holder of the lock is thrown out after the first; whoever waits for it waits longer than that."""

_ERROR_STATE = re.compile(rb'^B\t\d+\tErrorResponse\t S "[^"]*" V "[A-Z]+" C "([0-9A-Z]{5})"', re.MULTILINE)
_NO_TLS = re.compile(rb"^B\t\d+\tSSLResponse\t N$", re.MULTILINE)
_NO_TLS_ADVICE = (
    'the server offers no TLS; put "ssl": false into the secret to allow an unencrypted connection'
)

Connection = psycopg.Connection[tuple[Any, ...]]


class PostgreSQL:
    """The engine of `postgres` and `aurora-postgresql` secrets.

    The certificate is verified for the secret's host name against the authorities in the file that SSL_CA_FILE names,
    or the system's. Only SCRAM and MD5 log-ins count: a server that does not ask for a password proves nothing, and
    one that asks for it in clear text does not get it. Use one connection in one thread.
    """

    names = frozenset({"postgres", "aurora-postgresql"})
    default_port = 5432
    default_dbname = "postgres"
    longest_username = 63

    def __init__(self) -> None:
        if pq.version() < _OLDEST_LIBPQ:
            raise RuntimeError("psycopg's libpq is too old: version 17 or newer is needed")

    def connect(self, credential: Credential, timeout: float) -> Connection:
        """Log in within `timeout` seconds; Refused or Unreachable with the server's redacted words when that fails.

        libpq keeps the SQLSTATE of a failed log-in to itself and its messages are translated, so the verdict is read
        from libpq's own trace of the protocol, which lives in memory and holds no password.
        """
        deadline = time.monotonic() + timeout
        try:
            pgconn = pq.PGconn.connect_start(_conninfo(credential).encode())
        except psycopg.Error as error:
            raise Unreachable(redacted(str(error), credential.values)) from None
        try:
            return _session(pgconn, credential, deadline)
        except (psycopg.Error, OSError) as error:
            pgconn.finish()
            raise Unreachable(redacted(str(error), credential.values)) from None
        except BaseException:
            pgconn.finish()
            raise

    def set_password(
        self, connection: Connection, username: str, password: str, confirm: Callable[[], None]
    ) -> None:
        """Give the role a new password, sent only as a SCRAM verifier; DatabaseFailed when the server will not.

        One transaction takes a lock for the role, then calls `confirm`, then changes the password and commits. This
        closes the race with a later attempt: while we hold the lock nobody else can pass `confirm`, and a process that
        is stopped after `confirm` loses its transaction after ten seconds, before the next one's patience ends, so
        that it finds its connection gone when it wakes. It does not close it against whoever changes the role's
        password without this lock: an administrator, another tool, or a secret that names the same role through
        another database (such locks are per database) or through a pooler that drops the time limits.
        """
        with self._exclusively(connection, username, password, confirm) as verifier:
            connection.execute(
                sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(username), sql.Literal(verifier))
            )

    def renew_twin(self, connection: Connection, twin: Twin, confirm: Callable[[], None]) -> None:
        """Make the twin or renew it, as `postgresql_twins` says, in one transaction like that of `set_password`."""
        with self._exclusively(connection, twin.username, twin.password, confirm) as verifier:
            postgresql_twins.renew(connection, twin, verifier)

    def account(self, connection: Connection) -> Account:
        """Return the role that logged in, whichever role it acts as."""
        values = _values(connection)
        try:
            row = connection.execute("SELECT session_user").fetchone()
        except psycopg.Error as error:
            raise DatabaseFailed(f"The query failed: {_words(error, values)}") from None
        assert row is not None
        return Account(user=row[0])

    def rehearse(self, connection: Connection, change: Change, *, by_master: bool) -> list[Finding]:
        """Look whether the session could make the change, by SELECT alone."""
        values = _values(connection)
        try:
            return list(postgresql_rehearsal.look(connection, change, by_master=by_master))
        except psycopg.Error as error:
            raise DatabaseFailed(f"The look failed: {_words(error, values)}") from None

    @contextmanager
    def _exclusively(
        self, connection: Connection, username: str, password: str, confirm: Callable[[], None]
    ) -> Iterator[str]:
        """Open the transaction that `set_password` describes, and give the password's SCRAM verifier for the role."""
        values = _values(connection)
        try:
            verifier = connection.pgconn.encrypt_password(
                password.encode(), username.encode(), b"scram-sha-256"
            )
            with connection.transaction():
                for name, value in _LIMITS.items():
                    connection.execute("SELECT set_config(%s, %s, true)", (name, value))
                connection.execute("SELECT pg_advisory_xact_lock(%s::bigint)", (_lock_key(username),))
                # A database that commits asynchronously could forget the password after a crash.
                connection.execute(
                    "SELECT set_config('synchronous_commit', 'on', true)"
                    " WHERE current_setting('synchronous_commit') = 'off'"
                )
                confirm()
                yield verifier.decode()
        except psycopg.Error as error:
            raise DatabaseFailed(f"The password change failed: {_words(error, values)}") from None

    def check(self, connection: Connection) -> None:
        """Run a trivial query; DatabaseFailed when the server does not carry it out."""
        values = _values(connection)
        try:
            connection.execute("SELECT current_timestamp").fetchone()
        except psycopg.Error as error:
            raise DatabaseFailed(f"The query failed: {_words(error, values)}") from None


def _conninfo(credential: Credential) -> str:
    """Return libpq's connection string, which leaves nothing that matters to the environment or to files."""
    encryption = (
        {"sslmode": "verify-full", "sslrootcert": _authorities(), "sslcertmode": "disable"}
        if credential.tls
        else {"sslmode": "disable"}
    )
    return make_conninfo(
        "",
        host=credential.host,
        port=credential.port,
        user=credential.username,
        password=credential.password,
        dbname=credential.dbname,
        gssencmode="disable",
        require_auth="scram-sha-256,md5",
        options="",  # poolers refuse options; the limits are set by statements
        application_name="turnlock-rotation",
        client_encoding="UTF8",
        **encryption,
    )


def _authorities() -> str:
    """Return libpq's `sslrootcert`: its word `system` looks where its OpenSSL was built, which may not be here."""
    return os.environ.get("SSL_CA_FILE") or ssl.get_default_verify_paths().cafile or "system"


@contextmanager
def _traced(pgconn: pq.abc.PGconn) -> Iterator[bytearray]:
    """Collect libpq's trace of the messages that go over the connection inside the block."""
    trace = bytearray()
    # A file without a name: where functions' memory is not counted, they may not make one of memory (memfd_create).
    with tempfile.TemporaryFile() as file:
        try:
            if pgconn.status != pq.ConnStatus.BAD:
                pgconn.trace(file.fileno())
                pgconn.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
            yield trace
        finally:
            pgconn.untrace()  # which flushes: nothing may be written once the file is closed
            trace += os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)


def _complete(pgconn: pq.abc.PGconn, deadline: float) -> bool:
    """Go through libpq's connection steps; True when connected, False when refused, OSError when time is up."""
    if pgconn.status == pq.ConnStatus.BAD:
        return False
    waits_for = {pq.PollingStatus.READING: select.POLLIN, pq.PollingStatus.WRITING: select.POLLOUT}
    status = pq.PollingStatus.WRITING
    while status in waits_for:
        poller = select.poll()
        poller.register(pgconn.socket, waits_for[status])
        if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError("no answer in time")
        status = pq.PollingStatus(pgconn.connect_poll())
    return status == pq.PollingStatus.OK


def _failure(pgconn: pq.abc.PGconn, trace: bytes, credential: Credential) -> Refused | Unreachable:
    states = _ERROR_STATE.findall(trace)
    state = states[-1].decode() if states else ""
    words = redacted(pgconn.get_error_message("utf-8"), credential.values)
    if credential.tls and _NO_TLS.search(trace):
        words = _NO_TLS_ADVICE
    text = f"{state}: {words}" if state else words
    return Refused(text) if state in _JUDGED and pgconn.used_password else Unreachable(text)


def _session(pgconn: pq.abc.PGconn, credential: Credential, deadline: float) -> Connection:
    with _traced(pgconn) as trace:
        connected = _complete(pgconn, deadline)
    if not connected:
        raise _failure(pgconn, bytes(trace), credential)
    if credential.tls and not pgconn.ssl_in_use:
        raise Unreachable(_NO_TLS_ADVICE)
    pgconn.nonblocking = 1  # as psycopg wants a connection that it has not made itself
    connection: Connection = psycopg.Connection(pgconn)
    connection.autocommit = True
    connection.execute("SELECT set_config('statement_timeout', %s, false)", (_LIMITS["statement_timeout"],))
    return connection


def _lock_key(username: str) -> int:
    digest = hashlib.sha256(b"turnlock rotation of role " + username.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def _values(connection: Connection) -> dict[str, str]:
    pgconn = connection.pgconn
    fields = {"host": pgconn.host, "username": pgconn.user, "password": pgconn.password, "dbname": pgconn.db}
    return {name: value.decode(errors="replace") for name, value in fields.items()}


def _words(error: psycopg.Error, values: Mapping[str, str]) -> str:
    """Return the SQLSTATE and the server's primary message, redacted: the rest may quote the statement."""
    primary = redacted(error.diag.message_primary or "the connection was lost", values)
    return f"{error.sqlstate}: {primary}" if error.sqlstate else primary
