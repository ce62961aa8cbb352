"""MariaDB servers that judge new passwords, and take none as a hash (strict_password_validation, the default)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from tests.rotators.mysql_products import PRODUCTS, Product
from turnlock.local_servers import EmbeddedMariaDB
from turnlock.rotators import Credential, DatabaseFailed, handle
from turnlock.rotators.engines.mysql.mariadb import MariaDB
from turnlock.rotators.mariadb_multi_user import STRATEGIES as ALTERNATING
from turnlock.rotators.mariadb_single_user import STRATEGIES as DUAL
from turnlock.rotators.testing import InMemorySecretsManager

pytestmark = [pytest.mark.slow, pytest.mark.engine]

PLUGINS = ("simple_password_check", "password_reuse_check")
MASTER = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:master-AbCdEf"
STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


@pytest.fixture(params=PLUGINS)
def judging(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Product, str]]:
    """A server with one of the plugins, and the plugin's name."""
    with EmbeddedMariaDB(tls=True, fsync=False) as server:
        monkeypatch.setenv("SSL_CA_FILE", str(server.ssl_ca_path))
        server.execute(f"INSTALL SONAME '{request.param}'")
        yield Product(name="mariadb", server=server, engine=PRODUCTS["mariadb"][1]), request.param


def secret_of(product: Product, credential: Credential, **more: str) -> InMemorySecretsManager:
    where: dict[str, Any] = {"engine": "mariadb", "host": "127.0.0.1", "port": product.server.port}
    value = {**where, "username": credential.username, "password": credential.password, "masterarn": MASTER}
    secret = InMemorySecretsManager({**value, **more})
    master = {**where, "username": product.server.user, "password": product.server.password}
    secret.others[MASTER] = json.dumps(master)
    return secret


def rotate(secret: InMemorySecretsManager, strategies: Any, version: str, *steps: str) -> None:
    secret.label(version, "AWSPENDING")
    for step in steps or STEPS:
        event = {"Step": step, "SecretId": secret.arn, "ClientRequestToken": version}
        handle(event, MariaDB(), secret, strategies)


def test_alternating_users_take_turns(judging: tuple[Product, str]) -> None:
    product, _ = judging
    credential = product.user("Old.passw0rd")
    secret = secret_of(product, credential)
    for version in ("second", "third", "fourth"):
        rotate(secret, ALTERNATING, version)
        now = secret.value("AWSCURRENT")
        assert product.accepts(replace(credential, username=now["username"], password=now["password"]))


def test_a_twin_whose_first_attempt_ended_half_way_gets_its_password(judging: tuple[Product, str]) -> None:
    product, _ = judging
    credential = product.user("Old.passw0rd")
    secret = secret_of(product, credential)
    rotate(secret, ALTERNATING, "second", "createSecret")
    twin = credential.username.replace("'", "''") + "_clone"
    product.server.execute(f"CREATE USER '{twin}'@'127.0.0.%' IDENTIFIED BY 'Half.way0' ACCOUNT LOCK")
    rotate(secret, ALTERNATING, "second", "setSecret", "testSecret", "finishSecret")
    now = secret.value("AWSCURRENT")
    assert product.accepts(replace(credential, username=now["username"], password=now["password"]))


def test_two_passwords_are_set_unless_the_server_remembers_them(judging: tuple[Product, str]) -> None:
    product, plugin = judging
    credential = product.user("Old.passw0rd")
    secret = secret_of(product, credential, rotationStrategy="dual-passwords")
    event = {"Step": "rehearse", "SecretId": secret.arn, "ClientRequestToken": "rehearsal"}
    findings = handle(event, MariaDB(), secret, DUAL)
    assert findings is not None
    problems = [one["words"] for one in findings["findings"] if one["outcome"] == "problem"]
    if plugin == "simple_password_check":
        assert problems == []
        rotate(secret, DUAL, "second")
        now = secret.value("AWSCURRENT")
        assert product.accepts(replace(credential, password=now["password"]))
    else:
        assert len(problems) == 1
        assert problems[0].startswith("password_reuse_check lets no password be set again")
        with pytest.raises(DatabaseFailed, match=r"1819: .*password_reuse_check"):
            rotate(secret, DUAL, "second")
    assert product.accepts(credential)
