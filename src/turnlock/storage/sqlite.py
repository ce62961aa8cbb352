"""The SQLite store: readers on their own threads, one committer that commits in groups.

SQLite's rules that this module leans on (sqlite.org, "Write-Ahead Logging"): readers of a WAL never wait for the writer;
with `synchronous=FULL` a commit is on disk when COMMIT returns. What it adds: every writer and every checkpoint of any
process holds one lock file first, blocking. That spares workers SQLite's busy polling, which starves them, and keeps a
checkpoint from ever running beside a commit (SQLite before 3.51.3 is reported to damage a WAL that is reset then; see
docs/decisions/0003-sqlite.md).
"""

from __future__ import annotations

import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from turnlock.errors import CommitFailed, ConfigurationError, StoreError
from turnlock.storage.database import Outcome, Surroundings
from turnlock.storage.migrate import migrate
from turnlock.storage.remembered import NotRemembered, RememberedRows, Unopened
from turnlock.storage.unit import Unit, call_back

T = TypeVar("T")
log = structlog.get_logger(__name__)

GROUP_LIMIT = 64
"""The most units in one commit: beyond it the p99 grows faster than the throughput."""

CHECKPOINT_PAGES = 2_000
"""WAL frames (about 8 MB) after which the committer checkpoints."""


@dataclass(slots=True)
class _Job:
    work: Callable[[Unit], Any]
    done: Future[Any]


@dataclass(slots=True)
class _Done:
    job: _Job
    value: Any
    failure: BaseException | None
    unit: Unit


@dataclass(slots=True)
class _Reader:
    connection: Connection
    driver: sqlite3.Connection
    remembered: RememberedRows
    now: datetime
    """When the group of reads that runs now began."""
    holds: bool = False
    """Whether what is remembered is no older than that group."""


class SqliteDatabase:
    """One SQLite file; see `Database` for what each method promises."""

    dialect = "sqlite"
    reads_inline = True

    def __init__(self, path: Path, surroundings: Surroundings) -> None:
        self._path = path
        self._around = surroundings
        self._engine = create_engine(
            f"sqlite:///{path}", poolclass=NullPool, isolation_level="AUTOCOMMIT", hide_parameters=True
        )
        event.listen(self._engine, "connect", _prepare)
        self._local = threading.local()
        self._readers: list[Connection] = []
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._door = threading.Lock()
        """Held to queue a job and to close, so that no job is queued behind the end."""
        self._closed = False
        try:
            self._lock = LockFile(path.with_name(path.name + ".lock"))
            self._writer = self._migrated()
        except (OSError, sqlite3.Error, SQLAlchemyError) as error:
            reason = getattr(error, "orig", None) or error
            raise ConfigurationError(f"The store in {path} cannot be opened: {reason}") from error
        self._sink = surroundings.sink()
        self._committer = threading.Thread(target=self._commit_forever, name="committer", daemon=True)
        self._committer.start()

    def read(self, work: Callable[[Unit], T]) -> T:
        return self.read_each([work])[0].result()

    def read_each(self, works: Sequence[Callable[[Unit], T]]) -> list[Outcome[T]]:
        """See `Database`. The data version is asked for once: whatever was committed later, nobody was told of it before."""
        reader = self._reader()
        reader.now = self._around.clock.now()
        reader.holds = reader.remembered.holds(_data_version(reader.driver))
        return [self._read_remembered(reader, work) or self._read_snapshot(reader, work) for work in works]

    def _read_remembered(self, reader: _Reader, work: Callable[[Unit], T]) -> Outcome[T] | None:
        """Run a read on remembered rows alone; None when it needs more."""
        if not reader.holds:
            return None
        unit = self._unit(_UNOPENED, _UNOPENED, reader.now, remembered=reader.remembered)
        try:
            return Outcome(work(unit), None, unit.entries)
        except NotRemembered:
            return None
        except Exception as error:  # noqa: BLE001 (it is the caller's)
            return Outcome(None, error, [])

    def _read_snapshot(self, reader: _Reader, work: Callable[[Unit], T]) -> Outcome[T]:
        try:
            reader.driver.execute("BEGIN")
            try:
                reader.remembered.begin(_data_version(reader.driver))
                reader.holds = True
                unit = self._unit(reader.connection, reader.driver, reader.now, remembered=reader.remembered)
                return Outcome(work(unit), None, unit.entries)
            finally:
                reader.driver.execute("ROLLBACK")
        except Exception as error:  # noqa: BLE001 (it is the caller's)
            return Outcome(None, error, [])

    def submit(self, work: Callable[[Unit], T]) -> Future[T]:
        done: Future[T] = Future()
        with self._door:
            if not self._closed:
                self._jobs.put(_Job(work, done))
                return done
        done.set_exception(StoreError("The store is closed."))
        return done

    def write(self, work: Callable[[Unit], T]) -> T:
        return self.submit(work).result()

    def close(self) -> None:
        with self._door:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        self._committer.join()
        for connection in self._readers:
            connection.close()
        self._engine.dispose()
        self._lock.close()

    def _migrated(self) -> Connection:
        """Open the committer's connection and bring the schema up to date; on failure nothing stays open."""
        try:
            with self._lock.held():
                connection = self._engine.connect()
                try:
                    migrate(connection)
                except BaseException:
                    connection.close()
                    raise
        except BaseException:
            self._lock.close()
            raise
        return connection

    def _reader(self) -> _Reader:
        """Return this thread's own connection, with what it remembers."""
        reader: _Reader | None = getattr(self._local, "reader", None)
        if reader is None:
            connection = self._engine.connect()
            reader = _Reader(connection, _driver(connection), RememberedRows(), self._around.clock.now())
            reader.driver.execute("PRAGMA query_only=ON")
            self._local.reader = reader
            self._readers.append(connection)
        return reader

    def _unit(
        self,
        connection: Connection,
        driver: sqlite3.Connection,
        now: datetime,
        *,
        remembered: RememberedRows | None = None,
    ) -> Unit:
        return Unit(
            connection=connection,
            driver=driver,
            dialect="sqlite",
            now=now,
            entropy=self._around.entropy,
            keyring=self._around.keyring,
            writes=remembered is None,
            remembered=remembered,
            subscribers=self._around.subscribers,
            regions=self._around.regions,
        )

    def _commit_forever(self) -> None:
        connection, driver = self._writer, _driver(self._writer)
        ending = False
        while not ending:
            group, ending = self._next_group()
            if group:
                self._commit_group(connection, driver, group)
        with self._lock.held(), suppress(sqlite3.Error):
            driver.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()

    def _next_group(self) -> tuple[list[_Job], bool]:
        """Wait for a job, then take what else is queued; the second value says that the store is closing."""
        group: list[_Job] = []
        with suppress(queue.Empty):
            while len(group) < GROUP_LIMIT:
                job = self._jobs.get(block=not group)
                if job is None:
                    return group, True
                if job.done.set_running_or_notify_cancel():
                    group.append(job)
        return group, False

    def _commit_group(self, connection: Connection, driver: sqlite3.Connection, group: list[_Job]) -> None:
        try:
            with self._lock.held():
                outcomes = self._commit(connection, driver, group)
                self._checkpoint(driver)
        except Exception as error:
            log.exception("commit failed", action="commit_failed", units=len(group))
            with suppress(sqlite3.Error):
                driver.execute("ROLLBACK")
            self._sink = self._around.sink()  # whether the records are kept is not known: a new chain begins
            for job in group:
                _settle(job.done, None, CommitFailed(f"The commit failed ({type(error).__name__})."))
            return
        for outcome in outcomes:
            if outcome.failure is None:
                call_back(outcome.unit)
            _settle(outcome.job.done, outcome.value, outcome.failure)

    def _commit(self, connection: Connection, driver: sqlite3.Connection, group: list[_Job]) -> list[_Done]:
        """Run a group of jobs in one transaction, and commit it; the lock file is held."""
        driver.execute("BEGIN IMMEDIATE")
        outcomes: list[_Done] = []
        for job in group:
            outcomes.append(self._run(connection, driver, job))
            if not driver.in_transaction:
                # SQLite rolls back by itself when the disk is full or fails; what ran next would commit on its own.
                raise StoreError("SQLite ended the transaction by itself.")
        entries = [entry for outcome in outcomes if outcome.failure is None for entry in outcome.unit.entries]
        committed = self._sink.write(connection, entries, self._around)
        driver.execute("COMMIT")
        committed()
        return outcomes

    def _run(self, connection: Connection, driver: sqlite3.Connection, job: _Job) -> _Done:
        unit = self._unit(connection, driver, self._around.clock.now())
        try:
            with unit.savepoint():
                return _Done(job, job.work(unit), None, unit)
        except BaseException as error:  # noqa: BLE001 (it is the caller's, who gets it from the Future)
            return _Done(job, None, error, unit)

    def _checkpoint(self, driver: sqlite3.Connection) -> None:
        """Checkpoint once the WAL is long, while this process holds the lock file; one that fails is tried again."""
        size = self._path.with_name(self._path.name + "-wal")
        with suppress(OSError, sqlite3.Error):
            if size.stat().st_size >= CHECKPOINT_PAGES * 4096:
                driver.execute("PRAGMA wal_checkpoint(PASSIVE)")


class LockFile:
    """A file that one writer at a time holds, over all processes (flock) and over this one's threads."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._thread = threading.Lock()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the lock; blocks without polling. The kernel lets go when the holder dies."""
        with self._thread:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)


def _settle(done: Future[Any], value: object, error: BaseException | None) -> None:
    """Give one caller its result. Whatever its callbacks do, the next caller gets theirs."""
    try:
        if error is None:
            done.set_result(value)
        else:
            done.set_exception(error)
    except Exception:
        log.exception("a caller could not take its result", action="release_failed")


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _data_version(driver: sqlite3.Connection) -> int:
    version: int = driver.execute("PRAGMA data_version").fetchone()[0]
    return version


_UNOPENED: Any = Unopened()


def _prepare(driver: sqlite3.Connection, _record: object) -> None:
    driver.isolation_level = None  # transactions are begun and ended here, never by the driver
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "wal_autocheckpoint=0",  # only the committer checkpoints, under the lock file
        "journal_size_limit=0",  # the WAL's file is cut when it starts over: its size says how much waits in it
        "foreign_keys=ON",
        "busy_timeout=5000",
        "secure_delete=ON",
        "trusted_schema=OFF",
        "cache_size=-16000",
    ):
        driver.execute(f"PRAGMA {pragma}")
