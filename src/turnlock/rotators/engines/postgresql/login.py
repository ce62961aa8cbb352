"""Logging in to PostgreSQL: verified TLS, a password that never crosses the wire, and what a failed login means.

libpq keeps the SQLSTATE of a failed login to itself and its messages are translated, so the verdict is read from libpq's own
trace of the protocol, which has no name in the file system and holds no password.
"""

from __future__ import annotations

import os
import re
import select
import ssl
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from turnlock.rotators.engines.engine import Credential, Refused, Unreachable, redacted

Connection = psycopg.Connection[tuple[Any, ...]]

LONGEST_NAME = 63
"""Bytes of a role's name (NAMEDATALEN - 1): the server cuts a longer one off, and so takes it for another role's."""

_OPTIONS = "-c search_path=pg_catalog,pg_temp"
"""What the session begins with, before settings of the role or the database and before a login event trigger."""

_JUDGED = frozenset({"28P01", "28000"})
"""invalid_password and invalid_authorization_specification (PostgreSQL, Appendix A): a verdict on the login, provided
that the server asked for the password first; it also sends 28000 when pg_hba.conf does not let the client near."""

_POOLERS_VERDICT = re.compile(r"FATAL:\s+(?:SASL|password) authentication failed\s*\Z")
_POOLER_KNOWS_NOBODY = re.compile(r"FATAL:\s+no such user\s*\Z")
"""PgBouncer's whole messages for a wrong password and, before it asks for one, for a user that is not there: always under 08P01
and never translated."""

_NO_OPTIONS = re.compile(r"startup parameter|command-line options")
"""What PgBouncer and RDS Proxy say to `options`; neither translates its messages."""

_ERROR_STATE = re.compile(
    rb'^B\t\d+\tErrorResponse\t S "[^"]*"(?: V "[A-Z]+")? C "([0-9A-Z]{5})"', re.MULTILINE
)
_NO_TLS = re.compile(rb"^B\t\d+\tSSLResponse\t N$", re.MULTILINE)
_NO_TLS_ADVICE = (
    'the server offers no TLS; put "ssl": false into the secret to allow an unencrypted connection'
)


def log_in(credential: Credential, timeout: float) -> Connection:
    """Log in within `timeout` seconds; Refused or Unreachable with the server's redacted words when that fails.

    A pooler that takes no `options` is asked again without: the search path is then set by each transaction alone.
    """
    if len(credential.username.encode()) > LONGEST_NAME:
        raise Unreachable(f"the username is longer than {LONGEST_NAME} bytes")
    deadline = time.monotonic() + timeout
    connection = _attempt(credential, deadline, _OPTIONS)
    if connection is None:
        connection = _attempt(credential, deadline, "")
    assert connection is not None
    return connection


def _attempt(credential: Credential, deadline: float, options: str) -> Connection | None:
    """Log in; None when the server wants no `options` and said so before it asked for the password."""
    try:
        pgconn = pq.PGconn.connect_start(_conninfo(credential, options).encode())
    except psycopg.Error as error:
        raise Unreachable(redacted(str(error), credential.values)) from None
    try:
        with _traced(pgconn) as trace:
            connected = _complete(pgconn, deadline)
        if not connected and options and _wants_no_options(pgconn):
            pgconn.finish()
            return None
        return _session(pgconn, credential, trace if not connected else None)
    except (psycopg.Error, OSError) as error:
        pgconn.finish()
        raise Unreachable(redacted(str(error), credential.values)) from None
    except BaseException:
        pgconn.finish()
        raise


def _conninfo(credential: Credential, options: str) -> str:
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
        options=options,
        application_name="",  # PgBouncer would leave it to the next client
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


def _wants_no_options(pgconn: pq.abc.PGconn) -> bool:
    said = pgconn.get_error_message("utf-8")
    return not pgconn.used_password and _NO_OPTIONS.search(said) is not None


def _state(trace: bytearray) -> str:
    """Return the SQLSTATE of the last error in a trace, or an empty text."""
    states = _ERROR_STATE.findall(trace)
    return states[-1].decode() if states else ""


def _failure(pgconn: pq.abc.PGconn, trace: bytearray, credential: Credential) -> Refused | Unreachable:
    state = _state(trace)
    said = pgconn.get_error_message("utf-8")
    words = redacted(said, credential.values)
    if credential.tls and _NO_TLS.search(trace):
        words = _NO_TLS_ADVICE
    text = f"{state}: {words}" if state else words
    if state == "08P01":
        verdict = _POOLERS_VERDICT if pgconn.used_password else _POOLER_KNOWS_NOBODY
        return Refused(text) if verdict.search(said) else Unreachable(text)
    return Refused(text) if state in _JUDGED and pgconn.used_password else Unreachable(text)


def _session(pgconn: pq.abc.PGconn, credential: Credential, failed: bytearray | None) -> Connection:
    """Return the session of a login; for one that failed, raise what its trace says."""
    if failed is not None:
        raise _failure(pgconn, failed, credential)
    if credential.tls and not pgconn.ssl_in_use:
        raise Unreachable(_NO_TLS_ADVICE)
    pgconn.nonblocking = 1  # as psycopg wants a connection that it has not made itself
    connection: Connection = psycopg.Connection(pgconn)
    connection.autocommit = True
    connection.prepare_threshold = None  # a prepared statement would stay on a pooler's connection
    return connection
