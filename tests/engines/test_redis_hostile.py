"""No user of a Redis gains a right by a rotation or its rehearsal, whatever others have named, set or put into it."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import redis

from tests import proofs
from tests.rotators.redis_server import NOT_HERE, PROGRAM, RedisServer
from tests.sampling import examples
from turnlock.rotators import RotationError, handle
from turnlock.rotators.engines.redis_acl import RedisACL
from turnlock.rotators.redis_dual_passwords import STRATEGIES
from turnlock.rotators.testing import InMemorySecretsManager

pytestmark = [pytest.mark.engine, pytest.mark.skipif(PROGRAM is None, reason=NOT_HERE)]

STEPS = (
    "rehearse",
    "probe",
    "createSecret",
    "setSecret",
    "testSecret",
    "finishSecret",
    "probe",
    "discardPrevious",
)
PIECES = (
    "app",
    "o'b",
    'q"q',
    "b\\s",
    "~*",
    "+@all",
    ">pw",
    "#x",
    "nopass",
    "é尧",
    "default",
    "on",
    "{}",
    "%s",
    "\\r\\n",
    "allkeys",
    "-",
)
RULES = (
    "~shop:*",
    "%R~a:*",
    "&news.*",
    "+@read",
    "+@write",
    "-@dangerous",
    "+get",
    "+set|x",
    "+eval",
    "(+set ~b:*)",
    "allchannels",
    "+acl|whoami",
)
BATCH = 50


@pytest.fixture(scope="module", params=[True, False], ids=["tls", "plain"])
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisServer(tls=request.param) as running:
        yield running


def users(admin: Any) -> dict[str, str]:
    """Return each user's rules as the server lists them."""
    return {line.split(" ")[1]: line for line in admin.execute_command("ACL LIST")}


def without_passwords(line: str) -> str:
    return " ".join(word for word in line.split(" ") if not word.startswith("#"))


def build(admin: Any, draw: random.Random) -> str:
    """Make users and keys of all kinds; return the application's user, which is on and has the password `old`."""
    admin.flushall()
    for name in users(admin).keys() - {"admin", "default"}:
        admin.execute_command("ACL DELUSER", name)
    names = ["".join(draw.choice(PIECES) for _ in range(draw.randint(1, 4))) for _ in range(4)]
    names = [f"{name}{number}" for number, name in enumerate(names)]
    for name in names:
        _try(admin, "ACL SETUSER", name, "on", ">old", *(draw.sample(RULES, draw.randint(0, 5))), "+ping")
        for rule in draw.sample(RULES, draw.randint(0, 4)):
            _try(admin, "ACL SETUSER", name, rule)
    kept = draw.choice(names)
    admin.execute_command("ACL SETUSER", kept, "on", "resetpass", ">old")
    for planted in draw.sample((">planted", "off", "nopass"), draw.randint(0, 1)):
        _try(admin, "ACL SETUSER", next(name for name in names if name != kept), planted)
    for kind, key in enumerate(("turnlock:rotation:x", "plain", "{a}", "\r\n")):
        _try(admin, ("RPUSH", "SADD", "APPEND")[kind % 3], key, "value")
    return kept


def _try(admin: Any, *words: str) -> None:
    try:
        admin.execute_command(*words)
    except redis.exceptions.ResponseError:
        return


def try_one(server: RedisServer, number: int) -> tuple[str, list[str]]:
    draw = random.Random(f"{proofs.SEED} redis {number}")
    with server.client() as admin:
        name = build(admin, draw)
        before, keys = users(admin), list(admin.keys("*"))
        where = {"engine": "redis", "host": "127.0.0.1", "port": server.port, "ssl": server.tls}
        secret = InMemorySecretsManager({**where, "username": name, "password": "old", "masterarn": "MASTER"})
        secret.others["MASTER"] = json.dumps({**where, "username": "admin", "password": server.password})
        ended = _rotate(secret)
        after = users(admin)
        found = [f"{one} is new" for one in after.keys() - before.keys()]
        found += [
            f"{one} has other rules"
            for one in before
            if (
                after.get(one) != before[one]
                if one != name
                else without_passwords(after[one]) != without_passwords(before[one])
            )
        ]
        found += [f"{key!r} is gone" for key in keys if not admin.exists(key)]
        found += (
            []
            if server.accepts(name, secret.value("AWSCURRENT")["password"])
            else ["AWSCURRENT does not log in"]
        )
        if ended == "rotated" and server.accepts(name, "old"):
            found.append("a password of two rotations ago logs in")
    return ended, found


def _rotate(secret: InMemorySecretsManager) -> str:
    for version in ("second", "third"):
        secret.label(version, "AWSPENDING")
        for step in STEPS:
            event = {"Step": step, "SecretId": secret.arn, "ClientRequestToken": version}
            try:
                handle(event, RedisACL(), secret, STRATEGIES)
            except (RotationError, ValueError, KeyError):
                return f"refused at {step}"
    return "rotated"


def test_no_hostile_redis_gives_anybody_a_right(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CA_FILE", str(redis_server.authority))
    case = f"redis-dual-passwords-{'tls' if redis_server.tls else 'plain'}"
    many = BATCH if proofs.FULL else examples(10)
    ends, found = Counter[str](), dict[int, list[str]]()
    for number in range(many):
        ended, gained = try_one(redis_server, number)
        ends[ended] += 1
        if gained:
            found[number] = gained
    with redis_server.client() as admin:
        version = str(admin.info("server")["redis_version"])
    proofs.record("hostile-redis", case, version=version, databases=many, gains=len(found), ends=dict(ends))
    assert not found
    assert ends["rotated"] >= many // 2


def test_the_search_finds_a_bug_that_was_planted(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CA_FILE", str(redis_server.authority))
    real = RedisACL._become

    def too_much(self: RedisACL, connection: Any, *rest: Any) -> None:
        real(self, connection, *rest)
        connection.client.execute_command("ACL SETUSER", rest[0], "+@all", "~*")

    monkeypatch.setattr(RedisACL, "_become", too_much)
    assert any("has other rules" in one for number in range(4) for one in try_one(redis_server, number)[1])
