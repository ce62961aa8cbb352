"""Secrets Manager through the `aws` command with three variables set: its answers, its errors and their exit status."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.conftest import Served, new_database
from tests.processes import REGION, ServerProcess, wait_until
from tests.rotated import ROTATOR, new_role
from turnlock.local_servers import EmbeddedPostgres

pytestmark = pytest.mark.slow

REFUSED = 255
"""What the first `aws` ends with when the service answers with an error, or its own input is not complete."""


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def cli(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One worker on SQLite, two on PostgreSQL: how often the command is started is what takes the time."""
    sqlite = request.param == "sqlite"
    data_dir = tmp_path_factory.mktemp("command") / "turnlock"
    options = ("--regions", REGION, "--workers", "1" if sqlite else "2")
    database = None if sqlite else new_database(request, "turnlock_command")
    with ServerProcess(data_dir, database=database, options=options) as process:
        yield Served(process=process)


def run(cli: Served, operation: str, *options: str) -> Any:
    """Run an operation that succeeds; return its output as JSON, None when it has none."""
    done = cli.aws("secretsmanager", operation, *options, "--output", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout else None


def refused(cli: Served, operation: str, *options: str, **variables: str) -> str:
    """Run an operation that the service refuses; return what the command says."""
    done = cli.aws("secretsmanager", operation, *options, **variables)
    assert (done.returncode, done.stdout) == (REFUSED, "")
    return done.stderr


def test_the_life_of_a_secret(cli: Served) -> None:
    name = f"cli/{uuid.uuid4().hex}"
    named = ("--secret-id", name)
    first = run(cli, "create-secret", "--name", name, "--secret-string", "first")["VersionId"]
    second = run(cli, "put-secret-value", *named, "--secret-string", "second")["VersionId"]
    assert run(cli, "get-secret-value", *named)["SecretString"] == "second"
    moved = ("--move-to-version-id", first, "--remove-from-version-id", second)
    run(cli, "update-secret-version-stage", *named, "--version-stage", "AWSCURRENT", *moved)
    stages = run(cli, "describe-secret", *named)["VersionIdsToStages"]
    assert stages == {first: ["AWSCURRENT"], second: ["AWSPREVIOUS"]}
    assert "DeletionDate" in run(cli, "delete-secret", *named, "--recovery-window-in-days", "7")
    assert "(InvalidRequestException)" in refused(cli, "get-secret-value", *named)


def test_a_list_is_put_together_from_its_pages(cli: Served) -> None:
    kind = f"page{uuid.uuid4().hex[:8]}"
    client = cli.client()
    for number in range(5):
        client.create_secret(Name=f"{kind}/{number}", SecretString="v")
    listed = run(cli, "list-secrets", "--filters", f"Key=name,Values={kind}", "--page-size", "2")
    assert sorted(secret["Name"] for secret in listed["SecretList"]) == [f"{kind}/{n}" for n in range(5)]


def test_a_rotation_and_its_end(cli: Served, postgresql_server: EmbeddedPostgres) -> None:
    role = new_role(postgresql_server)
    named = ("--secret-id", role.name)
    run(cli, "create-secret", "--name", role.name, "--secret-string", role.value())
    rules = ("--rotation-rules", '{"ScheduleExpression":"rate(10 days)","Duration":"3h"}')
    version = run(cli, "rotate-secret", *named, "--rotation-lambda-arn", ROTATOR, *rules)["VersionId"]

    def current() -> dict[str, Any]:
        value: dict[str, Any] = run(cli, "get-secret-value", *named)
        return value

    wait_until(lambda: current()["VersionId"] == version, 60, "the new version")
    assert role.accepts(json.loads(current()["SecretString"]))
    assert not role.accepts({"password": role.first_password})
    run(cli, "cancel-rotate-secret", *named)
    assert run(cli, "describe-secret", *named)["RotationEnabled"] is False


def test_a_random_password(cli: Served) -> None:
    assert len(run(cli, "get-random-password", "--password-length", "24")["RandomPassword"]) == 24


@pytest.mark.parametrize(
    ("operation", "options", "code"),
    [
        ("get-secret-value", ("--secret-id", "absent"), "ResourceNotFoundException"),
        ("rotate-secret", ("--secret-id", "absent"), "ResourceNotFoundException"),
        ("get-random-password", ("--password-length", "5000"), "ValidationException"),
    ],
)
def test_an_error_is_named_and_changes_the_exit_status(
    cli: Served, operation: str, options: tuple[str, ...], code: str
) -> None:
    assert f"An error occurred ({code}) when calling" in refused(cli, operation, *options)


def test_a_wrong_key_is_refused(cli: Served) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIAUNKNOWNUNKNOWN99", "AWS_SECRET_ACCESS_KEY": "wrong"}
    assert "(UnrecognizedClientException)" in refused(cli, "list-secrets", **keys)
