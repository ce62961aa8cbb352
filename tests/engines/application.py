"""An application that works with a database without a pause while its password is rotated.

It does what a careful one does: it keeps the secret it has read until a login is refused, reads it again then, and tries
again with a growing delay for at most two seconds. What takes longer has failed.
"""

from __future__ import annotations

import itertools
import json
import random
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import psycopg
from botocore.exceptions import BotoCoreError, ClientError
from psycopg import sql

from tests.processes import Client
from tests.rotated import Role

PATIENCE_SECONDS = 2.0
OPERATIONS_PER_SESSION = 3
FIRST_DELAY, LONGEST_DELAY = 0.005, 0.1

Session = psycopg.Connection[tuple[Any, ...]]


class CachedSecret:
    """The secret as the application knows it, read again only when that does not log in any more."""

    def __init__(self, client: Client, arn: str) -> None:
        self._client = client
        self._arn = arn
        self._lock = threading.Lock()
        self._known = self._read()
        self.reads = 1

    def password(self) -> str:
        """Return the password that was read last."""
        return self._known

    def refresh(self, refused: str) -> None:
        """Read the secret again, unless another thread has done so since `refused` was read."""
        with self._lock:
            if self._known == refused:
                self._known = self._read()
                self.reads += 1

    def _read(self) -> str:
        answer = self._client.get_secret_value(SecretId=self._arn)
        return str(json.loads(answer["SecretString"])["password"])


@dataclass(kw_only=True)
class Figures:
    """What the application went through."""

    operations: int = 0
    retried: int = 0
    """Operations that did not succeed at once."""
    refused_logins: int = 0
    failures: list[str] = field(default_factory=list)
    longest_wait: float = 0.0
    """Seconds that the slowest operation took, with all its tries."""


class Application:
    """Several threads that insert rows and read them back. Use it as a context manager."""

    def __init__(self, client: Client, arn: str, role: Role, threads: int = 3) -> None:
        self._secret = CachedSecret(client, arn)
        self._role = role
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
            thread.join(30)

    @property
    def reads(self) -> int:
        """How often the secret was read."""
        return self._secret.reads

    def _work(self) -> None:
        try:
            while not self._stopping.is_set():
                session = self._operate(None)
                for _ in range(OPERATIONS_PER_SESSION - 1):
                    session = self._operate(session)
                session.close()
        except (psycopg.Error, BotoCoreError, ClientError, TimeoutError, AssertionError) as error:
            self.figures.failures.append(f"{type(error).__name__}: {error}")

    def _operate(self, session: Session | None) -> Session:
        """Log in where there is no session yet, insert a row and read it back; TimeoutError after PATIENCE_SECONDS."""
        began = time.monotonic()
        refused = 0
        for attempt in itertools.count():
            password = self._secret.password()
            try:
                session = session or self._log_in(password)
                self._insert_and_read(session)
                break
            except psycopg.OperationalError as error:
                session, refused = None, refused + 1
                if time.monotonic() - began > PATIENCE_SECONDS:
                    raise TimeoutError(f"no success in {attempt + 1} tries") from error
            self._secret.refresh(password)
            delay = min(FIRST_DELAY * 2**attempt, LONGEST_DELAY)
            time.sleep(delay * random.uniform(0.5, 1))
        self._count(refused, time.monotonic() - began)
        assert session is not None
        return session

    def _log_in(self, password: str) -> Session:
        return psycopg.connect(
            self._role.server.conninfo(self._role.name, password), autocommit=True, connect_timeout=2
        )

    def _insert_and_read(self, session: Session) -> None:
        table, number = sql.Identifier(self._role.name), next(self._ids)
        session.execute(sql.SQL("INSERT INTO {} VALUES (%s)").format(table), (number,))
        found = session.execute(
            sql.SQL("SELECT id FROM {} WHERE id = %s").format(table), (number,)
        ).fetchone()
        assert found == (number,), f"the row {number} is not there"

    def _count(self, refused: int, seconds: float) -> None:
        with self._lock:
            self.figures.operations += 1
            self.figures.retried += refused > 0
            self.figures.refused_logins += refused
            self.figures.longest_wait = max(self.figures.longest_wait, seconds)
