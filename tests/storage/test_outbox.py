"""The outbox: what a transaction promised is done at least once, by one node at a time."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import select
from structlog.testing import capture_logs

from tests.storage.notes import make_notes, names, put
from tests.support import NOON, SettableClock, StorePlace
from turnlock.core.arn import AccountId, Region
from turnlock.errors import CommitFailed, StaleFence
from turnlock.storage import Database, Unit, leases, outbox
from turnlock.storage.outbox import Deliverer, Job, JobHandler

ACCOUNT = AccountId("123456789012")
REGION = Region("eu-central-1")


def queue(unit: Unit, payload: str = "x", kind: str = "note", due_at: datetime = NOON) -> str:
    return outbox.queue(unit, ACCOUNT, REGION, kind=kind, sealed_payload=payload.encode(), due_at=due_at)


def note(unit: Unit, _account: AccountId, _region: Region, payload: bytes) -> None:
    """Insert a note named by the payload: carried out twice, it would fail."""
    put(payload.decode())(unit)


def rows(database: Database) -> list[tuple[str, int, str | None, datetime]]:
    """Return (payload, attempts, last error, due date) of every promise that stands."""
    table = outbox.outbox
    statement = select(table.c.sealed_payload, table.c.attempts, table.c.last_error, table.c.due_at)
    found = database.read(lambda unit: unit.connection.execute(statement).all())
    return sorted((bytes(row[0]).decode(), row[1], row[2], row[3]) for row in found)


def jobs_of(database: Database, holder: str = "one", limit: int = 10) -> list[Job]:
    return database.write(lambda unit: outbox.claim_due(unit, holder=holder, limit=limit))


def leases_left(database: Database) -> int:
    return len(database.read(lambda unit: unit.connection.execute(select(leases.leases)).all()))


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture
def database(store_place: StorePlace, clock: SettableClock) -> Database:
    return make_notes(store_place.open(clock=clock))


def deliverer(
    database: Database, handlers: Mapping[str, JobHandler] | None = None, holder: str = "one"
) -> Deliverer:
    return Deliverer(database, handlers or {"note": note}, holder)


def test_a_promise_is_carried_out_and_removed(database: Database) -> None:
    job_id = database.write(queue)
    assert uuid.UUID(job_id).version == 4
    assert deliverer(database).tick() == outbox.POLL_SECONDS
    assert names(database) == ["x"]
    assert rows(database) == []
    assert leases_left(database) == 0


def test_a_promise_of_a_transaction_that_failed_is_none(database: Database) -> None:
    def work(unit: Unit) -> None:
        queue(unit)
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        database.write(work)
    deliverer(database).tick()
    assert names(database) == []


def test_a_promise_is_not_kept_before_it_is_due(database: Database, clock: SettableClock) -> None:
    database.write(lambda unit: queue(unit, due_at=NOON + timedelta(days=7)))
    clock.advance(timedelta(days=7) - timedelta(microseconds=1))
    deliverer(database).tick()
    assert names(database) == []
    clock.advance(timedelta(microseconds=1))
    deliverer(database).tick()
    assert names(database) == ["x"]


def test_the_longest_due_come_first_and_a_full_batch_asks_for_another_look(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "BATCH", 3)
    order: list[str] = []

    def remember(unit: Unit, _account: AccountId, _region: Region, payload: bytes) -> None:
        order.append(payload.decode())

    for number in (3, 1, 4, 2):
        database.write(partial(queue, payload=f"{number}", due_at=NOON - timedelta(minutes=10 - number)))
    delivery = deliverer(database, {"note": remember})
    assert delivery.tick() == 0.0
    assert delivery.tick() == outbox.POLL_SECONDS
    assert order == ["1", "2", "3", "4"]


def test_what_fails_leaves_nothing_is_told_in_the_log_without_its_payload_and_tried_again_later_and_later(
    database: Database, clock: SettableClock
) -> None:
    failures = [3]

    def fail(unit: Unit, account: AccountId, region: Region, payload: bytes) -> None:
        note(unit, account, region, payload)
        if failures[0]:
            failures[0] -= 1
            raise RuntimeError("the database is away")

    database.write(lambda unit: queue(unit, "payload-marker"))
    delivery = deliverer(database, {"note": fail})
    for attempt, seconds in ((1, 2), (2, 4), (3, 8)):
        with capture_logs() as logged:
            assert delivery.tick() == outbox.POLL_SECONDS
        assert [line["action"] for line in logged] == ["outbox_failed"]
        assert "payload-marker" not in str(logged)
        assert names(database) == []
        due = clock.now() + timedelta(seconds=seconds)
        assert rows(database) == [("payload-marker", attempt, "RuntimeError", due)]
        clock.set(due - timedelta(microseconds=1))
        delivery.tick()
        assert rows(database)[0][1] == attempt
        clock.set(due)
    delivery.tick()
    assert names(database) == ["payload-marker"]
    assert rows(database) == []


def test_the_delay_has_an_end(database: Database, clock: SettableClock) -> None:
    database.write(queue)
    for attempt in range(1, 16):
        (job,) = jobs_of(database)
        assert job.attempts == attempt
        database.write(partial(outbox.postpone, job=job, error="Error"))
        delay = rows(database)[0][3] - clock.now()
        assert delay == min(timedelta(seconds=2**attempt), outbox.LONGEST_DELAY)
        clock.advance(delay)


def test_one_that_fails_does_not_hold_up_the_next(database: Database) -> None:
    def refuse(unit: Unit, _account: AccountId, _region: Region, _payload: bytes) -> None:
        raise RuntimeError

    database.write(lambda unit: queue(unit, "bad", kind="bad", due_at=NOON - timedelta(1)))
    database.write(lambda unit: queue(unit, "good"))
    with capture_logs():
        deliverer(database, {"note": note, "bad": refuse}).tick()
    assert names(database) == ["good"]


def test_a_kind_that_only_a_newer_release_knows_is_left_for_it(database: Database) -> None:
    database.write(lambda unit: queue(unit, kind="newer"))
    with capture_logs():
        deliverer(database).tick()
    assert [(row[1], row[2]) for row in rows(database)] == [(1, "KeyError")]


def test_a_job_is_carried_out_again_when_its_node_died_before_removing_it(
    database: Database, store_place: StorePlace, clock: SettableClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.write(queue)
    monkeypatch.setattr(outbox, "LEASE_SECONDS", 0)  # the dead node's lease is over at once
    (lost,) = jobs_of(database, "dead")
    monkeypatch.undo()
    other = store_place.open(clock=clock)
    deliverer(other, holder="other").tick()
    assert names(database) == ["x"]
    with pytest.raises(StaleFence):
        database.write(partial(outbox.finish, job=lost))
    with pytest.raises(StaleFence):
        database.write(partial(outbox.postpone, job=lost, error="Error"))


def test_a_job_that_is_claimed_is_not_claimed_again_while_its_lease_lasts(
    database: Database, store_place: StorePlace, clock: SettableClock
) -> None:
    database.write(queue)
    other = store_place.open(clock=clock)
    (job,) = jobs_of(database)
    assert jobs_of(other, "other") == []
    assert jobs_of(database) == []
    database.write(partial(outbox.postpone, job=job, error="Error"))
    clock.advance(timedelta(seconds=2))
    assert len(jobs_of(other, "other")) == 1


def test_two_nodes_that_look_at_once_carry_each_job_out_once(
    database: Database, store_place: StorePlace, clock: SettableClock
) -> None:
    nodes = [database, store_place.open(clock=clock)]
    running: set[bytes] = set()
    overlaps: list[bytes] = []
    done: list[bytes] = []

    def work(unit: Unit, account: AccountId, region: Region, payload: bytes) -> None:
        if payload in running:
            overlaps.append(payload)
        running.add(payload)
        note(unit, account, region, payload)
        running.discard(payload)
        unit.after_commit(lambda: done.append(payload))

    def queue_all(unit: Unit) -> None:
        for number in range(12):
            queue(unit, f"{number:02}")

    database.write(queue_all)
    together = threading.Barrier(2)

    def look(node: Database, holder: str) -> None:
        together.wait(60)
        deliverer(node, {"note": work}, holder).tick()

    threads = [threading.Thread(target=look, args=(node, f"{id(node)}")) for node in nodes]
    with capture_logs() as logged:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert overlaps == []
    assert logged == []
    assert sorted(done) == [f"{number:02}".encode() for number in range(12)]
    assert names(database) == [f"{number:02}" for number in range(12)]
    assert rows(database) == []


def test_a_holder_that_lost_its_lease_undoes_what_it_did(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood still past its lease; another node carried the job out meanwhile."""
    database.write(queue)
    monkeypatch.setattr(outbox, "LEASE_SECONDS", 0)
    (stalled,) = jobs_of(database, "stalled")
    deliverer(database, holder="other").tick()

    def late(unit: Unit) -> None:
        put("late")(unit)
        outbox.finish(unit, stalled)

    with pytest.raises(StaleFence):
        database.write(late)
    assert names(database) == ["x"]


def test_a_node_that_cannot_even_postpone_leaves_the_job_to_its_lease(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.write(queue)

    def broken(unit: Unit, _account: AccountId, _region: Region, _payload: bytes) -> None:
        raise RuntimeError

    def refuse(_work: Callable[[Unit], object]) -> None:
        raise CommitFailed

    delivery = deliverer(database, {"note": broken})
    (job,) = jobs_of(database)
    with monkeypatch.context() as patched, capture_logs():
        patched.setattr(database, "write", refuse)
        with pytest.raises(CommitFailed):
            delivery._carry_out(job)
    assert [row[1] for row in rows(database)] == [0]


def test_a_job_does_not_show_its_payload(database: Database) -> None:
    database.write(lambda unit: queue(unit, "payload-marker"))
    (job,) = jobs_of(database)
    assert "payload-marker" not in repr(job)


def test_the_backlog_tells_what_is_due_from_what_waits(database: Database, clock: SettableClock) -> None:
    assert database.read(outbox.backlog) == outbox.Backlog(due=0, later=0, oldest_seconds=0.0)
    for number, delay in enumerate((0, 10, 10_000)):
        due_at = NOON + timedelta(seconds=delay)
        database.write(partial(queue, payload=f"p{number}", due_at=due_at))
    assert database.read(outbox.backlog) == outbox.Backlog(due=1, later=2, oldest_seconds=0.0)
    clock.advance(timedelta(seconds=12.5))
    assert database.read(outbox.backlog) == outbox.Backlog(due=2, later=1, oldest_seconds=12.5)
