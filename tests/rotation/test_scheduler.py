"""One node's scheduler its limits, its batches, and trouble of its own."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from datetime import timedelta
from functools import partial

import pytest
from sqlalchemy import delete, update
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
    let_leases_run_out,
    nothing,
    plan_rows,
    rotate,
    schedule,
    settle,
    stages,
    tick_until,
    wait_until,
)
from tests.support import NOON, SettableClock
from turnlock.accounts.store import sessions
from turnlock.errors import ApiError, CommitFailed
from turnlock.functions import Invocation
from turnlock.rotation import Limits
from turnlock.rotation.runner import places
from turnlock.rotation.runner.due import BATCH, POSTPONED
from turnlock.secrets.tables import staging_labels
from turnlock.storage import Database

MINUTE, DAY = timedelta(minutes=1), timedelta(days=1)


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_host_with_a_long_queue_does_not_keep_others_waiting(
    client: Client, make_node: MakeNode, world: World
) -> None:
    node = make_node(Limits(at_once=3, per_host=2))
    go_on = threading.Event()

    def hold(_step: str, invocation: Invocation, _abort: object) -> None:
        if "busy" in invocation.secret_arn:
            assert go_on.wait(60)

    world.before = hold
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
    world.before = nothing
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
    began = time.monotonic()

    def broken() -> int:
        return sum(line["action"] == "rotation_broken" for line in logs)

    tick_until(lambda: broken() >= 2, node)
    assert broken() <= 1 + (time.monotonic() - began) / 0.5, "one attempt for each length of the lease"
    for row in kept:
        mended = update(staging_labels).where(staging_labels.c.label == row["label"]).values(mac=row["mac"])
        client.database.write(lambda unit: unit.connection.execute(mended))  # noqa: B023 (called at once)
    tick_until(lambda: stages(client, arn)["AWSCURRENT"] == token(2), node)


def test_a_node_that_lost_its_store_leaves_its_plans_to_others(
    client: Client, make_node: MakeNode, world: World, logs: list[EventDict]
) -> None:
    node = make_node()
    world.before = lambda step, _invocation, _abort: (
        node.client.database.close() if step == "testSecret" else None
    )
    arn = create(client)
    rotate(client, arn)
    tick_until(lambda: node.scheduler.busy, node)
    wait_until(lambda: node.scheduler.busy == 0)
    assert stages(client, arn) == {"AWSCURRENT": token(1), "AWSPENDING": token(2)}
    world.before = nothing
    let_leases_run_out(client)
    other = make_node()
    tick_until(lambda: "RotationSucceeded" in events(client.database), other)
    assert world.steps(arn)[-3:] == ["probe", "testSecret", "finishSecret"]
    assert events(client.database) == ["RotationStarted", "RotationSucceeded"]


def test_a_node_goes_on_by_itself_when_its_store_was_away_for_a_while(
    client: Client,
    make_node: MakeNode,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    logs: list[EventDict],
) -> None:
    node = make_node()
    database = node.client.database

    def away(_work: object) -> None:
        raise CommitFailed

    def lose(step: str, _invocation: object, _abort: object) -> None:
        if step == "testSecret":
            for method in ("read", "write"):
                monkeypatch.setattr(database, method, away)

    world.before = lose
    arn = create(client)
    rotate(client, arn)
    node.scheduler.tick()
    wait_until(lambda: any(line["action"] == "lease_kept" for line in logs))
    for _ in range(3):
        with pytest.raises(CommitFailed):
            node.scheduler.tick()
    world.before = nothing
    monkeypatch.undo()
    let_leases_run_out(client)
    tick_until(lambda: "RotationSucceeded" in events(client.database), node)
    assert world.steps(arn)[-3:] == ["probe", "testSecret", "finishSecret"]
    assert events(client.database) == ["RotationStarted", "RotationSucceeded"]


def test_closing_ends_what_runs_in_bounded_time_and_leaves_the_plan_to_others(
    client: Client, make_node: MakeNode, world: World
) -> None:
    node = make_node()
    entered = threading.Event()

    def hang(_step: str, _invocation: object, abort: threading.Event) -> None:
        entered.set()
        assert abort.wait(60)

    world.before = hang
    arn = create(client)
    rotate(client, arn)
    tick_until(entered.is_set, node)
    began = time.monotonic()
    node.scheduler.close()
    assert time.monotonic() - began < 20
    world.before = nothing
    settle(make_node())
    assert stages(client, arn)["AWSCURRENT"] == token(2)


def test_a_place_that_becomes_free_wakes_the_loop(client: Client, node: Node) -> None:
    woken = threading.Event()
    node.scheduler.wake = woken.set
    rotate(client, create(client))
    node.scheduler.tick()
    assert woken.wait(60)


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


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a step be slow after 0.2 seconds, and be sent back after 0.4: nobody can wait for more in a test."""
    monkeypatch.setattr(places, "SLOW_AFTER", 0.2)
    monkeypatch.setattr(places, "SENT_BACK_AFTER", 0.4)


class Hanging:
    """Steps of secrets whose host begins with `hangs`, which end when they are let go or aborted."""

    def __init__(self, step: str = "createSecret") -> None:
        self.step, self.go_on, self.aborted = step, threading.Event(), Counter[str]()

    def __call__(self, step: str, invocation: Invocation, abort: threading.Event) -> None:
        if "hangs" not in invocation.secret_arn or step != self.step:
            return
        while not self.go_on.is_set():
            if abort.wait(0.01):
                self.aborted[invocation.secret_arn] += 1
                raise ApiError("The invocation was aborted.")


def rotated(client: Client, arn: str) -> bool:
    return "AWSPREVIOUS" in stages(client, arn)


@pytest.mark.slow
@pytest.mark.usefixtures("hasty")
def test_twenty_functions_that_hang_do_not_keep_a_quick_rotation_waiting(
    client: Client, make_node: MakeNode, world: World
) -> None:
    node = make_node(Limits(at_once=2, per_host=2, lease_seconds=60.0))
    world.before = hanging = Hanging()
    for number in range(20):
        rotate(client, create(client, f"hangs-{number}/app"))
    tick_until(lambda: node.scheduler.busy, node)
    began = time.monotonic()
    for number in range(4):
        arn = create(client, f"quick-{number}/app")
        rotate(client, arn)
        tick_until(partial(rotated, client, arn), node)
    print(f"4 quick rotations beside 20 that hang: {time.monotonic() - began:.2f} s")
    assert world.most["node node-0"] <= 6
    assert set(hanging.aborted.values()) <= {1}, "what is known to be slow is not sent back again"
    hanging.go_on.set()
    tick_until(lambda: events(client.database).count("RotationSucceeded") == 24, node, seconds=60)
    assert set(events(client.database)) == {"RotationStarted", "RotationSucceeded"}
    assert all(row.state == "succeeded" for row in plan_rows(client.database))


@pytest.mark.usefixtures("hasty")
def test_a_step_that_may_have_locked_applications_out_runs_to_its_end(
    client: Client, make_node: MakeNode, world: World
) -> None:
    node = make_node(Limits(at_once=1, per_host=2, lease_seconds=60.0))
    world.before = hanging = Hanging("setSecret")
    for number in range(3):
        rotate(client, create(client, f"hangs-{number}/app"))
    tick_until(lambda: node.scheduler.busy == 3, node)
    arn = create(client, "quick/app")
    rotate(client, arn)
    until = time.monotonic() + 1.0
    while time.monotonic() < until:
        node.scheduler.tick()
    assert not hanging.aborted
    hanging.go_on.set()
    settle(node)
    assert events(client.database).count("RotationSucceeded") == 4


@pytest.mark.slow
@pytest.mark.usefixtures("hasty")
def test_a_lease_is_kept_while_its_function_is_slow(
    client: Client, make_node: MakeNode, world: World
) -> None:
    first, second = (make_node(Limits(at_once=1, lease_seconds=3.0)) for _ in range(2))
    world.before = hanging = Hanging()
    arn = create(client, "hangs/app")
    rotate(client, arn)
    tick_until(lambda: first.scheduler.busy, first)
    until = time.monotonic() + 5.0
    while time.monotonic() < until:
        first.scheduler.tick()
        second.scheduler.tick()
        assert not second.scheduler.busy
    hanging.go_on.set()
    settle(first, second)
    assert world.most[arn] == 1
    assert events(client.database) == ["RotationStarted", "RotationSucceeded"]
