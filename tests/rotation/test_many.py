"""Ten thousand secrets of one schedule: they start spread out, no host is overrun, and all are rotated."""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from datetime import datetime, timedelta
from functools import partial

import pytest

from tests.calling import ACCOUNT, REGION, Client
from tests.rotation.conftest import MakeNode
from tests.rotation.hosted import World, create_scheduled, records, settle
from tests.support import NOON, SettableClock
from turnlock.rotation import Limits
from turnlock.rotation.plans import scheduled
from turnlock.rotation.runner.due import begin_soon
from turnlock.secrets import Rotation, Secret
from turnlock.secrets.store import _row
from turnlock.secrets.tables import secrets
from turnlock.storage import Database, Unit

COUNT = 10_000 if os.environ.get("TURNLOCK_PROOF") == "full" else 200
"""Rotating one takes some 20 ms of two cores that have nothing else to do."""

MIDNIGHT = NOON.replace(hour=0) + timedelta(days=1)
HOUR = timedelta(hours=1)


def secret(number: int, **rules: object) -> Secret:
    return Secret(
        account_id=ACCOUNT,
        region=REGION,
        name=f"s{number}",
        suffix="AbCdEf",
        created_at=NOON,
        last_changed_at=NOON,
        rotation=Rotation(enabled=True, function_arn="f", rules=rules),
    )


@pytest.mark.parametrize(
    ("rules", "opens_at", "spread"),
    [
        ({"AutomaticallyAfterDays": 1}, MIDNIGHT, HOUR),
        pytest.param(
            {"AutomaticallyAfterDays": 1, "Duration": "2h"}, MIDNIGHT, HOUR / 2, marks=pytest.mark.slow
        ),
        pytest.param(
            {"ScheduleExpression": "rate(4 hours)"}, NOON + 4 * HOUR, HOUR / 4, marks=pytest.mark.slow
        ),
        ({"ScheduleExpression": "cron(0 8 1 * ? *)"}, datetime(2026, 12, 1, 8, tzinfo=NOON.tzinfo), HOUR),
    ],
    ids=["days", "short windows", "hours", "cron"],
)
def test_the_turns_of_ten_thousand_secrets_are_spread_evenly(
    database: Database, rules: dict[str, object], opens_at: datetime, spread: timedelta
) -> None:
    def turns(unit: Unit) -> list[datetime | None]:
        return [
            scheduled(unit, secret(number, **rules), last=NOON, now=NOON).rotation.starts_at
            for number in range(10_000)
        ]

    starts = database.read(turns)
    parts = Counter(int((at - opens_at) / (spread / 50)) for at in starts if at is not None)
    assert set(parts) == set(range(50))
    # 200 are expected in each part, with a standard deviation of 14.
    assert 110 < min(parts.values()) <= max(parts.values()) < 300
    assert starts == database.read(turns), "a secret's turn does not depend on who asks"


def test_a_secrets_turns_differ_from_window_to_window(database: Database) -> None:
    def turns(unit: Unit) -> list[timedelta]:
        found = []
        for day in range(20):
            rotation = scheduled(
                unit, secret(1, AutomaticallyAfterDays=1), last=NOON + day * 24 * HOUR, now=NOON
            ).rotation
            assert rotation.starts_at is not None
            assert rotation.opens_at is not None
            found.append(rotation.starts_at - rotation.opens_at)
        return found

    assert len(set(database.read(turns))) == 20


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_many_secrets_of_one_schedule_are_rotated_by_two_nodes(
    client: Client, make_node: MakeNode, clock: SettableClock, world: World
) -> None:
    nodes = [make_node(Limits(at_once=3, per_host=2)) for _ in range(2)]
    names = [f"host-{number % 4}/{number}" for number in range(COUNT)]
    create_scheduled(client, names, AutomaticallyAfterDays=1)
    clock.set(MIDNIGHT)
    while clock.now() < MIDNIGHT + HOUR:
        clock.advance(HOUR / 20)
        settle(*nodes, seconds=600)
    begun = Counter[str]()
    ended = Counter[str]()
    parts = Counter[str]()
    for record in records(client.database):
        arn = record["additionalEventData"]["SecretId"]
        begun[arn] += record["eventName"] == "RotationStarted"
        ended[arn] += record["eventName"] == "RotationSucceeded"
        parts[record["eventTime"]] += record["eventName"] == "RotationStarted"
    assert len(begun) == COUNT
    assert set(begun.values()) == set(ended.values()) == {1}
    assert max(Counter(world.calls).values()) == 1
    assert len(world.calls) == 4 * COUNT
    mean = COUNT / 20
    assert len(parts) >= 18  # of 20; with 200 secrets, one is left empty in each 1,400th run
    assert max(parts.values()) < mean + 6 * mean**0.5
    assert max(world.most[f"host host-{number}"] for number in range(4)) == 2
    assert max(world.most[f"node node-{number}"] for number in range(2)) == 3
    assert client.database.read(begin_soon) is False


@pytest.mark.slow
def test_a_tick_with_nothing_due_is_cheap_among_a_hundred_thousand_secrets(
    database: Database, make_node: MakeNode
) -> None:
    def insert(first: int, unit: Unit) -> None:
        found = [secret(number, AutomaticallyAfterDays=1) for number in range(first, first + 10_000)]
        rows = [_row(scheduled(unit, each, last=NOON, now=NOON)) for each in found]
        unit.connection.execute(secrets.insert(), rows)

    for first in range(0, 100_000, 10_000):
        database.write(partial(insert, first))
    if database.dialect == "postgresql":
        database.write(lambda unit: unit.connection.exec_driver_sql("ANALYZE"))
    node = make_node()
    times = []
    for _ in range(200):
        began = time.perf_counter()
        node.scheduler.tick()
        times.append(time.perf_counter() - began)
    micros = min(times) * 1e6  # what it takes, not what else the machine had to do
    median = statistics.median(times) * 1e6
    print(
        f"a tick with 100,000 secrets scheduled and none due: {micros:.0f} µs, median {median:.0f}, on {database.dialect}"
    )
    assert micros < 20_000
