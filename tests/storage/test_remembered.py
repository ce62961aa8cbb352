"""Remembered rows: never older than the last commit that a reader could have been told of."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import bindparam, func, select

from tests.support import StorePlace
from turnlock.core.arn import AccountId, Region
from turnlock.storage import Database, HotQuery, Unit
from turnlock.storage.leases import claim, leases
from turnlock.storage.remembered import LARGEST_BLOB, MOST_QUERIES, NotRemembered, RememberedRows
from turnlock.storage.sqlite import SqliteDatabase

ACCOUNT, REGION = AccountId("123456789012"), Region("eu-central-1")
FENCES = HotQuery(select(leases.c.fence).where(leases.c.name == bindparam("name")))


def take(database: Database, name: str) -> None:
    """Claim a lease that is over at once, so that each claim raises its fence by one."""
    assert (
        database.write(lambda unit: claim(unit, ACCOUNT, REGION, name, holder="test", seconds=0)) is not None
    )


def fence(unit: Unit) -> int | None:
    rows = FENCES.rows(unit, {"name": "one"})
    return rows[0][0] if rows else None


@pytest.fixture
def place(tmp_path: Path) -> StorePlace:
    return StorePlace(url=None, data_dir=tmp_path)


def test_a_read_sees_every_change_that_was_acknowledged_before_it_began(place: StorePlace) -> None:
    database = place.open()
    for expected in range(1, 20):
        take(database, "one")
        assert database.read(fence) == expected
        assert database.read(fence) == expected
    place.close()


def test_a_change_by_another_node_is_seen_at_once(place: StorePlace) -> None:
    reader, writer = place.open(), place.open()
    take(writer, "one")
    assert reader.read(fence) == 1
    take(writer, "one")
    assert reader.read(fence) == 2
    place.close()


def test_a_change_is_seen_in_every_thread(place: StorePlace) -> None:
    database = place.open()
    wrong: list[tuple[int, int | None]] = []
    change, seen = threading.Barrier(3), threading.Barrier(3)

    def watch() -> None:
        for expected in range(1, 20):
            change.wait(60)
            found = database.read(fence)
            if found != expected:
                wrong.append((expected, found))
            seen.wait(60)

    threads = [threading.Thread(target=watch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(1, 20):
        take(database, "one")
        change.wait(60)
        seen.wait(60)
    for thread in threads:
        thread.join(60)
    assert wrong == []
    place.close()


def test_a_remembered_read_runs_without_a_connection(place: StorePlace) -> None:
    database = place.open()
    take(database, "one")
    database.read(fence)

    def work(unit: Unit) -> bool:
        assert fence(unit) == 1
        try:
            unit.driver.execute("SELECT 1")
        except NotRemembered:
            attempts.append("without")
            raise
        attempts.append("with")
        return True

    attempts: list[str] = []
    assert database.read(work)
    assert attempts == ["without", "with"]
    place.close()


def test_what_is_not_remembered_is_read_on_one_snapshot_from_the_start(place: StorePlace) -> None:
    database = place.open()
    take(database, "one")
    database.read(fence)

    def work(unit: Unit) -> tuple[int | None, int | None]:
        return fence(unit), unit.connection.execute(select(func.max(leases.c.fence))).scalar()

    assert database.read(work) == (1, 1)
    place.close()


def test_a_derived_value_is_made_anew_after_a_change(place: StorePlace) -> None:
    database = place.open()
    made: list[int | None] = []

    def work(unit: Unit) -> int | None:
        def make() -> int | None:
            made.append(fence(unit))
            return made[-1]

        return unit.derived("fence", make)

    take(database, "one")
    assert [database.read(work) for _ in range(3)] == [1, 1, 1]
    take(database, "one")
    assert [database.read(work) for _ in range(3)] == [2, 2, 2]
    assert made == [1, 2]
    place.close()


def test_a_group_of_reads_sees_every_change_that_was_acknowledged_before_it(place: StorePlace) -> None:
    database, elsewhere = place.open(), place.open()
    take(database, "one")
    for expected in range(1, 10):
        assert [outcome.result() for outcome in database.read_each([fence] * 3)] == [expected] * 3
        take(elsewhere, "one")
    place.close()


def test_in_a_group_each_read_has_its_own_outcome(place: StorePlace) -> None:
    database = place.open()
    take(database, "one")
    database.read(fence)

    def fail(_unit: Unit) -> int | None:
        raise LookupError

    def ask_more(unit: Unit) -> int | None:
        return unit.connection.execute(select(func.max(leases.c.fence))).scalar()

    outcomes = database.read_each([fence, fail, ask_more, fail, fence])
    assert [outcome.value for outcome in outcomes] == [1, None, 1, None, 1]
    assert [type(outcome.failure) for outcome in outcomes if outcome.failure is not None] == [LookupError] * 2
    place.close()


class Busy:
    """A driver's connection on which no transaction begins."""

    def __init__(self, driver: sqlite3.Connection) -> None:
        self._driver = driver

    def execute(self, sql: str) -> sqlite3.Cursor:
        if sql == "BEGIN":
            raise sqlite3.OperationalError("database is locked")
        return self._driver.execute("SELECT 1" if sql == "ROLLBACK" else sql)


def test_a_snapshot_that_could_not_be_had_makes_no_old_row_be_believed(place: StorePlace) -> None:
    database = place.open()
    assert isinstance(database, SqliteDatabase)
    take(database, "one")
    assert database.read(fence) == 1
    take(database, "one")
    reader = database._reader()
    whole, reader.driver = reader.driver, cast("sqlite3.Connection", Busy(reader.driver))
    outcomes = database.read_each([fence, fence])
    assert [type(outcome.failure) for outcome in outcomes] == [sqlite3.OperationalError] * 2
    reader.driver = whole
    assert database.read(fence) == 2
    place.close()


def test_a_unit_that_writes_remembers_nothing(place: StorePlace) -> None:
    database = place.open()
    database.write(lambda unit: [unit.derived("key", object) for _ in range(2)])
    assert database.write(lambda unit: unit.remembered) is None
    place.close()


def test_large_values_and_more_than_the_bound_are_not_kept() -> None:
    memory = RememberedRows()
    memory.begin(1)
    memory.keep("large", [(b"x" * (LARGEST_BLOB + 1),)])
    assert memory.find("large") is None
    for number in range(MOST_QUERIES + 5):
        memory.keep(number, [(number,)])
    assert memory.find(0) is None
    assert memory.find(MOST_QUERIES + 4) == [(MOST_QUERIES + 4,)]
    memory.begin(2)
    assert memory.find(MOST_QUERIES + 4) is None


def test_what_comes_from_a_row_too_large_to_be_kept_is_not_kept() -> None:
    memory = RememberedRows()
    memory.begin(1)
    made: list[int] = []

    def derive(size: int) -> int:
        memory.keep(("rows", size), [(b"x" * size,)])
        made.append(size)
        return size

    for _ in range(2):
        memory.value("small", lambda: derive(10))
        memory.value("large", lambda: derive(LARGEST_BLOB + 1))
    assert made == [10, LARGEST_BLOB + 1, LARGEST_BLOB + 1]
