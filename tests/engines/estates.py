"""Real database servers of every engine, their master user, and users whose credentials are rotated."""

from __future__ import annotations

import json
import secrets
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, ClassVar

import psycopg
import pymysql
from psycopg import sql

from tests.processes import REGION
from turnlock.local_servers import EmbeddedMariaDB, EmbeddedPostgres
from turnlock.local_servers.mysql import EmbeddedMySQL
from turnlock.local_servers.mysqld import MySQLServer

Value = Mapping[str, Any]
Session = Any
"""A DB-API connection that commits by itself."""

SINGLE, ALTERNATING, OWNER, DUAL = "single-user", "alternating-users", "owner-role", "dual-passwords"
PATIENCE = 5
"""Seconds for one login or statement."""


def function_arn(database: str, strategy: str) -> str:
    """Return the hosted function's ARN for a strategy."""
    kind = "MultiUser" if strategy in {ALTERNATING, OWNER} else "SingleUser"
    return f"arn:aws:lambda:{REGION}:123456789012:function:SecretsManagerRDS{database}Rotation{kind}"


class Estate(ABC):
    """One server of one engine. `engine` is the secret's word for it; a user's table has the user's name."""

    engine: ClassVar[str]
    database: ClassVar[str]
    """The engine's name in the names of AWS's functions."""
    strategies: ClassVar[Sequence[str]]
    server: EmbeddedPostgres | MySQLServer
    failures: ClassVar[tuple[type[Exception], ...]]
    """What a session that has ended, or a refused login, raises."""

    def __init__(self, *, tls: bool) -> None:
        self.tls = tls

    @abstractmethod
    def make_user(self, name: str, password: str) -> None:
        """Make a user with a table of its name, as the master user does."""

    @abstractmethod
    def make_table(self, table: str, *, for_user: str) -> None:
        """Make a table that belongs to the master user, and let a user read and write it."""

    @abstractmethod
    def log_in(self, value: Value) -> Session:
        """Log in as an application does; raises one of `failures`."""

    @abstractmethod
    def is_refusal(self, error: Exception) -> bool:
        """Tell whether the server judged the login and refused it."""

    @abstractmethod
    def master(self) -> dict[str, Any]:
        """Return the master user's name and password, and its database."""

    @abstractmethod
    def version(self) -> str:
        """Return the server's version."""

    def start(self) -> None:
        self.server.start()

    def stop(self) -> None:
        self.server.stop()

    def value(self, user: str, password: str) -> dict[str, Any]:
        """Return a secret's value for a user."""
        value: dict[str, Any] = {
            "engine": self.engine,
            "host": "127.0.0.1",
            "port": self.server.port,
            "username": user,
            "password": password,
            "dbname": "shop",
        }
        return value if self.tls else {**value, "ssl": False}

    def accepts(self, value: Value) -> bool:
        """Log in; False when the server refuses it, and no other failure passes."""
        try:
            self.log_in(value).close()
        except self.failures as error:
            if self.is_refusal(error):
                return False
            raise
        return True

    def new_user(self) -> dict[str, Any]:
        """Make a user with a table; return its secret's first value."""
        name, password = f"app_{secrets.token_hex(4)}", secrets.token_urlsafe(18)
        self.make_user(name, password)
        return self.value(name, password)

    def rows(self, table: str) -> int:
        """Count a table's rows, as the master user."""
        with (
            closing(self.log_in({**self.value(**self._master_login())})) as session,
            closing(session.cursor()) as cursor,
        ):
            cursor.execute(f"SELECT count(*) FROM {table}")
            return int(cursor.fetchone()[0])

    def _master_login(self) -> dict[str, str]:
        master = self.master()
        return {"user": master["username"], "password": master["password"]}


class PostgreSQLEstate(Estate):
    """PostgreSQL, whose master user may make roles and databases and is no superuser, as on RDS."""

    engine = "postgres"
    database = "PostgreSQL"
    strategies = (SINGLE, ALTERNATING, OWNER)
    failures = (psycopg.Error,)
    server: EmbeddedPostgres

    def __init__(self, *, tls: bool, **settings: str) -> None:
        super().__init__(tls=tls)
        self.server = EmbeddedPostgres(tls=tls, fsync=False, settings=settings)
        self._password = secrets.token_urlsafe(18)

    def start(self) -> None:
        super().start()
        with psycopg.connect(self.server.admin_url(driver=None), autocommit=True) as admin:
            if admin.execute("SELECT 1 FROM pg_database WHERE datname = 'shop'").fetchone():
                return
            admin.execute(
                sql.SQL("CREATE ROLE master LOGIN CREATEROLE CREATEDB PASSWORD {}").format(self._password)
            )
            admin.execute("CREATE DATABASE shop OWNER master")
        with psycopg.connect(self.server.admin_url("shop", driver=None), autocommit=True) as admin:
            admin.execute("ALTER SCHEMA public OWNER TO master")

    def master(self) -> dict[str, Any]:
        return self.value("master", self._password)

    def version(self) -> str:
        with closing(self.log_in(self.master())) as session:
            return str(session.execute("SHOW server_version").fetchone()[0])

    def make_user(self, name: str, password: str) -> None:
        with closing(self.log_in(self.master())) as session:
            session.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), password)
            )
            session.execute(sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(name)))
        with closing(self.log_in(self.value(name, password))) as session:
            session.execute(sql.SQL("CREATE TABLE {} (id bigint PRIMARY KEY)").format(sql.Identifier(name)))
        # The master user reads everything, as pg_read_all_data lets it.
        with psycopg.connect(self.server.admin_url("shop", driver=None), autocommit=True) as admin:
            admin.execute("GRANT pg_read_all_data TO master")

    def make_table(self, table: str, *, for_user: str) -> None:
        with closing(self.log_in(self.master())) as session:
            session.execute(sql.SQL("CREATE TABLE {} (id bigint PRIMARY KEY)").format(sql.Identifier(table)))
            session.execute(
                sql.SQL("GRANT SELECT, INSERT ON {} TO {}").format(
                    sql.Identifier(table), sql.Identifier(for_user)
                )
            )

    def log_in(self, value: Value) -> Session:
        return psycopg.connect(
            self.server.conninfo(value["username"], value["password"], value["dbname"]),
            autocommit=True,
            connect_timeout=PATIENCE,
        )

    def is_refusal(self, error: Exception) -> bool:
        return "password authentication failed" in str(error)


class MySQLFamilyEstate(Estate):
    """MySQL or MariaDB; a user may come from 127.0.0.% only."""

    failures = (pymysql.err.Error, OSError)
    server: MySQLServer
    host = "127.0.0.%"

    def start(self) -> None:
        super().start()
        self.server.execute("CREATE DATABASE IF NOT EXISTS shop")

    def master(self) -> dict[str, Any]:
        return self.value(self.server.user, self.server.password)

    def version(self) -> str:
        return str(self.server.execute("SELECT version()")[0][0])

    def make_user(self, name: str, password: str) -> None:
        user = f"'{name}'@'{self.host}'"
        self.server.execute(
            f"CREATE USER {user} IDENTIFIED BY '{password}'",
            f"CREATE TABLE shop.{name} (id BIGINT PRIMARY KEY)",
            f"GRANT SELECT, INSERT ON shop.{name} TO {user}",
            f"GRANT CREATE ON shop.* TO {user}",
        )

    def make_table(self, table: str, *, for_user: str) -> None:
        self.server.execute(
            f"CREATE TABLE shop.{table} (id BIGINT PRIMARY KEY)",
            f"GRANT SELECT, INSERT ON shop.{table} TO '{for_user}'@'{self.host}'",
        )

    def log_in(self, value: Value) -> Session:
        return self.server.connect(value["username"], value["password"], value["dbname"])

    def is_refusal(self, error: Exception) -> bool:
        # Access denied, or the account is locked: a twin that is not finished yet (MySQL's number and MariaDB's).
        return bool(error.args) and error.args[0] in {1045, 3118, 4151}


class MySQLEstate(MySQLFamilyEstate):
    """A real MySQL."""

    engine = "mysql"
    database = "MySQL"
    strategies = (SINGLE, ALTERNATING, DUAL)

    def __init__(self, *, tls: bool, **settings: str) -> None:
        super().__init__(tls=tls)
        self.server = EmbeddedMySQL(tls=tls, fsync=False, settings=settings)


class MariaDBEstate(MySQLFamilyEstate):
    """A real MariaDB."""

    engine = "mariadb"
    database = "MariaDB"
    strategies = (SINGLE, ALTERNATING, DUAL)

    def __init__(self, *, tls: bool, **settings: str) -> None:
        super().__init__(tls=tls)
        self.server = EmbeddedMariaDB(tls=tls, fsync=False, settings=settings)


ESTATES: Mapping[str, type[PostgreSQLEstate | MySQLEstate | MariaDBEstate]] = {
    estate.engine: estate for estate in (PostgreSQLEstate, MySQLEstate, MariaDBEstate)
}


def secret_value(estate: Estate, value: Value, strategy: str, master_arn: str) -> str:
    """Return the secret's text for a strategy."""
    named = {} if strategy == SINGLE else {"masterarn": master_arn}
    chosen = {"rotationStrategy": strategy} if strategy in {OWNER, DUAL} else {}
    return json.dumps({**value, **named, **chosen})
