"""Redis ACL users for real: verdicts on a login, two passwords, and an attempt that comes too late."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count

import pytest

from tests.rotators.redis_server import NOT_HERE, PROGRAM, RedisServer
from turnlock.rotators import Credential, DatabaseFailed, Refused, Superseded, Unreachable, handle
from turnlock.rotators.engines.engine import Account
from turnlock.rotators.engines.redis_acl import RedisACL
from turnlock.rotators.redis_dual_passwords import STRATEGIES
from turnlock.rotators.testing import InMemorySecretsManager

pytestmark = [pytest.mark.engine, pytest.mark.skipif(PROGRAM is None, reason=NOT_HERE)]

ENGINE = RedisACL()
_NUMBERS = count(1)


@pytest.fixture(scope="module", params=[True, False], ids=["tls", "plain"])
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisServer(tls=request.param) as running:
        yield running


@pytest.fixture
def credential(redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch) -> Credential:
    monkeypatch.setenv("SSL_CA_FILE", str(redis_server.authority))
    name = f"app'{next(_NUMBERS)}"
    with redis_server.client() as admin:
        admin.execute_command("ACL SETUSER", name, "on", ">old password", "~shop:*", "+get", "+set", "+ping")
    return Credential(
        host="127.0.0.1",
        port=redis_server.port,
        username=name,
        password="old password",
        dbname="",
        tls=redis_server.tls,
    )


def admin_of(server: RedisServer, credential: Credential) -> Credential:
    return replace(credential, username="admin", password=server.password)


def test_a_login_is_judged(credential: Credential) -> None:
    with closing(ENGINE.connect(credential, 5)) as session:
        ENGINE.check(session)
        assert ENGINE.account(session) == Account(user=credential.username)
    for wrong in ({"password": "wrong"}, {"username": "nobody"}):
        with pytest.raises(Refused) as caught:
            ENGINE.connect(replace(credential, **wrong), 5)  # type: ignore[arg-type]
        assert "wrong" not in str(caught.value)
    with pytest.raises(Unreachable):
        ENGINE.connect(replace(credential, port=1), 5)
    with pytest.raises(Unreachable):
        ENGINE.connect(replace(credential, tls=not credential.tls), 2)


def test_a_certificate_for_another_host_is_unreachable(credential: Credential) -> None:
    if credential.tls:
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            ENGINE.connect(replace(credential, host="127.1"), 5)
    else:
        ENGINE.connect(replace(credential, host="127.1"), 5).close()


def test_two_passwords_then_one_and_a_restart_forgets_neither(
    redis_server: RedisServer, credential: Credential
) -> None:
    account = Account(user=credential.username)
    with closing(ENGINE.connect(admin_of(redis_server, credential), 5)) as session:
        ENGINE.add_password(session, account, "new password", "old password", lambda: None)
    redis_server.kill()
    redis_server.start()
    accepted = [redis_server.accepts(credential.username, word) for word in ("old password", "new password")]
    assert accepted == [True, True]
    with closing(ENGINE.connect(admin_of(redis_server, credential), 5)) as session:
        ENGINE.discard_password(session, account, "new password", lambda: None)
    accepted = [redis_server.accepts(credential.username, word) for word in ("old password", "new password")]
    assert accepted == [False, True]


def test_an_attempt_that_is_confirmed_and_comes_too_late_changes_nothing(
    redis_server: RedisServer, credential: Credential
) -> None:
    admin = admin_of(redis_server, credential)

    def overtaken() -> None:
        with closing(ENGINE.connect(admin, 5)) as later:
            ENGINE.set_password(later, credential.username, "newer", lambda: None)

    with closing(ENGINE.connect(admin, 5)) as session, pytest.raises(Superseded):
        ENGINE.set_password(session, credential.username, "late", overtaken)
    assert redis_server.accepts(credential.username, "newer")
    assert not redis_server.accepts(credential.username, "late")


def test_a_user_that_may_not_change_users_is_told_so(credential: Credential) -> None:
    with (
        closing(ENGINE.connect(credential, 5)) as session,
        pytest.raises(DatabaseFailed, match="no permissions"),
    ):
        ENGINE.set_password(session, credential.username, "new", lambda: None)
    ENGINE.connect(credential, 5).close()


def test_the_function_rotates_and_discards(redis_server: RedisServer, credential: Credential) -> None:
    value = {
        "engine": "redis",
        "host": credential.host,
        "port": credential.port,
        "username": credential.username,
        "password": credential.password,
        "ssl": credential.tls,
    }
    secret = InMemorySecretsManager({**value, "masterarn": "MASTER"})
    secret.others["MASTER"] = json.dumps({**value, "username": "admin", "password": redis_server.password})
    secret.label("second", "AWSPENDING")
    for step in ("createSecret", "setSecret", "testSecret", "finishSecret"):
        event = {"Step": step, "SecretId": secret.arn, "ClientRequestToken": "second"}
        handle(event, ENGINE, secret, STRATEGIES)
    new = secret.value("AWSCURRENT")["password"]
    assert redis_server.accepts(credential.username, new)
    assert redis_server.accepts(credential.username, credential.password)
    event = {"Step": "discardPrevious", "SecretId": secret.arn, "ClientRequestToken": "second"}
    handle(event, ENGINE, secret, STRATEGIES)
    assert redis_server.accepts(credential.username, new)
    assert not redis_server.accepts(credential.username, credential.password)
