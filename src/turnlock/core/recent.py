"""A small cache of values that were opened lately."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Keeps the `size` values that were asked for last; any thread may ask.

    An entry is never checked for being current. So its key must have everything that the value was made of, as read by
    this request: after a change the key is another one, and the old entry is not found.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value for `key`, made by `make` unless it is cached. Exceptions of `make` are raised and not cached."""
        with self._lock:
            kept = self._values.get(key)
            if kept is not None:
                self._values.move_to_end(key)
                return kept
        # Outside the lock: making a value may read the store, and two threads that make one do no harm.
        made = make()
        with self._lock:
            self._values[key] = made
            if len(self._values) > self._size:
                self._values.popitem(last=False)
        return made
