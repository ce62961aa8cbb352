"""What only the SQLite store must do: one writer over all processes, groups, a bounded WAL, failures of the file."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, text
from structlog.testing import capture_logs

from tests.storage.children import child
from tests.storage.notes import make_notes, names, names_in, put
from tests.support import StorePlace
from turnlock.core.record import TrailEntry
from turnlock.errors import CommitFailed, ConfigurationError, StoreError
from turnlock.storage import Database, Unit, sqlite
from turnlock.storage.database import Surroundings
from turnlock.storage.sqlite import LockFile, SqliteDatabase

PATIENCE = 30


class CountingSink:
    """Counts the commits of one writer."""

    def __init__(self) -> None:
        self.commits = 0

    def write(
        self, connection: Connection, entries: Sequence[TrailEntry], around: Surroundings
    ) -> Callable[[], None]:
        def committed() -> None:
            self.commits += 1

        return committed


class Hold:
    """Holds a store's committer inside a unit until it is released."""

    def __init__(self, store: Database) -> None:
        self._go, started = threading.Event(), threading.Event()

        def work(_unit: Unit) -> None:
            started.set()
            assert self._go.wait(PATIENCE)

        self.future = store.submit(work)
        assert started.wait(PATIENCE)

    def release(self) -> None:
        self._go.set()
        self.future.result(PATIENCE)


def wal(place: StorePlace) -> Path:
    return place.data_dir / "turnlock.db-wal"


def big(unit: Unit) -> None:
    """Write about 80 kB."""
    statement = text("INSERT OR REPLACE INTO notes (name, value) VALUES (:name, 0)")
    for number in range(8):
        unit.connection.execute(statement, {"name": f"{number}" + "x" * 10_000})


def test_units_that_wait_share_one_commit(sqlite_place: StorePlace) -> None:
    sink = CountingSink()
    store = make_notes(sqlite_place.open(sink=lambda: sink))
    hold = Hold(store)
    futures = [store.submit(put(f"{number}")) for number in range(40)]
    before = sink.commits
    hold.release()
    assert [future.result(PATIENCE) for future in futures] == [f"{number}" for number in range(40)]
    assert sink.commits - before == 2  # the held unit's, and one for all forty


def test_a_group_has_a_limit(sqlite_place: StorePlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "GROUP_LIMIT", 10)
    sink = CountingSink()
    store = make_notes(sqlite_place.open(sink=lambda: sink))
    hold = Hold(store)
    futures = [store.submit(put(f"{number}")) for number in range(40)]
    before = sink.commits
    hold.release()
    for future in futures:
        future.result(PATIENCE)
    assert sink.commits - before == 5


def test_a_transaction_that_sqlite_ended_by_itself_keeps_nothing_of_its_group(
    sqlite_place: StorePlace,
) -> None:
    """A full disk makes SQLite roll back on its own; what runs next must not commit on its own either."""
    store = make_notes(sqlite_place.open())

    def lose_the_transaction(unit: Unit) -> None:
        unit.driver.execute("ROLLBACK")

    hold = Hold(store)
    futures = [store.submit(work) for work in (put("one"), lose_the_transaction, put("two"))]
    hold.release()
    with capture_logs():
        errors = [type(future.exception(PATIENCE)) for future in futures]
    assert errors == [CommitFailed] * 3
    assert names(store) == []
    assert store.write(put("three")) == "three"


def test_a_checkpoint_that_fails_does_not_undo_what_was_committed(
    sqlite_place: StorePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_notes(sqlite_place.open())

    class Broken(type(sqlite_place.data_dir)):  # type: ignore[misc]
        def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
            raise sqlite3.OperationalError("disk I/O error")

    monkeypatch.setattr(store, "_path", Broken(sqlite_place.data_dir / "turnlock.db"))
    assert store.write(put("one")) == "one"
    assert names(store) == ["one"]


def test_a_wal_stays_bounded_under_steady_writes(
    sqlite_place: StorePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 50)
    store = make_notes(sqlite_place.open())
    sizes = []
    for _ in range(60):
        store.write(big)
        sizes.append(wal(sqlite_place).stat().st_size)
    assert max(sizes) < 3 * 50 * 4096
    assert min(sizes[30:]) < 50 * 4096  # it starts over, cut: not every commit pays for a checkpoint
    assert sum(size >= 50 * 4096 for size in sizes) < 40


def test_a_wal_that_a_slow_reader_kept_long_gets_short_again(
    sqlite_place: StorePlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CHECKPOINT_PAGES", 50)
    store = make_notes(sqlite_place.open())
    store.write(put("one"))

    def slow(unit: Unit) -> list[str]:
        first = names_in(unit)
        for _ in range(20):
            store.write(big)
        assert names_in(unit) == first
        return first

    assert store.read(slow) == ["one"]
    assert wal(sqlite_place).stat().st_size > 10 * 80_000
    for _ in range(3):
        store.write(big)
    assert wal(sqlite_place).stat().st_size < 2 * 50 * 4096


def test_closing_leaves_everything_in_the_file_itself(sqlite_place: StorePlace) -> None:
    store = make_notes(sqlite_place.open())
    store.write(put("one"))
    store.close()
    assert not wal(sqlite_place).exists() or wal(sqlite_place).stat().st_size == 0
    with closing(sqlite3.connect(sqlite_place.data_dir / "turnlock.db")) as plain:
        assert plain.execute("SELECT name FROM notes").fetchall() == [("one",)]


@pytest.mark.slow
def test_several_processes_that_write_at_once_all_succeed(sqlite_place: StorePlace) -> None:
    store = make_notes(sqlite_place.open())
    with ExitStack() as stack:
        children = [stack.enter_context(child(sqlite_place, "write", name, 40)) for name in "abc"]
        mine = [store.write(put(f"mine-{number}")) for number in range(40)]
        for process in children:
            assert process.wait(timeout=60) == 0
    assert names(store) == sorted([*mine, *(f"{name}-{number}" for name in "abc" for number in range(40))])


@pytest.mark.slow
def test_a_writer_that_dies_with_the_lock_holds_nobody_up(sqlite_place: StorePlace) -> None:
    store = make_notes(sqlite_place.open())
    with child(sqlite_place, "halve", "dead", 0) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "half"
        waiting = store.submit(put("mine"))
        assert not waiting.done()
    assert waiting.result(PATIENCE) == "mine"
    assert names(store) == ["mine"]


def test_only_one_holds_the_lock_file_over_threads_and_descriptors(tmp_path: Path) -> None:
    locks = [LockFile(tmp_path / "lock"), LockFile(tmp_path / "lock")]
    inside, worst = 0, 0

    def work(lock: LockFile) -> None:
        nonlocal inside, worst
        for _ in range(100):
            with lock.held():
                inside += 1
                worst = max(worst, inside)
                inside -= 1

    threads = [threading.Thread(target=work, args=(locks[number % 2],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    for lock in locks:
        lock.close()
    assert (inside, worst) == (0, 1)


def test_the_lock_file_is_nobody_elses(sqlite_place: StorePlace) -> None:
    sqlite_place.open()
    assert (sqlite_place.data_dir / "turnlock.db.lock").stat().st_mode & 0o777 == 0o600


def test_commits_wait_for_the_disk_and_deleted_content_is_overwritten(sqlite_place: StorePlace) -> None:
    store = sqlite_place.open()

    def pragmas(unit: Unit) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "trusted_schema")
        return {name: unit.driver.execute(f"PRAGMA {name}").fetchone()[0] for name in names}

    expected = {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "secure_delete": 1,
        "trusted_schema": 0,
    }
    assert store.read(pragmas) == store.write(pragmas) == expected


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize(
    "content", [b"this is no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 4096]
)
def test_a_file_that_is_no_database_is_refused_with_a_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "turnlock.db").write_bytes(content)
    before = descriptors()
    with pytest.raises(ConfigurationError, match=r"The store in .*turnlock\.db cannot be opened: "):
        StorePlace(url=None, data_dir=tmp_path).open()
    assert descriptors() == before


def test_a_directory_that_is_not_there_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be opened: "):
        StorePlace(url=None, data_dir=tmp_path / "absent").open()


def test_a_caller_that_cannot_take_its_result_costs_nobody_else(sqlite_place: StorePlace) -> None:
    store = make_notes(sqlite_place.open())
    hold = Hold(store)
    futures = [store.submit(put(f"{number}")) for number in range(3)]

    def already_settled(unit: Unit) -> None:
        futures[1].set_result("settled by someone else")

    store.submit(already_settled)
    with capture_logs() as logged:
        hold.release()
        assert futures[2].result(PATIENCE) == "2"
    assert [line["action"] for line in logged] == ["release_failed"]
    assert isinstance(store, SqliteDatabase)
    assert store.write(put("3")) == "3"


def test_a_store_error_of_a_unit_is_its_own(sqlite_place: StorePlace) -> None:
    store = make_notes(sqlite_place.open())

    def work(unit: Unit) -> None:
        raise StoreError

    with pytest.raises(StoreError):
        store.write(work)
    assert store.write(put("one")) == "one"
