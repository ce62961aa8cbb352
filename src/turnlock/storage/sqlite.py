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
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, create_engine, event
from sqlalchemy.pool import NullPool

from turnlock.errors import CommitFailed, ConfigurationError
from turnlock.storage.database import Surroundings
from turnlock.storage.migrate import migrate
from turnlock.storage.unit import Unit

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
        self._lock = LockFile(path.with_name(path.name + ".lock"))
        self._local = threading.local()
        self._readers: list[Connection] = []
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closed = threading.Lock()
        try:
            with self._lock.held(), self._engine.connect() as connection:
                migrate(connection)
        except sqlite3.DatabaseError as error:
            raise ConfigurationError(f"The store in {path} cannot be opened: {error}") from error
        self._sink = surroundings.sink()
        self._committer = threading.Thread(target=self._commit_forever, name="committer", daemon=True)
        self._committer.start()

    def read(self, work: Callable[[Unit], T]) -> T:
        connection, driver = self._reader()
        driver.execute("BEGIN")
        try:
            return work(self._unit(connection, driver, writes=False))
        finally:
            driver.execute("ROLLBACK")

    def submit(self, work: Callable[[Unit], T]) -> Future[T]:
        done: Future[T] = Future()
        self._jobs.put(_Job(work, done))
        return done

    def write(self, work: Callable[[Unit], T]) -> T:
        return self.submit(work).result()

    def close(self) -> None:
        if not self._closed.acquire(blocking=False):
            return
        self._jobs.put(None)
        self._committer.join()
        for connection in self._readers:
            connection.close()
        self._engine.dispose()
        self._lock.close()

    def _reader(self) -> tuple[Connection, sqlite3.Connection]:
        pair: tuple[Connection, sqlite3.Connection] | None = getattr(self._local, "pair", None)
        if pair is None:
            connection = self._engine.connect()
            pair = (connection, _driver(connection))
            pair[1].execute("PRAGMA query_only=ON")
            self._local.pair = pair
            self._readers.append(connection)
        return pair

    def _unit(self, connection: Connection, driver: sqlite3.Connection, *, writes: bool) -> Unit:
        return Unit(
            connection=connection,
            driver=driver,
            dialect="sqlite",
            now=self._around.clock.now(),
            entropy=self._around.entropy,
            keyring=self._around.keyring,
            writes=writes,
            subscribers=self._around.subscribers,
        )

    def _commit_forever(self) -> None:
        connection = self._engine.connect()
        driver = _driver(connection)
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
        results: list[tuple[_Job, Any, BaseException | None, Unit]] = []
        try:
            with self._lock.held():
                driver.execute("BEGIN IMMEDIATE")
                results = [self._run(connection, driver, job) for job in group]
                entries = [entry for _, _, error, unit in results if error is None for entry in unit.entries]
                committed = self._sink.write(connection, entries)
                driver.execute("COMMIT")
                committed()
                self._checkpoint(driver)
        except Exception as error:
            log.exception("commit failed", action="commit_failed", units=len(group))
            with suppress(sqlite3.Error):
                driver.execute("ROLLBACK")
            self._sink = self._around.sink()  # whether the records are kept is not known: a new chain begins
            for job in group:
                _settle(job.done, None, CommitFailed(f"The commit failed ({type(error).__name__})."))
            return
        for job, value, failure, unit in results:
            _settle(job.done, value, failure)
            if failure is None:
                for callback in unit.committed:
                    callback()

    def _run(
        self, connection: Connection, driver: sqlite3.Connection, job: _Job
    ) -> tuple[_Job, Any, BaseException | None, Unit]:
        unit = self._unit(connection, driver, writes=True)
        try:
            with unit.savepoint():
                return job, job.work(unit), None, unit
        except Exception as error:  # noqa: BLE001 (it is the caller's, who gets it from the Future)
            return job, None, error, unit

    def _checkpoint(self, driver: sqlite3.Connection) -> None:
        """Checkpoint once the WAL is long, while this process holds the lock file."""
        size = self._path.with_name(self._path.name + "-wal")
        with suppress(OSError):
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


def _prepare(driver: sqlite3.Connection, _record: object) -> None:
    driver.isolation_level = None  # transactions are begun and ended here, never by the driver
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "wal_autocheckpoint=0",  # only the committer checkpoints, under the lock file
        "foreign_keys=ON",
        "busy_timeout=5000",
        "secure_delete=ON",
        "trusted_schema=OFF",
        "cache_size=-16000",
    ):
        driver.execute(f"PRAGMA {pragma}")
