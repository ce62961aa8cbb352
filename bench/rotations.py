"""`python -m bench.rotations`: rotations per second of the whole path, against a real PostgreSQL on the same machine.

One rotation is all of it: RotateSecret, the plan's transactions, four invocations of a function process over HTTP, the password
changed and tried in the database, labels moved, records durable. The first round starts a function process for each secret, the
later ones find them warm, as far as the pool keeps them.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import click

from bench import children
from turnlock.local_servers import EmbeddedPostgres

FUNCTION = (
    f"arn:aws:lambda:{children.REGION}:123456789012:function:SecretsManagerRDSPostgreSQLRotationSingleUser"
)
PATIENCE = 300.0
"""Seconds in which a round must end."""


@click.command()
@click.option("--secrets", default=8, show_default=True, type=click.IntRange(1, 1000))
@click.option("--rounds", default=4, show_default=True, type=click.IntRange(2, 100))
def main(secrets: int, rounds: int) -> None:
    """Rotate every secret once a round; the limits are the defaults (two rotations at once against one host)."""
    with (
        tempfile.TemporaryDirectory(dir=_scratch()) as scratch,
        EmbeddedPostgres(Path(scratch) / "database") as database,
        children.turnlock(Path(scratch) / "data") as host,
    ):
        client = children.client(host, Path(scratch) / "data")
        arns = [_secret(client, database, f"bench_{number}") for number in range(secrets)]
        rates = [secrets / _round(client, arns) for _ in range(rounds)]
    click.echo(f"first round (cold): {rates[0]:.2f} rotations/s")
    click.echo(
        f"later rounds: median {statistics.median(rates[1:]):.2f} rotations/s, best {max(rates[1:]):.2f}"
    )


def _scratch() -> Path:
    directory = Path(".cache").resolve()
    directory.mkdir(exist_ok=True)
    return directory


def _secret(client: Any, database: EmbeddedPostgres, name: str) -> str:
    database.create_login(name, "first-password")
    value = {
        "engine": "postgres",
        "host": database.host,
        "port": database.port,
        "username": name,
        "password": "first-password",
        "ssl": False,
    }
    return str(client.create_secret(Name=name, SecretString=json.dumps(value))["ARN"])


def _round(client: Any, arns: list[str]) -> float:
    """Rotate all of them; return the seconds until the last one's AWSCURRENT had moved."""
    tokens = {arn: str(uuid.uuid4()) for arn in arns}
    began = time.monotonic()
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda arn: _begin(client, arn, tokens[arn]), arns))
    waiting = set(arns)
    while waiting:
        if time.monotonic() - began > PATIENCE:
            raise click.ClickException(f"{len(waiting)} rotations have not ended in {PATIENCE:g} seconds.")
        time.sleep(0.05)
        waiting = {arn for arn in waiting if not _ended(client, arn, tokens[arn])}
    return time.monotonic() - began


def _begin(client: Any, arn: str, token: str) -> None:
    client.rotate_secret(SecretId=arn, ClientRequestToken=token, RotationLambdaARN=FUNCTION)


def _ended(client: Any, arn: str, token: str) -> bool:
    labels = client.describe_secret(SecretId=arn)["VersionIdsToStages"]
    return bool(labels.get(token) == ["AWSCURRENT"])


if __name__ == "__main__":
    main()
