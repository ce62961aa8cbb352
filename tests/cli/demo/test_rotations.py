"""Asking for rotations at a pace, and following each to its end."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError

from turnlock.cli.demo import rotations
from turnlock.cli.demo.rotations import Rotations

BUSY = ClientError(
    {"Error": {"Code": "InvalidRequestException", "Message": "A previous rotation isn't complete."}},
    "RotateSecret",
)
REFUSED = ClientError({"Error": {"Code": "InvalidRequestException", "Message": "not now"}}, "RotateSecret")


class FakeClient:
    """A server that ends a rotation when it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.refuses = False
        self.refusal = REFUSED
        self.described: dict[str, Any] = {"VersionIdsToStages": {}}

    def describe_secret(self, **_request: str) -> dict[str, Any]:
        return self.described

    def rotate_secret(self, **_request: object) -> dict[str, str]:
        if self.refuses:
            raise self.refusal
        self.asked += 1
        return {"VersionId": f"v{self.asked}"}

    def end(self) -> None:
        labels = {f"v{self.asked}": ["AWSCURRENT"]}
        self.described = {
            "VersionIdsToStages": labels,
            "LastRotatedDate": datetime(2026, 1, self.asked, tzinfo=UTC),
        }


class Now:
    """The monotonic clock, held still."""

    def __init__(self) -> None:
        self.at = 100.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> Now:
    clock = Now()
    monkeypatch.setattr(rotations, "time", SimpleNamespace(monotonic=clock))
    return clock


def rotating(client: FakeClient) -> Rotations:
    return Rotations(client=client, secret="s", function_arn="arn", every=10.0)


def test_the_application_works_alone_before_the_first(now: Now) -> None:
    client = FakeClient()
    subject = rotating(client)
    subject.tick()
    assert client.asked == 0
    now.at += rotations.BEFORE
    subject.tick()
    assert (client.asked, subject.running) == (1, True)


def test_one_is_over_when_its_version_is_current_and_recorded(now: Now) -> None:
    client = FakeClient()
    subject = rotating(client)
    now.at += 1
    subject.tick()
    client.described = {"VersionIdsToStages": {"v1": ["AWSCURRENT"]}}
    subject.tick()
    assert subject.running, "the label has moved, but the rotation is not recorded yet"
    client.end()
    now.at += 0.5
    subject.tick()
    assert (subject.completed, subject.running, subject.last_seconds) == (1, False, 0.5)


def test_the_next_is_asked_for_when_its_time_has_come_and_not_beside_another(now: Now) -> None:
    client = FakeClient()
    subject = rotating(client)
    now.at += 1
    subject.tick()
    now.at += 11
    subject.tick()
    assert client.asked == 1
    client.end()
    subject.tick()
    subject.tick()
    assert client.asked == 2


def test_a_refusal_counts_as_failed_and_is_tried_again_at_the_pace(now: Now) -> None:
    client = FakeClient()
    client.refuses = True
    subject = rotating(client)
    now.at += 1
    subject.tick()
    subject.tick()
    assert (subject.failed, subject.running, subject.wait) == (1, False, 10.0)
    assert "not now" in subject.last_error


def test_one_that_never_ends_counts_as_failed(now: Now) -> None:
    subject = rotating(FakeClient())
    now.at += 1
    subject.tick()
    now.at += rotations.PATIENCE + 1
    subject.tick()
    assert (subject.failed, subject.running) == (1, False)


def test_a_rotation_that_somebody_else_asked_for_is_waited_out_and_no_failure(now: Now) -> None:
    client = FakeClient()
    client.refuses, client.refusal = True, BUSY
    subject = rotating(client)
    now.at += rotations.BEFORE
    subject.tick()
    assert (subject.failed, subject.running, subject.wait) == (0, False, rotations.AFTER_ANOTHER)
    client.refuses = False
    now.at += rotations.AFTER_ANOTHER
    subject.tick()
    assert (client.asked, subject.running) == (1, True)
