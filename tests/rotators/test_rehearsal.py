"""A rehearsal finds out what a rotation would meet, and changes nothing: neither the secret nor the database."""

from __future__ import annotations

import copy
import re
import time
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from turnlock.local_servers import EmbeddedPostgres
from turnlock.rotators import handle
from turnlock.rotators.engines.postgresql.engine import PostgreSQL
from turnlock.rotators.testing import InMemorySecretsManager

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("environment")]


def rehearse(secret: InMemorySecretsManager) -> dict[str, Any]:
    event = {"Step": "rehearse", "SecretId": secret.arn, "ClientRequestToken": "rehearsal"}
    answer = handle(event, PostgreSQL(), secret)
    assert answer is not None
    return answer


def outcomes(answer: dict[str, Any]) -> dict[str, str]:
    return {finding["check"]: finding["outcome"] for finding in answer["findings"]}


def words(answer: dict[str, Any], outcome: str) -> str:
    return "; ".join(finding["words"] for finding in answer["findings"] if finding["outcome"] == outcome)


def verifier(admin: psycopg.Connection, role: str) -> object:
    return admin.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", (role,)).fetchone()


def statements(server: EmbeddedPostgres, since: int) -> list[str]:
    """Return the statements that the server's log holds from a place on."""
    text = server.log_path.read_bytes()[since:].decode()
    return re.findall(r"(?:statement|execute [^:]*):\s+(\w+)", text)


def test_all_is_well_and_nothing_has_changed(
    server: EmbeddedPostgres, admin: psycopg.Connection, role: str, secret: InMemorySecretsManager
) -> None:
    before = copy.deepcopy((secret.values, secret.labels)), verifier(admin, role)
    since = server.log_path.stat().st_size
    answer = rehearse(secret)
    assert words(answer, "problem") == ""
    assert set(outcomes(answer).values()) == {"ok"}
    assert outcomes(answer).keys() == {"secret", "login", "tls", "server", "password policy", "privileges"}
    assert answer["would"].startswith(
        f"A password of 32 characters would be given to {role} by the user itself"
    )
    sent = statements(server, since)
    assert len(sent) >= 4
    assert set(sent) == {"BEGIN", "SELECT", "COMMIT"}
    log = server.log_path.read_bytes()[since:].decode()
    assert sent.count("BEGIN") == log.count("BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY")
    assert (copy.deepcopy((secret.values, secret.labels)), verifier(admin, role)) == before
    assert set(secret.calls) <= {"DescribeSecret", "GetSecretValue"}


def test_a_secret_need_not_be_rotating(secret: InMemorySecretsManager) -> None:
    secret.rotation_enabled = False
    assert set(outcomes(rehearse(secret)).values()) == {"ok"}


def test_a_role_that_only_reads_by_default_is_no_problem_and_a_server_that_does_is(
    admin: psycopg.Connection, role: str, secret: InMemorySecretsManager
) -> None:
    statement = sql.SQL("ALTER ROLE {} SET default_transaction_read_only = on")
    admin.execute(statement.format(sql.Identifier(role)))
    assert words(rehearse(secret), "problem") == ""
    admin.execute(sql.SQL("ALTER ROLE {} RESET default_transaction_read_only").format(sql.Identifier(role)))
    admin.execute("ALTER SYSTEM SET default_transaction_read_only = on")
    admin.execute("SELECT pg_reload_conf()")
    try:
        time.sleep(0.3)
        assert "default_transaction_read_only" in words(rehearse(secret), "problem")
    finally:
        admin.execute("SET default_transaction_read_only = off")
        admin.execute("ALTER SYSTEM RESET default_transaction_read_only")
        admin.execute("SELECT pg_reload_conf()")
        time.sleep(0.3)


def test_before_postgresql_16_a_replication_role_cannot_change_its_own_password(
    admin: psycopg.Connection, role: str, secret: InMemorySecretsManager
) -> None:
    admin.execute(sql.SQL("ALTER ROLE {} REPLICATION").format(sql.Identifier(role)))
    expected = "only a superuser" if admin.info.server_version < 160000 else ""
    assert expected in words(rehearse(secret), "problem")


def test_a_refused_password_is_a_problem_and_is_not_shown(
    admin: psycopg.Connection, role: str, secret: InMemorySecretsManager
) -> None:
    admin.execute(sql.SQL("ALTER ROLE {} PASSWORD 'another one'").format(sql.Identifier(role)))
    answer = rehearse(secret)
    assert outcomes(answer) == {"secret": "ok", "login": "problem"}
    assert "AWSCURRENT refused" in words(answer, "problem")
    assert "old password" not in str(answer)
    assert answer["would"].startswith("Nothing")


def test_a_previous_version_that_logs_in_would_be_used(
    admin: psycopg.Connection, role: str, secret: InMemorySecretsManager
) -> None:
    secret.store("zeroth", {**secret.value("AWSCURRENT"), "password": "another one"}, "AWSPREVIOUS")
    admin.execute(sql.SQL("ALTER ROLE {} PASSWORD 'another one'").format(sql.Identifier(role)))
    answer = rehearse(secret)
    assert outcomes(answer)["login"] == "warning"
    assert "AWSPREVIOUS logs in" in words(answer, "warning")


@pytest.mark.parametrize(
    ("change", "words_of_it"),
    [
        ({"port": 1}, "unreachable"),
        ({"engine": "mysql"}, "engine must be one of"),
        ({"rotationStrategy": "magic"}, "rotationStrategy"),
        ({"host": "a, b"}, "host"),
    ],
)
def test_what_the_secret_gets_wrong_is_said(
    secret: InMemorySecretsManager, change: dict[str, Any], words_of_it: str
) -> None:
    secret.store("first", {**secret.value("AWSCURRENT"), **change}, "AWSCURRENT")
    assert words_of_it in words(rehearse(secret), "problem")


def test_an_untrusted_certificate_is_a_problem(
    secret: InMemorySecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CA_FILE")
    assert "certificate" in words(rehearse(secret), "problem")


def test_an_unencrypted_connection_is_a_warning(secret: InMemorySecretsManager) -> None:
    secret.store("first", {**secret.value("AWSCURRENT"), "ssl": False}, "AWSCURRENT")
    assert outcomes(rehearse(secret))["tls"] == "warning"


def test_password_rules_that_cannot_be_used_are_a_problem(
    secret: InMemorySecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PASSWORD_LENGTH", "3")
    assert "PASSWORD_LENGTH" in words(rehearse(secret), "problem")


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("ALTER ROLE {} VALID UNTIL '2099-01-01'", ("warning", "VALID UNTIL 2099-01-01")),
        ("ALTER ROLE {} CONNECTION LIMIT 1", ("warning", "connections are used")),
    ],
)
def test_what_the_role_is_held_to_is_found(
    admin: psycopg.Connection,
    role: str,
    secret: InMemorySecretsManager,
    statement: LiteralString,
    expected: tuple[str, str],
) -> None:
    admin.execute(sql.SQL(statement).format(sql.Identifier(role)))
    assert expected[1] in words(rehearse(secret), expected[0])
