"""Where a message ends: llhttp reads it, and what could be read in two ways is refused (RFC 9112).

Of what llhttp accepts, less is accepted here: one Host, one length or chunks and nothing else, a target that is a path, lines that end
in CR LF and are not folded, no control characters, no trailers.
"""

from __future__ import annotations

import time
from email.utils import formatdate
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

import msgspec
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

from turnlock.shell.http.limits import MAX_HEAD, MAX_HEADERS, MAX_OVERHEAD
from turnlock.wire import Headers, HttpResponse

END_OF_HEAD: Final = b"\r\n\r\n"
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_PLAIN: Final = bytes([9, *range(0x20, 0x7F), *range(0x80, 0x100)])
_IN_TARGET: Final = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("#"))
_DIGITS: Final = 20
_TLS_HANDSHAKE: Final = 0x16
_HTTP_2: Final = b"PRI * HTTP/2.0"
_FRAMING: Final = frozenset({"connection", "content-length", "expect", "host", "transfer-encoding"})
_BODILESS: Final = frozenset({204, 304})
_REASONS: Final = {status.value: status.phrase for status in HTTPStatus}


class Unclear(Exception):
    """A message that is not read: the connection ends with this status; without any where the peer speaks TLS or HTTP/2."""

    def __init__(self, status: int | None = 400) -> None:
        super().__init__(status)
        self.status = status


class Chunks:
    """A body in chunks, as far as it has come."""

    def __init__(self, message: _Message, parser: HttpRequestParser) -> None:
        self._message = message
        self._parser = parser
        self._taken = 0

    @property
    def size(self) -> int:
        """Bytes of the body so far."""
        return self._message.size

    @property
    def complete(self) -> bool:
        """Whether its last chunk has come. What came after it was ignored."""
        return self._message.complete

    def feed(self, data: bytes) -> None:
        """Take in further bytes. Raises Unclear."""
        self._taken += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):
            if not self._message.complete:
                raise Unclear from None
        if self._message.trailers or self._taken - self._message.size > MAX_OVERHEAD:
            raise Unclear

    def discard(self) -> None:
        """Keep nothing of the body, neither what came nor what comes."""
        self._message.pieces.clear()
        self._message.keeps = False

    def body(self) -> bytes:
        """Return the whole body."""
        return b"".join(self._message.pieces)


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """A request's line and headers."""

    method: str
    path: str
    query: str
    headers: Headers
    length: int = 0
    """The body's, where it does not come in chunks."""
    chunks: Chunks | None = None
    last: bool
    """Whether the connection ends after its answer."""
    expects: bool
    """Whether the client waits for 100 (Continue)."""


class _Message:
    """What llhttp tells of one message."""

    __slots__ = ("complete", "fields", "keeps", "pieces", "ready", "size", "target", "trailers")

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.ready = self.complete = self.trailers = False
        self.pieces: list[bytes] = []
        self.keeps = True
        self.size = 0

    def on_url(self, target: bytes) -> None:
        self.target += target

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.ready:
            self.fields.append((name, value))
        elif not self.complete:
            self.trailers = True

    def on_headers_complete(self) -> None:
        self.ready = True

    def on_body(self, piece: bytes) -> None:
        if not self.complete:
            self.size += len(piece)
            if self.keeps:
                self.pieces.append(piece)

    def on_message_complete(self) -> None:
        self.complete = True


def check_beginning(received: bytearray) -> None:
    """Raise Unclear for the beginning of a head that will be none, or of one that is too long."""
    if not 65 <= received[0] <= 90:  # methods are in capitals
        raise Unclear(None if received[0] == _TLS_HANDSHAKE else 400)
    if len(received) > MAX_HEAD:
        raise Unclear(431 if b"\r\n" in received else 414)


def read_head(data: bytes) -> Head:
    """Read a request's line and headers, with the empty line that ends them. Raises Unclear."""
    lines = data.count(b"\r\n") - 2
    if len(data) > MAX_HEAD or lines > MAX_HEADERS:
        raise Unclear(414 if data.find(b"\r\n") > MAX_HEAD - 64 else 431)
    line = data[: data.find(b"\r\n")]
    if b" HTTP/1." not in line:
        raise Unclear(None if line == _HTTP_2 else 400)
    message = _Message()
    parser = HttpRequestParser(message)
    try:
        parser.feed_data(data)
    except HttpParserUpgrade:
        pass  # an upgrade is not asked for with success: the request is answered as if it had not been
    except HttpParserError:
        raise Unclear from None
    # Each line is a header of its own, and each CR stands before its LF: nothing is folded, nothing is hidden.
    if (
        not message.ready
        or lines != len(message.fields)
        or data.translate(None, _PLAIN) != b"\r\n" * (lines + 2)
    ):
        raise Unclear
    version = parser.get_http_version()
    # llhttp takes more than one blank.
    if line != b"%s %s HTTP/%s" % (parser.get_method(), message.target, version.encode()):
        raise Unclear
    if version not in {"1.1", "1.0"}:
        raise Unclear(505)
    path, query = _read_target(message.target)
    headers = tuple(
        [
            (name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t"))
            for name, value in message.fields
        ]
    )
    return _head(parser, message, headers, path, query, old=version == "1.0")


def _head(
    parser: HttpRequestParser, message: _Message, headers: Headers, path: str, query: str, *, old: bool
) -> Head:
    """Read what frames the message and its connection. Raises Unclear."""
    named = _framing_fields(headers)
    length, coding, expectation = map(named.get, ("content-length", "transfer-encoding", "expect"))
    if length is not None and not (length.isascii() and length.isdecimal() and len(length) <= _DIGITS):
        raise Unclear
    if coding is not None:
        # With an upgrade llhttp reads no chunks.
        if length is not None or old or message.complete:
            raise Unclear
        if coding.lower() != "chunked":
            raise Unclear(501)
    if "host" not in named and not old:
        raise Unclear
    if expectation is not None and expectation.lower() != "100-continue":
        raise Unclear(417)
    options = [option.strip() for option in named.get("connection", "").lower().split(",")]
    return Head(
        method=parser.get_method().decode("ascii"),
        path=path,
        query=query,
        headers=headers,
        length=int(length or 0),
        chunks=None if coding is None else Chunks(message, parser),
        # Where llhttp read the last chunk, and what follows it, is not told: nothing follows it.
        last=old or coding is not None or "close" in options,
        expects=expectation is not None and not old,
    )


def _framing_fields(headers: Headers) -> dict[str, str]:
    """Return the headers that frame a message or its connection. Raises Unclear for one that is there twice, but Connection."""
    named: dict[str, str] = {}
    for name, value in headers:
        if name in _FRAMING:
            if name not in named:
                named[name] = value
            elif name == "connection":
                named[name] += f",{value}"
            else:
                raise Unclear
    return named


def _read_target(target: bytes) -> tuple[str, str]:
    """Return a target's path, percent-decoded once, and its query as sent. Raises Unclear for one that does not begin with a path."""
    if target[:1] != b"/" or target.translate(None, _IN_TARGET):
        raise Unclear
    path, _, query = target.decode("ascii").partition("?")
    return unquote(path) if "%" in path else path, query


class _Date:
    """The time as headers have it, made once for each second: SDKs set their clocks by it."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def text(self) -> str:
        second = int(time.time())
        if second != self._second:
            self._second, self._text = second, formatdate(second, usegmt=True)
        return self._text


_date = _Date()


def write_answer(response: HttpResponse, *, last: bool, to_head: bool = False) -> bytes:
    """Return an answer as it is sent. `last` says that the connection ends after it; the answer to a HEAD has no body.

    Raises ValueError when a header's value would be read as more than one line.
    """
    status, body = response.status, response.body
    lines = [f"HTTP/1.1 {status} {_REASONS.get(status, '')}"]
    lines += [f"{name}: {value}" for name, value in response.headers]
    lines.append(f"date: {_date.text()}")
    if status not in _BODILESS:
        lines.append(f"content-length: {len(body)}")
    if last:
        lines.append("connection: close")
    text = "\r\n".join(lines)
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise ValueError("a header's value has more than one line")
    head = text.encode("latin-1", "replace") + END_OF_HEAD
    return head if to_head or status in _BODILESS else head + body
