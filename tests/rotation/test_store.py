"""The table of rotations: its rows, its invariants, and what of it can run."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, update
from structlog.testing import capture_logs

from tests.calling import ACCOUNT, REGION, Client, token
from tests.rotation.hosted import FUNCTION, Node, create, plan_rows, rotate, settle, stages, value
from tests.sampling import examples
from tests.support import NOON, SettableClock
from turnlock import secrets
from turnlock.errors import SealBroken, StoreError
from turnlock.rotation.plan.machine import begin
from turnlock.rotation.plan.states import Plan, PlanState, Purpose, Step
from turnlock.rotation.store import (
    KEPT,
    Among,
    PlanRow,
    busy_hosts,
    find_row,
    find_unfinished,
    insert_plan,
    last_plan,
    rotations,
    runnable,
    save_plan,
)
from turnlock.secrets import Secret
from turnlock.storage import Unit, leases

MINUTE = timedelta(minutes=1)


def plan(number: int = 2) -> Plan:
    return begin(
        token=token(number),
        purpose=Purpose.ROTATE,
        now=NOON,
        starts_at=NOON,
        window_closes_at=NOON + 60 * MINUTE,
    )[0]


def read(client: Client, arn: str) -> Secret:
    reference = secrets.parse_secret_id(arn, ACCOUNT, REGION)
    found = client.database.read(lambda unit: secrets.find_secret(unit, reference))
    assert found is not None
    return found


def add(client: Client, name: str, *, host: bytes | None = None, due: int = 0, number: int = 2) -> Secret:
    """Make a secret with a plan that is due this many minutes after noon."""
    secret = read(client, create(client, name))
    due_plan = plan(number).evolve(next_attempt_at=NOON + due * MINUTE)
    client.database.write(lambda unit: insert_plan(unit, secret, FUNCTION, due_plan, host))
    return secret


def unfinished(client: Client, secret: Secret) -> PlanRow:
    row = client.database.read(lambda unit: find_unfinished(unit, secret))
    assert row is not None
    return row


def hold(client: Client, secret: Secret, *, seconds: float = 60) -> None:
    lease = unfinished(client, secret).lease
    client.database.write(
        lambda unit: leases.claim(unit, ACCOUNT, REGION, lease, holder="x", seconds=seconds)
    )


def names(rows: list[PlanRow]) -> list[str]:
    return [row.name for row in rows]


PLANS = st.builds(
    Plan,
    token=st.just(token(2)),
    purpose=st.sampled_from([Purpose.ROTATE, Purpose.TEST]),  # `last_plan` passes over the third
    state=st.sampled_from(PlanState),
    step=st.sampled_from(Step),
    in_flight=st.booleans(),
    exposed=st.booleans(),
    attempts=st.integers(0, 10_000),
    next_attempt_at=st.integers(0, 10**12).map(lambda micros: NOON + timedelta(microseconds=micros)),
    window_closes_at=st.just(NOON),
    started_at=st.just(NOON),
    last_error=st.none() | st.text(alphabet=st.characters(codec="utf-8")),
)


@settings(
    max_examples=examples(30), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(PLANS)
def test_a_plan_comes_back_as_it_was_written(client: Client, changed: Plan) -> None:
    secret = client.database.read(
        lambda unit: secrets.find_secret(unit, secrets.parse_secret_id("s", ACCOUNT, REGION))
    )
    secret = secret or add(client, "s")

    def work(unit: Unit) -> Plan | None:
        row = last_plan(unit, secret, token(2))
        assert row is not None
        save_plan(unit, row, changed, look_at=NOON)
        again = find_row(unit, row)
        return None if again is None else again.plan

    assert client.database.write(work) == changed


def test_the_schema_refuses_a_second_unfinished_plan(client: Client) -> None:
    secret = add(client, "s")
    with pytest.raises((StoreError, Exception), match=r"(?i)unique|commit failed"):
        client.database.write(lambda unit: insert_plan(unit, secret, FUNCTION, plan(3), None))
    assert len(plan_rows(client.database)) == 1


def test_a_plan_that_lost_its_window_is_still_unfinished(client: Client) -> None:
    secret = add(client, "s")
    row = unfinished(client, secret)
    lost = row.plan.evolve(state=PlanState.FAILED)
    client.database.write(lambda unit: save_plan(unit, row, lost, look_at=NOON))
    assert unfinished(client, secret).plan.state is PlanState.FAILED


def test_plans_of_one_token_are_counted_and_the_newest_is_the_last(client: Client) -> None:
    secret = add(client, "s")
    row = unfinished(client, secret)
    over = row.plan.evolve(state=PlanState.CANCELLED)
    client.database.write(lambda unit: save_plan(unit, row, over, look_at=NOON))
    client.database.write(lambda unit: insert_plan(unit, secret, FUNCTION, plan(), None))
    newest = client.database.read(lambda unit: last_plan(unit, secret, token(2)))
    assert newest is not None
    assert (newest.run, newest.plan.state) == (2, PlanState.RUNNING)


def test_finished_plans_are_forgotten_in_time(client: Client, clock: SettableClock) -> None:
    secret = add(client, "s")
    row = unfinished(client, secret)
    over = row.plan.evolve(state=PlanState.SUCCEEDED)
    client.database.write(lambda unit: save_plan(unit, row, over, look_at=NOON))
    for span, left in ((KEPT - MINUTE, 2), (MINUTE, 1)):
        clock.advance(span)
        number = len(plan_rows(client.database)) + 2
        client.database.write(
            lambda unit: insert_plan(unit, secret, FUNCTION, plan(number), None)  # noqa: B023 (called at once)
        )
        newest = unfinished(client, secret)
        ended = newest.plan.evolve(state=PlanState.SUCCEEDED)
        client.database.write(
            lambda unit: save_plan(unit, newest, ended, look_at=NOON)  # noqa: B023 (called at once)
        )
        assert len(plan_rows(client.database)) == left + (span == MINUTE)


def test_what_is_due_longest_comes_first_and_what_is_not_due_does_not(client: Client) -> None:
    for name, due in (("b", -2), ("c", 0), ("a", -1), ("later", 1)):
        add(client, name, due=due)
    found = client.database.read(lambda unit: runnable(unit, NOON, 10))
    assert names(found) == ["b", "a", "c"]
    assert names(client.database.read(lambda unit: runnable(unit, NOON, 2))) == ["b", "a"]


def test_a_plan_that_was_forged_is_passed_over_with_an_alarm_and_the_others_run(client: Client) -> None:
    forged, other = add(client, "forged", due=-5), add(client, "other")
    ours = rotations.c.name == "forged"
    (text,) = (row.plan for row in plan_rows(client.database) if row.name == "forged")
    step = text.replace("createSecret", "finishSecret")
    assert step != text
    client.database.write(
        lambda unit: unit.connection.execute(update(rotations).where(ours).values(plan=step))
    )
    with capture_logs() as logged:
        assert names(client.database.write(lambda unit: runnable(unit, NOON, 1))) == []
        assert names(client.database.write(lambda unit: runnable(unit, NOON, 1))) == [other.name]
    assert [line["table"] for line in logged if line["action"] == "seal_broken"] == ["rotations"]
    for ask in (find_unfinished, lambda unit, secret: last_plan(unit, secret, token(2))):
        with capture_logs(), pytest.raises(SealBroken):
            client.database.read(lambda unit: ask(unit, forged))  # noqa: B023 (called at once)


def test_a_plan_that_was_added_by_hand_moves_no_label(
    client: Client, node: Node, clock: SettableClock
) -> None:
    """Somebody stages a value by hand, and writes a plan that has only to finish: readers would get what no database takes."""
    arn = create(client)
    rotate(client, arn)
    settle(node)
    clock.advance(MINUTE)
    before = stages(client, arn)["AWSCURRENT"]
    client(
        "PutSecretValue",
        SecretId=arn,
        SecretString=value(password="never set"),
        ClientRequestToken=token(9),
        VersionStages=["AWSPENDING"],
    )
    done = plan_rows(client.database)[0]._mapping
    steps = plan(9).evolve(step=Step.FINISH, next_attempt_at=NOON)
    row = {**done, "token": token(9), "run": 7, "state": "running", "finished_at": None}
    row |= {
        "plan": msgspec.json.encode(steps).decode(),
        "next_attempt_at": NOON,
        "overdue_at": NOON + 60 * MINUTE,
    }
    client.database.write(lambda unit: unit.connection.execute(insert(rotations).values(row)))
    with capture_logs() as logged:
        for _ in range(3):
            node.scheduler.tick()
    assert [line["table"] for line in logged if line["action"] == "seal_broken"] == ["rotations"]
    assert stages(client, arn)["AWSCURRENT"] == before


def test_what_is_leased_or_finished_cannot_run(client: Client) -> None:
    held, over, free = add(client, "held"), add(client, "over"), add(client, "free")
    hold(client, held)
    row = unfinished(client, over)
    ended = row.plan.evolve(state=PlanState.ABANDONED)
    client.database.write(lambda unit: save_plan(unit, row, ended, look_at=NOON))
    assert names(client.database.read(lambda unit: runnable(unit, NOON, 10))) == [free.name]


def test_a_lease_that_ran_out_holds_nothing(client: Client) -> None:
    secret = add(client, "s", host=b"h")
    hold(client, secret, seconds=0)
    assert names(client.database.read(lambda unit: runnable(unit, NOON, 10))) == ["s"]
    assert client.database.read(busy_hosts) == {}


def test_hosts_are_counted_by_what_runs_against_them(client: Client) -> None:
    for name, host in (("a", b"one"), ("b", b"one"), ("c", b"two"), ("d", None)):
        hold(client, add(client, name, host=host))
    add(client, "e", host=b"one")
    assert client.database.read(busy_hosts) == {b"one": 2, b"two": 1}


def test_thousands_that_wait_for_one_host_do_not_hide_another(client: Client) -> None:
    for number in range(12):
        add(client, f"busy-{number}", host=b"busy", due=-5)
    add(client, "quiet", host=b"quiet", due=-1)
    add(client, "nowhere", due=0)
    found = client.database.read(lambda unit: runnable(unit, NOON, 5, Among(passing_over=[b"busy"])))
    assert names(found) == ["quiet", "nowhere"]


def test_what_is_slow_against_one_host_is_left_out_or_asked_for_alone_also_without_a_host(
    client: Client,
) -> None:
    for number, (name, host) in enumerate((("one", b"one"), ("two", b"two"), ("nowhere", None))):
        add(client, name, host=host, due=number - 5)
    rows = {row.name: row for row in client.database.read(lambda unit: runnable(unit, NOON, 9))}
    asked = {
        "but": Among(but=[rows["one"].target]),
        "but none": Among(but=[rows["nowhere"].target]),
        "only": Among(only=[rows["two"].target, rows["nowhere"].target]),
        "only nothing": Among(only=[]),
        "newest": Among(newest_first=True),
    }
    found = {
        name: names(client.database.read(lambda unit, among=among: runnable(unit, NOON, 9, among)))  # type: ignore[misc]
        for name, among in asked.items()
    }
    assert found == {
        "but": ["two", "nowhere"],
        "but none": ["one", "two"],
        "only": ["two", "nowhere"],
        "only nothing": [],
        "newest": ["nowhere", "two", "one"],
    }


def test_a_host_is_kept_as_a_keyed_hash_and_not_as_text(client: Client) -> None:
    for number, host in enumerate(["db.example", "DB.example", "other"]):
        name = f"s{number}"
        arn = create(client, name, SecretString=f'{{"host": "{host}", "password": "secret"}}')
        rotate(client, arn)
    first, second, third = (row.host_key for row in plan_rows(client.database))
    assert first == second != third
    assert b"example" not in first


@pytest.mark.parametrize("text", ["no document", "[1]", '{"host": 7}', '{"username": "app"}', "7"])
def test_a_value_that_names_no_host_has_no_key(client: Client, text: str) -> None:
    rotate(client, create(client, SecretString=text))
    assert [row.host_key for row in plan_rows(client.database)] == [None]
