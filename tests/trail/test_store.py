"""The trail's table: rows of the transaction that made the change, chained by writer."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from tests.support import NOON, StorePlace
from tests.trail.test_journal import entry
from turnlock.core.arn import AccountId, Region
from turnlock.errors import CommitFailed
from turnlock.storage import Database, Unit
from turnlock.trail import TrailTable, record_service_event, verify
from turnlock.trail.store import trail_records


def opened(place: StorePlace) -> Database:
    numbers = count(1)
    return place.open(sink=lambda: TrailTable(f"w{next(numbers)}"))


def chains(database: Database) -> dict[str, list[str]]:
    """Return the event ids of every writer in their order; each chain must hold."""
    statement = select(trail_records).order_by(trail_records.c.writer, trail_records.c.sequence)
    found: dict[str, list[Any]] = {}
    for row in database.read(lambda unit: unit.connection.execute(statement).all()):
        found.setdefault(row.writer, []).append(row)
    assert database.read(verify) == []
    return {writer: [row.event_id for row in rows] for writer, rows in found.items()}


def test_records_of_units_make_one_chain(store_place: StorePlace) -> None:
    database = opened(store_place)
    for name in "abc":
        database.write(lambda unit, name=name: unit.record(entry(name)))  # type: ignore[misc]
    database.write(lambda unit: None)
    assert chains(database) == {"w1": ["a", "b", "c"]}


def test_a_unit_that_raises_leaves_no_record_and_no_gap(store_place: StorePlace) -> None:
    database = opened(store_place)

    def fail(unit: Unit) -> None:
        unit.record(entry("lost"))
        raise ValueError("no")

    database.write(lambda unit: unit.record(entry("a")))
    with pytest.raises(ValueError, match="no"):
        database.write(fail)
    database.write(lambda unit: unit.record(entry("b")))
    assert chains(database) == {"w1": ["a", "b"]}


def test_after_a_commit_that_failed_another_chain_begins(store_place: StorePlace) -> None:
    """The event id is taken: the row, and with it the commit, is refused by the database."""
    database = opened(store_place)
    database.write(lambda unit: unit.record(entry("a")))
    with capture_logs(), pytest.raises(CommitFailed):
        database.write(lambda unit: unit.record(entry("a")))
    database.write(lambda unit: unit.record(entry("b")))
    assert chains(database) == {"w1": ["a"], "w2": ["b"]}


def test_many_writers_at_once_each_keep_a_chain_that_holds(store_place: StorePlace) -> None:
    database = opened(store_place)
    futures = [
        database.submit(lambda unit, name=f"{number:03}": unit.record(entry(name)))  # type: ignore[misc]
        for number in range(60)
    ]
    for future in futures:
        future.result(30)
    found = chains(database)
    assert sorted(name for names in found.values() for name in names) == [f"{n:03}" for n in range(60)]


def test_a_service_event_is_a_record_of_its_unit(store_place: StorePlace) -> None:
    database = opened(store_place)

    def work(unit: Unit) -> None:
        record_service_event(
            unit,
            account_id=AccountId("123456789012"),
            region=Region("eu-central-1"),
            name="RotationFailed",
            secret_arn="arn:aws:secretsmanager:eu-central-1:123456789012:secret:x-abcdef",
            request_id="r",
            error="why",
        )
        assert unit.entries[0].at == unit.now > NOON.replace(year=2000)

    database.write(work)
    (name,) = database.read(
        lambda unit: unit.connection.execute(select(trail_records.c.event_name)).scalars().all()
    )
    assert name == "RotationFailed"
