"""What a unit of work keeps, undoes, records and tells, on each store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import pytest
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from tests.storage.notes import fail_at_commit, make_notes, names, notes, put
from tests.support import NOON, SettableClock, StorePlace
from turnlock.core.arn import AccountId, Region
from turnlock.core.record import TrailEntry
from turnlock.errors import CommitFailed, ResourceNotFoundException
from turnlock.storage import Database, Unit
from turnlock.storage.database import Surroundings
from turnlock.storage.unit import Subscribers

PATIENCE = 30
"""Seconds that a test waits for what must come."""


def entry(name: str) -> TrailEntry:
    return TrailEntry(
        account_id=AccountId("123456789012"),
        region=Region("eu-central-1"),
        event_id=name,
        event_name="Test",
        at=NOON,
        body=name.encode(),
    )


class RecordingSink:
    """Keeps what each writer was given and told."""

    def __init__(self, log: list[tuple[int, str, list[str]]], number: int) -> None:
        self._log = log
        self._number = number

    def write(
        self, connection: Connection, entries: Sequence[TrailEntry], around: Surroundings
    ) -> Callable[[], None]:
        ids = [one.event_id for one in entries]
        self._log.append((self._number, "written", ids))
        return lambda: self._log.append((self._number, "committed", ids))


def recorded(place: StorePlace) -> tuple[Database, list[tuple[int, str, list[str]]]]:
    """Open a store with notes, and a log of what its sinks were given; each sink has a number."""
    log: list[tuple[int, str, list[str]]] = []
    numbers = iter(range(1, 100))
    database = make_notes(place.open(sink=lambda: RecordingSink(log, next(numbers))))
    log.clear()
    return database, log


def test_callbacks_run_once_the_commit_is_done_and_before_the_caller_goes_on(store: Database) -> None:
    seen: list[list[str]] = []

    def work(unit: Unit) -> None:
        put("one")(unit)
        unit.after_commit(lambda: seen.append(names(store)))
        assert not seen

    store.write(work)
    assert seen == [["one"]]


def test_a_callback_that_raises_stops_neither_the_others_nor_the_store(store: Database) -> None:
    called: list[str] = []

    def complain() -> None:
        raise ValueError("a subscriber's own trouble")

    def work(unit: Unit) -> str:
        unit.after_commit(complain)
        unit.after_commit(lambda: called.append("second"))
        return put("one")(unit)

    assert store.submit(work).result(PATIENCE) == "one"
    assert called == ["second"]
    assert store.submit(put("two")).result(PATIENCE) == "two"


@pytest.mark.parametrize("failure", ["raise", "commit"])
def test_nothing_is_called_back_or_recorded_of_what_was_not_kept(
    store_place: StorePlace, failure: str
) -> None:
    store, log = recorded(store_place)
    called: list[str] = []

    def work(unit: Unit) -> None:
        unit.after_commit(lambda: called.append("x"))
        unit.record(entry("lost"))
        if failure == "raise":
            raise ValueError
        fail_at_commit(unit)

    with pytest.raises((ValueError, CommitFailed)):
        store.write(work)
    assert called == []
    assert not any("lost" in ids for _, what, ids in log if what == "committed")


def test_records_are_written_in_order_inside_the_transaction_and_confirmed_after_it(
    store_place: StorePlace,
) -> None:
    store, log = recorded(store_place)

    def work(unit: Unit) -> None:
        unit.record(entry("a"))
        unit.record(entry("b"))

    store.write(work)
    assert log == [(1, "written", ["a", "b"]), (1, "committed", ["a", "b"])]


def test_a_commit_that_fails_is_told_to_the_caller_and_begins_a_new_chain(store_place: StorePlace) -> None:
    store, log = recorded(store_place)
    store.write(lambda unit: unit.record(entry("before")))
    with pytest.raises(CommitFailed):
        store.write(fail_at_commit)
    assert names(store) == []
    store.write(lambda unit: unit.record(entry("after")))
    committed = [(number, ids) for number, what, ids in log if what == "committed"]
    assert committed == [(1, ["before"]), (2, ["after"])]


def test_a_failed_commit_does_not_say_what_was_in_it(store_place: StorePlace) -> None:
    store, _ = recorded(store_place)

    def work(unit: Unit) -> None:
        unit.connection.execute(notes.insert().values(name="a secret word", value=0, after="nobody"))

    with pytest.raises(CommitFailed) as caught:
        store.write(work)
    assert "secret word" not in str(caught.value)


def test_a_savepoint_undoes_rows_records_callbacks_and_what_was_remembered(store_place: StorePlace) -> None:
    store, log = recorded(store_place)
    called: list[str] = []

    def inner(unit: Unit) -> None:
        with unit.savepoint():
            put("undone")(unit)
            unit.record(entry("undone"))
            unit.after_commit(lambda: called.append("undone"))
            unit.memo["row"] = "undone"
            raise ResourceNotFoundException

    def work(unit: Unit) -> None:
        put("before")(unit)
        unit.record(entry("before"))
        unit.after_commit(lambda: called.append("before"))
        with pytest.raises(ResourceNotFoundException):
            inner(unit)
        assert "row" not in unit.memo
        put("after")(unit)
        unit.record(entry("after"))

    store.write(work)
    assert names(store) == ["after", "before"]
    assert log[-1] == (1, "committed", ["before", "after"])
    assert called == ["before"]


def test_savepoints_nest_and_a_broken_statement_inside_one_is_undone(store: Database) -> None:
    def break_inside(unit: Unit) -> None:
        with unit.savepoint():
            put("inner")(unit)
            put("inner")(unit)

    def work(unit: Unit) -> None:
        with unit.savepoint():
            put("outer")(unit)
            for _ in range(2):
                with pytest.raises(DBAPIError):
                    break_inside(unit)
        put("after")(unit)

    store.write(work)
    assert names(store) == ["after", "outer"]


@dataclass(frozen=True)
class Happened:
    """A domain event of this test."""

    name: str


def test_subscribers_run_in_order_inside_the_transaction(store_place: StorePlace) -> None:
    order: list[str] = []

    def subscriber(label: str) -> Callable[[Unit, Happened], None]:
        def note(unit: Unit, event: Happened) -> None:
            order.append(label)
            put(f"{event.name}-{label}")(unit)

        return note

    subscribers: Subscribers = {Happened: [subscriber("1"), subscriber("2")]}
    store = make_notes(store_place.open(subscribers=subscribers))
    store.write(lambda unit: unit.announce(Happened("event")))
    store.write(lambda unit: unit.announce("nobody listens to text"))
    assert order == ["1", "2"]
    assert names(store) == ["event-1", "event-2"]


def test_a_subscriber_that_raises_undoes_everything(store_place: StorePlace) -> None:
    def refuse(unit: Unit, event: Happened) -> None:
        put("subscriber's")(unit)
        raise ResourceNotFoundException

    store = make_notes(store_place.open(subscribers={Happened: [refuse]}))

    def work(unit: Unit) -> None:
        put("publisher's")(unit)
        unit.announce(Happened("event"))

    with pytest.raises(ResourceNotFoundException):
        store.write(work)
    assert names(store) == []


def test_the_injected_clock_is_read_once_for_each_unit(store_place: StorePlace) -> None:
    clock = SettableClock()
    store = store_place.open(clock=clock)

    def work(unit: Unit) -> bool:
        clock.advance(timedelta(hours=1))
        return unit.now == NOON

    assert store.write(work)
    assert store.read(lambda unit: unit.now) == NOON + timedelta(hours=1)


def test_every_unit_has_its_store_around_it(store_place: StorePlace) -> None:
    store = store_place.open()
    assert store.dialect == store_place.dialect
    assert store.reads_inline == (store.dialect == "sqlite")
    for unit in (store.read(lambda unit: unit), store.write(lambda unit: unit)):
        assert unit.dialect == store.dialect
        assert unit.keyring is store_place.keyring
        assert len(unit.entropy.bytes(7)) == 7
