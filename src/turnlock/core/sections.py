"""Runs of a list as a store has them in order: what a page goes through without reading the whole list."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Section(Generic[T]):
    """A run of a list, in the store's own order."""

    name: str
    """What its Markers begin with."""
    read: Callable[[str | None, int], Sequence[T]]
    """Returns the rows after a key, or the first ones, as many as is said or all that there are."""
    key: Callable[[T], str]
