"""Real servers that the provider starts: reachable over verified TLS, running again after a crash, gone when deleted."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pymysql
import pytest
from structlog.testing import capture_logs

from tests.processes import wait_until
from tests.rds.calling import MASTER, RdsClient
from turnlock.local_servers import EmbeddedMariaDB, EmbeddedPostgres
from turnlock.rds import Authorities, Provider

pytestmark = [pytest.mark.engine, pytest.mark.slow]


@pytest.fixture
def provider(passable_dir: Path, rds: RdsClient) -> Iterator[Provider]:
    made = Provider(rds.database, passable_dir)
    with capture_logs():
        yield made
        made.close()


def create(rds: RdsClient, engine: str, **changes: Any) -> None:
    names = {"DBInstanceIdentifier": "shop", "DBInstanceClass": "db.t4g.micro", "DBName": "orders"}
    rds("CreateDBInstance", **names, Engine=engine, **{**MASTER, **changes})


def described(rds: RdsClient) -> dict[str, Any]:
    found: dict[str, Any] = rds("DescribeDBInstances", DBInstanceIdentifier="shop")["DBInstances"][0]
    return found


def server_of(provider: Provider) -> Any:
    (kept,) = provider._kept.values()
    return kept.server


def kill(provider: Provider) -> None:
    """End the server's process as the kernel would when memory runs out."""
    server: EmbeddedPostgres | EmbeddedMariaDB = server_of(provider)
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: not server.running, 60, "the end of the killed server")


def postgres(rds: RdsClient, authorities: Authorities, password: str) -> psycopg.Connection[tuple[Any, ...]]:
    endpoint = described(rds)["Endpoint"]
    return psycopg.connect(
        host=endpoint["Address"],
        port=endpoint["Port"],
        user="master",
        password=password,
        dbname="orders",
        sslmode="verify-full",
        sslrootcert=str(authorities.path),
        connect_timeout=10,
    )


@pytest.fixture
def authorities(provider: Provider) -> Authorities:
    return provider.authorities


@pytest.mark.parametrize("store_place", ["sqlite"], indirect=True)
def test_the_life_of_a_postgresql(rds: RdsClient, provider: Provider, authorities: Authorities) -> None:
    create(rds, "postgres")
    provider.tick()
    assert described(rds)["DBInstanceStatus"] == "available", described(rds)
    with postgres(rds, authorities, "first-Password-1") as connection:
        connection.execute("CREATE TABLE kept (n int)")
        may = "SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        assert connection.execute(may).fetchone() == (False, True, True)
        connection.execute("CREATE ROLE clone LOGIN")
    before = described(rds)["Endpoint"]
    kill(provider)
    provider.tick()
    assert described(rds)["Endpoint"] == before
    rds("ModifyDBInstance", DBInstanceIdentifier="shop", MasterUserPassword="second-Password-2")
    provider.tick()
    with postgres(rds, authorities, "second-Password-2") as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (0,)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        postgres(rds, authorities, "first-Password-1")
    pid = server_of(provider).pid
    rds("DeleteDBInstance", DBInstanceIdentifier="shop", SkipFinalSnapshot=True)
    provider.tick()
    assert not Path(f"/proc/{pid}").exists()
    assert b"Turnlock local authority" not in authorities.path.read_bytes()
    assert list((authorities.path.parent).glob("db-*")) == []


@pytest.mark.parametrize("store_place", ["sqlite"], indirect=True)
def test_the_life_of_a_mariadb(rds: RdsClient, provider: Provider, authorities: Authorities) -> None:
    create(rds, "mariadb")
    provider.tick()
    assert described(rds)["DBInstanceStatus"] == "available", described(rds)

    def connect(password: str) -> pymysql.Connection[Any]:
        endpoint = described(rds)["Endpoint"]
        return pymysql.connect(
            host=endpoint["Address"],
            port=endpoint["Port"],
            user="master",
            password=password,
            database="orders",
            ssl_ca=str(authorities.path),
            ssl_verify_identity=True,
        )

    with connect("first-Password-1") as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept (n int)")
        cursor.execute("CREATE USER clone@'%' IDENTIFIED BY 'x'")
    kill(provider)
    provider.tick()
    rds("ModifyDBInstance", DBInstanceIdentifier="shop", MasterUserPassword="second-Password-2")
    provider.tick()
    with connect("second-Password-2") as connection, connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM kept")
        assert cursor.fetchone() == (0,)
    with pytest.raises(pymysql.err.OperationalError, match="Access denied"):
        connect("first-Password-1")
