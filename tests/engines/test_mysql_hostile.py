"""Nobody gains a right by a rotation or its rehearsal, whatever others have put on a server of MySQL's family."""

from __future__ import annotations

import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pymysql
import pytest

from tests import proofs
from tests.engines.estates import ALTERNATING, DUAL, SINGLE
from tests.engines.hostile_mysql import MASTER, PASSWORD, PLANTED, Builder, Scene, clear
from tests.engines.rights_mysql import everything, gains
from tests.sampling import examples
from turnlock.errors import ConfigurationError
from turnlock.local_servers import EmbeddedMariaDB
from turnlock.local_servers.mysql import EmbeddedMySQL
from turnlock.local_servers.mysqld import MySQLServer
from turnlock.rotators import (
    RotationError,
    handle,
    mariadb_multi_user,
    mariadb_single_user,
    mysql_multi_user,
    mysql_single_user,
)
from turnlock.rotators.engines.engine import Credential, Engine
from turnlock.rotators.engines.mysql.session import log_in
from turnlock.rotators.skeleton import Strategies
from turnlock.rotators.testing import InMemorySecretsManager

pytestmark = [pytest.mark.engine, pytest.mark.slow]

MASTER_ARN = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:master-AbCdEf"
STEPS = ("rehearse", "probe", "createSecret", "setSecret", "testSecret", "finishSecret", "probe")
BATCH = 30
BATCHES = 3
KINDS: Mapping[str, type[MySQLServer]] = {"mysql": EmbeddedMySQL, "mariadb": EmbeddedMariaDB}
STRATEGIES: Mapping[tuple[str, str], Strategies] = {
    ("mysql", SINGLE): mysql_single_user.STRATEGIES,
    ("mysql", DUAL): mysql_single_user.STRATEGIES,
    ("mysql", ALTERNATING): mysql_multi_user.STRATEGIES,
    ("mariadb", SINGLE): mariadb_single_user.STRATEGIES,
    ("mariadb", DUAL): mariadb_single_user.STRATEGIES,
    ("mariadb", ALTERNATING): mariadb_multi_user.STRATEGIES,
}
ENGINES: Mapping[str, Engine[Any]] = {
    "mysql": mysql_single_user.ENGINE,
    "mariadb": mariadb_single_user.ENGINE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A server that is made hostile again and again."""

    engine: str
    tls: bool
    server: MySQLServer


@pytest.fixture(scope="module", params=[(engine, tls) for engine in KINDS for tls in (True, False)], ids=str)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    engine, tls = request.param
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        Path(directory).chmod(0o755)
        settings = {} if engine == "mariadb" else {"log-bin-trust-function-creators": "ON"}
        server = KINDS[engine](Path(directory) / "data", tls=tls, fsync=False, settings=settings)
        try:
            server.start()
        except ConfigurationError as error:
            pytest.skip(f"NOT RUN on {engine}: {error}")
        yield Place(engine=engine, tls=tls, server=server)
        server.stop()


def secret_of(place: Place, scene: Scene, strategy: str) -> InMemorySecretsManager:
    where: dict[str, Any] = {"engine": place.engine, "host": "127.0.0.1", "port": place.server.port}
    where |= {} if place.tls else {"ssl": False}
    value = {**where, "username": scene.user[0], "password": PASSWORD, "dbname": scene.dbname}
    if strategy != SINGLE:
        value["masterarn"] = MASTER_ARN
    if strategy == DUAL:
        value["rotationStrategy"] = DUAL
    secret = InMemorySecretsManager(value)
    password = place.server.password if scene.master[0] == "admin" else MASTER
    secret.others[MASTER_ARN] = json.dumps({**where, "username": scene.master[0], "password": password})
    return secret


def rotate(place: Place, secret: InMemorySecretsManager, strategy: str) -> str:
    """Take every step, then another rotation back; return how far it came."""
    ended = "rotated"
    steps = [*STEPS, "discardPrevious"]
    for version in ("second", "third"):
        secret.label(version, "AWSPENDING")
        for step in steps:
            event = {"Step": step, "SecretId": secret.arn, "ClientRequestToken": version}
            try:
                handle(event, ENGINES[place.engine], secret, STRATEGIES[place.engine, strategy])
            except (RotationError, ValueError, KeyError):
                ended = f"refused at {step}"
                break
    return ended


def accepts(place: Place, user: str, password: str) -> bool:
    credential = Credential(
        host="127.0.0.1", port=place.server.port, username=user, password=password, dbname="", tls=place.tls
    )
    try:
        log_in(credential, 5).close()
    except RotationError:
        return False
    return True


def try_one(place: Place, strategy: str, number: int) -> tuple[str, Scene, list[str]]:
    """Make a hostile database, rotate in it, and return what came of it, and what anybody gained."""
    mariadb = place.engine == "mariadb"
    draw = random.Random(f"{proofs.SEED} {place.engine} {place.tls} {strategy} {number}")
    clear(place.server)
    scene = Builder(server=place.server, draw=draw, mariadb=mariadb).build()
    secret = secret_of(place, scene, strategy)
    before = everything(place.server, mariadb=mariadb)
    ended = rotate(place, secret, strategy)
    found = gains(scene, before, everything(place.server, mariadb=mariadb), twins=strategy == ALTERNATING)
    called = place.server.execute("SELECT name, who FROM witness.called")
    found += [f"{name} of others ran as {who}" for name, who in called]
    if ended == "rotated" and strategy == ALTERNATING and accepts(place, scene.twin[0], PLANTED):
        found.append("a planted password logs in as the twin")
    if ended == "rotated" and not accepts(
        place, *(secret.value("AWSCURRENT")[key] for key in ("username", "password"))
    ):
        found.append("AWSCURRENT does not log in")
    return ended, scene, found


def batches() -> list[int]:
    return list(range(BATCHES)) if proofs.FULL else [0]


@pytest.mark.parametrize("batch", batches())
@pytest.mark.parametrize("strategy", [SINGLE, ALTERNATING, DUAL])
def test_no_hostile_database_gains_a_right_or_has_code_run(
    place: Place, monkeypatch: pytest.MonkeyPatch, strategy: str, batch: int
) -> None:
    if place.tls:
        monkeypatch.setenv("SSL_CA_FILE", str(place.server.ssl_ca_path))
    case = f"{place.engine}-{strategy}-{'tls' if place.tls else 'plain'}-{batch}"
    if proofs.FULL and not proofs.chosen("hostile-mysql", [case], 1):
        pytest.skip("passed on this commit")
    many = BATCH if proofs.FULL else examples(5)
    ends, planted, found = Counter[str](), Counter[str](), dict[int, list[str]]()
    for number in range(batch * BATCH, batch * BATCH + many):
        ended, scene, gained = try_one(place, strategy, number)
        ends[ended] += 1
        planted[scene.planted] += 1
        if gained:
            found[number] = gained
    version = place.server.execute("SELECT VERSION()")[0][0]
    proofs.record(
        "hostile-mysql",
        case,
        version=version,
        databases=many,
        gains=len(found),
        ends=dict(ends),
        planted=dict(planted),
    )
    assert not found
    assert ends["rotated"] >= many // 3, "too few of the databases let anybody rotate"


@pytest.mark.parametrize(
    ("bug", "instead", "seen"),
    [
        ("{}.require_own", "nothing", "the twin was taken"),
        ("turnlock.rotators.engines.mysql.family.MySQLFamily.check", "by_name", "of others ran as"),
        ("turnlock.rotators.engines.mysql.twins._grant", "too_much", "has gained"),
    ],
)
def test_the_search_finds_a_bug_that_was_planted(
    place: Place, monkeypatch: pytest.MonkeyPatch, bug: str, instead: str, seen: str
) -> None:
    if place.tls:
        pytest.skip("once for each engine is enough")
    monkeypatch.setattr(bug.format(type(ENGINES[place.engine]).__module__), _BUGS[instead])
    found = [one for number in range(12) for one in try_one(place, ALTERNATING, number)[2]]
    assert any(seen in one for one in found), found


def _calls_a_function_of_the_database(_engine: object, connection: Any) -> None:
    with connection.cursor() as cursor, suppress(pymysql.err.Error):  # some have a parameter
        cursor.execute("SELECT `now`()")


def _grants_too_much(connection: Any, _rights: object, name: tuple[str, str]) -> None:
    with closing(connection.cursor()) as cursor:
        cursor.execute("GRANT PROCESS ON *.* TO %s@%s", name)


_BUGS: Mapping[str, Any] = {
    "nothing": lambda *_: None,
    "by_name": _calls_a_function_of_the_database,
    "too_much": _grants_too_much,
}
