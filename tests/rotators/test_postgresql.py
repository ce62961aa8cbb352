"""PostgreSQL logins for real: who is refused, what is unreachable, what the server gets to see."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest
from psycopg import sql

from turnlock.local_servers import EmbeddedPostgres
from turnlock.local_servers.authority import loopback_identity
from turnlock.rotators import Credential, DatabaseFailed, Refused, Unreachable
from turnlock.rotators.engines.postgresql.engine import PostgreSQL

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("environment")]

ENGINE = PostgreSQL()


@pytest.fixture
def credential(server: EmbeddedPostgres, role: str) -> Credential:
    return Credential(
        host="127.0.0.1",
        port=server.port,
        username=role,
        password="old password",
        dbname="postgres",
        tls=True,
    )


def encrypted(connection: psycopg.Connection) -> object:
    row = connection.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()").fetchone()
    return row and row[0]


@pytest.mark.parametrize("tls", [True, False])
def test_logs_in_with_tls_exactly_where_the_secret_says_so(credential: Credential, tls: bool) -> None:
    with closing(ENGINE.connect(replace(credential, tls=tls), 5)) as connection:
        assert encrypted(connection) is tls
        ENGINE.check(connection)


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("change", [{"password": "wrong"}, {"username": "nobody"}], ids=str)
def test_a_wrong_password_and_a_missing_role_are_refused(
    credential: Credential, tls: bool, change: dict[str, str]
) -> None:
    wrong = replace(credential, tls=tls, **change)  # type: ignore[arg-type]  # mypy cannot see the fields' names
    with pytest.raises(Refused, match=r'28P01: .*FATAL: .*"<username>"') as caught:
        ENGINE.connect(wrong, 5)
    assert not any(value in str(caught.value) for value in (wrong.username, wrong.password, wrong.host))


def test_a_role_that_may_not_log_in_is_refused(credential: Credential, admin: psycopg.Connection) -> None:
    admin.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(credential.username)))
    with pytest.raises(Refused, match=r"28000: .*not permitted to log in"):
        ENGINE.connect(credential, 5)


def test_an_expired_password_is_refused(credential: Credential, admin: psycopg.Connection) -> None:
    admin.execute(
        sql.SQL("ALTER ROLE {} VALID UNTIL '2001-01-01'").format(sql.Identifier(credential.username))
    )
    with pytest.raises(Refused, match="28P01"):
        ENGINE.connect(credential, 5)


def test_the_right_password_for_a_missing_database_is_not_refused(credential: Credential) -> None:
    with pytest.raises(Unreachable, match=r'3D000: .*database "<dbname>" does not exist'):
        ENGINE.connect(replace(credential, dbname="nowhere"), 5)


def test_too_many_connections_are_not_a_refusal(credential: Credential, admin: psycopg.Connection) -> None:
    admin.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 0").format(sql.Identifier(credential.username)))
    with pytest.raises(Unreachable, match=r"53300: .*too many connections"):
        ENGINE.connect(credential, 5)


def test_a_full_server_is_not_a_refusal() -> None:
    settings = {"max_connections": "2", "superuser_reserved_connections": "0", "max_wal_senders": "0"}
    with EmbeddedPostgres(fsync=False, settings=settings) as full:
        full_for = Credential(
            host="127.0.0.1",
            port=full.port,
            username="postgres",
            password=full.password,
            dbname="postgres",
            tls=False,
        )
        with closing(ENGINE.connect(full_for, 5)), closing(ENGINE.connect(full_for, 5)):
            for password in (full.password, "wrong"):
                with pytest.raises(Unreachable, match="53300"):
                    ENGINE.connect(replace(full_for, password=password), 5)


@pytest.fixture
def rules(server: EmbeddedPostgres, admin: psycopg.Connection) -> Iterator[Callable[[str], None]]:
    """Put lines before the server's pg_hba.conf for one test; new connections follow them."""
    file = server.log_path.parent / "data" / "pg_hba.conf"
    before = file.read_text()

    def reload(text: str) -> None:
        file.write_text(text)
        log_start = server.log_path.stat().st_size
        admin.execute("SELECT pg_reload_conf()")
        deadline = time.monotonic() + 10
        while b"reloading configuration files" not in server.log_path.read_bytes()[log_start:]:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    yield lambda lines: reload(f"{lines}\n{before}")
    reload(before)


def test_a_host_that_pg_hba_does_not_let_near_is_not_a_refusal(
    rules: Callable[[str], None], credential: Credential
) -> None:
    rules("host all all 127.0.0.1/32 reject")
    with pytest.raises(Unreachable, match=r"28000: .*pg_hba.conf rejects"):
        ENGINE.connect(credential, 5)


def test_a_server_that_trusts_everyone_proves_nothing(
    rules: Callable[[str], None], credential: Credential
) -> None:
    rules("host all all 127.0.0.1/32 trust")
    with pytest.raises(Unreachable, match="authentication method requirement"):
        ENGINE.connect(replace(credential, password="wrong"), 5)


def test_a_server_that_is_down_is_unreachable(credential: Credential) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match="Connection refused") as caught:
            ENGINE.connect(replace(credential, port=unused.getsockname()[1]), 5)
    assert "127.0.0.1" not in str(caught.value)


def test_a_host_without_an_address_is_unreachable(credential: Credential) -> None:
    with pytest.raises(Unreachable):
        ENGINE.connect(replace(credential, host="db.invalid"), 5)


def test_a_server_that_does_not_answer_is_unreachable_in_time(credential: Credential) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        with pytest.raises(Unreachable, match="no answer in time"):
            ENGINE.connect(replace(credential, port=silent.getsockname()[1]), 0.3)
        assert time.monotonic() - started < 20


@contextmanager
def answering(reply: bytes) -> Iterator[int]:
    """A server that reads one start-up message, sends `reply` and closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.settimeout(10)
                peer.recv(4096)
                peer.sendall(reply)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            thread.join(60)


def error_response(state: str, message: str, severity: str = "FATAL") -> bytes:
    fields = f"S{severity}\0VFATAL\0C{state}\0M{message}\0\0".encode()
    return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields


@pytest.mark.parametrize("state", ["57P03", "53300", "28000", "28P01", "08P01", "XX000"])
@pytest.mark.parametrize("severity", ["FATAL", "FATAL:  28P01", "致命错误"])
def test_nothing_said_before_a_password_was_asked_for_is_a_refusal(
    credential: Credential, state: str, severity: str
) -> None:
    reply = error_response(state, 'le système "démarre" C "28P01"', severity)
    with answering(reply) as port, pytest.raises(Unreachable, match=f"^{state}: "):
        ENGINE.connect(replace(credential, port=port, tls=False), 5)


def test_a_server_asking_for_the_password_in_clear_text_does_not_get_it(credential: Credential) -> None:
    asks = b"R" + (8).to_bytes(4, "big") + (3).to_bytes(4, "big")
    with answering(asks) as port, pytest.raises(Unreachable, match="cleartext"):
        ENGINE.connect(replace(credential, port=port, tls=False), 5)


@pytest.mark.parametrize("reply", [b"", b"nonsense", b"E\xff\xff\xff\xff", b"N", bytes(range(0x80, 0xC0))])
def test_a_server_that_speaks_another_protocol_is_unreachable(credential: Credential, reply: bytes) -> None:
    for tls in (True, False):
        with answering(reply) as port, pytest.raises(Unreachable):
            ENGINE.connect(replace(credential, port=port, tls=tls), 5)


def test_a_server_without_tls_is_not_spoken_to_in_plain_text_unasked(credential: Credential) -> None:
    with answering(b"N") as port, pytest.raises(Unreachable, match='offers no TLS; put "ssl": false'):
        ENGINE.connect(replace(credential, port=port), 5)


def test_a_certificate_of_an_unknown_authority_is_not_accepted(
    credential: Credential, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = tmp_path / "ca.pem"
    stranger.write_bytes(loopback_identity(datetime.now(UTC)).ca)
    for bundle in (str(stranger), ""):  # "" leaves the system's authorities
        monkeypatch.setenv("SSL_CA_FILE", bundle)
        with pytest.raises(Unreachable, match="certificate verify failed"):
            ENGINE.connect(credential, 5)


def test_a_certificate_for_another_name_is_not_accepted(credential: Credential) -> None:
    ENGINE.connect(replace(credential, host="localhost"), 5).close()
    with pytest.raises(Unreachable, match="does not match"):
        ENGINE.connect(replace(credential, host="0.0.0.0"), 5)


def test_a_server_in_crash_recovery_never_counts_as_refusing() -> None:
    with EmbeddedPostgres(fsync=False) as crashing:
        credential = Credential(
            host="127.0.0.1",
            port=crashing.port,
            username="postgres",
            password=crashing.password,
            dbname="postgres",
            tls=False,
        )
        stop, seen = threading.Event(), set[str]()

        def watch() -> None:
            while not stop.is_set():
                try:
                    ENGINE.connect(credential, 5).close()
                    seen.add("accepted")
                except Unreachable:
                    seen.add("unreachable")
                except Refused:
                    seen.add("refused")

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            with psycopg.connect(
                crashing.conninfo("postgres", crashing.password), autocommit=True
            ) as connection:
                connection.execute("CREATE TABLE work AS SELECT generate_series(1, 50000)")
                crashing.kill()
            crashing.start()
            time.sleep(0.1)
        finally:
            stop.set()
            watcher.join(60)
    assert seen == {"accepted", "unreachable"}


def test_the_server_never_sees_the_new_password(
    server: EmbeddedPostgres, credential: Credential, admin: psycopg.Connection
) -> None:
    password = "clear-text.never_leaves"
    with closing(ENGINE.connect(credential, 5)) as connection:
        ENGINE.set_password(connection, credential.username, password, lambda: None)
    row = admin.execute(
        "SELECT rolpassword FROM pg_authid WHERE rolname = %s", (credential.username,)
    ).fetchone()
    assert row is not None
    assert row[0].startswith("SCRAM-SHA-256$4096:")
    assert "ALTER ROLE" in server.log_path.read_text()
    assert password not in server.log_path.read_text()
    ENGINE.connect(replace(credential, password=password), 5).close()
    with pytest.raises(Refused):
        ENGINE.connect(credential, 5)


def test_a_change_that_is_not_confirmed_leaves_everything_as_it_was(credential: Credential) -> None:
    def refuse() -> None:
        raise LookupError("not wanted any more")

    with closing(ENGINE.connect(credential, 5)) as connection:
        with pytest.raises(LookupError):
            ENGINE.set_password(connection, credential.username, "unwanted", refuse)
        ENGINE.set_password(connection, credential.username, "old password", lambda: None)
    ENGINE.connect(credential, 5).close()


def test_a_change_that_the_server_refuses_says_why_without_values(
    server: EmbeddedPostgres, credential: Credential, admin: psycopg.Connection
) -> None:
    with (
        closing(ENGINE.connect(credential, 5)) as connection,
        pytest.raises(DatabaseFailed, match="42501: ") as caught,
    ):
        ENGINE.set_password(connection, "postgres", "another password", lambda: None)
    assert "SCRAM" not in str(caught.value)
    assert credential.username not in str(caught.value)


@pytest.mark.parametrize(
    "setting",
    ["default_transaction_read_only TO on", "role TO pg_monitor", "standard_conforming_strings TO off"],
)
def test_a_change_goes_through_whatever_the_role_sets_for_its_sessions(
    credential: Credential, admin: psycopg.Connection, setting: LiteralString
) -> None:
    role = sql.Identifier(credential.username)
    admin.execute(sql.SQL("GRANT pg_monitor TO {}").format(role))
    admin.execute(sql.SQL("ALTER ROLE {} SET " + setting).format(role))
    with closing(ENGINE.connect(credential, 5)) as connection:
        ENGINE.set_password(connection, credential.username, "another password", lambda: None)
    ENGINE.connect(replace(credential, password="another password"), 5).close()


def test_a_name_that_the_server_would_cut_off_is_not_used(credential: Credential) -> None:
    with pytest.raises(Unreachable, match="longer than 63 bytes"):
        ENGINE.connect(replace(credential, username="é" * 32), 5)


def test_a_session_that_was_ended_fails_its_check(credential: Credential, admin: psycopg.Connection) -> None:
    with closing(ENGINE.connect(credential, 5)) as connection:
        admin.execute("SELECT pg_terminate_backend(%s, 5000)", (connection.info.backend_pid,))
        with pytest.raises(DatabaseFailed, match="The query failed"):
            ENGINE.check(connection)


def test_an_old_libpq_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("psycopg.pq.version", lambda: 160004)
    with pytest.raises(RuntimeError, match="too old"):
        PostgreSQL()
