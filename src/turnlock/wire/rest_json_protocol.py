"""AWS's REST protocol with JSON bodies: method and path name the operation; input is spread over path, query, headers and body.

Where each member stands is the model's word (`location`, `payload`); the rest of the body is one JSON object. The path comes
decoded (see `sigv4`), so a label cannot hold a slash here: none of the names and ARNs that are served has one. A path with dot
segments or empty ones is no operation's, for it is another one in the signature.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from turnlock import errors
from turnlock.errors import ApiError, SerializationException, UnknownOperationException
from turnlock.wire.contract import Contract, Operation
from turnlock.wire.flat_parameters import document_of, read_pairs
from turnlock.wire.http import Headers, HttpRequest, HttpResponse
from turnlock.wire.json_protocol import json_fault, read_object
from turnlock.wire.scalars import to_iso8601, to_rfc822

SHARED: Mapping[type[ApiError], int] = MappingProxyType(
    {
        errors.AccessDeniedException: 403,
        errors.ExpiredTokenException: 403,
        errors.IncompleteSignatureException: 403,
        errors.InvalidSignatureException: 403,
        errors.MissingAuthenticationTokenException: 403,
        errors.ThrottlingException: 429,
        errors.UnknownOperationException: 404,
        errors.UnrecognizedClientException: 403,
    }
)
"""Statuses of the errors that all services share, as REST services give them (Lambda API reference, "Common Errors")."""

_LABEL = re.compile(r"\{(\w+)(\+?)\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Input:
    """Where the members of an operation's input stand; values are (name in documents, shape)."""

    labels: Mapping[str, Shape]
    query: Mapping[str, Shape]
    headers: Mapping[str, Shape]
    body: frozenset[str]
    """The names that the JSON object may hold; those of the other places are not believed there."""
    payload: tuple[str, Shape] | None
    """The member that is the whole body."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Route:
    method: str
    path: re.Pattern[str]
    query: frozenset[tuple[str, str]]
    operation: str
    input: _Input = field(repr=False)


class RestJsonProtocol:
    """A service's requests and responses in REST and JSON; a WireProtocol."""

    def __init__(self, contract: Contract) -> None:
        self._contract = contract
        routes = [_route(model) for model in contract.models()]
        # A path that is all literal before one with a label in that place; a fixed query before none.
        routes.sort(key=lambda route: (-len(route.query), route.path.pattern.count("?P<")))
        self._routes = tuple(routes)

    def operation(self, request: HttpRequest) -> Operation:
        """Return the operation of this method and path; UnknownOperationException when there is none."""
        return self._contract.operations[self._route(request)[0].operation]

    def parse(self, operation: Operation, request: HttpRequest) -> dict[str, Any]:
        """Return the typed, validated input. Raises as JsonProtocol.parse, and for parameters that are sent twice."""
        route, labels = self._route(request)
        where = route.input
        document: dict[str, Any] = {}
        if where.payload is not None:
            _put(document, where.payload[0], _payload(where.payload[1], request.body))
        elif request.body:
            document.update(
                (name, value) for name, value in read_object(request.body).items() if name in where.body
            )
        for name, shape in where.labels.items():
            document[name] = document_of(shape, labels[name])
        _read_query(document, where.query, request.query)
        for name, shape in where.headers.items():
            text = request.header(name.lower())
            if text is not None:
                document[name] = document_of(shape, text)
        return operation.parse(document)

    def respond(self, operation: Operation, answer: Mapping[str, Any], request_id: str) -> HttpResponse:
        """Return the response that carries `answer`; AnswerMismatch when it does not fit the model."""
        document = operation.serialise(answer)
        status = int(operation.model.http.get("responseCode", 200))
        headers: list[tuple[str, str]] = [("x-amzn-RequestId", request_id)]
        shape = operation.model.output_shape
        members = shape.members if isinstance(shape, StructureShape) else {}
        payload = None if shape is None else shape.serialization.get("payload")
        for name, member in members.items():
            wire_name, location = member.serialization.get("name", name), member.serialization.get("location")
            if location is None or wire_name not in document:
                continue
            value = document.pop(wire_name)
            if location == "statusCode":
                status = value
            else:
                headers.append((wire_name, _header(answer[name])))
        if payload is not None:
            return _with_payload(status, headers, members[payload], answer.get(payload))
        body = b"" if status == 204 else msgspec.json.encode(document)
        return HttpResponse(status=status, headers=(*headers, *_json_type(body)), body=body)

    def for_request(self, _request: HttpRequest) -> RestJsonProtocol:
        """Return this: there is one form."""
        return self

    def fault(self, error: ApiError, request_id: str) -> HttpResponse:
        """Return the response that carries `error`, with the model's status where the model knows the code."""
        return json_fault(
            self._contract,
            error,
            request_id,
            content_type="application/json",
            otherwise=SHARED.get(type(error), error.status),
        )

    def _route(self, request: HttpRequest) -> tuple[_Route, Mapping[str, str]]:
        sent = frozenset(_lenient_pairs(request.query))
        for route in self._routes:
            if route.method == request.method and route.query <= sent:
                found = route.path.fullmatch(request.path)
                if found is not None and not {"", ".", ".."} & {*found.groupdict().values()}:
                    return route, found.groupdict()
        raise UnknownOperationException


def _route(model: OperationModel) -> _Route:
    uri = urlsplit(model.http["requestUri"])
    parts = _LABEL.split(uri.path.rstrip("/"))
    pattern = re.escape(parts[0])
    for name, greedy, literal in zip(parts[1::3], parts[2::3], parts[3::3], strict=True):
        pattern += f"(?P<{name}>{'.+' if greedy else '[^/]+'}){re.escape(literal)}"
    return _Route(
        method=model.http["method"],
        path=re.compile(f"{pattern}/?", re.DOTALL),
        query=frozenset(parse_qsl(uri.query, keep_blank_values=True)),
        operation=model.name,
        input=_places(model.input_shape),
    )


def _places(shape: Shape | None) -> _Input:
    members = shape.members if isinstance(shape, StructureShape) else {}
    payload = None if shape is None else shape.serialization.get("payload")
    found: dict[str | None, dict[str, Shape]] = {}
    for name, member in members.items():
        place = "payload" if name == payload else member.serialization.get("location")
        found.setdefault(place, {})[member.serialization.get("name", name)] = member
    return _Input(
        labels=found.get("uri", {}),
        query=found.get("querystring", {}),
        headers=found.get("header", {}),
        body=frozenset(found.get(None, {})),
        payload=next(iter(found.get("payload", {}).items()), None),
    )


def _payload(shape: Shape, body: bytes) -> Any:
    """Return what the whole body says: bytes and text as they are, a structure as JSON; None for nothing."""
    if not body:
        return None
    if shape.type_name == "blob":
        return body
    if shape.type_name != "string":
        return read_object(body)
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise SerializationException from None


def _put(document: dict[str, Any], name: str, value: object) -> None:
    if value is not None:
        document[name] = value


def _read_query(document: dict[str, Any], wanted: Mapping[str, Shape], query: str) -> None:
    pairs = read_pairs(query)
    for name, shape in wanted.items():
        values = [value for key, value in pairs if key == name]
        if isinstance(shape, ListShape):
            _put(document, name, [document_of(shape.member, value) for value in values] or None)
        elif isinstance(shape, MapShape):
            continue  # no operation that is served has one
        elif len(values) > 1:
            raise SerializationException("A parameter was sent more than once.")
        elif values:
            document[name] = document_of(shape, values[0])


def _lenient_pairs(query: str) -> list[tuple[str, str]]:
    """Return the parameters for the choice of a route; whether they can be read is for `parse` to say."""
    return parse_qsl(query, keep_blank_values=True, max_num_fields=None) if query else []


def _header(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return to_rfc822(value)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def _with_payload(status: int, headers: list[tuple[str, str]], shape: Shape, value: Any) -> HttpResponse:
    if isinstance(value, bytes):
        return HttpResponse(status=status, headers=(*headers, *_json_type(value)), body=value)
    body = b"" if value is None else msgspec.json.encode(value, enc_hook=_plain)
    assert value is None or isinstance(shape, StructureShape)
    return HttpResponse(status=status, headers=(*headers, *_json_type(body)), body=body)


def _plain(value: object) -> object:
    return to_iso8601(value) if isinstance(value, datetime) else str(value)


def _json_type(body: bytes) -> Headers:
    return (("content-type", "application/json"),) if body else ()
