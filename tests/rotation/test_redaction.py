"""Which texts no error may show, and that none does."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.typing import EventDict

from tests.calling import ACCOUNT, REGION, Client, token
from tests.rotation.hosted import (
    FUNCTION,
    Node,
    World,
    create,
    events,
    plan_rows,
    records,
    rotate,
    settle,
)
from tests.sampling import examples
from turnlock import secrets
from turnlock.functions import Invocation
from turnlock.rotation.runner.redaction import known_values
from turnlock.storage import Unit


def known(client: Client, arn: str) -> frozenset[str]:
    def work(unit: Unit) -> frozenset[str]:
        secret = secrets.find_secret(unit, secrets.parse_secret_id(arn, ACCOUNT, REGION))
        assert secret is not None
        return known_values(unit, secret)

    return client.database.read(work)


def test_a_database_secret_hides_its_password_and_shows_its_host(client: Client) -> None:
    text = json.dumps({"engine": "postgres", "host": "db-1.example", "username": "app", "password": "s3cr3t"})
    assert known(client, create(client, SecretString=text)) == {text, "s3cr3t"}


def test_members_are_hidden_however_deep_they_are_and_numbers_too(client: Client) -> None:
    text = json.dumps({"keys": [{"host": "db-1", "token": "t0ken"}, ["inner"]], "pin": 493817, "on": True})
    assert known(client, create(client, SecretString=text)) == {text, "t0ken", "inner", "493817"}


def test_every_labelled_version_counts(client: Client, node: Node) -> None:
    arn = create(client)
    rotate(client, arn)
    settle(node)
    found = known(client, arn)
    assert "first-password" in found
    assert json.loads(client("GetSecretValue", SecretId=arn)["SecretString"])["password"] in found


def test_a_binary_value_is_hidden_in_base64(client: Client) -> None:
    blob = bytes(range(128, 160))
    arn = str(client("CreateSecret", Name="blob", ClientRequestToken=token(1), SecretBinary=blob)["ARN"])
    assert known(client, arn) == {base64.b64encode(blob).decode()}


@pytest.mark.parametrize("text", ["[" * 60_000, '{"a":' * 12_000, "not json", "1e999", "{"])
def test_what_is_no_document_is_hidden_as_a_whole(client: Client, text: str) -> None:
    assert known(client, create(client, SecretString=text)) == {text} - {"{"}


def test_a_value_of_hostile_depth_rotates_like_any_other(client: Client, node: Node, world: World) -> None:
    arn = create(client, SecretString="[" * 60_000)
    rotate(client, arn)
    settle(node)
    assert world.steps(arn) == ["createSecret"]
    assert events(client.database) == ["RotationStarted"]


LEAVES = st.text(min_size=4, max_size=12) | st.integers(1000, 10**9)


@settings(
    max_examples=examples(40), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner)))
def test_every_leaf_of_any_document_is_hidden(client: Client, document: Any) -> None:
    def leaves(value: Any) -> set[str]:
        if isinstance(value, dict):
            value = list(value.values())
        return set().union(*map(leaves, value)) if isinstance(value, list) else {str(value)}

    name = f"s{next(_numbers)}"
    text = json.dumps({"value": document})
    arn = create(client, name, SecretString=text)
    assert {leaf for leaf in leaves(document) if len(leaf) >= 4} <= known(client, arn)


_numbers = iter(range(10**6))


def test_no_error_that_is_kept_shown_or_audited_holds_the_new_password(
    client: Client, node: Node, world: World, logs: list[EventDict]
) -> None:
    arn = create(client)

    def tell(step: str, invocation: Invocation, _abort: object) -> None:
        if step == "setSecret":
            found = node.caller(arn)(
                "GetSecretValue", SecretId=arn, VersionId=invocation.payload["ClientRequestToken"]
            )
            passwords.append(json.loads(found["SecretString"])["password"])
            world.faults = [
                ("setSecret", f'ALTER ROLE app PASSWORD "{passwords[0]}" failed on db-1'),
                *[("probe", f"no answer to {passwords[0]!r}")] * 30,
            ]

    passwords: list[str] = []
    world.before = tell
    rotate(client, arn, RotationRules={"ScheduleExpression": "rate(4 hours)"})
    settle(node)
    kept = plan_rows(client.database)[0].plan
    assert f"Error when executing lambda {FUNCTION} during setSecret step" in kept
    assert "[redacted]" in kept
    assert "db-1" in kept
    for shown in (kept, json.dumps(records(client.database)), repr(logs)):
        assert passwords[0] not in shown
        assert "first-password" not in shown
