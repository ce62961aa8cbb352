"""Rehearsals: asked for with RotateSecret's right, each night by themselves, and never a change."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from tests.calling import Client, refusal
from tests.rotation.hosted import (
    Node,
    World,
    create,
    create_scheduled,
    events,
    records,
    rotate,
    schedule,
    settle,
)
from tests.rotation.test_windows import DAY, HOUR
from tests.support import NOON, SettableClock
from turnlock import secrets
from turnlock.core.call import Session
from turnlock.errors import AccessDeniedException, ApiError
from turnlock.functions import Invocation
from turnlock.rotation import REHEARSE, Rehearser, Report, latest
from turnlock.rotation.rehearsal.rehearser import FAILED_EVENT
from turnlock.rotation.rehearsal.store import AHEAD, nightly
from turnlock.secrets import tables
from turnlock.storage.leases import claim, leases

PROBLEM = {
    "findings": [
        {"check": "secret", "outcome": "ok", "words": "a credential"},
        {"check": "privileges", "outcome": "problem", "words": "no right to change first-password"},
    ],
    "would": "Nothing.",
}


@pytest.fixture
def rehearser(node: Node) -> Rehearser:
    return Rehearser(node.client.database, node, "rehearser")


def ask(client: Client, arn: str) -> None:
    """Ask as `turnlock rotation rehearse` does."""
    passage = replace(client.service.passages["RotateSecret"], action=REHEARSE)
    outcome = client.through(passage, {"SecretId": arn})
    if isinstance(outcome, ApiError):
        raise outcome


def found(client: Client, arn: str) -> Report | None:
    def work(unit: Any) -> Report | None:
        secret = secrets.find_secret(unit, secrets.parse_secret_id(arn, client.account_id, client.region))
        assert secret is not None
        rehearsal = latest(unit, secret)
        return None if rehearsal is None else rehearsal[1]

    return client.database.read(work)


def stored(client: Client) -> list[Any]:
    """Return everything that the store holds of secrets, byte for byte, but for when they were read."""

    def work(unit: Any) -> list[Any]:
        wanted = (tables.secrets, tables.secret_versions, tables.staging_labels, tables.secret_tags)
        rows = [unit.connection.execute(table.select()).mappings().all() for table in wanted]
        return [
            {name: value for name, value in row.items() if name != "last_accessed_at"}
            for each in rows
            for row in each
        ]

    return client.database.read(work)


def test_what_was_asked_for_is_carried_out_and_told(
    client: Client, rehearser: Rehearser, world: World
) -> None:
    arn = create(client)
    rotate_off(client, arn)
    world.report = {"findings": [{"check": "login", "outcome": "ok", "words": "fine"}], "would": "Something."}
    before = stored(client)
    ask(client, arn)
    assert found(client, arn) is None
    rehearser.tick()
    report = found(client, arn)
    assert report is not None
    assert ([one.words for one in report.findings], report.would, report.problems) == (
        ["fine"],
        "Something.",
        [],
    )
    assert world.steps(arn)[-1] == "rehearse"
    assert stored(client) == before
    assert "RehearseRotation" in [record["eventName"] for record in client.records]


def rotate_off(client: Client, arn: str) -> None:
    """Configure the rotation, and cancel it: nothing is scheduled."""
    rotate(client, arn)
    client("CancelRotateSecret", SecretId=arn)


def test_it_needs_the_right_to_rotate(client: Client) -> None:
    arn = create(client)
    rotate_off(client, arn)

    def narrowed(action: str) -> Client:
        statement = {"Effect": "Allow", "Action": f"secretsmanager:{action}", "Resource": arn}
        policy = json.dumps({"Version": "2012-10-17", "Statement": statement})
        return client.elsewhere(session=Session(access_key_id="ASIAEXAMPLE", policy=policy))

    ask(narrowed("RotateSecret"), arn)
    for other in ("GetSecretValue", "RehearseRotation"):
        with pytest.raises(AccessDeniedException, match="RotateSecret"):
            ask(narrowed(other), arn)


def test_only_a_hosted_functions_rotation_can_be_rehearsed(client: Client) -> None:
    arn = create(client)
    assert refusal(lambda: ask(client, arn))[0] == "InvalidRequestException"


def test_its_credentials_read_the_one_secret_and_write_nothing(
    client: Client, node: Node, rehearser: Rehearser, world: World
) -> None:
    arn, other = create(client), create(client, "db-2/app")
    rotate_off(client, arn)
    tried: list[str] = []

    def meddle(step: str, invocation: Invocation, _abort: threading.Event) -> None:
        if step != "rehearse":
            return
        caller = node.caller(arn)
        caller("GetSecretValue", SecretId=arn)
        put = {"SecretId": arn, "SecretString": "mine", "ClientRequestToken": "t" * 32}
        for operation, request in (
            ("PutSecretValue", put),
            ("GetSecretValue", {"SecretId": other}),
            ("RotateSecret", {"SecretId": arn, "ClientRequestToken": "t" * 32}),
        ):
            with pytest.raises(AccessDeniedException):
                caller(operation, **request)
            tried.append(operation)

    world.before = meddle
    ask(client, arn)
    rehearser.tick()
    assert len(tried) == 3
    assert found(client, arn) is not None
    assert node.warm == {}, "a process that may only read must not be met by a rotation"


def test_a_function_that_fails_is_a_problem_without_values(
    client: Client, rehearser: Rehearser, world: World
) -> None:
    arn = create(client)
    rotate_off(client, arn)
    world.faults = [("rehearse", "cannot read first-password")]
    ask(client, arn)
    rehearser.tick()
    report = found(client, arn)
    assert report is not None
    assert [one.words for one in report.problems] == ["cannot read [redacted]"]
    world.report = "nonsense"
    ask(client, arn)
    rehearser.tick()
    again = found(client, arn)
    assert again is not None
    assert "could not be read" in again.problems[0].words


def test_the_report_is_sealed(client: Client, rehearser: Rehearser, world: World) -> None:
    from turnlock.rotation.rehearsal.store import rehearsals

    arn = create(client)
    rotate_off(client, arn)
    world.report = PROBLEM
    ask(client, arn)
    rehearser.tick()
    (row,) = client.database.read(lambda unit: unit.connection.execute(rehearsals.select()).all())
    assert b"privileges" not in bytes(row.sealed_report)


def test_a_running_rotation_is_not_rehearsed_beside(
    client: Client, rehearser: Rehearser, world: World
) -> None:
    arn = create(client)
    rotate_off(client, arn)
    ask(client, arn)
    name = "rotation/db-1/app"
    client.database.write(
        lambda unit: claim(unit, client.account_id, client.region, name, holder="another", seconds=2**40)
    )
    rehearser.tick()
    assert "rehearse" not in world.steps(arn)
    client.database.write(lambda unit: unit.connection.execute(leases.update().values(expires_at=1)))
    rehearser.tick()
    assert world.steps(arn)[-1] == "rehearse"


def test_each_night_what_is_due_next_is_rehearsed_once_and_a_failure_is_an_event(
    client: Client, node: Node, rehearser: Rehearser, world: World, clock: SettableClock
) -> None:
    arn = schedule(client, node, AutomaticallyAfterDays=3)
    world.report = PROBLEM
    for _ in range(3 * 24 * 2):
        rehearser._until_night = 0
        rehearser.tick()
        clock.advance(timedelta(minutes=30))
        if clock.now() > NOON + 2 * DAY + 12 * HOUR:
            break
    assert world.steps(arn).count("rehearse") == 1
    failed = [record for record in records(client.database) if record["eventName"] == FAILED_EVENT]
    assert [record["errorMessage"] for record in failed] == ["privileges: no right to change [redacted]"]
    assert failed[0]["additionalEventData"] == {"SecretId": arn}


def test_one_that_was_asked_for_is_no_event(client: Client, rehearser: Rehearser, world: World) -> None:
    arn = create(client)
    rotate_off(client, arn)
    world.report = PROBLEM
    ask(client, arn)
    rehearser.tick()
    assert FAILED_EVENT not in events(client.database)


def test_a_rotation_goes_on_after_its_rehearsal(
    client: Client, node: Node, rehearser: Rehearser, clock: SettableClock
) -> None:
    arn = schedule(client, node, ScheduleExpression="rate(4 hours)")
    rehearser._until_night = 0
    rehearser.tick()
    clock.set(NOON + 4 * HOUR + timedelta(minutes=30))
    settle(node)
    assert events(client.database, arn)[-1] == "RotationSucceeded"


def test_the_nights_list_walks_through_all_pages(client: Client, clock: SettableClock) -> None:
    names = [f"db-{number % 5}/app-{number}" for number in range(12)]
    create_scheduled(client, names, ScheduleExpression="rate(4 hours)")
    from turnlock.rotation.rehearsal import store as room

    def listed(page: int) -> list[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(room, "_PAGE", page)
            turns = client.database.read(lambda unit: nightly(unit, 100))
        return [turn.reference.name for turn in turns]

    assert sorted(listed(100)) == sorted(names)
    assert listed(5) == listed(100)
    clock.advance(-AHEAD)
    assert listed(5) == []
