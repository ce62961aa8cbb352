"""Rehearsals against a real MySQL: every strategy that its functions have, what is missing, and that nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.rotators.test_rehearsal_twins import WithMaster, findings
from turnlock.errors import ConfigurationError
from turnlock.local_servers.mysql import EmbeddedMySQL
from turnlock.rotators.mysql_multi_user import ENGINE
from turnlock.rotators.mysql_multi_user import STRATEGIES as TWINS
from turnlock.rotators.mysql_single_user import STRATEGIES as ALONE
from turnlock.rotators.testing import InMemorySecretsManager

pytestmark = [pytest.mark.engine, pytest.mark.slow]

DUAL = {"rotationStrategy": "dual-passwords"}
KEEPS = "GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO"


@pytest.fixture(scope="module")
def mysql() -> Iterator[EmbeddedMySQL]:
    try:
        server = EmbeddedMySQL(tls=True, fsync=False, settings={"general-log": "ON", "log-output": "TABLE"})
        server.start()
    except ConfigurationError as error:
        pytest.skip(f"NOT RUN on mysql: {error}")
    yield server
    server.stop()


@pytest.fixture
def value(mysql: EmbeddedMySQL, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The value of an account's secret; the account's host part is not MySQL's default."""
    monkeypatch.setenv("SSL_CA_FILE", str(mysql.ssl_ca_path))
    mysql.execute("CREATE USER app@'127.%' IDENTIFIED BY 'old password'", "TRUNCATE mysql.general_log")
    place = {"engine": "mysql", "host": "127.0.0.1", "port": mysql.port}
    yield {**place, "username": "app", "password": "old password"}
    mysql.execute("DROP USER app@'127.%'", "DROP USER IF EXISTS app_clone@'%', boss@'%', keepers@'%'")


def with_master(mysql: EmbeddedMySQL, value: dict[str, Any], *grants: str) -> WithMaster:
    """Return the secret with a master secret whose user has these rights."""
    mysql.execute("CREATE USER boss@'%' IDENTIFIED BY 'master password'", *grants)
    return WithMaster(value, {**value, "username": "boss", "password": "master password"})


def sent_by(mysql: EmbeddedMySQL, user: str) -> list[str]:
    """Return what a user's sessions asked of the server."""
    rows = mysql.execute(
        "SELECT argument FROM mysql.general_log"
        f" WHERE user_host LIKE '{user}[%' AND command_type IN ('Query', 'Execute')"
    )
    return [one.decode() if isinstance(one, bytes) else str(one) for (one,) in rows]


def assert_only_looks(statements: list[str]) -> None:
    assert statements
    assert {one.split()[0].upper() for one in statements} <= {"SELECT", "SHOW", "SET", "COMMIT"}
    session = ("SET SESSION", "SET NAMES", "SET AUTOCOMMIT")
    assert all(one.startswith(session) for one in statements if one.startswith("SET")), statements


def test_a_single_user_is_named_by_its_account_and_nothing_is_changed(
    mysql: EmbeddedMySQL, value: dict[str, Any]
) -> None:
    before = mysql.execute("SELECT * FROM mysql.user ORDER BY user, host")
    found = findings(InMemorySecretsManager(value), ENGINE, ALONE)
    assert "app@127.%" in found["host part", "ok"]
    assert {outcome for _, outcome in found} == {"ok"}, found
    assert_only_looks(sent_by(mysql, "app"))
    assert mysql.execute("SELECT * FROM mysql.user ORDER BY user, host") == before


def test_two_passwords_need_a_right_that_is_told_of(mysql: EmbeddedMySQL, value: dict[str, Any]) -> None:
    secret = InMemorySecretsManager({**value, **DUAL})
    lacking = findings(secret, ENGINE, ALONE)
    assert lacking["privileges", "problem"] == "the account lacks APPLICATION_PASSWORD_ADMIN"
    mysql.execute(f"{KEEPS} app@'127.%'")
    assert findings(secret, ENGINE, ALONE)["privileges", "ok"] == "the account may keep two passwords"
    assert_only_looks(sent_by(mysql, "app"))


def test_a_right_that_comes_by_a_role_counts_when_the_role_is_active(
    mysql: EmbeddedMySQL, value: dict[str, Any]
) -> None:
    """A role that is granted and not made a default one is not active in the session that rotates."""
    mysql.execute("CREATE ROLE keepers", f"{KEEPS} keepers", "GRANT keepers TO app@'127.%'")
    secret = InMemorySecretsManager({**value, **DUAL})
    assert ("privileges", "problem") in findings(secret, ENGINE, ALONE)
    mysql.execute("SET DEFAULT ROLE keepers TO app@'127.%'")
    assert ("privileges", "ok") in findings(secret, ENGINE, ALONE)


def test_alternating_users_find_their_twin(mysql: EmbeddedMySQL, value: dict[str, Any]) -> None:
    secret = with_master(mysql, value, "GRANT ALL PRIVILEGES ON *.* TO boss@'%' WITH GRANT OPTION")
    mysql.execute("CREATE USER app_clone@'%' IDENTIFIED BY 'x'")
    found = findings(secret, ENGINE, TWINS)
    assert found["twin", "ok"] == "app_clone@127.% is not there yet and would be made"
    assert found["host part", "warning"] == "app_clone has accounts for other hosts too: %"
    assert ("privileges", "ok") in found
    assert not [check for check, outcome in found if outcome == "problem"]
    assert_only_looks(sent_by(mysql, "boss"))
    assert list(mysql.execute("SELECT host FROM mysql.user WHERE user = 'app_clone'")) == [("%",)]


@pytest.mark.parametrize(
    ("grants", "problem"),
    [
        ((), "the master user has no CREATE USER"),
        (("GRANT SELECT ON *.* TO boss@'%'",), "the master user has no CREATE USER"),
        (
            ("GRANT CREATE USER, SELECT ON *.* TO boss@'%'",),
            "the master user cannot hand rights on (GRANT OPTION)",
        ),
    ],
)
def test_alternating_users_say_what_their_master_lacks(
    mysql: EmbeddedMySQL, value: dict[str, Any], grants: tuple[str, ...], problem: str
) -> None:
    found = findings(with_master(mysql, value, *grants), ENGINE, TWINS)
    assert found["privileges", "problem"] == problem
    unread = "the master user may not read the table mysql.user (SELECT)"
    assert found.get(("twin", "problem")) == (None if "SELECT" in "".join(grants) else unread)


def test_a_server_that_takes_no_writes(mysql: EmbeddedMySQL, value: dict[str, Any]) -> None:
    mysql.execute("SET GLOBAL super_read_only = ON")
    try:
        found = findings(InMemorySecretsManager(value), ENGINE, ALONE)
        assert "read_only is on" in found["server", "problem"]
    finally:
        mysql.execute("SET GLOBAL read_only = OFF")
