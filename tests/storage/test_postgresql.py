"""What only the PostgreSQL store must do: win back what a lost conflict cost, and refuse what it cannot reach."""

from __future__ import annotations

import threading
from collections.abc import Callable

import psycopg
import pytest
from sqlalchemy import bindparam, select, text
from structlog.testing import capture_logs

from tests.storage.notes import increment, make_notes, names, notes, put
from tests.support import StorePlace
from turnlock.errors import CommitFailed, ConfigurationError, Contended, ThrottlingException
from turnlock.storage import HotQuery, Unit, postgresql
from turnlock.wire import as_api_error

pytestmark = pytest.mark.parametrize("store_place", ["postgresql"], indirect=True)

PATIENCE = 30
NOTE = HotQuery(select(notes.c.name, notes.c.value).where(notes.c.name == bindparam("name")))


class Together:
    """Lets two units reach the same point in their first run, and only then."""

    def __init__(self) -> None:
        self._barrier = threading.Barrier(2)
        self._met = threading.local()

    def meet(self) -> None:
        if not getattr(self._met, "done", False):
            self._met.done = True
            self._barrier.wait(PATIENCE)


@pytest.mark.parametrize("hot", [False, True])
def test_a_unit_that_loses_a_conflict_runs_again_also_from_a_hot_query(
    store_place: StorePlace, hot: bool
) -> None:
    store = make_notes(store_place.open())
    store.write(put("left", 1))
    store.write(put("right", 1))
    together = Together()
    runs: list[str] = []

    def value(unit: Unit, name: str) -> int:
        if hot:
            return int(NOTE.rows(unit, {"name": name})[0][1])
        return int(unit.connection.execute(select(notes.c.value).where(notes.c.name == name)).scalar_one())

    def take(mine: str) -> Callable[[Unit], bool]:
        """Take mine if both are there: a decision that one of the two must lose, in a read or at its commit."""

        def work(unit: Unit) -> bool:
            runs.append(mine)
            both = value(unit, "left") + value(unit, "right")
            together.meet()
            if both < 2:
                return False
            unit.connection.execute(notes.update().where(notes.c.name == mine).values(value=0))
            value(unit, "left")
            return True

        return work

    futures = [store.submit(take("left")), store.submit(take("right"))]
    assert sorted(future.result(PATIENCE) for future in futures) == [False, True]
    assert len(runs) >= 3


def test_a_conflict_that_a_hot_query_meets_is_known_as_one(store_place: StorePlace) -> None:
    store = make_notes(store_place.open())
    store.write(put("one", 1))
    runs: list[int] = []
    pause = HotQuery(select(text("pg_sleep(0)")))

    def work(unit: Unit) -> str:
        runs.append(1)
        if len(runs) == 1:
            unit.connection.execute(text("SELECT 1"))
            broken = HotQuery(select(text("1/0")))
            with unit.savepoint():
                broken.rows(unit, {})
        return str(pause.rows(unit, {})[0][0])

    with pytest.raises(CommitFailed, match="DBAPIError"):
        store.write(work)  # a division by zero is no conflict
    assert runs == [1]


def test_a_unit_that_never_wins_ends_in_an_error_that_asks_to_try_again(
    store_place: StorePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgresql, "ATTEMPTS", 3)
    store = make_notes(store_place.open())
    runs: list[int] = []

    def work(unit: Unit) -> None:
        runs.append(1)
        unit.connection.execute(text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))

    with capture_logs() as logged, pytest.raises(Contended) as caught:
        store.write(work)
    assert len(runs) == 3
    assert isinstance(as_api_error(caught.value), ThrottlingException)
    [line] = [line for line in logged if line["action"] == "commit_failed"]
    assert line["attempts"] == 3
    assert "RAISE" in line["reason"] or "40001" in line["reason"], line


def test_units_that_conflict_all_win_in_the_end_whichever_node_they_run_on(store_place: StorePlace) -> None:
    nodes = [make_notes(store_place.open()), store_place.open()]
    nodes[0].write(put("one", 0))

    def add(unit: Unit) -> None:
        # A whole look before the change: every two that overlap are in conflict.
        value = unit.connection.execute(select(notes.c.value)).scalar_one()
        unit.connection.execute(text("SELECT pg_sleep(0.002)"))
        unit.connection.execute(notes.update().values(value=value + 1))

    waiting = [node.submit(add) for _ in range(60) for node in nodes]
    for future in waiting:
        future.result(PATIENCE * 2)
    assert nodes[1].read(lambda unit: unit.connection.execute(select(notes.c.value)).scalar_one()) == 120


def test_who_holds_its_turn_and_loses_again_is_given_way_to(store_place: StorePlace) -> None:
    """Without that, whoever comes anew could win before it each time."""
    store = make_notes(store_place.open())
    store.write(put("one", 0))
    runs: list[str] = []
    lost, go_on = threading.Event(), threading.Event()

    def lose(unit: Unit) -> None:
        runs.append("lose")
        if len(runs) == 3:
            lost.set()
            go_on.wait(PATIENCE)
        if len(runs) < 3:
            unit.connection.execute(text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))

    first = store.submit(lose)
    assert lost.wait(PATIENCE)
    second = store.submit(lambda _unit: runs.append("second"))
    with pytest.raises(TimeoutError):
        second.result(0.2)
    go_on.set()
    first.result(PATIENCE)
    second.result(PATIENCE)
    assert runs == ["lose", "lose", "lose", "second"]


def test_a_turn_ends_with_whoever_holds_it(store_place: StorePlace) -> None:
    """A node that is cut off from its store in the middle of its turn keeps no other from taking theirs."""
    nodes = [make_notes(store_place.open()), store_place.open()]
    runs: list[int] = []

    def work(unit: Unit) -> str:
        runs.append(1)
        if len(runs) == 1:
            unit.connection.execute(text("DO $$ BEGIN RAISE SQLSTATE '40001'; END $$"))
        if len(runs) == 2:
            holders = text(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted"
            )
            assert unit.connection.execute(holders).all()
        return "done"

    assert nodes[0].write(work) == "done"
    runs.clear()
    assert nodes[1].write(work) == "done"


def test_a_unit_that_lost_keeps_nothing_of_its_first_run(store_place: StorePlace) -> None:
    store = make_notes(store_place.open())
    called: list[int] = []
    runs: list[int] = []

    def work(unit: Unit) -> None:
        runs.append(1)
        unit.after_commit(lambda: called.append(len(runs)))
        put(f"run-{len(runs)}")(unit)
        if len(runs) == 1:
            unit.connection.execute(text("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$"))

    store.write(work)
    assert names(store) == ["run-2"]
    assert called == [2]


def test_another_error_of_the_database_is_not_tried_again(store_place: StorePlace) -> None:
    store = make_notes(store_place.open())
    runs: list[int] = []

    def work(unit: Unit) -> None:
        runs.append(1)
        unit.connection.execute(text("SELECT 1/0"))

    with pytest.raises(CommitFailed):
        store.write(work)
    assert runs == [1]


def test_a_connection_that_died_is_replaced(store_place: StorePlace) -> None:
    store = make_notes(store_place.open())
    with pytest.raises(CommitFailed):
        store.write(
            lambda unit: unit.connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
        )
    assert store.write(put("one")) == "one"
    store.read(lambda unit: None)
    assert names(store) == ["one"]


def test_units_are_serialisable_and_durable(store_place: StorePlace) -> None:
    store = store_place.open()

    def settings(unit: Unit) -> list[object]:
        shown = ("transaction_isolation", "transaction_read_only", "synchronous_commit")
        return [unit.connection.execute(text(f"SHOW {name}")).scalar() for name in shown]

    assert store.write(settings) == ["serializable", "off", "on"]
    assert store.read(settings) == ["repeatable read", "on", "on"]
    assert store.write(settings) == ["serializable", "off", "on"]


@pytest.mark.parametrize(
    "url",
    [
        "mysql://user:hunter2@127.0.0.1/db",
        "postgresql://",
        "user:hunter2@127.0.0.1/db",
        "postgresql://user:hunter2/x@127.0.0.1/db",
        "postgresql://user:hunter2@127.0.0.1:port/db",
        "postgresql://user:hunter2@127.0.0.1:1/db",
    ],
)
def test_a_store_that_cannot_be_opened_is_refused_without_its_password(
    store_place: StorePlace, url: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        StorePlace(url=url, data_dir=store_place.data_dir).open()
    error: BaseException | None = caught.value
    while error is not None:
        assert "hunter2" not in f"{error} {error!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_the_usual_spellings_of_the_url_are_read(store_place: StorePlace, scheme: str) -> None:
    assert store_place.url is not None
    _, _, rest = store_place.url.partition("://")
    place = StorePlace(url=f"{scheme}://{rest}", data_dir=store_place.data_dir)
    store = make_notes(place.open())
    assert store.write(put("one", 4)) == "one"
    assert store.write(increment("one")) == 5
    place.close()


def test_what_reads_ask_again_and_again_stays_prepared(store_place: StorePlace) -> None:
    store = make_notes(store_place.open())
    store.write(put("one", 1))
    prepared = text("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE '%notes%'")
    for _ in range(10):
        store.read(lambda unit: NOTE.rows(unit, {"name": "one"}))
    assert store.read(lambda unit: unit.connection.execute(prepared).scalar_one()) == 1


def test_a_unit_that_only_reads_derives_a_thing_once_and_the_next_unit_anew(store_place: StorePlace) -> None:
    store = store_place.open()
    made: list[int] = []

    def make() -> int:
        made.append(1)
        return len(made)

    def work(unit: Unit) -> list[int]:
        return [unit.derived("key", make) for _ in range(2)]

    assert [store.read(work), store.read(work), store.write(work)] == [[1, 1], [2, 2], [3, 4]]


def test_what_was_read_stands_also_where_the_connection_is_gone_by_the_end(store_place: StorePlace) -> None:
    store = make_notes(store_place.open())
    store.write(put("one", 1))

    def work(unit: Unit) -> list[tuple[str, int]]:
        found = NOTE.rows(unit, {"name": "one"})
        pid = unit.connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with psycopg.connect(str(store_place.url), autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s, 10000)", [pid])
        return found

    assert store.read(work) == [("one", 1)]
    assert store.read(lambda unit: NOTE.rows(unit, {"name": "one"})) == [("one", 1)]
