"""The tables of MySQL and MariaDB in docs/engines.md: each cell is what a rotation did, with TLS and without."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.engines.attributes_mysql import GRANTS, TABLES, Attribute, filled
from tests.engines.estates import ALTERNATING, DUAL, SINGLE
from tests.engines.hostile_mysql import LET_PROXY
from tests.engines.test_mysql_hostile import ENGINES, KINDS, STRATEGIES
from turnlock.errors import ConfigurationError
from turnlock.local_servers.mysqld import MySQLServer
from turnlock.rotators import RotationError, handle
from turnlock.rotators.testing import InMemorySecretsManager

pytestmark = [pytest.mark.engine, pytest.mark.slow]

DOC = Path(__file__).parents[2] / "docs" / "engines.md"
HEADINGS = {"mysql": "## MySQL 9", "mariadb": "## MariaDB 10.11"}
ORDER = (SINGLE, ALTERNATING, DUAL)
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")
WORD, FIRST, HOST = "the first password", "the very first one", "127.0.0.%"
_NUMBERS = count(1)


def rotated(engine: str, server: MySQLServer, user: str, strategy: str, *, tls: bool) -> str | None:
    """Take the four steps; return the user that AWSCURRENT names then, or None when a step failed."""
    where: dict[str, Any] = {"engine": engine, "host": "127.0.0.1", "port": server.port}
    where |= {} if tls else {"ssl": False}
    value = {**where, "username": user, "password": WORD, "masterarn": "MASTER"}
    secret = InMemorySecretsManager({**value, "rotationStrategy": DUAL} if strategy == DUAL else value)
    secret.others["MASTER"] = json.dumps({**where, "username": server.user, "password": server.password})
    secret.label("second", "AWSPENDING")
    for step in STEPS:
        event = {"Step": step, "SecretId": secret.arn, "ClientRequestToken": "second"}
        try:
            handle(event, ENGINES[engine], secret, STRATEGIES[engine, strategy])
        except RotationError as error:
            print(f"{engine}, {strategy}, {'TLS' if tls else 'plain'}: {error}")
            return None
    return str(secret.value("AWSCURRENT")["username"])


def read(server: MySQLServer, attribute: Attribute, values: Mapping[str, str]) -> str:
    """Return an attribute of an account, without what is the account's own in any case."""
    try:
        rows = server.execute(filled(attribute.read, values))
    except pymysql.err.Error as error:
        return f"none: {error.args[0]}"
    if attribute.read == GRANTS:
        rows = [(row[0].partition(" IDENTIFIED ")[0],) for row in rows if attribute.mark in row[0]]
    return repr(rows).replace(values["who"], "WHO").replace(f"'{values['name']}'@'{HOST}'", "WHO")


def cell(engine: str, server: MySQLServer, attribute: Attribute, strategy: str, *, tls: bool) -> str:
    """Give an account the attribute, rotate, and say what became of it."""
    name = f"app{next(_NUMBERS)}"
    cipher = str(server.execute("SHOW STATUS LIKE 'Ssl_cipher'")[0][1]) or "TLS_AES_256_GCM_SHA384"

    def values(user: str) -> dict[str, str]:
        other = f"`{user}`@`10.1.1.1`"
        return {
            "who": f"`{user}`@`{HOST}`",
            "name": user,
            "other": other,
            "role": f"role_{name}",
            "word": WORD,
            "cipher": cipher,
        }

    own = values(name)
    first = FIRST if "RETAIN" in " ".join(attribute.given) else WORD
    identified = attribute.identified or f"BY '{first}'"
    with closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE USER {own['who']} IDENTIFIED {filled(identified, own)}")
        for statement in attribute.given:
            cursor.execute(filled(statement, own))
    before = read(server, attribute, own)
    user = rotated(engine, server, name, strategy, tls=tls)
    if user is None:
        return "refused"
    after = read(server, attribute, values(user))
    if attribute.given or attribute.identified:
        assert read(server, attribute, values(f"{name}_absent")) != before, "the attribute was not given"
    if strategy == ALTERNATING:
        assert read(server, attribute, own) == before, "the first account has lost it"
        return "carried" if after == before else "not carried"
    return "kept" if after == before else "renewed"


def table(engine: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the lines of an engine's table, as servers with TLS and without made them."""
    found: dict[tuple[str, str, bool], str] = {}
    for tls in (True, False):
        settings = {} if engine == "mariadb" else {"authentication-policy": "*,,"}
        with KINDS[engine](tls=tls, fsync=False, settings=settings) as server:
            monkeypatch.setenv("SSL_CA_FILE", str(server.ssl_ca_path))
            server.execute(
                "CREATE DATABASE shop", "CREATE TABLE shop.things (id INT)", "CREATE PROCEDURE shop.run() SELECT 1",
                LET_PROXY, "FLUSH PRIVILEGES",
            )  # fmt: skip
            if engine == "mariadb":
                server.execute("INSTALL SONAME 'auth_ed25519'")
            for attribute in TABLES[engine]:
                for strategy in ORDER:
                    found[attribute.name, strategy, tls] = cell(engine, server, attribute, strategy, tls=tls)
    lines = [f"| attribute | {' | '.join(one.replace('-', ' ') for one in ORDER)} |", "|---|---|---|---|"]
    for attribute in TABLES[engine]:
        cells = [said(attribute, strategy, found) for strategy in ORDER]
        lines.append(f"| {attribute.name} | {' | '.join(cells)} |")
    return lines


def said(attribute: Attribute, strategy: str, found: Mapping[tuple[str, str, bool], str]) -> str:
    words = found[attribute.name, strategy, True]
    reason = attribute.because.get(strategy, attribute.because.get(words))
    words += f": {reason}" if reason else ""
    plain = found[attribute.name, strategy, False]
    return words if words.startswith(plain) else f"{words}; without TLS {plain}"


@pytest.mark.parametrize("engine", list(TABLES))
def test_the_table_in_the_documentation_is_what_rotations_do(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        found = table(engine, monkeypatch)
    except ConfigurationError as error:
        pytest.skip(f"NOT RUN on {engine}: {error}")
    section = DOC.read_text().partition(f"\n{HEADINGS[engine]}\n")[2].partition("\n## ")[0]
    written = [line for line in section.splitlines() if line.startswith("|")]
    assert written == found, "docs/engines.md should say:\n" + "\n".join(found)
