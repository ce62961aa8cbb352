"""The PostgreSQL store: many nodes, each with a bounded pool of threads and connections.

Changes run SERIALIZABLE (PostgreSQL manual, 13.2.3): what one unit decided on what it read holds at its commit, on
whichever node the other units run; a unit that loses such a conflict is run again from the start. Reads run on a
REPEATABLE READ, READ ONLY snapshot. A commit is durable when it returns, because `synchronous_commit` is asked for.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

import structlog
from sqlalchemy import URL, Connection, create_engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from turnlock.errors import CommitFailed, ConfigurationError, Contended, StoreError
from turnlock.storage.database import Outcome, RecordSink, Surroundings
from turnlock.storage.migrate import migrate
from turnlock.storage.turns import Turns
from turnlock.storage.unit import Unit, call_back

T = TypeVar("T")
log = structlog.get_logger(__name__)

WRITERS = 8
"""Threads that run changes, each with a connection and a hash chain of its own."""

ATTEMPTS = 12
"""How often a unit is run that loses serialisation conflicts: once at its first chance, then in its turn; with the back-off 1 s."""

_CONFLICTS = frozenset({"40001", "40P01"})  # serialization_failure, deadlock_detected


class PostgresqlDatabase:
    """One PostgreSQL database; see `Database` for what each method promises."""

    dialect = "postgresql"
    reads_inline = False

    def __init__(self, url: str, surroundings: Surroundings) -> None:
        self._around = surroundings
        self._engine = create_engine(
            _with_driver(url),
            pool_size=WRITERS,
            max_overflow=WRITERS * 2,
            pool_timeout=30,
            pool_pre_ping=True,
            isolation_level="SERIALIZABLE",
            hide_parameters=True,
            connect_args={
                "connect_timeout": 10,
                "application_name": "turnlock",
                "options": "-c synchronous_commit=on -c lock_timeout=20s -c statement_timeout=30s"
                " -c idle_in_transaction_session_timeout=10s -c jit=off",
            },
        )
        self._snapshots = self._engine.execution_options(
            isolation_level="REPEATABLE READ", postgresql_readonly=True
        )
        try:
            self._migrate()
        except BaseException:
            self._engine.dispose()
            raise
        self._turns = Turns(self._engine)
        self._closed = False
        self._local = threading.local()
        self._writers = ThreadPoolExecutor(max_workers=WRITERS, thread_name_prefix="writer")

    def read(self, work: Callable[[Unit], T]) -> T:
        return self._read_one(work).result()

    def read_each(self, works: Sequence[Callable[[Unit], T]]) -> list[Outcome[T]]:
        return [self._read_one(work) for work in works]

    def submit(self, work: Callable[[Unit], T]) -> Future[T]:
        with suppress(RuntimeError):  # what the pool says when it is shut
            return self._writers.submit(self._carry_out, work)
        done: Future[T] = Future()
        done.set_exception(StoreError("The store is closed."))
        return done

    def write(self, work: Callable[[Unit], T]) -> T:
        if self._closed:
            raise StoreError("The store is closed.")
        return self._carry_out(work)

    def close(self) -> None:
        self._closed = True
        self._writers.shutdown()
        self._engine.dispose()

    def _read_one(self, work: Callable[[Unit], T]) -> Outcome[T]:
        try:
            with self._snapshots.connect() as connection:
                transaction = connection.begin()
                unit = self._unit(connection, writes=False)
                value = work(unit)
                # A rollback would make the driver forget every statement that it has prepared. What was read stands, also
                # where the connection is gone by now.
                with suppress(DBAPIError):
                    transaction.commit()
                return Outcome(value, None, unit.entries)
        except Exception as error:  # noqa: BLE001 (it is the caller's)
            return Outcome(None, error, [])

    def _migrate(self) -> None:
        """Bring the schema up to date. At READ COMMITTED: a node that waited for another sees what that one made."""
        engine = self._engine.execution_options(isolation_level="READ COMMITTED")
        try:
            with engine.connect() as connection:
                migrate(connection)
        except DBAPIError as error:
            raise ConfigurationError(f"The store cannot be opened: {_reason(error)}") from error

    def _carry_out(self, work: Callable[[Unit], T]) -> T:
        self._turns.give_way()
        try:
            return self._attempt(work)
        except DBAPIError as error:
            self._refuse_unless_lost(error)
        with self._turns.taken():
            for attempt in range(2, ATTEMPTS):
                try:
                    return self._attempt(work)
                except DBAPIError as error:
                    self._refuse_unless_lost(error)
                    self._turns.press()
                # Full jitter, so that units that met once do not meet again.
                time.sleep(random.uniform(0, min(0.2, 0.002 * 2**attempt)))  # noqa: S311 (a delay, not a secret)
            return self._last_attempt(work)

    def _last_attempt(self, work: Callable[[Unit], T]) -> T:
        try:
            return self._attempt(work)
        except DBAPIError as error:
            self._refuse_unless_lost(error)
            log.warning("commit failed", action="commit_failed", reason=_reason(error), attempts=ATTEMPTS)
            raise Contended from error

    def _refuse_unless_lost(self, error: DBAPIError) -> None:
        """Raise CommitFailed for all but a lost conflict, after which the unit can run again from the start."""
        self._local.sink = None  # whether the records are kept is not known: a new chain begins
        if getattr(error.orig, "sqlstate", None) not in _CONFLICTS:
            log.warning("commit failed", action="commit_failed", reason=_reason(error))
            raise CommitFailed(f"The commit failed ({type(error).__name__}).") from error

    def _attempt(self, work: Callable[[Unit], T]) -> T:
        with self._engine.connect() as connection, connection.begin() as transaction:
            unit = self._unit(connection, writes=True)
            value = work(unit)
            committed = self._sink().write(connection, unit.entries, self._around)
            transaction.commit()
            committed()
        call_back(unit)
        return value

    def _unit(self, connection: Connection, *, writes: bool) -> Unit:
        return Unit(
            connection=connection,
            driver=connection.connection.driver_connection,
            dialect="postgresql",
            now=self._around.clock.now(),
            entropy=self._around.entropy,
            keyring=self._around.keyring,
            writes=writes,
            subscribers=self._around.subscribers,
            regions=self._around.regions,
        )

    def _sink(self) -> RecordSink:
        """Return this thread's own sink: a hash chain has one writer."""
        sink: RecordSink | None = getattr(self._local, "sink", None)
        if sink is None:
            sink = self._around.sink()
            self._local.sink = sink
        return sink


def _with_driver(url: str) -> URL:
    """Read the operator's URL. What is wrong with it is not quoted: it may be a piece of the password."""
    scheme, _, rest = url.partition("://")
    if scheme in {"postgresql", "postgres", "postgresql+psycopg"} and rest:
        with suppress(ArgumentError, ValueError):
            return make_url(f"postgresql+psycopg://{rest}")
    raise ConfigurationError(
        "--database must be a postgresql:// URL; in a password, characters such as @ : / are percent-encoded."
    )


def _reason(error: DBAPIError) -> str:
    """Return the driver's first line: libpq names hosts and roles in it, never passwords."""
    original: Any = error.orig
    return str(original).strip().splitlines()[0] if str(original).strip() else type(original).__name__
