"""One HTTP request and one HTTP response, as values: what the server hands in and what it sends back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType

from turnlock.errors import (
    ApiError,
    IncompleteSignatureException,
    SerializationException,
    UnknownOperationException,
)

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


@dataclass(frozen=True, kw_only=True)
class HttpRequest:
    """A request as it arrived. Nothing in it was verified yet."""

    method: str
    path: str
    """The path, percent-decoded once: no more of it reaches a server behind Granian."""
    query: str = field(default="", repr=False)
    """The query string as sent, without the question mark; it may hold a signature."""
    headers: Headers = field(default=(), repr=False)
    """Lower-case names with their values (one character per byte sent: Latin-1), in order of arrival, repetitions kept."""
    body: bytes = field(default=b"", repr=False)
    source_ip: str = ""
    secure: bool = False
    """True when the request came over TLS."""

    @cached_property
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


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpResponse:
    """A response ready to be sent."""

    status: int
    headers: Headers = ()
    body: bytes = field(default=b"", repr=False)
