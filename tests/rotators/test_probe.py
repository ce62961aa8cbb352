"""The step that only asks which of the labelled versions the database really accepts."""

from __future__ import annotations

import pytest

from turnlock.rotators import handle
from turnlock.rotators.engines.postgresql.engine import PostgreSQL
from turnlock.rotators.testing import InMemorySecretsManager

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("environment")]


def run(secret: InMemorySecretsManager, step: str, token: str = "second") -> dict[str, str] | None:
    event = {"Step": step, "SecretId": secret.arn, "ClientRequestToken": token}
    return handle(event, PostgreSQL(), secret)


def test_the_probe_tells_the_truth_about_each_version(secret: InMemorySecretsManager) -> None:
    assert run(secret, "probe") == {"pending": "absent", "current": "accepted", "previous": "absent"}
    run(secret, "createSecret")
    assert run(secret, "probe") == {"pending": "refused", "current": "accepted", "previous": "absent"}
    run(secret, "setSecret")
    assert run(secret, "probe") == {"pending": "accepted", "current": "refused", "previous": "absent"}
    run(secret, "finishSecret")
    secret.label("first", "AWSPREVIOUS")
    secret.labels["second"].discard("AWSPENDING")
    assert run(secret, "probe") == {"pending": "absent", "current": "accepted", "previous": "refused"}


def test_the_probe_changes_nothing_and_asks_even_when_rotation_is_off(secret: InMemorySecretsManager) -> None:
    secret.rotation_enabled = False
    run(secret, "probe", "unknown")
    assert set(secret.calls) == {"DescribeSecret", "GetSecretValue"}


def test_the_probe_says_unreachable_where_nothing_is_known(secret: InMemorySecretsManager) -> None:
    secret.store("first", {**secret.value("AWSCURRENT"), "port": 1}, "AWSCURRENT")
    assert run(secret, "probe") == {"pending": "absent", "current": "unreachable", "previous": "absent"}


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"engine": "postgres"}', '{"engine": "mysql"}'])
def test_the_probe_counts_what_is_no_credential_as_absent(secret: InMemorySecretsManager, text: str) -> None:
    secret.store("zero", text, "AWSPREVIOUS")
    secret.store("second", text, "AWSPENDING")
    assert run(secret, "probe") == {"pending": "absent", "current": "accepted", "previous": "absent"}
