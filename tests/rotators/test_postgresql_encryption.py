"""How a server keeps passwords is the server's affair: a rotation keeps to it, and says where it is weak."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from turnlock.local_servers import EmbeddedPostgres
from turnlock.rotators import Credential, handle
from turnlock.rotators.engines.postgresql.engine import PostgreSQL
from turnlock.rotators.testing import InMemorySecretsManager

pytestmark = [pytest.mark.engine, pytest.mark.slow]

ENGINE = PostgreSQL()


@pytest.fixture(scope="module")
def old_server() -> Iterator[EmbeddedPostgres]:
    """Keeps MD5 hashes, for clients that know nothing else, and takes both."""
    with EmbeddedPostgres(fsync=False, settings={"password_encryption": "md5"}) as server:
        rules = server.log_path.parent / "data" / "pg_hba.conf"
        rules.write_text(rules.read_text().replace("scram-sha-256", "md5"))
        with psycopg.connect(server.conninfo("postgres", server.password), autocommit=True) as admin:
            admin.execute("SELECT pg_reload_conf()")
        time.sleep(0.3)
        yield server


@pytest.fixture
def root(old_server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(old_server.conninfo("postgres", old_server.password), autocommit=True) as admin:
        admin.execute("CREATE ROLE app LOGIN PASSWORD 'old password'")
        yield admin
        admin.execute("DROP DATABASE IF EXISTS shop")
        admin.execute("DROP ROLE app")


def credential(server: EmbeddedPostgres, dbname: str = "postgres") -> Credential:
    return Credential(
        host="127.0.0.1", port=server.port, username="app", password="old password", dbname=dbname, tls=False
    )


def change(one: Credential) -> None:
    with closing(ENGINE.connect(one, 5)) as session:
        ENGINE.set_password(session, "app", "new password", lambda: None)
    ENGINE.connect(replace(one, password="new password"), 5).close()


def kept(root: psycopg.Connection) -> str:
    row = root.execute("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'").fetchone()
    assert row is not None
    return str(row[0])


def warned(server: EmbeddedPostgres, dbname: str = "postgres") -> dict[str, str]:
    value = {"engine": "postgres", "host": "127.0.0.1", "port": server.port, "ssl": False, "dbname": dbname}
    secret = InMemorySecretsManager({**value, "username": "app", "password": "old password"})
    event = {"Step": "rehearse", "SecretId": secret.arn, "ClientRequestToken": "rehearsal"}
    answer = handle(event, ENGINE, secret)
    assert answer is not None
    return {one["check"]: one["words"] for one in answer["findings"] if one["outcome"] == "warning"}


def test_an_md5_server_gets_an_md5_hash_and_the_rehearsal_warns(
    old_server: EmbeddedPostgres, root: psycopg.Connection
) -> None:
    assert "md5" in warned(old_server)["password encryption"]
    change(credential(old_server))
    assert kept(root).startswith("md5")


def test_a_user_that_has_chosen_scram_gets_scram(
    old_server: EmbeddedPostgres, root: psycopg.Connection
) -> None:
    root.execute("ALTER ROLE app SET password_encryption TO 'scram-sha-256'")
    assert "password encryption" not in warned(old_server)
    change(credential(old_server))
    assert kept(root).startswith("SCRAM-SHA-256$")


def test_a_databases_owner_cannot_have_passwords_kept_as_md5(
    server: EmbeddedPostgres, admin: psycopg.Connection, role: str, environment: None
) -> None:
    admin.execute("CREATE DATABASE weak")
    try:
        admin.execute("ALTER DATABASE weak SET password_encryption TO md5")
        one = replace(credential(server, "weak"), username=role, tls=True)
        with closing(ENGINE.connect(one, 5)) as session:
            ENGINE.set_password(session, role, "new password", lambda: None)
        query = sql.SQL("SELECT rolpassword FROM pg_authid WHERE rolname = {}").format(role)
        row = admin.execute(query).fetchone()
        assert row is not None
        assert row[0].startswith("SCRAM-SHA-256$")
    finally:
        admin.execute("DROP DATABASE weak WITH (FORCE)")
