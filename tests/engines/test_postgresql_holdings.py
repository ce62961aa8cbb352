"""The table of docs/engines.md: what a role has, and whether whoever AWSCURRENT names after a rotation has it too."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.engines.postgresql_holdings import HOLDINGS, Holding
from turnlock.errors import ConfigurationError
from turnlock.local_servers import EmbeddedPostgres
from turnlock.local_servers.cluster import system_programs
from turnlock.local_servers.mysql import unpacked_release
from turnlock.rotators import DatabaseFailed, handle
from turnlock.rotators.postgresql_multi_user import ENGINE, STRATEGIES
from turnlock.rotators.skeleton import SINGLE_USER
from turnlock.rotators.testing import InMemorySecretsManager

pytestmark = [pytest.mark.engine, pytest.mark.slow]

DOCUMENT = Path(__file__).parents[2] / "docs" / "engines.md"
MASTER_ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:master-AbCdEf"
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
COLUMNS = ("single user", "alternating users", "owner role")
PASSWORD = "old password"
_places = count(1)


@pytest.fixture(scope="module", params=["18", "18-tls", "15", "15-tls"])
def place(request: pytest.FixtureRequest) -> Iterator[tuple[EmbeddedPostgres, bool]]:
    """A server, and whether it is spoken to by TLS. The wheel's 18 is built without, so that one is tools/postgresql.sh's."""
    tls = request.param.endswith("tls")
    programs = None
    if request.param == "18-tls":
        try:
            programs = system_programs(unpacked_release("postgresql") / "usr/lib/postgresql")
        except ConfigurationError:
            pytest.skip("NOT RUN on PostgreSQL 18 with TLS: run tools/postgresql.sh")
    with EmbeddedPostgres(tls=request.param != "18", fsync=False, programs=programs) as server:
        yield server, tls


class Shop:
    """A server's databases `shop` and `other`, made anew for each user."""

    def __init__(self, server: EmbeddedPostgres, *, tls: bool, column: str) -> None:
        self.server, self.tls, self.column = server, tls, column
        self.user = "app"

    def __enter__(self) -> Shop:
        with self.session("postgres", self.server.password, "postgres") as root:
            for name in ("shop", "other"):
                root.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
            root.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(self.user), PASSWORD)
            )
        with self.session("postgres", self.server.password, "other") as root:
            root.execute("CREATE TABLE public.elsewhere (id int)")
            root.execute("GRANT SELECT ON public.elsewhere TO app")
        return self

    def __exit__(self, *_: object) -> None:
        with self.session("postgres", self.server.password, "postgres") as root:
            for name in ("shop", "other"):
                root.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
            made = root.execute("SELECT rolname FROM pg_roles WHERE oid >= 16384").fetchall()
            roles = [sql.Identifier(name) for (name,) in made]
            for statement in (sql.SQL("DROP OWNED BY {} CASCADE"), sql.SQL("DROP ROLE {}")):
                for role in roles:
                    root.execute(statement.format(role))

    def session(self, user: str, password: str, dbname: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            self.server.conninfo(user, password, dbname)
            if self.tls
            else f"host=127.0.0.1 port={self.server.port} sslmode=disable",
            user=user, password=password, dbname=dbname, autocommit=True,
        )  # fmt: skip

    def root(self) -> psycopg.Connection[tuple[Any, ...]]:
        return self.session("postgres", self.server.password, "shop")

    def secret(self) -> InMemorySecretsManager:
        where = {"engine": "postgres", "host": "127.0.0.1", "port": self.server.port, "ssl": self.tls}
        value: dict[str, Any] = {**where, "username": self.user, "password": PASSWORD, "dbname": "shop"}
        if self.column != "single user":
            value["masterarn"] = MASTER_ARN
        if self.column == "owner role":
            value["rotationStrategy"] = "owner-role"
        secret = InMemorySecretsManager(value)
        secret.others[MASTER_ARN] = json.dumps(
            {**where, "username": "postgres", "password": self.server.password}
        )
        return secret

    def holds(self, value: dict[str, Any], holding: Holding) -> bool:
        """Ask in a session of the user that the value names."""
        at = f"place_{next(_places)}"
        with self.root() as root:
            for statement in holding.meanwhile:
                root.execute(statement.format(place=at).encode())
        with self.session(value["username"], value["password"], holding.database) as user:
            for statement in holding.make:
                user.execute(statement.format(place=at).encode())
            try:
                row = user.execute(holding.ask.format(place=at).encode()).fetchone()
            except psycopg.errors.InsufficientPrivilege:
                return False
        return row == (True,)


def rotate(secret: InMemorySecretsManager, column: str, version: str) -> None:
    secret.label(version, "AWSPENDING")
    for step in STEPS:
        event = {"Step": step, "SecretId": secret.arn, "ClientRequestToken": version}
        handle(event, ENGINE, secret, SINGLE_USER if column == "single user" else STRATEGIES)


def found(shop: Shop, holdings: list[Holding]) -> dict[str, str]:
    """Give the holdings to a user, rotate twice, and say of each what became of it."""
    with shop.root() as root:
        for holding in holdings:
            for statement in holding.give:
                root.execute(statement.format(user=f'"{shop.user}"').encode())
    with shop.session(shop.user, PASSWORD, "shop") as user:
        for holding in holdings:
            for statement in holding.first:
                user.execute(statement.encode())
    secret = shop.secret()
    for holding in holdings:
        assert shop.holds(secret.value("AWSCURRENT"), holding), f"before: {holding.name}"
    after = dict[str, list[bool]]()
    for version in ("second", "third"):
        try:
            rotate(secret, shop.column, version)
        except DatabaseFailed:
            return {holding.name: "refused" for holding in holdings}
        for holding in holdings:
            after.setdefault(holding.name, []).append(shop.holds(secret.value("AWSCURRENT"), holding))
    carried = "kept" if shop.column == "single user" else "carried"
    # With the first user's turn it has its own again; what counts is the twin.
    return {name: carried if all(times) else "not carried" for name, times in after.items()}


def documented() -> dict[str, dict[str, str]]:
    """Return the words before the colon in each cell, by row and column."""
    text = DOCUMENT.read_text()
    section = text[text.index("## PostgreSQL") :].partition("\n## ")[0]
    rows = dict[str, dict[str, str]]()
    for line in re.findall(r"^\| (.+) \|$", section, re.MULTILINE):
        name, *cells = (cell.strip() for cell in line.split(" | "))
        if len(cells) == len(COLUMNS) and cells[0].partition(":")[0] in {
            "kept",
            "carried",
            "not carried",
            "refused",
        }:
            rows[name] = {column: cell.partition(":")[0] for column, cell in zip(COLUMNS, cells, strict=True)}
    return rows


@pytest.mark.parametrize("column", COLUMNS)
def test_the_table_says_what_becomes_of_each_holding(
    place: tuple[EmbeddedPostgres, bool], column: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, tls = place
    if tls:
        monkeypatch.setenv("SSL_CA_FILE", str(server.ssl_ca_path))
    with psycopg.connect(server.conninfo("postgres", server.password)) as root:
        version = root.info.server_version
    with Shop(server, tls=tls, column=column) as shop, shop.root() as root:
        assert root.pgconn.ssl_in_use == tls
    cells = dict[str, str]()
    groups = dict.fromkeys(holding.group for holding in HOLDINGS)
    for group in groups:
        with Shop(server, tls=tls, column=column) as shop:
            chosen = [one for one in HOLDINGS if one.group == group and one.since <= version]
            cells |= found(shop, chosen)
    if column == "single user" and version < 160000:
        assert cells.pop("REPLICATION") == "refused"  # by the server: the table says from when on it is not
    table = documented()
    assert cells == {name: table.get(name, {}).get(column) for name in cells}


def test_the_table_has_no_row_that_is_not_tested() -> None:
    assert set(documented()) == {holding.name for holding in HOLDINGS}
