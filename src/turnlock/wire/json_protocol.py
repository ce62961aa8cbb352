"""AWS's JSON protocols 1.0 and 1.1: X-Amz-Target names the operation, the body is one JSON object each way.

Bodies are read by msgspec, which keeps the last of two equal keys without a word. What stands outside the body's strings
(its outline) has one colon for each pair that was sent; when the object that was built has fewer, a key was repeated. The
outline also tells the depth of nesting before anything is built. Where counting over the whole body says enough, there is
no need of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import msgspec

from turnlock.errors import ApiError, SerializationException, UnknownOperationException
from turnlock.wire.contract import Contract, Operation
from turnlock.wire.http import Headers, HttpRequest, HttpResponse

MAX_DEPTH = 32
"""How deep objects and lists may be nested in a body."""

MOST_VALUES = 20_000
"""How many commas and opening brackets may stand outside a body's strings: values, lists and objects, a microsecond each to read.

The largest inputs of the services here have some hundreds.
"""

SHORT = 512
"""Bytes of a body whose reading is remembered: applications ask for the same secret again and again, in the same words."""

MOST_READINGS = 4096

_CAPITALISED = frozenset({"AccessDeniedException", "SerializationException"})
"""Errors that no model of a JSON service spells, and that AWS sends with `Message`."""

_NOT_BRACKETS = bytes(byte for byte in range(256) if byte not in b"{}[]")


class JsonProtocol:
    """A service's requests and responses in JSON; a WireProtocol."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        self._content_type = f"application/x-amz-json-{contract.json_version}"
        self._targets: Mapping[str, str] = MappingProxyType(
            {f"{contract.target_prefix}.{name}": name for name in contract.operations}
        )
        self._known = lru_cache(MOST_READINGS)(self._read)

    def operation(self, request: HttpRequest) -> Operation:
        """Return the operation that X-Amz-Target names; UnknownOperationException when it names none or it was no POST."""
        name = self._targets.get(request.header("x-amz-target") or "")
        if name is None or request.method != "POST":
            raise UnknownOperationException
        return self._contract.operations[name]

    def parse(self, operation: Operation, request: HttpRequest) -> dict[str, Any]:
        """Return the typed, validated input; an empty body is an empty object. Content-Type is not looked at.

        Raises SerializationException when the body is not one JSON object in UTF-8, nests deeper than MAX_DEPTH, repeats
        a key or has a member of the wrong type; ValidationException when the model's demands are not met.
        """
        if operation.is_plain and len(request.body) <= SHORT:
            return self._known(operation.name, request.body).copy()
        return self._read(operation.name, request.body)

    def _read(self, operation: str, body: bytes) -> dict[str, Any]:
        return self._contract.operations[operation].parse(read_object(body) if body else {})

    def respond(self, operation: Operation, answer: Mapping[str, Any], request_id: str) -> HttpResponse:
        """Return the response (200) that carries `answer`; AnswerMismatch when it does not fit the model."""
        body = msgspec.json.encode(operation.serialise(answer))
        return HttpResponse(status=200, headers=self._headers(request_id), body=body)

    def for_request(self, _request: HttpRequest) -> JsonProtocol:
        """Return this: there is one form."""
        return self

    def fault(self, error: ApiError, request_id: str) -> HttpResponse:
        """Return the response that carries `error`, with the model's status where the model knows the code."""
        return json_fault(
            self._contract, error, request_id, content_type=self._content_type, otherwise=error.status
        )

    def _headers(self, request_id: str) -> Headers:
        return (("content-type", self._content_type), ("x-amzn-RequestId", request_id))


def json_fault(
    contract: Contract, error: ApiError, request_id: str, *, content_type: str, otherwise: int
) -> HttpResponse:
    """Return the response that carries `error`: with the model's status, or `otherwise` where the model has not this code.

    The message is in the member that the model names for it. Where the model names none, it is spelt as AWS's services are seen to:
    `Message` for what stands before every service, `message` else. Every SDK reads both.
    """
    shape = contract.errors.get(error.code)
    member = None if shape is None else shape.message_member
    if member is None:
        member = "Message" if error.code in _CAPITALISED else "message"
    members = {"__type": error.code, member: error.message}
    return HttpResponse(
        status=otherwise if shape is None else shape.status,
        headers=(
            ("content-type", content_type),
            ("x-amzn-RequestId", request_id),
            ("x-amzn-ErrorType", error.code),
        ),
        body=_plain_json(members),
    )


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that `body` is; SerializationException as in `JsonProtocol.parse`, and for MOST_VALUES."""
    if _brackets(body) > MAX_DEPTH or _values(body) > MOST_VALUES:
        outline = _outline(body)
        if _too_deep(outline):
            raise SerializationException(f"The request body is nested deeper than {MAX_DEPTH} levels.")
        if _values(outline) > MOST_VALUES:
            raise SerializationException(f"The request body holds more than {MOST_VALUES} values.")
    document: object
    # msgspec's errors, and UnicodeDecodeError above all, carry the body: they must not become a context of ours.
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        document = None
    if type(document) is not dict:
        raise SerializationException("The request body must be one JSON object in UTF-8.")
    # Outside the strings there are never more colons than in the whole body, and never fewer than pairs.
    pairs = _pairs_in(document)
    if pairs != body.count(b":") and pairs != _outline(body).count(b":"):
        raise SerializationException("The request body holds an object with the same key twice.")
    return document


def _outline(body: bytes) -> bytes:
    """Return what stands outside the strings of `body`; of text that is not JSON, so much as stands before the flaw."""
    # Escaped backslashes go first, so that a quote after an even number of them ends its string.
    if b"\\" in body:
        body = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    return b"".join(body.split(b'"')[::2])


def _brackets(body: bytes) -> int:
    """Return how many brackets open anywhere in `body`: it is never nested deeper."""
    return body.count(b"{") + body.count(b"[")


def _values(body: bytes) -> int:
    """Return how many values there are in `body` at least; of bytes that are not an outline, at most."""
    return body.count(b",") + _brackets(body)


def _too_deep(outline: bytes) -> bool:
    if _brackets(outline) <= MAX_DEPTH:
        return False
    depth = 0
    # What follows more brackets than these is refused for them.
    for bracket in outline.translate(None, _NOT_BRACKETS)[: 2 * MOST_VALUES + 2]:
        depth += 1 if bracket in b"{[" else -1
        if depth > MAX_DEPTH:
            return True
    return False


def _pairs_in(document: object) -> int:
    """Return how many pairs of key and value `document` holds at all depths."""
    if type(document) is dict:
        return len(document) + sum(
            [_pairs_in(value) for value in document.values() if type(value) in _NESTED]
        )
    if type(document) is list:
        return sum([_pairs_in(value) for value in document if type(value) in _NESTED])
    return 0


_NESTED = frozenset({dict, list})


def _plain_json(members: Mapping[str, str]) -> bytes:
    """Return `members` as JSON in printable ASCII: messages quote what callers sent, and logs and terminals show them."""
    # DEL is the one control character that JSON lets stand in ASCII.
    return json.dumps(members).replace("\x7f", "\\u007f").encode("ascii")
