"""A Redis ACL user is rotated while an application reads the secret and logs in without a pause: no login fails."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests import proofs
from tests.processes import REGION, Client, ServerProcess
from tests.rotated import labelled_values, rotate
from tests.rotators.redis_server import NOT_HERE, PROGRAM, RedisServer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.engine,
    pytest.mark.skipif(PROGRAM is None, reason=NOT_HERE),
]

FUNCTION = f"arn:aws:lambda:{REGION}:123456789012:function:SecretsManagerRedisACLRotationDualPasswords"
ROTATIONS = 95 if proofs.FULL else 4


@pytest.fixture(params=[True, False], ids=["tls", "plain"])
def redis_server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    with RedisServer(tls=request.param) as running:
        yield running


class Reader:
    """Reads the secret, logs in with it and writes a key, again and again. Use `failures` and `logins` after `stop`."""

    def __init__(self, client: Client, arn: str, server: RedisServer) -> None:
        self._client, self._arn, self._server = client, arn, server
        self._stopping = threading.Event()
        self.logins = 0
        self.failures: list[str] = []
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join(30)

    def _work(self) -> None:
        while not self._stopping.is_set():
            value = json.loads(self._client.get_secret_value(SecretId=self._arn)["SecretString"])
            try:
                with self._server.client(value["username"], value["password"]) as session:
                    session.set("shop:last", self.logins)
                self.logins += 1
            except redis.exceptions.RedisError as error:
                self.failures.append(str(error))


def test_no_login_fails_while_the_password_is_rotated(redis_server: RedisServer, tmp_path: Path) -> None:
    with redis_server.client() as admin:
        admin.execute_command("ACL SETUSER", "app", "on", ">first password", "~shop:*", "+set", "+ping")
    value = {"engine": "redis", "host": "127.0.0.1", "port": redis_server.port, "ssl": redis_server.tls}
    with ServerProcess(
        tmp_path / "turnlock", options=("--database-ca-file", str(redis_server.authority))
    ) as server:
        client = server.client()
        master = {**value, "username": "admin", "password": redis_server.password}
        master_arn = client.create_secret(Name="master", SecretString=json.dumps(master))["ARN"]
        app = {**value, "username": "app", "password": "first password", "masterarn": master_arn}
        arn = client.create_secret(Name="app", SecretString=json.dumps(app))["ARN"]
        reader = Reader(server.client(), arn, redis_server)
        try:
            for _ in range(ROTATIONS):
                rotate(client, arn, FUNCTION)
        finally:
            reader.stop()
        values = labelled_values(client, arn)
    proofs.record(
        "redis",
        "tls" if redis_server.tls else "plain",
        rotations=ROTATIONS,
        logins=reader.logins,
        failed=len(reader.failures),
    )
    assert reader.failures == []
    assert reader.logins > ROTATIONS
    accepted = {label: redis_server.accepts("app", one["password"]) for label, one in values.items()}
    assert accepted == {"AWSCURRENT": True, "AWSPREVIOUS": True}
    assert not redis_server.accepts("app", "first password")
