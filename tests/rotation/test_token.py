"""RotationToken: which holder's step a PutSecretValue belongs to."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.calling import ACCOUNT, REGION, Client, refusal, token
from tests.rotation.hosted import create, rotate
from tests.sampling import examples
from turnlock import secrets
from turnlock.core.call import Fence
from turnlock.rotation.runner.token import is_current, rotation_token
from turnlock.rotation.store import PlanRow, find_unfinished
from turnlock.storage import Unit, leases

REFUSED = (
    "InvalidRequestException",
    "The RotationToken is not valid for a rotation in progress of this secret.",
)


@pytest.fixture
def arn(client: Client) -> str:
    """A secret whose rotation has begun and runs nowhere."""
    arn = create(client)
    rotate(client, arn)
    return arn


def claimed(client: Client, arn: str) -> tuple[PlanRow, Fence, str]:
    """Claim the plan's lease, as a scheduler does; return it with its fence and its token."""

    def work(unit: Unit) -> tuple[PlanRow, Fence, str]:
        secret = secrets.find_secret(unit, secrets.parse_secret_id(arn, ACCOUNT, REGION))
        assert secret is not None
        row = find_unfinished(unit, secret)
        assert row is not None
        fence = leases.claim(unit, ACCOUNT, REGION, row.lease, holder="test", seconds=10)
        assert fence is not None
        return row, fence, rotation_token(unit, row, fence)

    return client.database.write(work)


def put(client: Client, arn: str, rotation_token: str, **parameters: Any) -> list[str]:
    given: dict[str, Any] = {"ClientRequestToken": token(2), "VersionStages": ["AWSPENDING"], **parameters}
    answer = client("PutSecretValue", SecretId=arn, SecretString="x", RotationToken=rotation_token, **given)
    return list(answer["VersionStages"])


def test_the_running_steps_token_is_accepted_and_fits_the_models_pattern(client: Client, arn: str) -> None:
    _, _, presented = claimed(client, arn)
    assert re.fullmatch(r"[a-zA-Z0-9-]{36,256}", presented)
    assert put(client, arn, presented) == ["AWSPENDING"]


def test_a_forged_token_is_refused(client: Client, arn: str) -> None:
    _, _, presented = claimed(client, arn)
    last = "0" if presented[-1] != "0" else "1"
    for forged in (presented[:-1] + last, "0000000002" + presented[10:], presented + "0", "a" * 43):
        assert refusal(lambda: put(client, arn, forged)) == REFUSED  # noqa: B023 (called at once)


def test_the_token_of_an_older_holder_is_refused(client: Client, arn: str) -> None:
    _, fence, older = claimed(client, arn)
    client.database.write(lambda unit: leases.release(unit, fence))
    _, _, newer = claimed(client, arn)
    assert refusal(lambda: put(client, arn, older)) == REFUSED
    assert put(client, arn, newer) == ["AWSPENDING"]


def test_a_token_for_another_version_or_another_secret_is_refused(client: Client, arn: str) -> None:
    _, _, presented = claimed(client, arn)
    assert refusal(lambda: put(client, arn, presented, ClientRequestToken=token(8))) == REFUSED
    other = create(client, "db-1/other")
    rotate(client, other)
    assert refusal(lambda: put(client, other, presented)) == REFUSED


def test_no_token_is_valid_once_the_rotation_is_over(client: Client, arn: str) -> None:
    _, _, presented = claimed(client, arn)
    client("CancelRotateSecret", SecretId=arn)
    assert refusal(lambda: put(client, arn, presented)) == REFUSED


@settings(
    max_examples=examples(60), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.text(max_size=60) | st.from_regex(r"[0-9]{1,30}-[0-9a-f]{32}", fullmatch=True))
def test_no_other_text_is_ever_a_token(client: Client, arn: str, text: str) -> None:
    row = _row(client, arn)
    assert not client.database.read(lambda unit: is_current(unit, row, token(2), text))


def _row(client: Client, arn: str) -> PlanRow:
    def work(unit: Unit) -> PlanRow:
        secret = secrets.find_secret(unit, secrets.parse_secret_id(arn, ACCOUNT, REGION))
        row = None if secret is None else find_unfinished(unit, secret)
        assert row is not None
        return row

    return client.database.read(work)
