"""Pages of lists: where the page before ended, how many entries a page has, and what an answer says about the next one.

Services have three kinds of positions: the key of the last entry shown (`Pages.page`: KMS, IAM), the number of entries shown
(`Pages.numbered`: Lambda, CloudWatch Logs), and a position under a MAC (`Question`: Secrets Manager, RDS).
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

import msgspec

from turnlock.core.action import Answer, Request
from turnlock.core.call import Call
from turnlock.core.ports import RootKeyring
from turnlock.errors import ApiError, InvalidNextTokenException

T = TypeVar("T")

WALKED: Final = 400
"""Rows that a page of sections reads at most, shown or passed over, 40 µs each: it holds the event loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section(Generic[T]):
    """A run of a list, in the store's own order."""

    name: str
    """What its positions begin with."""
    read: Callable[[str | None, int], Sequence[T]]
    """Returns the rows after a key, or the first ones, as many as is said or all that there are."""
    key: Callable[[T], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """How one service spells the pages of its lists."""

    position: str = "Marker"
    """The request's member that says where the page before ended."""
    size: str
    """The request's member for the number of entries."""
    following: str
    """The answer's member that the next request has as its position."""
    truncated: str | None = None
    """The answer's member that says whether there is more; None where the service has none."""
    default: int
    """Entries of a page where the request names no number."""
    most: int
    """Entries of any page, whatever the request names."""
    digits: int = 19
    """Digits of a position that is a number, at most."""
    invalid: Callable[[], ApiError]
    """Makes the error for a text that is no position."""

    def size_of(self, request: Request, default: int | None = None) -> int:
        """Return how many entries the page has; `default` stands for the service's where an operation has its own."""
        return min(int(request.get(self.size, default or self.default)), self.most)

    def after(self, request: Request) -> str | None:
        """Return the key that the page before ended with, None for the first page. Raises `invalid`."""
        text = request.get(self.position)
        if text is None:
            return None
        try:
            key = base64.b64decode(text, altchars=b"-_", validate=True).decode()
        except ValueError:
            raise self.invalid() from None
        if "\0" in key:  # which PostgreSQL takes in no text
            raise self.invalid()
        return key

    def page(
        self,
        request: Request,
        found: Iterable[T],
        key: Callable[[T], str],
        member: str,
        show: Callable[[T], Any],
        *,
        default: int | None = None,
    ) -> Answer:
        """Return one page of `found` in the order of their keys, as the members of an answer. Raises `invalid`.

        A position is the key of the last entry shown: it means the same after entries came or went. Any key is a position,
        also one of no entry.
        """
        after = self.after(request)
        left = sorted((one for one in found if after is None or key(one) > after), key=key)
        return self.cut(left, self.size_of(request, default), key, member, show)

    def cut(
        self, found: Sequence[T], size: int, key: Callable[[T], str], member: str, show: Callable[[T], Any]
    ) -> Answer:
        """Return the page of what a query found after `after(request)`: its first `size` entries. One more tells of a next page."""
        last = key(found[size - 1]) if len(found) > size else None
        return self._answer(member, [show(one) for one in found[:size]], _written(last))

    def page_of_sections(
        self,
        request: Request,
        sections: Sequence[Section[Any]],
        *,
        member: str,
        show: Callable[[str, Any], Any],
        keep: Callable[[Any], bool] = lambda _: True,
        most: int | None = None,
    ) -> Answer:
        """Return one page of the sections' rows that are to be kept, section by section; `show` is given the section's name too.

        It reads as few rows as the page needs, and WALKED of them at most; `most` stands for the service's where an operation
        has its own. A position is the section and the key of the last row read. Raises `invalid`.
        """
        size = self.size_of(request) if most is None else min(self.size_of(request, most), most)
        items: list[Any] = []
        last = position = None
        for number, (section, row) in enumerate(self._walk(sections, self.after(request), size + 1)):
            if len(items) == size or number == WALKED:
                position = last
                break
            last = f"{section.name} {section.key(row)}"
            if keep(row):
                items.append(show(section.name, row))
        return self._answer(member, items, _written(position))

    def _walk(
        self, sections: Sequence[Section[Any]], position: str | None, at_once: int
    ) -> Iterator[tuple[Section[Any], Any]]:
        names, after = [section.name for section in sections], None
        if position is not None:
            name, _, after = position.partition(" ")
            if name not in names:
                raise self.invalid()
            sections = sections[names.index(name) :]
        for section in sections:
            while rows := section.read(after, at_once):
                yield from ((section, row) for row in rows)
                after = section.key(rows[-1])
            after = None

    def numbered(self, request: Request, found: Sequence[T], member: str, show: Callable[[T], Any]) -> Answer:
        """Return one page of `found` in its own order. A position is the number of entries shown before. Raises `invalid`."""
        start = self.number(request.get(self.position, "0"))
        end = start + self.size_of(request)
        return self._answer(
            member, [show(one) for one in found[start:end]], str(end) if end < len(found) else None
        )

    def number(self, text: str) -> int:
        """Return a position that is a number. Raises `invalid`."""
        if not (text.isascii() and text.isdigit() and len(text) <= self.digits):
            raise self.invalid()
        return int(text)

    def _answer(self, member: str, shown: Sequence[Any], following: str | None) -> Answer:
        truncated = {} if self.truncated is None else {self.truncated: following is not None}
        return {member: shown, self.following: following, **truncated}


def _written(key: str | None) -> str | None:
    return None if key is None else base64.urlsafe_b64encode(key.encode()).decode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a list is asked. Only this server can make a token, and it is valid for the same question only."""

    keyring: RootKeyring
    asked: bytes
    invalid: Callable[[], ApiError] = InvalidNextTokenException
    """Makes the error for a token of another question, or a forged one."""

    @classmethod
    def of(
        cls,
        keyring: RootKeyring,
        call: Call,
        asked: object,
        invalid: Callable[[], ApiError] = InvalidNextTokenException,
    ) -> Question:
        """Return the question of a call: its operation, account and Region, and what it asks (JSON values)."""
        told = msgspec.json.encode([call.account_id, call.region, call.action, asked], order="sorted")
        return cls(keyring=keyring, asked=told, invalid=invalid)

    def token(self, position: object | None) -> str | None:
        """Return the token for a position (what msgspec can encode) in the answer; None for None: there is no more."""
        if position is None:
            return None
        body = msgspec.msgpack.encode(position)
        return base64.urlsafe_b64encode(self._mac(body) + body).decode()

    def position(self, token: str | None, kind: type[T]) -> T | None:
        """Return the position in a token, None for the first page. Raises `invalid`."""
        if token is None:
            return None
        try:
            raw = base64.urlsafe_b64decode(token.encode("ascii"))
            mac, body = raw[:16], raw[16:]
            if hmac.compare_digest(mac, self._mac(body)):
                return msgspec.msgpack.decode(body, type=kind)
        except (ValueError, msgspec.DecodeError, msgspec.ValidationError):
            pass
        raise self.invalid()

    def _mac(self, body: bytes) -> bytes:
        return self.keyring.mac("next-token", self.asked + b"\0" + body)[:16]
