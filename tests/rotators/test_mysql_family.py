"""MySQL and MariaDB logins and password changes for real: who is refused, what is unreachable, what the logs get to see."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests.rotators.mysql_products import PRODUCTS, Product, login, renew
from turnlock.local_servers.authority import loopback_identity
from turnlock.rotators import Credential, DatabaseFailed, Refused, Unreachable, handle
from turnlock.rotators.engines.engine import Account
from turnlock.rotators.engines.mysql import session as mysql_session
from turnlock.rotators.engines.mysql.mariadb import native_hash
from turnlock.rotators.testing import InMemorySecretsManager

pytestmark = [pytest.mark.slow, pytest.mark.engine]


@pytest.fixture(autouse=True)
def environment(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CA_FILE", str(product.server.ssl_ca_path))


# Verdicts.


@pytest.mark.parametrize("tls", [True, False])
def test_logs_in_with_tls_exactly_where_the_secret_says_so(product: Product, tls: bool) -> None:
    with closing(login(product, replace(product.user(), tls=tls))) as connection:
        rows = mysql_session.run(connection, "SHOW STATUS LIKE 'Ssl_cipher'")
        assert bool(rows[0][1]) is tls
        product.engine.check(connection)


@pytest.mark.parametrize("tls", [True, False])
@pytest.mark.parametrize("change", [{"password": "wrong"}, {"username": "nobody"}], ids=str)
def test_a_wrong_password_and_a_missing_user_are_refused(
    product: Product, tls: bool, change: dict[str, str]
) -> None:
    wrong = replace(product.user(), tls=tls, **change)  # type: ignore[arg-type]  # mypy cannot see the fields' names
    with pytest.raises(Refused, match="1045: Access denied for user '<username>'") as caught:
        login(product, wrong)
    assert wrong.password not in str(caught.value)


def test_a_locked_account_is_refused(product: Product) -> None:
    with pytest.raises(Refused):
        login(product, product.user(more="ACCOUNT LOCK"))


def test_the_right_password_for_a_missing_database_is_not_refused(product: Product) -> None:
    credential = product.user()
    with pytest.raises(Unreachable, match=r"104[49]"):
        login(product, replace(credential, dbname="nowhere"))


def test_too_many_connections_are_not_a_refusal(product: Product) -> None:
    credential = product.user(more="WITH MAX_USER_CONNECTIONS 1")
    with closing(login(product, credential)), pytest.raises(Unreachable, match=r"1226|1203"):
        login(product, credential)


def test_a_certificate_of_a_stranger_is_unreachable(
    product: Product, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "other.pem").write_bytes(loopback_identity(datetime.now(UTC)).ca)
    monkeypatch.setenv("SSL_CA_FILE", str(tmp_path / "other.pem"))
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        login(product, product.user())


def test_a_certificate_for_another_host_is_unreachable(product: Product) -> None:
    with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
        login(product, replace(product.user(), host="127.1"))


def test_a_server_that_is_down_or_silent_is_unreachable_in_time(product: Product) -> None:
    credential = product.user()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        with pytest.raises(Unreachable):
            product.engine.connect(replace(credential, port=silent.getsockname()[1]), 0.3)
        assert time.monotonic() - began < 20
    with pytest.raises(Unreachable):
        product.engine.connect(replace(credential, port=1), 5)


def test_a_server_without_tls_gets_no_password_and_one_that_trusts_everyone_proves_nothing(
    product: Product,
) -> None:
    with PRODUCTS[product.name][0](fsync=False) as plain:
        admin = replace(product.admin(), port=plain.port, password=plain.password)
        with pytest.raises(Unreachable, match='"ssl": false'):
            login(product, admin)
        login(product, replace(admin, tls=False)).close()
        plain._settings |= {"skip-grant-tables": "ON", "skip-networking": "OFF"}
        plain.restart()
        # MySQL lets nobody in over the network then, MariaDB everybody.
        with pytest.raises(Unreachable, match=r"did not judge|Can't connect"):
            login(product, replace(admin, password="whatever", tls=False))


# Changes.


def change(
    product: Product, credential: Credential, password: str, confirm: Callable[[], None] = lambda: None
) -> None:
    with closing(login(product, credential)) as connection:
        product.engine.set_password(connection, credential.username, password, confirm)


def test_a_new_password_is_accepted_the_old_one_is_not_and_no_log_has_seen_it(product: Product) -> None:
    credential = product.user()
    new = replace(credential, password="never-in.a_log")
    change(product, credential, new.password)
    assert product.accepts(new)
    assert not product.accepts(credential)
    assert b"never-in.a_log" not in product.written()
    assert b"SET PASSWORD" in product.written()


def test_a_change_that_is_not_confirmed_leaves_everything_as_it_was(product: Product) -> None:
    credential = product.user()

    def refuse() -> None:
        raise LookupError("not wanted any more")

    with pytest.raises(LookupError):
        change(product, credential, "unwanted", refuse)
    assert product.accepts(credential)
    change(product, credential, "wanted")  # the lock was given back


LATE = """
import os, signal, sys
from contextlib import closing
from turnlock.rotators import Credential, DatabaseFailed
from turnlock.rotators.engines.mysql import session
from {module} import {engine}
session._SESSION = session._SESSION.replace("wait_timeout = 10", "wait_timeout = 1", 1)
port, username = int(sys.argv[1]), sys.argv[2]
credential = Credential(
    host="127.0.0.1", port=port, username=username, password="old password", dbname="shop", tls=False
)
engine = {engine}()
with closing(engine.connect(credential, 5)) as connection:
    try:
        engine.set_password(connection, username, "late", lambda: os.kill(os.getpid(), signal.SIGSTOP))
    except DatabaseFailed as error:
        print(error)
        sys.exit(7)
"""


def test_a_function_stopped_after_its_confirmation_loses_its_session(product: Product) -> None:
    credential = product.user()
    program = LATE.format(module=type(product.engine).__module__, engine=type(product.engine).__name__)
    arguments = [sys.executable, "-c", program, str(credential.port), credential.username]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as late:
        try:
            _, status = os.waitpid(late.pid, os.WUNTRACED)
            assert os.WIFSTOPPED(status)
            change(
                product, replace(credential, tls=False), "newer"
            )  # waits until the stopped one is thrown out
            assert product.accepts(replace(credential, password="newer"))
            late.send_signal(signal.SIGCONT)
            output, _ = late.communicate(timeout=20)
        finally:
            late.kill()
    assert late.returncode == 7
    assert "The password change failed" in output
    assert product.accepts(replace(credential, password="newer"))
    assert not product.accepts(replace(credential, password="late"))


def test_a_password_that_the_policy_refuses_is_reported_in_the_servers_words_and_changes_nothing(
    product: Product,
) -> None:
    credential = product.user()
    begin, end = {
        "mysql": (
            [
                "INSTALL COMPONENT 'file://component_validate_password'",
                "SET GLOBAL validate_password.length = 64",
            ],
            "UNINSTALL COMPONENT 'file://component_validate_password'",
        ),
        "mariadb": (
            [
                "INSTALL SONAME 'simple_password_check'",
                "SET GLOBAL simple_password_check_minimal_length = 64",
            ],
            "UNINSTALL SONAME 'simple_password_check'",
        ),
    }[product.name]
    product.server.execute(*begin)
    try:
        with pytest.raises(DatabaseFailed, match="1819: Your password does not satisfy") as caught:
            change(product, credential, "too-short.A1")
        assert "too-short" not in str(caught.value)
        assert product.accepts(credential)
        change(product, credential, "Aa1." * 16)
        assert product.accepts(replace(credential, password="Aa1." * 16))
    finally:
        product.server.execute(end)


def test_an_account_that_must_name_its_old_password_does(product: Product) -> None:
    if product.name != "mysql":
        pytest.skip("MariaDB has no PASSWORD REQUIRE CURRENT")
    credential = product.user(more="PASSWORD REQUIRE CURRENT")
    change(product, credential, "newer")
    assert product.accepts(replace(credential, password="newer"))


@pytest.mark.parametrize(
    ("plugin", "identified", "reason"),
    [
        ("auth_pam", "VIA pam", "clear text"),
    ],
)
def test_a_way_to_authenticate_that_is_not_wanted_is_unreachable_with_the_reason(
    product: Product, plugin: str, identified: str, reason: str
) -> None:
    if product.name != "mariadb":
        pytest.skip("these plugins are MariaDB's")
    product.server.execute(f"INSTALL SONAME '{plugin}'")
    try:
        product.server.execute(f"CREATE USER '{plugin}'@'%' IDENTIFIED {identified}")
        credential = replace(product.user(), username=plugin, dbname="")
        with pytest.raises(Unreachable, match=reason):
            login(product, credential)
    finally:
        product.server.execute(f"DROP USER IF EXISTS '{plugin}'@'%'", f"UNINSTALL SONAME '{plugin}'")


@pytest.mark.parametrize(
    ("identified", "accepted"),
    [
        ("VIA mysql_native_password USING PASSWORD('old password') OR ed25519 USING PASSWORD('x')", True),
        ("VIA ed25519 USING PASSWORD('x') OR mysql_native_password USING PASSWORD('old password')", True),
        ("VIA mysql_native_password USING PASSWORD('y') OR ed25519 USING PASSWORD('x')", False),
        ("VIA ed25519 USING PASSWORD('old password')", False),
        (None, False),
    ],
)
def test_ed25519_is_passed_by_where_an_account_has_another_way(
    product: Product, identified: str | None, accepted: bool
) -> None:
    """A user that does not exist may be asked for ed25519 as well: that is a refusal, and no unreachable server."""
    if product.name != "mariadb":
        pytest.skip("ed25519 is MariaDB's")
    product.server.execute("INSTALL SONAME 'auth_ed25519'")
    other = "VIA ed25519 USING PASSWORD('1')"
    names = ["ed"] if identified else [f"absent{number}" for number in range(12)]
    try:
        product.server.execute(f"CREATE USER ed@'%' IDENTIFIED {identified or other}")
        for name in names:
            credential = replace(product.user(), username=name, dbname="")
            if accepted:
                login(product, credential).close()
            else:
                with pytest.raises(Refused):
                    login(product, credential)
    finally:
        product.server.execute("DROP USER ed@'%'", "UNINSTALL SONAME 'auth_ed25519'")


def test_the_native_hash_is_what_the_server_keeps(product: Product) -> None:
    if product.name != "mariadb":
        pytest.skip("MySQL 9 has no mysql_native_password")
    assert product.server.execute("SELECT PASSWORD('it''s a pass word')") == [
        (native_hash("it's a pass word"),)
    ]


# Twins.


def test_the_account_is_the_servers_word_host_part_included(product: Product) -> None:
    credential = product.user()
    with closing(login(product, credential)) as session:
        assert product.engine.account(session) == Account(user=credential.username, host="127.0.0.%")


def test_a_twin_may_what_its_model_may_and_what_it_was_granted_later(product: Product) -> None:
    model = product.user()
    account = f"'{model.username.replace(chr(39), chr(39) * 2)}'@'127.0.0.%'"
    role = f"role_{secrets.token_hex(4)}"
    product.server.execute(
        "CREATE TABLE IF NOT EXISTS shop.`o``dd TO x` (id INT, secret INT)",
        f"GRANT INSERT (id), SELECT (id, secret) ON shop.`o``dd TO x` TO {account} WITH GRANT OPTION",
        f"CREATE ROLE {role}",
        f"GRANT UPDATE ON shop.* TO {role}",
        f"GRANT {role} TO {account}",
        f"SET DEFAULT ROLE {role} {'FOR' if product.name == 'mariadb' else 'TO'} {account}",
    )
    twin = renew(product, model)
    with closing(login(product, twin)) as session:
        mysql_session.run(session, "INSERT INTO `o``dd TO x` (id) VALUES (1)")
        mysql_session.run(
            session, "UPDATE `o``dd TO x` SET secret = 2"
        )  # by the role, active from the login on
        shown = mysql_session.run(session, "SHOW GRANTS")
    assert any("GRANT OPTION" in row[0] for row in shown)
    product.server.execute(f"GRANT DELETE ON shop.* TO {account}")
    with closing(login(product, renew(product, model, "another password"))) as session:
        mysql_session.run(session, "DELETE FROM `o``dd TO x`")
    assert not product.accepts(twin)


def test_a_twin_has_its_models_limits_and_demands(product: Product) -> None:
    model = product.user(more="REQUIRE SSL WITH MAX_USER_CONNECTIONS 3")
    twin = renew(product, model)
    login(product, twin).close()
    with pytest.raises(Refused):
        login(product, replace(twin, tls=False))
    query = "SELECT max_user_connections, ssl_type, host FROM mysql.user WHERE user = %s"
    with closing(login(product, product.admin())) as session:
        ((limit, demand, host),) = mysql_session.run(session, query, twin.username)
    assert (limit, demand if isinstance(demand, str) else demand.decode(), host) == (3, "ANY", "127.0.0.%")


def test_a_twin_logs_in_only_when_everything_else_is_done(
    product: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = product.user()

    def broken(*_: object) -> None:
        raise pymysql.err.OperationalError(2013, "Lost connection")

    with monkeypatch.context() as patched:
        patched.setattr(f"{type(product.engine).__module__}.copy_rights", broken)
        with pytest.raises(DatabaseFailed):
            renew(product, model)
    half_made = replace(model, username=f"{model.username}_clone", password="twin password")
    assert not product.accepts(half_made)
    assert product.accepts(renew(product, model))


# Two passwords.


def secret_of(product: Product, credential: Credential, **more: Any) -> InMemorySecretsManager:
    value = {
        "engine": product.name,
        "host": credential.host,
        "port": credential.port,
        "username": credential.username,
        "password": credential.password,
        **more,
    }
    return InMemorySecretsManager(value)


def step(product: Product, secret: InMemorySecretsManager, name: str, token: str) -> dict[str, str] | None:
    module = __import__(f"turnlock.rotators.{product.name}_single_user", fromlist=["STRATEGIES"])
    event = {"Step": name, "SecretId": secret.arn, "ClientRequestToken": token}
    return handle(event, product.engine, secret, module.STRATEGIES)


@pytest.fixture
def dual(product: Product) -> InMemorySecretsManager:
    """A secret with two passwords to come; its master secret is known to the Secrets Manager under MASTER."""
    credential, admin = product.user(), product.admin()
    secret = secret_of(product, credential, masterarn="MASTER", rotationStrategy="dual-passwords")
    master = {
        "engine": product.name,
        "host": admin.host,
        "port": admin.port,
        "username": admin.username,
        "password": admin.password,
    }
    secret.others["MASTER"] = json.dumps(master)
    return secret


def in_turn(product: Product, secret: InMemorySecretsManager, *tokens: str) -> None:
    for token in tokens:
        secret.label(token, "AWSPENDING")
        for name in ("createSecret", "setSecret", "testSecret", "finishSecret"):
            step(product, secret, name, token)


def accepted(product: Product, secret: InMemorySecretsManager, token: str) -> bool:
    value = json.loads(secret.values[token])
    return product.accepts(replace(product.user(), username=value["username"], password=value["password"]))


def test_the_old_password_stays_valid_until_the_next_rotation_and_no_third_one_is(
    product: Product, dual: InMemorySecretsManager
) -> None:
    in_turn(product, dual, "second")
    assert accepted(product, dual, "first")
    in_turn(product, dual, "third")
    assert [accepted(product, dual, token) for token in ("first", "second", "third")] == [False, True, True]
    assert json.loads(dual.values["third"])["password"].encode() not in product.written()


def test_an_attempt_that_was_given_up_does_not_cost_awscurrent_its_password(
    product: Product, dual: InMemorySecretsManager
) -> None:
    dual.label("given-up", "AWSPENDING")
    step(product, dual, "createSecret", "given-up")
    step(product, dual, "setSecret", "given-up")
    dual.label("second", "AWSPENDING")
    step(product, dual, "createSecret", "second")
    step(product, dual, "setSecret", "second")
    assert [accepted(product, dual, token) for token in ("first", "given-up", "second")] == [
        True,
        False,
        True,
    ]


def test_discarding_leaves_the_one_password_that_is_wanted(
    product: Product, dual: InMemorySecretsManager
) -> None:
    in_turn(product, dual, "second")
    value = dual.value("AWSCURRENT")
    with closing(login(product, product.admin())) as session:
        account = Account(user=value["username"], host="127.0.0.%")
        product.engine.discard_password(session, account, value["password"], lambda: None)
    assert [accepted(product, dual, token) for token in ("first", "second")] == [False, True]
