"""Pages of KMS's lists: Limit, Marker, NextMarker and Truncated."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from turnlock.core.action import Request
from turnlock.errors import InvalidMarkerException

T = TypeVar("T")


def limit_of(request: Request, default: int = 100) -> int:
    """Return how many entries a page has."""
    return int(request.get("Limit", default))


def position_of(request: Request) -> str | None:
    """Return the last entry of the page before, None for the first page. Raises InvalidMarkerException."""
    marker = request.get("Marker")
    if marker is None:
        return None
    try:
        return base64.b64decode(marker, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidMarkerException from None


def page(member: str, found: Sequence[T], limit: int, name: Callable[[T], str]) -> dict[str, Any]:
    """Return (the list under `member`, and the next Marker) of up to one entry more than the page has.

    Any text is a valid marker: the list continues after it in the order of names, and has only the caller's own
    entries.
    """
    entries = found[:limit]
    if len(found) <= limit:
        return {member: entries, "Truncated": False}
    following = base64.urlsafe_b64encode(name(entries[-1]).encode()).decode()
    return {member: entries, "NextMarker": following, "Truncated": True}


def page_of_all(
    request: Request, member: str, found: Sequence[T], name: Callable[[T], str], default: int = 100
) -> dict[str, Any]:
    """Return the page that a request asks for of a whole list in the order of its names."""
    position, limit = position_of(request), limit_of(request, default)
    rest = [entry for entry in found if position is None or name(entry) > position]
    return page(member, rest[: limit + 1], limit, name)
