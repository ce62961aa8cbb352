"""Taking turns on PostgreSQL: units that lost a serialisation conflict run one at a time, over all nodes.

Of units that conflict at least one commits, and nothing says which: among many, one and the same can lose each time. Those that
lost therefore queue, for a lock of PostgreSQL's that the winners never ask for. Whoever holds it meets only units that run for the
first time, and those join the queue when they lose; so the fuller it is here, the emptier it is there. To a holder who loses again
the units of its own process give way; only those of other nodes, in a great crowd, can still keep it from winning.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import DBAPIError

from turnlock.errors import Contended

PATIENCE: Final = 20.0
"""Seconds to wait for one's turn, on this node and then as `lock_timeout` says over all of them."""

_LOCK: Final = 0x7475726E6C6F636B  # "turnlock"
_ASK, _LEAVE = text("SELECT pg_advisory_lock(:lock)"), text("SELECT pg_advisory_unlock(:lock)")


class Turns:
    """One process's place in the queue: a single connection, however many of its threads wait."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine.execution_options(isolation_level="AUTOCOMMIT")
        self._here = threading.Lock()
        self._free = threading.Event()
        self._free.set()

    def give_way(self) -> None:
        """Wait, a bounded time, while somebody of this process presses."""
        self._free.wait(PATIENCE)

    def press(self) -> None:
        """Let those of this process who come now wait until the turn, which the caller holds, is over."""
        self._free.clear()

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Wait for one's turn and hold it; Contended when it does not come. A process that dies lets go of it."""
        if not self._here.acquire(timeout=PATIENCE):
            raise Contended
        try:
            # A session of its own: in a serialisable transaction, to wait would make the snapshot old.
            with self._engine.connect() as connection:
                self._ask(connection)
                try:
                    yield
                finally:
                    self._leave(connection)
        finally:
            self._free.set()
            self._here.release()

    def _ask(self, connection: Connection) -> None:
        try:
            connection.execute(_ASK, {"lock": _LOCK})
        except DBAPIError as error:
            raise Contended from error

    def _leave(self, connection: Connection) -> None:
        try:
            connection.execute(_LEAVE, {"lock": _LOCK})
        except DBAPIError:
            connection.invalidate()  # the session ends, and what it holds with it
