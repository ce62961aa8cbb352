"""Several nodes on one store: one carries each plan out at a time, whoever crashes, stops or wakes."""

from __future__ import annotations

import json
import threading
from collections import Counter
from datetime import timedelta

import pytest
from sqlalchemy import func, select
from structlog.typing import EventDict

from tests.calling import Client, token
from tests.rotation.conftest import MakeNode
from tests.rotation.hosted import (
    Crash,
    World,
    crash_at,
    create,
    events,
    let_leases_run_out,
    nothing,
    plan_rows,
    rotate,
    settle,
    stages,
    tick_until,
    wait_until,
)
from tests.support import NOON, SettableClock
from turnlock.rotation import Limits
from turnlock.rotation.store import PlanRow, runnable
from turnlock.secrets.tables import secret_versions

STEPS = ("createSecret", "setSecret", "testSecret", "finishSecret")


def password(client: Client, arn: str) -> str:
    found = client("GetSecretValue", SecretId=arn)["SecretString"]
    return str(json.loads(found)["password"])


def assert_rotated_once(client: Client, world: World, arn: str, number: int = 2) -> None:
    """Check that nothing of one rotation was doubled, and that its version logs in."""
    assert stages(client, arn) == {"AWSCURRENT": token(number), "AWSPREVIOUS": token(number - 1)}
    assert world.accepted[arn] == password(client, arn)
    assert events(client.database, arn) == ["RotationStarted", "RotationSucceeded"]
    counted = select(func.count()).select_from(secret_versions)
    assert client.database.read(lambda unit: unit.connection.execute(counted).scalar_one()) == 2
    assert [row.run for row in plan_rows(client.database)] == [1]


def test_each_step_is_run_by_exactly_one_node(client: Client, make_node: MakeNode, world: World) -> None:
    nodes = [make_node(Limits(at_once=3, per_host=2)) for _ in range(2)]
    world.seconds = 0.01
    arns = [create(client, f"{host}/{number}") for host in "abc" for number in range(4)]
    for arn in arns:
        rotate(client, arn)
    ticking = [threading.Thread(target=settle, args=(node,)) for node in nodes]
    for thread in ticking:
        thread.start()
    for thread in ticking:
        thread.join(30)
    settle(*nodes)
    assert Counter(world.calls) == {(arn, step): 1 for arn in arns for step in STEPS}
    assert {world.most[arn] for arn in arns} == {1}
    assert max(world.most[f"host {host}"] for host in "abc") <= 2
    assert max(world.most["node node-0"], world.most["node node-1"]) <= 3
    for arn in arns:
        assert events(client.database, arn) == ["RotationStarted", "RotationSucceeded"]


@pytest.mark.parametrize("moment", ["decided", "returned"])
@pytest.mark.parametrize("step", STEPS)
def test_what_a_crashed_node_left_another_one_ends(
    client: Client, make_node: MakeNode, world: World, step: str, moment: str
) -> None:
    first = make_node(observe=crash_at(moment, step))
    arn = create(client)
    rotate(client, arn)
    first.scheduler.tick()
    wait_until(lambda: first.scheduler.busy == 0)
    assert json.loads(plan_rows(client.database)[0].plan)["in_flight"]
    before = len(world.calls)
    second = make_node()
    settle(second)
    assert len(world.calls) == before, "the lease of the crashed node is not over"
    let_leases_run_out(client)
    settle(second)
    assert world.steps(arn)[before] == "probe"
    assert_rotated_once(client, world, arn)


@pytest.mark.parametrize("step", STEPS)
def test_a_crash_in_the_middle_of_a_step_is_ended_by_what_the_database_accepts(
    client: Client, make_node: MakeNode, world: World, step: str
) -> None:
    first = make_node()

    def crash(when: str, _invocation: object, _abort: object) -> None:
        if when == step:
            raise Crash

    world.after = crash
    arn = create(client)
    rotate(client, arn)
    first.scheduler.tick()
    wait_until(lambda: first.scheduler.busy == 0)
    world.after = nothing
    let_leases_run_out(client)
    settle(make_node())
    assert "probe" in world.steps(arn)
    assert_rotated_once(client, world, arn)


@pytest.mark.slow
def test_a_node_that_cannot_renew_ends_its_function_and_another_takes_over(
    client: Client, make_node: MakeNode, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_node(Limits(lease_seconds=4.0))
    aborted = threading.Event()
    free: list[PlanRow] = []

    def hang(step: str, _invocation: object, abort: threading.Event) -> None:
        if step == "setSecret" and not aborted.is_set():
            assert abort.wait(60)
            free.extend(client.database.write(lambda unit: runnable(unit, unit.now, 1)))
            aborted.set()
            raise RuntimeError("killed")

    world.before = hang
    arn = create(client)
    rotate(client, arn)
    tick_until(lambda: "setSecret" in world.steps(arn), first)
    monkeypatch.setattr(first.scheduler._keeper, "_renew", lambda _holds: None)
    wait_until(aborted.is_set)
    assert free == [], "the function ran on when the lease was over"
    second = make_node()
    tick_until(lambda: "RotationSucceeded" in events(client.database), second)
    assert world.steps(arn)[2:] == ["probe", "setSecret", "testSecret", "finishSecret"]
    assert_rotated_once(client, world, arn)


def test_a_node_that_was_stopped_and_wakes_changes_nothing(
    client: Client, make_node: MakeNode, world: World, logs: list[EventDict]
) -> None:
    stopped, go_on = threading.Event(), threading.Event()

    def stop(step: str, _invocation: object, _abort: object) -> None:
        if step == "setSecret" and not stopped.is_set():
            stopped.set()
            assert go_on.wait(20)

    first = make_node()
    world.before = stop
    arn = create(client)
    rotate(client, arn)
    tick_until(stopped.is_set, first)
    first.scheduler._keeper._closing.set()  # its threads stand still with it
    let_leases_run_out(client)
    second = make_node()
    settle(second)
    assert_rotated_once(client, world, arn)
    rotate(client, arn, 3)
    settle(second)
    before = (client("DescribeSecret", SecretId=arn), plan_rows(client.database), world.accepted[arn])
    go_on.set()
    wait_until(lambda: first.scheduler.busy == 0)
    assert (client("DescribeSecret", SecretId=arn), plan_rows(client.database), world.accepted[arn]) == before
    assert [line["action"] for line in logs if line["log_level"] == "warning"] == ["rotation_taken_over"]
    assert world.accepted[arn] == password(client, arn)


def test_a_woken_nodes_function_may_not_even_read(client: Client, make_node: MakeNode, world: World) -> None:
    first = make_node()
    held = threading.Event()
    errors: list[str] = []

    def stop(step: str, _invocation: object, _abort: object) -> None:
        if step == "setSecret" and not held.is_set():
            held.set()
            let_leases_run_out(client)
            settle(second)
            for operation in ("GetSecretValue", "DescribeSecret"):
                try:
                    first.caller(arn)(operation, SecretId=arn)
                except Exception as error:  # noqa: BLE001 (all are compared)
                    errors.append(type(error).__name__)

    second = make_node()
    world.before = stop
    arn = create(client)
    rotate(client, arn)
    first.scheduler.tick()
    wait_until(lambda: held.is_set() and first.scheduler.busy == 0)
    assert errors == ["ExpiredTokenException"] * 2
    assert_rotated_once(client, world, arn)


def test_a_node_takes_its_own_plan_up_again_after_losing_the_lease(
    client: Client, make_node: MakeNode, world: World
) -> None:
    node = make_node(Limits(at_once=2))
    entered, go_on = threading.Event(), threading.Event()

    def hold(step: str, _invocation: object, _abort: object) -> None:
        if step == "createSecret" and not entered.is_set():
            entered.set()
            assert go_on.wait(60)

    world.before = hold
    arn = create(client)
    rotate(client, arn)
    tick_until(entered.is_set, node)
    let_leases_run_out(client)
    tick_until(lambda: "RotationSucceeded" in events(client.database), node)
    wait_until(lambda: node.scheduler.busy == 1)  # the one that is held
    go_on.set()
    wait_until(lambda: node.scheduler.busy == 0)
    assert_rotated_once(client, world, arn)


def test_nodes_that_begin_what_is_due_at_the_same_moment_begin_it_once(
    client: Client, make_node: MakeNode, clock: SettableClock
) -> None:
    nodes = [make_node(Limits(at_once=1)) for _ in range(3)]
    arns = [create(client, f"db/{number}") for number in range(10)]
    for arn in arns:
        rotate(client, arn, RotationRules={"AutomaticallyAfterDays": 1}, RotateImmediately=False)
    settle(*nodes)
    clock.set(NOON.replace(hour=2) + timedelta(days=1))
    threads = [threading.Thread(target=node.scheduler.tick) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    settle(*nodes)
    for arn in arns:
        assert events(client.database, arn)[2:] == ["RotationStarted", "RotationSucceeded"]
