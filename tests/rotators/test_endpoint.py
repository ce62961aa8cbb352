"""The calls of Secrets Manager, as boto3's own client makes them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from botocore.client import BaseClient
from botocore.stub import Stubber

from turnlock.rotators import endpoint
from turnlock.rotators.endpoint import Endpoint, Stage
from turnlock.rotators.passwords import PasswordRules
from turnlock.rotators.testing import InMemorySecretsManager


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint.client.cache_clear()
    for name, value in {
        "SECRETS_MANAGER_ENDPOINT": "http://127.0.0.1:9",
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "example",
    }.items():
        monkeypatch.setenv(name, value)


def test_the_client_is_made_once_for_the_endpoint_of_the_environment() -> None:
    made = endpoint.client()
    assert made is endpoint.client()
    assert getattr(made, "meta").endpoint_url == "http://127.0.0.1:9"  # noqa: B009  (not in the Protocol)


def test_no_endpoint_in_the_environment_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SECRETS_MANAGER_ENDPOINT")
    with pytest.raises(KeyError, match="SECRETS_MANAGER_ENDPOINT"):
        endpoint.client()


def test_every_request_fits_the_service_model() -> None:
    client = endpoint.client()
    secret = Endpoint(client, "database")
    assert isinstance(client, BaseClient)
    with Stubber(client) as stubber:
        stubber.add_response(
            "describe_secret",
            {"ARN": "arn:of:secret:database", "RotationEnabled": True, "VersionIdsToStages": {}},
        )
        stubber.add_client_error("get_secret_value", "ResourceNotFoundException")
        stubber.add_response("get_random_password", {"RandomPassword": "generated"})
        stubber.add_response("put_secret_value", {})
        stubber.add_response("update_secret_version_stage", {})
        assert secret.describe().arn == "arn:of:secret:database"
        assert secret.value(Stage.PENDING, "1" * 32) is None
        assert secret.random_password(PasswordRules()) == "generated"
        secret.put_pending({}, "1" * 32, "0" * 36)
        secret.make_current("1" * 32, instead_of="2" * 32)
        stubber.assert_no_pending_responses()


@pytest.mark.parametrize("text", ["not JSON: hidden", '["hidden"]', '"hidden"'])
def test_a_value_that_is_no_object_is_not_shown(text: str) -> None:
    secret = InMemorySecretsManager()
    secret.store("first", text, "AWSCURRENT")
    with pytest.raises(ValueError, match="AWSCURRENT version is not a JSON object") as caught:
        Endpoint(secret, secret.arn).value(Stage.CURRENT)
    assert caught.value.__context__ is None
    assert "hidden" not in str(caught.value)


def test_importing_a_hosted_function_does_not_import_botocore() -> None:
    code = (
        "import sys, turnlock.rotators.postgresql_single_user;"
        "foreign = {m for m in sys.modules if m.startswith('turnlock.') and not m.startswith('turnlock.rotators')};"
        "sys.exit('botocore' in sys.modules or bool(foreign))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
