"""IAM's pages: Marker, MaxItems, IsTruncated."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeVar

from turnlock.core.action import Answer, Request
from turnlock.errors import ValidationException

T = TypeVar("T")

PAGE: Final = 100
"""Items of a page whose size nobody named (IAM API reference)."""
MOST: Final = 100
"""Items of any page: IAM "might return fewer than MaxItems" (API reference), and a read holds the event loop for 50 ms at most."""


def page(
    request: Request, found: Iterable[T], key: Callable[[T], str], member: str, show: Callable[[T], Any]
) -> Answer:
    """Return one page of `found`, ordered by `key`, as the members of an answer.

    A Marker is the key of the last item shown: it means the same after items came or went. Raises ValidationException
    for a text that no Marker is.
    """
    after, size = _read(request.get("Marker")), min(request.get("MaxItems", PAGE), MOST)
    left = sorted((one for one in found if after is None or key(one) > after), key=key)
    items, more = left[:size], len(left) > size
    return {
        member: [show(one) for one in items],
        "IsTruncated": more,
        "Marker": _write(key(items[-1])) if more else None,
    }


def page_of_keys(
    request: Request,
    keys: Iterable[str],
    read: Callable[[Sequence[str]], Iterable[T]],
    *,
    key: Callable[[T], str],
    member: str,
    show: Callable[[T], Any],
) -> Answer:
    """Return the page that `page` would, of what `read` gives for the keys: as few of them as the page needs are read.

    `read` takes some of the keys in order, and may leave some out that do not belong to the list.
    """
    after, size = _read(request.get("Marker")), min(request.get("MaxItems", PAGE), MOST)
    left = sorted(one for one in keys if after is None or one > after)
    found: list[T] = []
    for at in range(0, len(left), MOST):
        found += sorted(read(left[at : at + MOST]), key=key)
        if len(found) > size:
            break
    return page(request, found, key, member, show)


def _write(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _read(marker: str | None) -> str | None:
    if marker is None:
        return None
    try:
        return base64.b64decode(marker.encode("ascii"), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise ValidationException("Invalid Marker.") from None
