"""What is sealed stands nowhere in the clear: in no file of the store, in no log line, no metric, no traceback."""

from __future__ import annotations

import base64
import json
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest
from botocore.config import Config as ClientConfig
from botocore.exceptions import ClientError

from tests import proofs
from tests.conftest import STORES
from tests.faults.planted import found_below, found_in, spellings
from tests.processes import REGION, ServerProcess
from tests.rotated import create_secret, new_role, rotate
from turnlock.local_servers import EmbeddedPostgres

pytestmark = pytest.mark.slow

SECRETS = 1_000
AWAY = "us-east-1"
PLANTED = "Qx7vKp2mZt9wLr4sBn6yHd3f"
"""In every value that the tests store: letters and digits only, so that each way to write it is one run of bytes."""


@pytest.mark.parametrize("before", ["", "x", "ab", "password="])
def test_each_way_to_write_a_text_is_noticed(before: str) -> None:
    text = before + PLANTED + "!"
    written = [
        text.encode(),
        base64.b64encode(text.encode()),
        base64.urlsafe_b64encode(b"\xff\xfe" + text.encode()),
        text.encode().hex().encode(),
        json.dumps({"v": text}).encode("utf-16"),
        b'"' + "".join(f"\\u{ord(one):04x}" for one in text).encode() + b'"',
    ]
    assert all(found_in(b"..." + one + b"...", [PLANTED]) for one in written)
    assert len(set(spellings(PLANTED).values())) >= 10
    assert not found_in(PLANTED[:-1].encode(), [PLANTED])


@pytest.fixture(params=STORES)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[ServerProcess, list[Path]]]:
    """A running server, and the directories that its store is in."""
    options = ("--regions", f"{REGION},{AWAY}")
    if request.param == "sqlite":
        with ServerProcess(tmp_path / "turnlock", options=options) as server:
            yield server, [server.data_dir]
        return
    with (
        tempfile.TemporaryDirectory() as directory,
        EmbeddedPostgres(Path(directory) / "cluster", fsync=False) as cluster,
    ):
        url = cluster.admin_url(driver=None)
        with ServerProcess(tmp_path / "turnlock", database=url, options=options) as server:
            yield server, [server.data_dir, Path(directory)]


def client_of(server: ServerProcess, service: str, **changes: Any) -> Any:
    home = server.client()._request_signer._credentials
    settings = {"aws_access_key_id": home.access_key, "aws_secret_access_key": home.secret_key, **changes}
    return boto3.Session().client(  # type: ignore[call-overload]
        service,
        region_name=REGION,
        endpoint_url=f"http://127.0.0.1:{server.port}",
        config=ClientConfig(retries={"total_max_attempts": 1}),
        **settings,
    )


def store_values(server: ServerProcess) -> None:
    client = server.client(retries={"total_max_attempts": 5})

    def store(number: int) -> None:
        name, text = f"planted/{number}", f"{number % 3 * '-'}{PLANTED}{number}"
        value = (
            {"SecretBinary": text.encode()}
            if number % 10 == 0
            else {"SecretString": json.dumps({"password": text})}
        )
        client.create_secret(Name=name, **value, Tags=[{"Key": "n", "Value": str(number)}])
        client.get_secret_value(SecretId=name)
        if number % 10 == 1:
            client.put_secret_value(SecretId=name, SecretString=text + "put")
            client.update_secret(SecretId=name, SecretString=text + "updated")
        if number % 50 == 2:
            client.replicate_secret_to_regions(SecretId=name, AddReplicaRegions=[{"Region": AWAY}])
        if number % 50 == 3:
            client.delete_secret(SecretId=name)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(store, range(SECRETS)))
    client.batch_get_secret_value(SecretIdList=[f"planted/{number}" for number in range(4, 24)])


def make_credentials(server: ServerProcess) -> Iterator[str]:
    """Make what the server draws itself, and yield it: keys of users and of sessions, passwords."""
    yield server.client().get_random_password()["RandomPassword"]
    iam = client_of(server, "iam")
    for number in range(5):
        iam.create_user(UserName=f"user{number}")
        yield iam.create_access_key(UserName=f"user{number}")["AccessKey"]["SecretAccessKey"]
    trusts = {"Effect": "Allow", "Principal": {"AWS": "123456789012"}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName="reader",
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trusts]}),
    )["Role"]
    user = iam.list_users()["Users"][0]["UserName"]
    allowed = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_user_policy(UserName=user, PolicyName="assume", PolicyDocument=policy)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    yield key["SecretAccessKey"]
    sts = client_of(
        server, "sts", aws_access_key_id=key["AccessKeyId"], aws_secret_access_key=key["SecretAccessKey"]
    )
    session = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="session")["Credentials"]
    yield from (session["SecretAccessKey"], session["SessionToken"])
    own = sts.get_session_token()["Credentials"]
    yield from (own["SecretAccessKey"], own["SessionToken"])
    device = iam.create_virtual_mfa_device(VirtualMFADeviceName="phone")["VirtualMFADevice"]
    yield device["Base32StringSeed"].decode()
    password = f"{PLANTED}-Login-1"
    iam.create_login_profile(UserName=user, Password=password)
    yield password


def test_no_file_of_the_store_holds_what_is_sealed(
    stored: tuple[ServerProcess, list[Path]], postgresql_server: EmbeddedPostgres
) -> None:
    server, directories = stored
    role = new_role(postgresql_server)
    arn = create_secret(server.client(), role)
    rotate(server.client(), arn)
    store_values(server)
    sealed = [
        PLANTED,
        role.first_password,
        json.loads(server.client().get_secret_value(SecretId=arn)["SecretString"])["password"],
        server.client()._request_signer._credentials.secret_key,
        *make_credentials(server),
    ]
    policy = {"Effect": "Deny", "Principal": "*", "Action": "secretsmanager:GetSecretValue", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [policy]})
    server.client().put_resource_policy(SecretId="planted/4", ResourcePolicy=document)
    # credentials and root.key are what opens the rest: they are not the store.
    assert list(found_below(directories, sealed, but=["credentials", "root.key"])) == []
    assert list(found_below(directories, ["planted/4"])), "the files that hold the secrets were read"
    if server.database is None:
        assert (server.data_dir / "turnlock.db-wal").stat().st_size > 0
    assert not found_in(server.log_path.read_bytes(), sealed)
    server.stop()
    assert list(found_below(directories, sealed, but=["credentials", "root.key"])) == []
    proofs.record(
        "sealed at rest",
        "sqlite" if server.database is None else "postgresql",
        secrets=SECRETS,
        texts=len(sealed),
    )


def spoil_store(server: ServerProcess) -> None:
    """Take away a table that every write of a version needs, and forge a label: errors that are the server's own."""
    statements = (
        "UPDATE staging_labels SET mac = x'78' WHERE name = 'forged'",
        "ALTER TABLE secret_tags RENAME TO secret_tags_gone",
    )
    if server.database is None:
        with closing(sqlite3.connect(server.data_dir / "turnlock.db")) as store, store:
            for statement in statements:
                store.execute(statement)
        return
    with psycopg.connect(server.database, autocommit=True) as store_:
        for statement in statements:
            store_.execute(statement.replace("x'78'", "'\\x78'"))


def test_no_log_metric_or_traceback_shows_a_value_that_a_request_carried(
    stored: tuple[ServerProcess, list[Path]],
) -> None:
    server, _ = stored
    client = server.client()
    client.create_secret(Name="forged", SecretString=PLANTED)
    client.create_secret(Name="whole", SecretString=PLANTED)
    spoil_store(server)
    value = {"SecretString": f"{PLANTED}!"}
    calls: list[tuple[str, dict[str, Any]]] = [
        ("create_secret", {"Name": "new", **value, "Tags": [{"Key": "k", "Value": "v"}]}),
        ("put_secret_value", {"SecretId": "forged", **value}),
        ("put_secret_value", {"SecretId": "forged", "SecretBinary": PLANTED.encode()}),
        ("update_secret", {"SecretId": "forged", **value, "Description": "d"}),
        ("describe_secret", {"SecretId": "whole"}),
    ]
    for operation, parameters in calls:
        with pytest.raises(ClientError) as failed:
            getattr(client, operation)(**parameters)
        assert failed.value.response["ResponseMetadata"]["HTTPStatusCode"] == 500, operation
        assert PLANTED not in str(failed.value)
    for spoilt in ({"SecretString": PLANTED * 3_000}, {"SecretString": PLANTED, "SecretBinary": b"b"}):
        with pytest.raises(ClientError):
            client.put_secret_value(SecretId="whole", **spoilt)
    unknown = client_of(server, "secretsmanager", aws_access_key_id=str(uuid.uuid4().hex[:20]).upper())
    with pytest.raises(ClientError):
        unknown.create_secret(Name="new", **value)
    with server.metrics() as answer:
        metrics: bytes = answer.read()
    log = server.log_path.read_bytes()
    assert b"Traceback" in log
    failures = [entry for action in ("request_failed", "commit_failed") for entry in server.events(action)]
    assert len(failures) >= 2
    broken = list(server.events("seal_broken"))
    assert broken
    told = [entry["request_id"] for entry in broken]
    assert len(told) == len(set(told))  # an alarm is told once, with the name of what is broken
    assert all(entry["row"] for entry in broken)
    assert set(told) <= {entry["request_id"] for entry in server.events("action_failed")}
    assert b"PutSecretValue" in metrics
    for data in (log, metrics):
        assert found_in(data, [PLANTED]) == []
    assert list(found_below([server.data_dir / "trail"], [PLANTED])) == []
    for entry in map(json.loads, filter(lambda line: line.startswith(b"{"), log.splitlines())):
        assert entry["action"], entry
