"""What every store promises, on each of them."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError, Future, wait
from functools import partial

import pytest
from sqlalchemy import delete, select, text
from sqlalchemy.exc import DBAPIError

from tests.storage.children import child
from tests.storage.notes import increment, make_notes, names, names_in, notes, put
from tests.support import StorePlace
from turnlock.errors import CommitFailed, ResourceNotFoundException, StoreError
from turnlock.storage import Database, Unit

PATIENCE = 30
"""Seconds that a test waits for what must come."""


class Blocked:
    """Keeps every writer of a store busy, so that what is submitted meanwhile waits in the queue."""

    def __init__(self, store: Database) -> None:
        self._go = threading.Event()
        started = threading.Event()

        def work(_unit: Unit) -> None:
            started.set()
            assert self._go.wait(PATIENCE)

        self.futures = [store.submit(work) for _ in range(8)]
        assert started.wait(PATIENCE)

    def release(self) -> None:
        self._go.set()
        wait(self.futures, timeout=PATIENCE)


def test_a_unit_answers_and_is_kept(store: Database) -> None:
    assert store.write(put("one")) == "one"
    assert store.submit(put("two")).result(PATIENCE) == "two"
    assert names(store) == ["one", "two"]


@pytest.mark.parametrize("error", [ResourceNotFoundException(), ValueError("x"), KeyError("x")])
def test_a_unit_that_raises_leaves_nothing_and_gives_its_caller_the_error(
    store: Database, error: Exception
) -> None:
    def work(unit: Unit) -> None:
        put("one")(unit)
        raise error

    with pytest.raises(type(error)) as caught:
        store.write(work)
    assert caught.value is error
    assert store.submit(work).exception(PATIENCE) is error
    assert names(store) == []


def test_even_an_exit_raised_in_a_unit_leaves_nothing_and_the_store_goes_on(store: Database) -> None:
    def work(unit: Unit) -> None:
        put("one")(unit)
        raise SystemExit

    assert isinstance(store.submit(work).exception(PATIENCE), SystemExit)
    assert store.submit(put("two")).result(PATIENCE) == "two"
    assert names(store) == ["two"]


def test_what_was_kept_is_there_after_closing_and_opening(store_place: StorePlace) -> None:
    store = make_notes(store_place.open())
    store.write(put("one"))
    store.close()
    assert names(store_place.open()) == ["one"]


def test_another_node_sees_a_change_at_once(store_place: StorePlace) -> None:
    one, other = make_notes(store_place.open()), store_place.open()
    for number in range(20):
        one.write(put(f"{number:02}"))
        assert len(names(other)) == number + 1


@pytest.mark.slow
def test_a_killed_process_loses_nothing_it_was_told_is_kept_and_leaves_no_half_unit(
    store_place: StorePlace,
) -> None:
    make_notes(store_place.open())
    with child(store_place, "halve", "note", 3) as process:
        assert process.stdout is not None
        heard = [process.stdout.readline().strip() for _ in range(4)]
    assert heard == ["note-0", "note-1", "note-2", "half"]
    assert process.returncode == -9
    store = store_place.open()
    assert names(store) == heard[:3]
    store.write(put("next"))  # nothing of the dead one is in the way


def test_many_units_each_answer_their_own_caller(store: Database) -> None:
    blocked = Blocked(store)
    futures = {name: store.submit(put(name)) for name in (f"{number:03}" for number in range(150))}
    blocked.release()
    assert {name: future.result(PATIENCE) for name, future in futures.items()} == {n: n for n in futures}
    assert names(store) == sorted(futures)


def test_units_that_fail_do_not_hurt_the_others_that_wait_with_them(store: Database) -> None:
    def fail(unit: Unit) -> str:
        put("failed")(unit)
        raise ResourceNotFoundException

    def break_a_constraint(unit: Unit) -> str:
        put("twice")(unit)
        return put("twice")(unit)

    blocked = Blocked(store)
    futures = [
        store.submit(work) for work in (put("one"), fail, put("two"), break_a_constraint, put("three"))
    ]
    blocked.release()
    errors = [future.exception(PATIENCE) for future in futures]
    assert isinstance(errors[1], ResourceNotFoundException)
    assert isinstance(errors[3], DBAPIError | StoreError)
    assert errors[0] is errors[2] is errors[4] is None
    assert names(store) == ["one", "three", "two"]


def test_a_caller_who_went_away_costs_nobody_else(store: Database) -> None:
    blocked = Blocked(store)
    futures = [store.submit(put(f"{number}")) for number in range(5)]
    assert futures[2].cancel()
    blocked.release()
    assert [future.result(PATIENCE) for future in futures if future is not futures[2]] == ["0", "1", "3", "4"]
    with pytest.raises(CancelledError):
        futures[2].result(PATIENCE)
    assert names(store) == ["0", "1", "3", "4"]


def test_a_caller_whose_callback_raises_costs_nobody_else(
    store: Database, caplog: pytest.LogCaptureFixture
) -> None:
    def complain(_future: Future[str]) -> None:
        raise ValueError("a caller's own trouble")

    blocked = Blocked(store)
    futures = [store.submit(put(f"{number}")) for number in range(3)]
    futures[0].add_done_callback(complain)
    blocked.release()
    assert [future.result(PATIENCE) for future in futures] == ["0", "1", "2"]
    assert store.write(put("3")) == "3"


def test_a_read_cannot_write(store: Database) -> None:
    with pytest.raises(DBAPIError):
        store.read(put("one"))
    assert names(store) == []
    assert not store.read(lambda unit: unit.writes)
    assert store.write(lambda unit: unit.writes)


def test_a_read_sees_one_snapshot_whatever_is_committed_meanwhile(store: Database) -> None:
    store.write(put("one"))

    def work(unit: Unit) -> tuple[list[str], list[str]]:
        first = names_in(unit)
        store.write(put("two"))
        return first, names_in(unit)

    assert store.read(work) == (["one"], ["one"])
    assert names(store) == ["one", "two"]


def test_a_read_after_a_read_that_raised_sees_what_is_new(store: Database) -> None:
    def work(unit: Unit) -> None:
        names_in(unit)
        raise ValueError

    with pytest.raises(ValueError, match=r"^$"):
        store.read(work)
    store.write(put("one"))
    assert names(store) == ["one"]


def test_reads_run_in_many_threads_at_once(store: Database) -> None:
    store.write(put("one"))
    together = threading.Barrier(4)
    seen: list[list[str]] = []

    def work(unit: Unit) -> list[str]:
        together.wait(PATIENCE)
        return names_in(unit)

    threads = [threading.Thread(target=lambda: seen.append(store.read(work))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert seen == [["one"]] * 4


@pytest.mark.slow
def test_two_nodes_that_change_one_row_lose_no_update(store_place: StorePlace) -> None:
    nodes = [make_notes(store_place.open()), store_place.open()]
    nodes[0].write(put("counter"))
    futures = [nodes[number % 2].submit(increment("counter")) for number in range(200)]
    assert sorted(future.result(2 * PATIENCE) for future in futures) == list(range(1, 201))
    value = nodes[1].read(
        lambda unit: unit.connection.execute(select(notes.c.value).where(notes.c.name == "counter")).scalar()
    )
    assert value == 200


def test_units_that_read_what_the_other_writes_are_serialised(store_place: StorePlace) -> None:
    """Write skew: each of two units takes its own name off only while the other stands; one must see the other's."""
    nodes = [make_notes(store_place.open()), store_place.open()]
    for number in range(4):
        nodes[0].write(put("left"))
        nodes[0].write(put("right"))

        def leave(name: str, unit: Unit) -> bool:
            if len(names_in(unit)) < 2:
                return False
            unit.connection.execute(delete(notes).where(notes.c.name == name))
            return True

        futures = [nodes[0].submit(partial(leave, "left")), nodes[1].submit(partial(leave, "right"))]
        assert sorted(future.result(PATIENCE) for future in futures) == [False, True], number
        nodes[0].write(lambda unit: unit.connection.execute(delete(notes)).rowcount)


def test_closing_finishes_what_is_queued_and_may_be_said_twice(store_place: StorePlace) -> None:
    store = make_notes(store_place.open())
    futures = [store.submit(put(f"{number}")) for number in range(20)]
    store.close()
    store.close()
    assert all(future.done() for future in futures)
    assert len(names(store_place.open())) == 20


def test_what_is_submitted_to_a_closed_store_fails_at_once(store_place: StorePlace) -> None:
    store = make_notes(store_place.open())
    store.close()
    with pytest.raises(StoreError):
        store.submit(put("late")).result(60)
    with pytest.raises(StoreError):
        store.write(put("late"))


def test_errors_of_the_store_hide_the_parameters(store: Database) -> None:
    statement = text("INSERT INTO notes (name, value) VALUES (:name, NULL)")
    with pytest.raises((DBAPIError, CommitFailed)) as caught:
        store.write(lambda unit: unit.connection.execute(statement, {"name": "a secret word"}))
    assert "secret word" not in str(caught.value)
