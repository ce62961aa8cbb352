"""The application of the demo: threads that work against the database all the time, as any program of a user would.

It knows a secret's name and nothing of rotations. It reads the secret once and keeps it; when the database refuses the
login it reads again, and tries again with back-off for at most PATIENCE. What is not done by then has failed.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Self

import psycopg
from botocore.exceptions import BotoCoreError, ClientError
from psycopg.conninfo import make_conninfo

THREADS = 4
PATIENCE = 2.0
"""Seconds until an operation that does not succeed counts as failed."""
PAUSE = 0.03
"""Seconds between a thread's operations."""
OPERATIONS_PER_LOGIN = 5
KEPT_ROWS = 10_000
_FIRST_DELAY, _LONGEST_DELAY = 0.02, 0.25

TABLE = """\
CREATE TABLE visits (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, thread integer NOT NULL, at timestamptz NOT NULL DEFAULT now()
)"""
_INSERT = "INSERT INTO visits (thread) VALUES (%s) RETURNING id"
_READ = "SELECT thread FROM visits WHERE id = %s"
_FORGET = "DELETE FROM visits WHERE id <= %s"

_TRY_AGAIN = (psycopg.Error, ClientError, BotoCoreError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What the application has done so far."""

    operations: int = 0
    retries: int = 0
    failed: int = 0
    longest_gap: float = 0.0
    """Seconds: the longest that a thread went from one success to the next."""


class CachedSecret:
    """The application's own copy of the secret."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name
        self._lock = threading.Lock()
        self._conninfo: str | None = None

    def conninfo(self) -> str:
        """Return how to log in, from the copy if there is one."""
        with self._lock:
            if self._conninfo is None:
                self._conninfo = self._read()
            return self._conninfo

    def forget(self, refused: str) -> None:
        """Drop the copy if it is still what was refused."""
        with self._lock:
            if self._conninfo == refused:
                self._conninfo = None

    def _read(self) -> str:
        value = json.loads(self._client.get_secret_value(SecretId=self._name)["SecretString"])
        return make_conninfo(
            "",
            host=value["host"],
            port=value["port"],
            user=value["username"],
            password=value["password"],
            dbname=value["dbname"],
            connect_timeout=2,
        )


class Application:
    """THREADS threads at work from entering the context until leaving it."""

    def __init__(self, client: Any, name: str) -> None:
        self._secret = CachedSecret(client, name)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._work = Work()
        self._threads = [
            threading.Thread(target=self._run, args=(number,), name=f"application-{number}", daemon=True)
            for number in range(THREADS)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE * 2)

    @property
    def work(self) -> Work:
        """What has been done so far."""
        with self._lock:
            return self._work

    def _run(self, number: int) -> None:
        session = _Session(self._secret, number)
        last = time.monotonic()
        while not self._stop.wait(PAUSE):
            if self._operate(session):
                now = time.monotonic()
                self._note(operations=1, gap=now - last)
                last = now
        session.close()

    def _operate(self, session: _Session) -> bool:
        """Do one operation, trying again; True when it is done, False when it failed or the end is near."""
        deadline = time.monotonic() + PATIENCE
        for delay in _delays():
            try:
                session.operate()
            except _TRY_AGAIN:
                session.log_out()
                if time.monotonic() + delay > deadline:
                    self._note(failed=1)
                    return False
                self._note(retries=1)
                if self._stop.wait(delay):
                    return False
            else:
                return True
        return False

    def _note(self, *, operations: int = 0, retries: int = 0, failed: int = 0, gap: float = 0.0) -> None:
        with self._lock:
            work = self._work
            self._work = replace(
                work,
                operations=work.operations + operations,
                retries=work.retries + retries,
                failed=work.failed + failed,
                longest_gap=max(work.longest_gap, gap),
            )


class _Session:
    """One thread's connection, made anew every few operations."""

    def __init__(self, secret: CachedSecret, number: int) -> None:
        self._secret = secret
        self._number = number
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._conninfo = ""
        self._left = 0

    def operate(self) -> None:
        """Write a row and read it back, over a new connection when it is time for one."""
        if self._connection is None:
            self._conninfo = self._secret.conninfo()
            self._connection = psycopg.connect(self._conninfo, autocommit=True)
            self._left = OPERATIONS_PER_LOGIN
        row = self._connection.execute(_INSERT, (self._number,)).fetchone()
        assert row is not None
        if self._connection.execute(_READ, row).fetchone() != (self._number,):
            raise psycopg.DataError("a row that was written is not there")
        self._connection.execute(_FORGET, (row[0] - KEPT_ROWS,))
        self._left -= 1
        if not self._left:
            self.close()

    def log_out(self) -> None:
        """After a failure: close the connection, and forget the login that may be out of date."""
        self.close()
        self._secret.forget(self._conninfo)

    def close(self) -> None:
        """Close the connection, if there is one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _delays() -> Iterator[float]:
    delay = _FIRST_DELAY
    while True:
        yield delay
        delay = min(delay * 2, _LONGEST_DELAY)
