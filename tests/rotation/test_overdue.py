"""The dead man's switch: a window in which no attempt could run is told of, once, whoever finds it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.calling import Client, token
from tests.rotation.conftest import MakeNode
from tests.rotation.hosted import (
    Node,
    World,
    crash_at,
    events,
    let_leases_run_out,
    records,
    schedule,
    settle,
    stages,
    value,
    wait_until,
)
from tests.rotation.test_windows import DAY, HOUR, MINUTE, walk
from tests.support import NOON, SettableClock
from turnlock.rotation import Limits
from turnlock.rotation.plan.schedule import EveryHours, Window, windows_over
from turnlock.rotation.plans import MOST_REPORTED

HOURLY = {"ScheduleExpression": "rate(4 hours)"}
"""Windows of an hour, at 16:00, 20:00 … after a configuration at noon."""


def failures(client: Client, arn: str) -> list[str]:
    """Return why this secret's windows were lost, oldest first."""
    return [
        record["errorMessage"]
        for record in records(client.database)
        if record["eventName"] == "RotationFailed" and record["additionalEventData"] == {"SecretId": arn}
    ]


def ends(client: Client, arn: str) -> list[str]:
    """Return the ends of the windows in which nothing ran."""
    opening = "No attempt could run in the rotation window that ended at "
    return [text.removeprefix(opening)[:20] for text in failures(client, arn) if text.startswith(opening)]


def test_each_window_that_the_server_slept_through_is_told_of_and_none_that_it_did_not(
    client: Client, node: Node, clock: SettableClock
) -> None:
    arn = schedule(client, node, **HOURLY)
    clock.set(NOON + 10 * HOUR)
    settle(node)
    assert ends(client, arn) == ["2026-11-23T17:00:00Z", "2026-11-23T21:00:00Z"]
    walk(clock, node, NOON + 13 * HOUR)
    assert events(client.database, arn)[-2:] == ["RotationStarted", "RotationSucceeded"]
    assert len(failures(client, arn)) == 2


def test_a_day_schedules_missed_days_are_told_of_each(
    client: Client, node: Node, clock: SettableClock
) -> None:
    arn = schedule(client, node, AutomaticallyAfterDays=2)
    clock.set(NOON + 4 * DAY)
    settle(node)
    assert ends(client, arn) == ["2026-11-26T00:00:00Z", "2026-11-27T00:00:00Z"]
    walk(clock, node, NOON + 5 * DAY)
    assert events(client.database, arn)[-1] == "RotationSucceeded"


def test_many_missed_windows_are_told_of_by_their_number(
    client: Client, node: Node, clock: SettableClock
) -> None:
    arn = schedule(client, node, **HOURLY)
    clock.set(NOON + (4 * (MOST_REPORTED + 7)) * HOUR + 2 * HOUR)
    settle(node)
    found = failures(client, arn)
    assert len(found) == MOST_REPORTED + 1
    assert [text[-24:] for text in found if "Nor" in text] == ["Nor in 6 windows before."]


def test_a_rotation_that_no_node_has_a_place_for_is_told_of_once_in_each_window(
    client: Client, make_node: MakeNode, clock: SettableClock
) -> None:
    free = make_node()
    arn = schedule(client, free, **HOURLY)
    full = [make_node(Limits(per_host=0)) for _ in range(2)]
    clock.set(NOON + 4 * HOUR + 30 * MINUTE)
    for step in range(32):  # eight hours, in which the plan begins and two windows end
        for node in full:
            node.scheduler.tick()
        clock.advance(timedelta(minutes=15))
        assert len(failures(client, arn)) <= 1 + step // 16
    assert ends(client, arn) == ["2026-11-23T17:00:00Z", "2026-11-23T21:00:00Z"]
    assert events(client.database, arn).count("RotationStarted") == 1
    pending = stages(client, arn)["AWSPENDING"]
    walk(clock, free, NOON + 14 * HOUR)
    assert stages(client, arn)["AWSCURRENT"] == pending
    assert len(failures(client, arn)) == 2


def test_a_plan_whose_node_is_gone_is_told_of_and_goes_on_later(
    client: Client, make_node: MakeNode, clock: SettableClock, world: World
) -> None:
    arn = schedule(client, make_node(), **HOURLY)
    dying = make_node(observe=crash_at("decided", "setSecret"))
    clock.set(NOON + 4 * HOUR + 30 * MINUTE)
    dying.scheduler.tick()
    wait_until(lambda: world.steps(arn)[-1:] == ["createSecret"] and not dying.scheduler.busy)
    clock.set(NOON + 5 * HOUR + MINUTE)
    let_leases_run_out(client)
    watcher = make_node(Limits(per_host=0))
    for _ in range(3):
        watcher.scheduler.tick()
    assert failures(client, arn) == ["The rotation window ended before the rotation was complete."]
    # What the step in flight did is not known, so the probe does not wait for the next window; what it finds may.
    node = make_node()
    settle(node)
    assert world.steps(arn)[-1] == "probe"
    walk(clock, node, NOON + 9 * HOUR)
    assert events(client.database, arn)[-1] == "RotationSucceeded"


def test_what_a_node_carries_out_is_not_called_overdue(
    client: Client, make_node: MakeNode, clock: SettableClock, world: World
) -> None:
    arn = schedule(client, make_node(), **HOURLY)
    watcher = make_node(Limits(per_host=0))
    clock.set(NOON + 4 * HOUR + 30 * MINUTE)

    def outlast(step: str, *_rest: Any) -> None:
        if step == "testSecret":
            clock.set(NOON + 5 * HOUR + MINUTE)
            watcher.scheduler.tick()
            assert failures(client, arn) == []

    world.before = outlast
    settle(make_node())
    assert events(client.database, arn)[-1] == "RotationSucceeded"
    assert failures(client, arn) == []


def test_two_nodes_that_look_at_once_tell_of_it_once(
    client: Client, make_node: MakeNode, clock: SettableClock
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    arn = schedule(client, make_node(), **HOURLY)
    full = [make_node(Limits(per_host=0)) for _ in range(3)]
    clock.set(NOON + 4 * HOUR + 30 * MINUTE)
    full[0].scheduler.tick()
    clock.set(NOON + 5 * HOUR + MINUTE)
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda node: node.scheduler.tick(), full * 4))
    assert len(failures(client, arn)) == 1


@given(st.integers(4, 23), st.integers(0, 60), st.integers(0, 100))
def test_the_windows_over_agree_with_asking_each_window_in_turn(hours: int, since: int, idle: int) -> None:
    every = EveryHours(hours=hours, duration=HOUR)
    asked = [
        Window(opens_at=NOON + n * hours * HOUR, closes_at=NOON + n * hours * HOUR + HOUR)
        for n in range(1, 50)
    ]
    began = NOON + since * HOUR
    now = began + idle * HOUR
    expected = [window for window in asked if began < window.closes_at <= now]
    assert list(windows_over(every, last=NOON, since=began, now=now)) == expected


@pytest.mark.parametrize("enabled", [False, True])
def test_a_cancelled_rotation_misses_nothing(
    client: Client, node: Node, clock: SettableClock, enabled: bool
) -> None:
    arn = schedule(client, node, **HOURLY)
    if not enabled:
        client("CancelRotateSecret", SecretId=arn)
    clock.set(NOON + 6 * HOUR)
    settle(node)
    assert len(failures(client, arn)) == int(enabled)


@pytest.mark.parametrize("accepts_pending", [True, False])
def test_a_version_that_was_left_pending_heals_by_what_the_database_accepts(
    client: Client, node: Node, clock: SettableClock, world: World, accepts_pending: bool
) -> None:
    arn = schedule(client, node, **HOURLY)
    left = client(
        "PutSecretValue",
        SecretId=arn,
        ClientRequestToken=token(9),
        SecretString=value("db-1", "left-password"),
        VersionStages=["AWSPENDING"],
    )["VersionId"]
    if accepts_pending:
        world.accepted[arn] = "left-password"
    begun = len(world.steps(arn))
    walk(clock, node, NOON + 5 * HOUR)
    healing = (
        ["testSecret", "finishSecret"] if accepts_pending else ["setSecret", "testSecret", "finishSecret"]
    )
    assert world.steps(arn)[begun:] == ["probe", *healing]
    assert stages(client, arn)["AWSCURRENT"] == left
    assert world.accepted[arn] == "left-password"
