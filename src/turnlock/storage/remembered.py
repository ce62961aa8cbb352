"""Rows of hot queries, remembered for as long as nothing was committed to the SQLite file.

`PRAGMA data_version` (sqlite.org) tells a connection whether any other one has committed since: it is asked at the
beginning of each read, so a read that begins after a change was acknowledged never sees a remembered row from before it.
What is remembered are rows as they are stored: values stay sealed.

A read first runs on remembered rows alone, without a transaction. When it needs anything else, `NotRemembered` ends it
and it runs again from the start on a snapshot: a read has no effects, so running it twice does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, Final, NoReturn, TypeVar

from turnlock.errors import StoreError

MOST_QUERIES: Final = 8192
LARGEST_BLOB: Final = 4096
"""Bytes; with MOST_QUERIES it bounds the memory."""

T = TypeVar("T")
Rows = list[tuple[Any, ...]]


class NotRemembered(StoreError):
    """The read needs more than the remembered rows; the store runs it again on a snapshot."""


class Unopened:
    """Stands for the connection of a read that has none: whoever touches it ends the first attempt."""

    def __getattr__(self, name: str) -> NoReturn:
        raise NotRemembered


class RememberedRows:
    """One connection's memory. Not for two threads."""

    def __init__(self) -> None:
        self._version = -1
        self._rows: dict[Hashable, Rows] = {}
        self._values: dict[Hashable, Any] = {}
        self._passed_over = 0
        """How many results were too large to be kept."""

    def holds(self, version: int) -> bool:
        """Tell whether what is remembered is of this data version."""
        return version == self._version and bool(self._rows)

    def begin(self, version: int) -> None:
        """Forget everything that is of another data version."""
        if version != self._version:
            self._version = version
            self._rows.clear()
            self._values.clear()

    def value(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` derives from remembered rows, made once for as long as they hold.

        Only for what `make` derives from the store and from nothing else, and that nobody changes: it is shared. What
        comes from a row too large to be kept is not kept either.
        """
        found: T | None = self._values.get(key)
        if found is None:
            passed_over = self._passed_over
            found = make()
            if self._passed_over == passed_over:
                if len(self._values) >= MOST_QUERIES:
                    del self._values[next(iter(self._values))]
                self._values[key] = found
        return found

    def find(self, key: Hashable) -> Rows | None:
        """Return the rows of a query with its parameters, None when they are not remembered."""
        return self._rows.get(key)

    def keep(self, key: Hashable, rows: Rows) -> None:
        """Remember rows, unless one of them is large; the oldest make room."""
        if any(isinstance(value, bytes) and len(value) > LARGEST_BLOB for row in rows for value in row):
            self._passed_over += 1
            return
        if len(self._rows) >= MOST_QUERIES:
            del self._rows[next(iter(self._rows))]
        self._rows[key] = rows
