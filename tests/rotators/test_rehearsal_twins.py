"""Rehearsals of what a master user would do, and of MariaDB: rights, the host part, the password policy, the twin."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import psycopg
import pytest

from turnlock.local_servers import EmbeddedMariaDB, EmbeddedPostgres
from turnlock.rotators import handle
from turnlock.rotators.engines.mysql.mariadb import MariaDB
from turnlock.rotators.mariadb_multi_user import STRATEGIES as MARIADB
from turnlock.rotators.mariadb_single_user import STRATEGIES as MARIADB_ALONE
from turnlock.rotators.postgresql_multi_user import ENGINE, STRATEGIES
from turnlock.rotators.testing import InMemorySecretsManager

pytestmark = [pytest.mark.engine, pytest.mark.slow]

MASTER_ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:master-AbCdEf"
_numbers = count(1)


class WithMaster(InMemorySecretsManager):
    """A secret and its master secret."""

    def __init__(self, value: dict[str, Any], master: dict[str, Any]) -> None:
        super().__init__({**value, "masterarn": MASTER_ARN})
        self.master = master

    def get_secret_value(self, **request: Any) -> dict[str, Any]:
        if request["SecretId"] == MASTER_ARN:
            return {"SecretString": json.dumps(self.master)}
        return super().get_secret_value(**request)


def findings(secret: InMemorySecretsManager, engine: Any, strategies: Any) -> dict[tuple[str, str], str]:
    """Return what was found, by (check, outcome)."""
    event = {"Step": "rehearse", "SecretId": secret.arn, "ClientRequestToken": "rehearsal"}
    answer = handle(event, engine, secret, strategies)
    assert answer is not None
    assert set(secret.calls) <= {"DescribeSecret", "GetSecretValue"}
    return {(one["check"], one["outcome"]): one["words"] for one in answer["findings"]}


class Postgres:
    """Users of the session's PostgreSQL."""

    def __init__(self, server: EmbeddedPostgres, admin: psycopg.Connection) -> None:
        self.server, self.admin = server, admin
        self.name = f"twin_{next(_numbers)}"
        self.run(f"CREATE ROLE {self.name} LOGIN PASSWORD 'old password'")

    def run(self, statement: str) -> None:
        self.admin.execute(statement.encode())

    def secret(self, master: str, password: str = "master password") -> WithMaster:
        place = {"engine": "postgres", "host": "127.0.0.1", "port": self.server.port}
        return WithMaster(
            {**place, "username": self.name, "password": "old password"},
            {**place, "username": master, "password": password},
        )

    def found(self, secret: WithMaster) -> dict[tuple[str, str], str]:
        return findings(secret, ENGINE, STRATEGIES)


@pytest.fixture
def postgres(server: EmbeddedPostgres, admin: psycopg.Connection, environment: None) -> Iterator[Postgres]:
    users = Postgres(server, admin)
    yield users
    for role in (f"{users.name}_clone", f"{users.name}_boss", users.name):
        users.run(f"DROP ROLE IF EXISTS {role}")


def boss(postgres: Postgres, attributes: str) -> WithMaster:
    postgres.run(f"CREATE ROLE {postgres.name}_boss LOGIN {attributes} PASSWORD 'master password'")
    return postgres.secret(f"{postgres.name}_boss")


def test_a_twin_that_is_not_there_yet_would_be_made(postgres: Postgres) -> None:
    found = postgres.found(boss(postgres, "CREATEROLE"))
    assert found["twin", "ok"] == f"{postgres.name}_clone is not there yet and would be made"
    assert ("master", "ok") in found
    assert not [check for check, outcome in found if outcome == "problem"]
    assert (
        postgres.admin.execute(
            "SELECT 1 FROM pg_roles WHERE rolname = %s", (f"{postgres.name}_clone",)
        ).fetchone()
        is None
    )


def test_a_master_without_rights_is_a_problem(postgres: Postgres) -> None:
    found = postgres.found(boss(postgres, "NOCREATEROLE"))
    assert found["privileges", "problem"] == "the master user has no CREATEROLE"


def test_a_master_that_is_refused_or_elsewhere_is_a_problem(postgres: Postgres) -> None:
    secret = boss(postgres, "CREATEROLE")
    secret.master["password"] = "wrong"
    assert "master refused" in postgres.found(secret)["master", "problem"]
    secret.master["host"] = "localhost"
    assert "another host" in postgres.found(secret)["master", "problem"]


def test_a_twin_that_is_somebody_elses_is_a_problem(postgres: Postgres) -> None:
    postgres.run(f"CREATE ROLE {postgres.name}_clone LOGIN")
    found = postgres.found(boss(postgres, "SUPERUSER"))
    assert "somebody else's" in found["twin", "problem"]
    postgres.run(f"GRANT {postgres.name} TO {postgres.name}_clone")
    again = postgres.found(postgres.secret(f"{postgres.name}_boss"))
    assert again["twin", "ok"] == f"{postgres.name}_clone is there and belongs to the pair"


def test_what_a_twin_would_not_get_is_found(postgres: Postgres) -> None:
    secret = boss(postgres, "CREATEROLE")
    postgres.run(f"ALTER ROLE {postgres.name} SET role TO {postgres.name}")
    postgres.run(f"ALTER ROLE {postgres.name} SET log_statement TO 'all'")
    found = postgres.found(secret)
    assert found["settings", "warning"] == f"the setting role of {postgres.name} is not carried over"
    assert "may not give" in found["settings", "problem"]
    postgres.run(f"ALTER ROLE {postgres.name}_boss SUPERUSER")
    assert ("settings", "problem") not in postgres.found(secret)


@pytest.fixture(scope="module")
def mariadb() -> Iterator[EmbeddedMariaDB]:
    with EmbeddedMariaDB(
        tls=True, fsync=False, settings={"general-log": "ON", "log-output": "TABLE"}
    ) as server:
        yield server


@pytest.fixture
def maria_secret(mariadb: EmbeddedMariaDB, monkeypatch: pytest.MonkeyPatch) -> Iterator[WithMaster]:
    monkeypatch.setenv("SSL_CA_FILE", str(mariadb.ssl_ca_path))
    mariadb.execute("CREATE USER app@'127.%' IDENTIFIED BY 'old password'")
    place = {"engine": "mariadb", "host": "127.0.0.1", "port": mariadb.port}
    yield WithMaster(
        {**place, "username": "app", "password": "old password"},
        {**place, "username": mariadb.user, "password": mariadb.password},
    )
    mariadb.execute("DROP USER app@'127.%'", "DROP USER IF EXISTS app_clone@'%', boss@'%'")


def test_mariadb_names_the_account_and_reads_only(mariadb: EmbeddedMariaDB, maria_secret: WithMaster) -> None:
    mariadb.execute("TRUNCATE mysql.general_log")
    found = findings(maria_secret, MariaDB(), MARIADB_ALONE)
    assert "app@127.%" in found["host part", "ok"]
    assert {outcome for _, outcome in found} == {"ok"}
    rows = mariadb.execute(
        "SELECT argument FROM mysql.general_log WHERE user_host LIKE 'app[%' AND command_type = 'Query'"
    )
    sent = [str(argument) for (argument,) in rows]
    assert {one.split()[0] for one in sent} <= {"SELECT", "SHOW", "SET", "COMMIT"}
    session = ("SET SESSION", "SET NAMES", "SET AUTOCOMMIT")
    assert all(one.startswith(session) for one in sent if one.startswith("SET")), sent


def test_mariadb_twins_and_their_other_hosts(mariadb: EmbeddedMariaDB, maria_secret: WithMaster) -> None:
    mariadb.execute("CREATE USER app_clone@'%' IDENTIFIED BY 'x'")
    found = findings(maria_secret, MariaDB(), MARIADB)
    assert found["twin", "ok"] == "app_clone@127.% is not there yet and would be made"
    assert found["host part", "warning"] == "app_clone has accounts for other hosts too: %"
    assert ("privileges", "ok") in found


def test_mariadb_a_master_without_rights(mariadb: EmbeddedMariaDB, maria_secret: WithMaster) -> None:
    mariadb.execute("CREATE USER boss@'%' IDENTIFIED BY 'master password'", "GRANT SELECT ON *.* TO boss@'%'")
    maria_secret.master |= {"username": "boss", "password": "master password"}
    assert findings(maria_secret, MariaDB(), MARIADB)["privileges", "problem"] == (
        "the master user has no CREATE USER"
    )


def test_mariadb_a_server_that_takes_no_writes(mariadb: EmbeddedMariaDB, maria_secret: WithMaster) -> None:
    mariadb.execute("SET GLOBAL read_only = ON")
    try:
        assert "read_only" in findings(maria_secret, MariaDB(), MARIADB_ALONE)["server", "problem"]
    finally:
        mariadb.execute("SET GLOBAL read_only = OFF")


def test_mariadb_a_policy_that_the_new_password_would_not_meet(
    mariadb: EmbeddedMariaDB, maria_secret: WithMaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    mariadb.execute("INSTALL SONAME 'simple_password_check'")
    try:
        assert ("password policy", "ok") in findings(maria_secret, MariaDB(), MARIADB_ALONE)
        monkeypatch.setenv("EXCLUDE_NUMBERS", "true")
        found = findings(maria_secret, MariaDB(), MARIADB_ALONE)
        assert found["password policy", "problem"] == "the server wants digits, which the function leaves out"
        monkeypatch.delenv("EXCLUDE_NUMBERS")
        mariadb.execute("SET GLOBAL simple_password_check_minimal_length = 40")
        found = findings(maria_secret, MariaDB(), MARIADB_ALONE)
        assert found["password policy", "problem"] == "the server wants 40 characters; 32 would be made"
    finally:
        mariadb.execute("UNINSTALL SONAME 'simple_password_check'")
