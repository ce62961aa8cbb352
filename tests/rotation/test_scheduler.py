"""One node's scheduler under a clock that the test sets: windows, failures, limits, and trouble of its own."""

from __future__ import annotations

import json
import threading
import time
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update
from structlog.typing import EventDict

from tests.calling import Client, token
from tests.rotation.conftest import MakeNode
from tests.rotation.hosted import (
    FUNCTION,
    Node,
    World,
    create,
    create_scheduled,
    events,
    plan_rows,
    records,
    rotate,
    settle,
    stages,
    tick_until,
    wait_until,
)
from tests.support import NOON, SettableClock
from turnlock.rotation import Limits
from turnlock.rotation.due import BATCH, POSTPONED
from turnlock.identity.store import sessions
from turnlock.rotation.store import rotations
from turnlock.secrets.tables import secrets, staging_labels
from turnlock.storage import Database, Unit

SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))


def schedule(client: Client, node: Node, name: str = "db-1/app", **rules: Any) -> str:
    """Make a secret on a schedule, its configuration checked and its first window ahead."""
    arn = create(client, name)
    rotate(client, arn, RotationRules=rules, RotateImmediately=False)
    settle(node)
    return arn


def walk(clock: SettableClock, node: Node, until: datetime) -> None:
    """Let time pass, and the node look at each moment at which there is something to do."""
    while clock.now() < until:
        settle(node)
        clock.set(min([until, *(at for at in node.client.database.read(_turns) if at > clock.now())]))
    settle(node)


def _turns(unit: Unit) -> list[datetime]:
    plans = select(rotations.c.next_attempt_at).where(rotations.c.state == "running")
    turns = select(secrets.c.rotation_starts_at).where(secrets.c.rotation_starts_at.is_not(None))
    return [at for query in (plans, turns) for at in unit.connection.execute(query).scalars()]


def moments(client: Client, arn: str, name: str) -> list[datetime]:
    """Return when this event was recorded for a secret."""
    return [
        datetime.fromisoformat(record["eventTime"])
        for record in records(client.database)
        if record["eventName"] == name and record["additionalEventData"] == {"SecretId": arn}
    ]


def next_date(client: Client, arn: str) -> datetime:
    found: datetime = client("DescribeSecret", SecretId=arn)["NextRotationDate"]
    return found


def test_an_hourly_rate_rotates_once_in_each_window(
    client: Client, node: Node, clock: SettableClock
) -> None:
    arn = schedule(client, node, ScheduleExpression="rate(4 hours)")
    last = NOON
    for _ in range(4):
        assert next_date(client, arn) == last + 5 * HOUR - SECOND
        clock.set(last + 4 * HOUR - SECOND)
        settle(node)
        assert moments(client, arn, "RotationStarted")[-1:] != [clock.now()]
        walk(clock, node, last + 5 * HOUR)
        last = client("DescribeSecret", SecretId=arn)["LastRotatedDate"]
        assert clock.now() - HOUR <= last < clock.now()
    assert len(moments(client, arn, "RotationSucceeded")) == 4
    assert events(client.database, arn).count("RotationStarted") == 4


def test_a_cron_expression_rotates_once_in_each_window(
    client: Client, node: Node, clock: SettableClock
) -> None:
    arn = schedule(client, node, ScheduleExpression="cron(0 8/8 * * ? *)", Duration="2h")
    for opens_at in (NOON.replace(hour=16), *(NOON.replace(hour=8) + k * DAY for k in (1, 2))):
        if clock.now() < opens_at - 8 * HOUR:  # the window at 16:00 of the day before
            walk(clock, node, opens_at - 9 * HOUR)
        assert next_date(client, arn) == opens_at + 2 * HOUR - SECOND
        walk(clock, node, opens_at + 2 * HOUR)
        last = moments(client, arn, "RotationSucceeded")[-1]
        assert opens_at <= last < opens_at + 2 * HOUR
    assert len(moments(client, arn, "RotationSucceeded")) == 4


@pytest.mark.parametrize(
    ("rules", "missed"),
    [
        ({"ScheduleExpression": "rate(4 hours)"}, 15 * DAY),
        ({"AutomaticallyAfterDays": 2}, 15 * DAY),
        ({"ScheduleExpression": "cron(0 8/8 * * ? *)"}, 15 * DAY),
    ],
    ids=["hours", "days", "cron"],
)
def test_windows_that_were_slept_through_are_caught_up_once(
    client: Client, node: Node, clock: SettableClock, rules: dict[str, Any], missed: timedelta
) -> None:
    arn = schedule(client, node, **rules)
    clock.advance(missed)
    settle(node)
    if not moments(client, arn, "RotationSucceeded"):  # its next window is not open yet
        assert next_date(client, arn) - clock.now() < DAY
        walk(clock, node, next_date(client, arn))
    assert len(moments(client, arn, "RotationSucceeded")) == 1
    assert next_date(client, arn) > clock.now() + 4 * HOUR - SECOND


def test_a_window_without_success_is_reported_once_and_the_next_one_takes_the_same_token(
    client: Client, node: Node, clock: SettableClock, world: World
) -> None:
    arn = schedule(client, node, ScheduleExpression="rate(4 hours)")
    world.faults = [("createSecret", "no entropy")] * 2 + [("probe", "no entropy")] * 40
    walk(clock, node, NOON + 5 * HOUR + 10 * MINUTE)
    assert events(client.database, arn)[2:] == ["RotationStarted", "RotationFailed"]
    pending = stages(client, arn)["AWSPENDING"]
    attempts = len(world.calls)
    assert 4 <= attempts <= 12
    assert next_date(client, arn) == NOON + 9 * HOUR - SECOND
    assert "LastRotatedDate" not in client("DescribeSecret", SecretId=arn)
    walk(clock, node, NOON + 8 * HOUR - MINUTE)
    assert len(world.calls) == attempts
    world.faults = []
    walk(clock, node, NOON + 9 * HOUR)
    assert stages(client, arn) == {"AWSCURRENT": pending, "AWSPREVIOUS": token(1)}
    assert events(client.database, arn)[2:] == ["RotationStarted", "RotationFailed", "RotationSucceeded"]
    assert next_date(client, arn) > NOON + 12 * HOUR


def test_two_lost_windows_are_reported_twice(
    client: Client, node: Node, clock: SettableClock, world: World
) -> None:
    arn = schedule(client, node, ScheduleExpression="rate(4 hours)")
    world.faults = [(step, "no entropy") for step in ("createSecret", "probe") for _ in range(80)]
    walk(clock, node, NOON + 10 * HOUR)
    assert events(client.database, arn)[2:] == ["RotationStarted", "RotationFailed", "RotationFailed"]
    assert len(plan_rows(client.database)) == 2


def test_a_rotation_without_a_schedule_that_fails_is_tried_again_the_next_day(
    client: Client, node: Node, clock: SettableClock, world: World
) -> None:
    arn = create(client)
    rotate(client, arn)
    world.faults = [(step, "no entropy") for step in ("createSecret", "probe") for _ in range(80)]
    walk(clock, node, NOON + DAY)
    assert events(client.database, arn) == ["RotationStarted", "RotationFailed"]
    world.faults = []
    walk(clock, node, NOON + DAY + HOUR)
    assert events(client.database, arn)[-1] == "RotationSucceeded"
    assert stages(client, arn)["AWSCURRENT"] == token(2)


def test_a_lost_window_while_applications_are_locked_out_does_not_stop_the_repair(
    client: Client, node: Node, clock: SettableClock, world: World
) -> None:
    arn = schedule(client, node, ScheduleExpression="rate(4 hours)")
    world.faults = [("testSecret", "timeout")] + [("probe", "timeout")] * 13
    walk(clock, node, NOON + 7 * HOUR)
    found = events(client.database, arn)[2:]
    assert found == ["RotationStarted", "RotationFailed", "RotationSucceeded"]
    assert moments(client, arn, "RotationSucceeded")[0] < NOON + 8 * HOUR


def test_the_first_wait_while_applications_are_locked_out_is_a_second(
    client: Client, node: Node, clock: SettableClock, world: World
) -> None:
    world.faults = [("testSecret", "timeout")]
    arn = create(client)
    rotate(client, arn)
    settle(node)
    assert world.steps(arn)[-1] == "testSecret"
    clock.advance(SECOND)
    settle(node)
    assert world.steps(arn)[-3:] == ["probe", "testSecret", "finishSecret"]


def test_the_events_have_the_shape_of_service_events(client: Client, node: Node, world: World) -> None:
    arn = create(client)
    rotate(client, arn)
    settle(node)
    world.faults = [("testSecret", "password authentication failed")]
    rotate(client, arn, 3, RotateImmediately=False)
    settle(node)
    found = records(client.database)
    assert sorted(record["eventName"] for record in found) == [
        "RotationStarted",
        "RotationSucceeded",
        "TestRotationFailed",
        "TestRotationStarted",
    ]
    for record in found:
        version = token(3 if record["eventName"].startswith("Test") else 2)
        assert record["requestID"] == f"Rotation-{arn}-{version}"
        assert record["eventType"] == "AwsServiceEvent"
        assert record["additionalEventData"] == {"SecretId": arn}
        assert record["userIdentity"] == {
            "accountId": client.account_id,
            "invokedBy": "secretsmanager.amazonaws.com",
        }
        failed = record["eventName"] == "TestRotationFailed"
        assert record.get("errorMessage") == (
            f"Error when executing lambda {FUNCTION} during testSecret step: password authentication failed"
            if failed
            else None
        )


def test_no_host_and_no_node_is_asked_for_more_than_it_allows(
    client: Client, make_node: MakeNode, world: World
) -> None:
    node = make_node(Limits(at_once=3, per_host=2))
    world.seconds = 0.02
    for host in ("a", "b", "c"):
        for number in range(4):
            rotate(client, create(client, f"{host}/{number}"))
    settle(node)
    assert events(client.database).count("RotationSucceeded") == 12
    assert world.most["node node-0"] == 3
    assert max(world.most[f"host {host}"] for host in "abc") == 2


def test_a_host_with_a_long_queue_does_not_keep_others_waiting(
    client: Client, make_node: MakeNode, world: World
) -> None:
    node = make_node(Limits(at_once=3, per_host=2))
    go_on = threading.Event()
    world.before = lambda _step, invocation, _abort: (
        None if "quiet" in invocation.secret_arn else go_on.wait(10) and None
    )
    for number in range(60):
        rotate(client, create(client, f"busy/{number}"))
    arn = create(client, "quiet/app")
    rotate(client, arn)
    tick_until(lambda: "AWSPREVIOUS" in stages(client, arn), node)
    go_on.set()


def test_rotations_begin_in_batches(client: Client, make_node: MakeNode, clock: SettableClock) -> None:
    node = make_node(Limits(at_once=1))
    create_scheduled(client, [f"db/{number}" for number in range(BATCH + 5)], AutomaticallyAfterDays=1)
    clock.set(NOON.replace(hour=1) + DAY)
    counts = []
    for _ in range(3):
        node.scheduler.tick()
        counts.append(events(client.database).count("RotationStarted"))
    assert counts == [BATCH, BATCH + 5, BATCH + 5]


def test_one_secret_that_cannot_begin_does_not_keep_the_others_from_rotating(
    client: Client, node: Node, clock: SettableClock, logs: list[EventDict]
) -> None:
    full, forged, good = (
        schedule(client, node, f"db/{name}", AutomaticallyAfterDays=1) for name in ("full", "forged", "good")
    )
    for number in range(19):
        client(
            "UpdateSecretVersionStage",
            SecretId=full,
            VersionStage=f"mine-{number}",
            MoveToVersionId=token(1),
        )
    client.database.write(
        lambda unit: unit.connection.execute(
            update(staging_labels).where(staging_labels.c.name == "db/forged").values(mac=b"forged")
        )
    )
    clock.set(NOON.replace(hour=1) + DAY)
    settle(node)
    assert stages(client, good)["AWSPREVIOUS"] == token(1)
    assert events(client.database, full)[2:] == events(client.database, forged)[2:] == []
    named = {line["secret"] for line in logs if line["action"] == "rotation_not_begun"}
    assert named == {"db/full", "db/forged"}
    client("UpdateSecretVersionStage", SecretId=full, VersionStage="mine-0", RemoveFromVersionId=token(1))
    clock.advance(POSTPONED)
    settle(node)
    assert stages(client, full)["AWSPREVIOUS"] == token(1)


def test_a_function_that_cannot_be_run_is_a_failed_attempt_with_a_back_off(
    client: Client, node: Node, clock: SettableClock, world: World, logs: list[EventDict]
) -> None:
    def burst(step: str, _invocation: object, _abort: object) -> None:
        raise RuntimeError("out of file descriptors")

    world.before = burst
    arn = create(client)
    rotate(client, arn)
    settle(node)
    assert world.steps(arn) == ["createSecret"]
    plan = json.loads(plan_rows(client.database)[0].plan)
    assert (plan["attempts"], plan["in_flight"]) == (1, False)
    assert plan["last_error"] == (
        f"Error when executing lambda {FUNCTION} during createSecret step: RuntimeError"
    )
    world.before = lambda *_: None
    clock.advance(MINUTE)
    settle(node)
    assert stages(client, arn)["AWSCURRENT"] == token(2)


def test_a_plan_that_breaks_the_scheduler_is_not_claimed_again_at_once(
    client: Client, make_node: MakeNode, world: World, logs: list[EventDict]
) -> None:
    node = make_node(Limits(lease_seconds=0.5))
    arn = create(client)
    rotate(client, arn)
    forge = update(staging_labels).values(mac=b"forged")
    kept = client.database.read(
        lambda unit: unit.connection.execute(staging_labels.select()).mappings().all()
    )
    client.database.write(lambda unit: unit.connection.execute(forge))
    until = time.monotonic() + 1.2
    while time.monotonic() < until:
        node.scheduler.tick()
        time.sleep(0.005)
    broken = [line for line in logs if line["action"] == "rotation_broken"]
    assert 1 <= len(broken) <= 4
    for row in kept:
        mended = update(staging_labels).where(staging_labels.c.label == row["label"]).values(mac=row["mac"])
        client.database.write(lambda unit: unit.connection.execute(mended))  # noqa: B023 (called at once)
    tick_until(lambda: stages(client, arn)["AWSCURRENT"] == token(2), node)


def test_a_node_that_lost_its_store_leaves_its_plans_to_others(
    client: Client, make_node: MakeNode, world: World, logs: list[EventDict]
) -> None:
    node = make_node(Limits(lease_seconds=0.5))
    world.before = lambda step, _invocation, _abort: node.client.database.close() if step == "testSecret" else None
    arn = create(client)
    rotate(client, arn)
    tick_until(lambda: node.scheduler.busy, node)
    wait_until(lambda: node.scheduler.busy == 0)
    assert stages(client, arn) == {"AWSCURRENT": token(1), "AWSPENDING": token(2)}
    world.before = lambda *_: None
    other = make_node()
    tick_until(lambda: "RotationSucceeded" in events(client.database), other)
    assert world.steps(arn)[-3:] == ["probe", "testSecret", "finishSecret"]
    assert events(client.database) == ["RotationStarted", "RotationSucceeded"]


def test_closing_ends_what_runs_in_bounded_time_and_leaves_the_plan_to_others(
    client: Client, make_node: MakeNode, world: World
) -> None:
    node = make_node()
    entered = threading.Event()

    def hang(_step: str, _invocation: object, abort: threading.Event) -> None:
        entered.set()
        assert abort.wait(10)

    world.before = hang
    arn = create(client)
    rotate(client, arn)
    tick_until(entered.is_set, node)
    began = time.monotonic()
    node.scheduler.close()
    assert time.monotonic() - began < 3
    world.before = lambda *_: None
    settle(make_node())
    assert stages(client, arn)["AWSCURRENT"] == token(2)


def test_a_place_that_becomes_free_wakes_the_loop(client: Client, node: Node) -> None:
    woken = threading.Event()
    node.scheduler.wake = woken.set
    rotate(client, create(client))
    node.scheduler.tick()
    assert woken.wait(10)


def test_a_warm_process_goes_on_under_the_next_rotations_fence(
    client: Client, node: Node, clock: SettableClock
) -> None:
    arn = create(client)
    rotate(client, arn)
    settle(node)
    held = node.warm[arn]
    clock.advance(MINUTE)
    rotate(client, arn, 3)
    settle(node)
    assert node.warm[arn] == held
    assert stages(client, arn)["AWSCURRENT"] == token(3)


def test_a_warm_process_whose_session_is_gone_is_replaced(
    client: Client, node: Node, database: Database
) -> None:
    arn = create(client)
    rotate(client, arn)
    settle(node)
    held = node.warm[arn]
    database.write(lambda unit: unit.connection.execute(delete(sessions)))
    rotate(client, arn, 3)
    settle(node)
    assert node.warm[arn] != held
    assert stages(client, arn)["AWSCURRENT"] == token(3)
