"""Through PgBouncer in transaction mode: nothing stays on the shared connection, and its verdicts are understood."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.rotators.pgbouncer import ASKS, pgbouncer
from turnlock.local_servers import EmbeddedPostgres
from turnlock.rotators import Credential, DatabaseFailed, Refused, Unreachable, handle
from turnlock.rotators.engines.postgresql.engine import PostgreSQL
from turnlock.rotators.postgresql_multi_user import STRATEGIES
from turnlock.rotators.skeleton import SINGLE_USER
from turnlock.rotators.testing import InMemorySecretsManager

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("environment")]

ENGINE = PostgreSQL()
MASTER_ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:master-AbCdEf"
STEPS = ("rehearse", "createSecret", "setSecret", "testSecret", "finishSecret", "probe")
OPTIONS = f"{ASKS}\nignore_startup_parameters = options"


@pytest.fixture(scope="module", params=[ASKS, OPTIONS], ids=["as it comes", "ignores options"])
def pooler(server: EmbeddedPostgres, request: pytest.FixtureRequest) -> Iterator[int]:
    with pgbouncer(server, request.param) as port:
        yield port


@pytest.fixture
def credential(pooler: int, role: str) -> Credential:
    return Credential(
        host="127.0.0.1", port=pooler, username=role, password="old password", dbname="postgres", tls=False
    )


def log_in(credential: Credential) -> psycopg.Connection[tuple[Any, ...]]:
    return psycopg.connect(
        host=credential.host,
        port=credential.port,
        user=credential.username,
        password=credential.password,
        dbname=credential.dbname,
        autocommit=True,
        prepare_threshold=None,
    )


STATE = (
    "SELECT pg_backend_pid(), (SELECT array_agg(name || '=' || setting ORDER BY name) FROM pg_settings),"
    " (SELECT count(*) FROM pg_prepared_statements), current_user, session_user, current_schemas(true)"
)


def rotate(secret: InMemorySecretsManager, strategies: Any) -> None:
    for version in ("second", "third"):
        secret.label(version, "AWSPENDING")
        for step in STEPS:
            event = {"Step": step, "SecretId": secret.arn, "ClientRequestToken": version}
            answer = handle(event, ENGINE, secret, strategies)
            if step == "rehearse":
                assert answer is not None
                assert "problem" not in {one["outcome"] for one in answer["findings"]}, answer


def test_nothing_stays_on_the_connection_that_an_application_shares(credential: Credential) -> None:
    value = {"engine": "postgres", "host": credential.host, "port": credential.port, "ssl": False}
    secret = InMemorySecretsManager(
        {**value, "username": credential.username, "password": credential.password}
    )
    with closing(log_in(credential)) as application:
        before = application.execute(STATE).fetchone()
        rotate(secret, SINGLE_USER)
        assert application.execute(STATE).fetchone() == before
    log_in(replace(credential, password=secret.value("AWSCURRENT")["password"])).close()


def test_alternating_users_take_turns_through_it(credential: Credential, admin: psycopg.Connection) -> None:
    admin.execute("CREATE ROLE pooled_master LOGIN SUPERUSER PASSWORD 'old password'")
    place = {"engine": "postgres", "host": credential.host, "port": credential.port, "ssl": False}
    user = {
        **place,
        "username": credential.username,
        "password": credential.password,
        "masterarn": MASTER_ARN,
    }
    secret = InMemorySecretsManager(user)
    secret.others[MASTER_ARN] = json.dumps({**place, "username": "pooled_master", "password": "old password"})
    master = replace(credential, username="pooled_master")
    try:
        with closing(log_in(master)) as administrator:
            before = administrator.execute(STATE).fetchone()
            rotate(secret, STRATEGIES)
            assert administrator.execute(STATE).fetchone() == before
        current = secret.value("AWSCURRENT")
        assert current["username"] == credential.username
        log_in(replace(credential, password=current["password"])).close()
    finally:
        for role in (credential.username + "_clone", "pooled_master"):
            admin.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(role)))


@pytest.mark.parametrize("change", [{"password": "wrong"}, {"username": "nobody at all"}], ids=str)
def test_its_verdict_on_a_wrong_password_is_a_refusal(credential: Credential, change: dict[str, str]) -> None:
    with pytest.raises(Refused, match=r"08P01: .*(authentication failed|no such user)"):
        ENGINE.connect(replace(credential, **change), 5)  # type: ignore[arg-type]  # mypy cannot see the fields' names


def test_a_database_that_is_not_there_is_no_refusal(credential: Credential) -> None:
    with pytest.raises(Unreachable):
        ENGINE.connect(replace(credential, dbname="nowhere"), 5)


def test_a_server_that_is_down_behind_it_is_no_refusal() -> None:
    with EmbeddedPostgres(fsync=False) as server:
        server.create_login("app", "old password")
        with pgbouncer(server) as port:
            credential = Credential(
                host="127.0.0.1",
                port=port,
                username="app",
                password="old password",
                dbname="postgres",
                tls=False,
            )
            ENGINE.connect(credential, 5).close()
            server.kill()
            for password in ("old password", "wrong"):
                with pytest.raises(Unreachable):
                    ENGINE.connect(replace(credential, password=password), 5)
            server.start()


def test_a_session_of_another_user_than_logged_in_is_not_used(server: EmbeddedPostgres, role: str) -> None:
    """A pooler may let a user in by a list of its own, and use one login of the database for all."""
    forced = f"forced = host=127.0.0.1 port={server.port} dbname=postgres user=postgres"
    with pgbouncer(server, "", databases=forced, users='"somebody" "old password"') as port:
        credential = Credential(
            host="127.0.0.1",
            port=port,
            username="somebody",
            password="old password",
            dbname="forced",
            tls=False,
        )
        with (
            closing(ENGINE.connect(credential, 5)) as session,
            pytest.raises(DatabaseFailed, match="does not belong to the user"),
        ):
            ENGINE.set_password(session, role, "another", lambda: None)
