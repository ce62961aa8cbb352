"""One HTTP request and one HTTP response, as values: what the server hands in and what it sends back.

Like other values that are made for every request they are msgspec's structs: a frozen dataclass takes ten times as long to
make (docs/decisions/0021-hot-path.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import msgspec

from turnlock.errors import (
    ApiError,
    IncompleteSignatureException,
    SerializationException,
    UnknownOperationException,
)

T = TypeVar("T")
Headers = tuple[tuple[str, str], ...]

_BLANK = " \t"

_SINGLE: Mapping[str, type[ApiError]] = MappingProxyType(
    {
        "authorization": IncompleteSignatureException,
        "content-encoding": SerializationException,
        "content-length": SerializationException,
        "content-type": SerializationException,
        "date": IncompleteSignatureException,
        "host": IncompleteSignatureException,
        "transfer-encoding": SerializationException,
        "x-amz-target": UnknownOperationException,
    }
)
"""Headers that may be sent once only, and the error that answers a repetition; `x-amz-*` has none of its own here."""


def _repeated(name: str) -> ApiError | None:
    error = _SINGLE.get(name)
    if error is None and name.startswith("x-amz-"):
        error = IncompleteSignatureException
    return None if error is None else error(f"The header '{name}' was sent more than once.")


class _Once(Generic[T]):
    """`functools.cached_property` without the lock that it takes on Python 3.11."""

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make

    def __get__(self, instance: Any, _owner: type) -> T:
        made = instance.__dict__[self._make.__name__] = self._make(instance)
        return made


class HttpRequest(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """A request as it arrived. Nothing in it was verified yet."""

    method: str
    path: str
    """The path, percent-decoded once."""
    query: str = ""
    """The query string as sent, without the question mark; it may hold a signature."""
    headers: Headers = ()
    """Lower-case names with their values (one character per byte sent: Latin-1), in order of arrival, repetitions kept."""
    body: bytes = b""
    source_ip: str = ""
    secure: bool = False
    """True when the request came over TLS."""

    def __repr__(self) -> str:
        return f"HttpRequest({self.method} {self.path} from {self.source_ip})"

    def first(self, name: str) -> str | None:
        """Return the first header of this lower-case name, however often it was sent: for the form of a refusal."""
        return next((value for known, value in self.headers if known == name), None)

    @_Once
    def body_digest(self) -> str:
        """The SHA-256 of the body in hexadecimal digits. Of a large body it takes long, and lets other threads run meanwhile."""
        return hashlib.sha256(self.body).hexdigest()

    @_Once
    def fields(self) -> Mapping[str, str]:
        """Every header once; repetitions of a header that may repeat are joined by commas (RFC 9110, 5.2).

        Raises the ApiError that fits when a header that must be single was repeated.
        """
        fields = dict(self.headers)
        if len(fields) == len(self.headers):
            return fields
        fields.clear()
        for name, value in self.headers:
            if name in fields:
                error = _repeated(name)
                if error is not None:
                    raise error
                fields[name] = f"{fields[name].rstrip(_BLANK)},{value.lstrip(_BLANK)}"
            else:
                fields[name] = value
        return fields

    def header(self, name: str) -> str | None:
        """Return the value of the header `name` (lower case), None when it was not sent; raises as `fields` does."""
        return self.fields.get(name)


class HttpResponse(msgspec.Struct, frozen=True, kw_only=True):
    """A response ready to be sent."""

    status: int
    headers: Headers = ()
    body: bytes = b""

    def __repr__(self) -> str:
        return f"HttpResponse({self.status})"
