"""IAM's pages: Marker, MaxItems, IsTruncated.

A page reads as few rows as it needs, and WALKED of them at most: it holds the event loop. IAM "might return fewer than MaxItems
results, even when there are more" (API reference), and the Marker says where to go on.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from turnlock.core.action import Answer, Request
from turnlock.core.sections import Section
from turnlock.errors import ValidationException

T = TypeVar("T")

PAGE: Final = 100
"""Items of a page whose size nobody named (IAM API reference)."""
MOST: Final = 100
"""Items of any page."""
WALKED: Final = 400
"""Rows that one page reads at most, shown or passed over: 40 µs each."""


def page(
    request: Request, found: Iterable[T], key: Callable[[T], str], member: str, show: Callable[[T], Any]
) -> Answer:
    """Return one page of the few that were `found`, ordered by `key`, as the members of an answer.

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


def page_of_sections(
    request: Request,
    sections: Sequence[Section[Any]],
    *,
    member: str,
    show: Callable[[str, Any], Any],
    keep: Callable[[Any], bool] = lambda _: True,
    most: int = MOST,
) -> Answer:
    """Return one page of the sections' rows that are to be kept, section by section; `show` is given the section's name too.

    A Marker is the section and the key of the last row read. Raises ValidationException for a text that no Marker is.
    """
    size = min(request.get("MaxItems", most), most)
    items: list[Any] = []
    last = marker = None
    for number, (section, row) in enumerate(_walk(sections, _read(request.get("Marker")), size + 1)):
        if len(items) == size or number == WALKED:
            marker = last
            break
        last = f"{section.name} {section.key(row)}"
        if keep(row):
            items.append(show(section.name, row))
    return {
        member: items,
        "IsTruncated": marker is not None,
        "Marker": None if marker is None else _write(marker),
    }


def _walk(
    sections: Sequence[Section[Any]], marker: str | None, at_once: int
) -> Iterator[tuple[Section[Any], Any]]:
    names, after = [section.name for section in sections], None
    if marker is not None:
        name, _, after = marker.partition(" ")
        if name not in names:
            raise ValidationException("Invalid Marker.")
        sections = sections[names.index(name) :]
    for section in sections:
        while rows := section.read(after, at_once):
            yield from ((section, row) for row in rows)
            after = section.key(rows[-1])
        after = None


def _write(key: str) -> str:
    return base64.urlsafe_b64encode(key.encode()).decode()


def _read(marker: str | None) -> str | None:
    if marker is None:
        return None
    try:
        key = base64.b64decode(marker.encode("ascii"), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise ValidationException("Invalid Marker.") from None
    if "\0" in key:  # which PostgreSQL takes in no text
        raise ValidationException("Invalid Marker.")
    return key
