"""What takes long and hangs on the request alone is done before the unit of work: nobody else waits for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.conftest import STORES
from tests.processes import REGION, ServerProcess

pytestmark = pytest.mark.slow

SLOW = """
import sys, time
from pathlib import Path
import structlog
from cryptography.hazmat.primitives.asymmetric import ec
from turnlock.kms import creation
from turnlock.kms.cryptography import encrypting

go_on = Path(sys.argv[sys.argv.index("--data-dir") + 1]).with_name("go-on")

def draw(spec):
    structlog.get_logger().info("a pair", action="pair_drawn")
    until = time.monotonic() + 60
    while not go_on.exists() and time.monotonic() < until:
        time.sleep(0.01)
    return ec.generate_private_key(ec.SECP256R1())

creation.draw_pair = encrypting.draw_pair = draw
from turnlock.cli import main
main()
"""
"""A server that is as slow to draw a key pair as the test wants; nothing else of it is changed."""


@dataclass(frozen=True, kw_only=True)
class Slow:
    """A server whose key pairs take until the test lets it go on."""

    server: ServerProcess

    def client(self, service: str, key_id: str | None = None, secret: str | None = None) -> Any:
        own_id, own_secret = self.server.credentials
        return boto3.Session(
            aws_access_key_id=key_id or own_id,
            aws_secret_access_key=secret or own_secret,
            region_name=REGION,
        ).client(  # type: ignore[call-overload]
            service,
            endpoint_url=f"http://127.0.0.1:{self.server.port}",
            config=Config(retries={"total_max_attempts": 1}),
        )

    @property
    def go_on(self) -> Path:
        """The file that ends the waiting."""
        return self.server.data_dir.with_name("go-on")

    @property
    def drawn(self) -> int:
        """How many pairs were begun."""
        return len(list(self.server.events("pair_drawn")))


@pytest.fixture(params=STORES)
def slow(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slow]:
    url = None if request.param == "sqlite" else request.getfixturevalue("empty_postgresql_url")
    data_dir = tmp_path_factory.mktemp("slow") / "turnlock"
    with ServerProcess(data_dir, database=url, entry=("-c", SLOW, "serve")) as server:
        yield Slow(server=server)


def begun(slow: Slow, work: Callable[[], object], threads: ThreadPoolExecutor) -> Future[object]:
    """Begin a request whose pair is drawn; return once it is."""
    before, running = slow.drawn, threads.submit(work)
    while slow.drawn == before:
        assert not running.done(), running.result()
        time.sleep(0.01)
    return running


def test_nobody_waits_for_a_key_pair_but_who_asked_for_it(slow: Slow) -> None:
    kms, secrets = slow.client("kms"), slow.client("secretsmanager")
    secrets.create_secret(Name="other", SecretString="value")
    wrapping = kms.create_key()["KeyMetadata"]["Arn"]
    works: list[Callable[[], Any]] = [
        lambda: kms.create_key(KeySpec="RSA_4096", KeyUsage="SIGN_VERIFY"),
        lambda: kms.generate_data_key_pair(KeyId=wrapping, KeyPairSpec="RSA_4096"),
    ]
    with ThreadPoolExecutor(1) as threads:
        for work in works:
            running = begun(slow, work, threads)
            for number in range(3):
                secrets.tag_resource(SecretId="other", Tags=[{"Key": "number", "Value": str(number)}])
                assert secrets.get_secret_value(SecretId="other")["SecretString"] == "value"
            assert not running.done()
            slow.go_on.touch()
            assert running.result(60)
            slow.go_on.unlink()
    assert slow.drawn == 2


def test_who_may_not_call_makes_the_server_do_nothing(slow: Slow) -> None:
    slow.go_on.touch()
    iam = slow.client("iam")
    iam.create_user(UserName="nobody")
    key = iam.create_access_key(UserName="nobody")["AccessKey"]
    kms = slow.client("kms", key["AccessKeyId"], key["SecretAccessKey"])
    with pytest.raises(ClientError, match="not authorized to perform: kms:CreateKey"):
        kms.create_key(KeySpec="RSA_4096", KeyUsage="SIGN_VERIFY")
    assert slow.drawn == 0
    allowed = {"Effect": "Allow", "Action": "kms:*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName="nobody", PolicyName="keys", PolicyDocument=policy)
    assert kms.create_key(KeySpec="RSA_4096", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["KeySpec"] == "RSA_4096"
    assert slow.drawn == 1


def test_what_is_wrong_with_a_request_is_said_as_before(slow: Slow) -> None:
    kms = slow.client("kms")
    with pytest.raises(kms.exceptions.UnsupportedOperationException, match="ML_DSA_44"):
        kms.create_key(KeySpec="ML_DSA_44", KeyUsage="SIGN_VERIFY")
    with pytest.raises(kms.exceptions.DryRunOperationException):
        kms.generate_data_key_pair(
            KeyId=kms.create_key()["KeyMetadata"]["Arn"], KeyPairSpec="RSA_4096", DryRun=True
        )
    functions = slow.client("lambda")
    with pytest.raises(functions.exceptions.InvalidParameterValueException, match="it is not a zip file"):
        functions.create_function(
            FunctionName="bad",
            Role="arn:aws:iam::123456789012:role/any",
            Runtime="python3.11",
            Handler="main.handler",
            Code={"ZipFile": b"no zip"},
        )
    assert slow.drawn == 0
