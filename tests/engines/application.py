"""An application that works with a database without a pause while its credential is rotated.

It does what a careful one does: it keeps the secret it has read until a login is refused, reads it again then, and tries
again with a growing delay for a bounded time. What takes longer has failed: two seconds in the proof, on a machine that does
nothing else; in `make test`, where rotations themselves wait for other tests, only what never succeeds.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from botocore.exceptions import BotoCoreError, ClientError

from tests import proofs
from tests.processes import Client

PATIENCE_SECONDS = 2.0 if proofs.FULL else 30.0
OPERATIONS_PER_SESSION = 3
FIRST_DELAY, LONGEST_DELAY = 0.005, 0.1

Session = Any
"""A DB-API connection that commits by itself."""


class Place(Protocol):
    """Where an application works."""

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What a refused login and a session that has ended raise."""
        ...

    def log_in(self, value: Mapping[str, Any]) -> Session:
        """Log in with a secret's value."""
        ...


class CachedSecret:
    """The secret as the application knows it, read again only when that does not log in any more."""

    def __init__(self, client: Client, arn: str) -> None:
        self._client = client
        self._arn = arn
        self._lock = threading.Lock()
        self._known = self._read()
        self.reads = 1

    def value(self) -> Mapping[str, Any]:
        """Return the value that was read last."""
        return self._known

    def refresh(self, refused: Mapping[str, Any]) -> None:
        """Read the secret again, unless another thread has done so since `refused` was read."""
        with self._lock:
            if self._known == refused:
                self._known = self._read()
                self.reads += 1

    def _read(self) -> Mapping[str, Any]:
        value: Mapping[str, Any] = json.loads(
            self._client.get_secret_value(SecretId=self._arn)["SecretString"]
        )
        return value


@dataclass(kw_only=True)
class Figures:
    """What the application went through."""

    operations: int = 0
    retried: int = 0
    """Operations that did not succeed at once."""
    refused_logins: int = 0
    """Logins, and operations in a session, that failed."""
    failures: list[str] = field(default_factory=list)
    longest_wait: float = 0.0
    """Seconds that the slowest operation took, with all its tries."""


class Application:
    """Several threads that insert rows into a table and read them back. Use it as a context manager.

    With `reads_again` each new session begins with a fresh look at the secret, as an application does that keeps no copy.
    """

    def __init__(
        self,
        client: Client,
        arn: str,
        place: Place,
        table: str,
        *,
        threads: int = 3,
        reads_again: bool = False,
    ) -> None:
        self._secret = CachedSecret(client, arn)
        self._place = place
        self._table = table
        self._reads_again = reads_again
        self._ids = itertools.count(1)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self.figures = Figures()
        self._threads = [threading.Thread(target=self._work, name=f"application-{n}") for n in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE_SECONDS)

    @property
    def reads(self) -> int:
        """How often the secret was read."""
        return self._secret.reads

    def _work(self) -> None:
        expected: tuple[type[Exception], ...] = (
            *self._place.failures,
            BotoCoreError,
            ClientError,
            TimeoutError,
            AssertionError,
        )
        try:
            while not self._stopping.is_set():
                if self._reads_again:
                    self._secret.refresh(self._secret.value())
                session = self._operate(None)
                for _ in range(OPERATIONS_PER_SESSION - 1):
                    session = self._operate(session)
                session.close()
        except expected as error:
            self.figures.failures.append(f"{type(error).__name__}: {error}")

    def _operate(self, session: Session | None) -> Session:
        """Log in where there is no session yet, insert a row and read it back; TimeoutError after PATIENCE_SECONDS."""
        began = time.monotonic()
        refused = 0
        for attempt in itertools.count():
            value = self._secret.value()
            try:
                session = session or self._place.log_in(value)
                self._insert_and_read(session)
                break
            except self._place.failures as error:
                session, refused = None, refused + 1
                if time.monotonic() - began > PATIENCE_SECONDS:
                    raise TimeoutError(f"no success in {attempt + 1} tries") from error
            self._secret.refresh(value)
            delay = min(FIRST_DELAY * 2**attempt, LONGEST_DELAY)
            time.sleep(delay * random.uniform(0.5, 1))
        self._count(refused, time.monotonic() - began)
        assert session is not None
        return session

    def _insert_and_read(self, session: Session) -> None:
        number = next(self._ids)
        with closing(session.cursor()) as cursor:
            cursor.execute(f"INSERT INTO {self._table} VALUES (%s)", (number,))
            cursor.execute(f"SELECT id FROM {self._table} WHERE id = %s", (number,))
            assert cursor.fetchone() == (number,), f"the row {number} is not there"

    def _count(self, refused: int, seconds: float) -> None:
        with self._lock:
            self.figures.operations += 1
            self.figures.retried += refused > 0
            self.figures.refused_logins += refused
            self.figures.longest_wait = max(self.figures.longest_wait, seconds)
