"""One PostgreSQL with TLS, one role for each test, and its secret; a server of MySQL's family for each module."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import count

import psycopg
import pytest
from psycopg import sql

from tests.rotators import pair
from tests.rotators.mysql_products import LOGGING, PRODUCTS, Product
from turnlock.errors import ConfigurationError
from turnlock.local_servers import EmbeddedPostgres
from turnlock.rotators import Credential
from turnlock.rotators.testing import InMemorySecretsManager

_NUMBERS = count(1)


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """Offers TLS and logs every statement."""
    settings = {"log_statement": "all", "log_min_duration_statement": "0", "max_connections": "20"}
    with EmbeddedPostgres(tls=True, fsync=False, settings=settings) as running:
        yield running


@pytest.fixture
def admin(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.conninfo("postgres", server.password), autocommit=True) as connection:
        yield connection


@pytest.fixture
def role(server: EmbeddedPostgres, admin: psycopg.Connection) -> Iterator[str]:
    """A role named with a quote and a space, whose password is `old password`."""
    name = f'role "{next(_NUMBERS)}'
    server.create_login(name, "old password")
    yield name
    admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


@pytest.fixture
def secret(server: EmbeddedPostgres, role: str) -> InMemorySecretsManager:
    """The role's secret, rotating: version `first` is AWSCURRENT, version `second` is to be made."""
    value = {
        "engine": "postgres",
        "host": "127.0.0.1",
        "port": server.port,
        "username": role,
        "password": "old password",
        "kept": "as it is",
    }
    made = InMemorySecretsManager(value)
    made.label("second", "AWSPENDING")
    return made


@pytest.fixture
def environment(server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a function's environment holds."""
    for name in [name for name in os.environ if name.startswith(("PG", "EXCLUDE_", "PASSWORD_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SSL_CA_FILE", str(server.ssl_ca_path))


@pytest.fixture(scope="module", params=PRODUCTS)
def product(request: pytest.FixtureRequest) -> Iterator[Product]:
    server_class, engine = PRODUCTS[request.param]
    try:
        server = server_class(tls=True, fsync=False, settings=LOGGING)
        server.start()
    except ConfigurationError as error:
        pytest.skip(f"NOT RUN on {request.param}: {error}")
    yield Product(name=request.param, server=server, engine=engine)
    server.stop()


@pytest.fixture
def master(server: EmbeddedPostgres, admin: psycopg.Connection) -> Iterator[Credential]:
    """A master user that is no superuser, as RDS's: it may make roles, and owns the database."""
    name = f"master {next(_NUMBERS)}"
    admin.execute(
        sql.SQL("CREATE ROLE {} LOGIN CREATEROLE CREATEDB PASSWORD 'old password'").format(
            sql.Identifier(name)
        )
    )
    admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(name)))
    with psycopg.connect(server.conninfo("postgres", server.password, name), autocommit=True) as inside:
        inside.execute(sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(name)))
    yield Credential(
        host="127.0.0.1", port=server.port, username=name, password="old password", dbname=name, tls=True
    )
    admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def app(master: Credential) -> Credential:
    """A role that the master user made, with a quote in its name; it may make tables."""
    name = f'app "{next(_NUMBERS)}'
    with pair.as_user(master) as session:
        session.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'old password'").format(sql.Identifier(name)))
        session.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(name)))
    return pair.login_of(master, name)
