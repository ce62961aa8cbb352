"""Lambda's pages: Marker, MaxItems, NextMarker."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from turnlock.core.action import Answer, Request
from turnlock.errors import InvalidParameterValueException

T = TypeVar("T")

PAGE: Final = 50
"""Items of a page at most, whatever is asked for (Lambda API reference)."""


def page(request: Request, member: str, found: Sequence[T], show: Callable[[T], Any]) -> Answer:
    """Return one page of `found`, which has an order of its own. A Marker is the number of items shown before.

    Raises InvalidParameterValueException for a text that no Marker is.
    """
    marker = request.get("Marker", "0")
    if not (marker.isascii() and marker.isdigit() and len(marker) < 9):
        raise InvalidParameterValueException("Invalid Marker.")
    start, size = int(marker), min(request.get("MaxItems", PAGE), PAGE)
    shown = found[start : start + size]
    more = start + size < len(found)
    return {member: [show(one) for one in shown], "NextMarker": str(start + size) if more else None}
