"""AWS's query protocol: Action and Version name the operation, flat parameters carry its input, the answer is XML.

Parameters come in the query string, in the form-encoded body of a POST, or in both together; all of them are under the
signature, wherever it is, and none may be sent twice. Content-Type is not looked at, as in JSON.

Services of this protocol spell the errors that all services share in their own way, with statuses of their own: `SHARED`
is that table. It goes before the service's model; an error that is in neither keeps its code and status.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec

from turnlock import errors
from turnlock.errors import ApiError, SerializationException, UnknownOperationException
from turnlock.wire import xml_answers as xml
from turnlock.wire.contract import Contract, Operation
from turnlock.wire.flat_parameters import as_tree, document_of, read_parameters
from turnlock.wire.http import HttpRequest, HttpResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelling:
    """How an error looks to callers of this protocol."""

    code: str
    status: int


WHOLE_SECONDS = frozenset({"iam", "sts"})
"""Services, by signing name, whose times are whole seconds: `2018-05-03T17:51:02Z`."""

SHARED: Mapping[type[ApiError], Spelling] = MappingProxyType(
    {
        errors.AccessDeniedException: Spelling(code="AccessDenied", status=403),
        errors.ExpiredTokenException: Spelling(code="ExpiredToken", status=403),
        errors.IncompleteSignatureException: Spelling(code="IncompleteSignature", status=400),
        errors.InternalServiceError: Spelling(code="InternalFailure", status=500),
        errors.InvalidSignatureException: Spelling(code="SignatureDoesNotMatch", status=403),
        errors.MissingAuthenticationTokenException: Spelling(code="MissingAuthenticationToken", status=403),
        errors.RequestEntityTooLargeException: Spelling(code="RequestEntityTooLarge", status=413),
        errors.SerializationException: Spelling(code="MalformedInput", status=400),
        errors.ThrottlingException: Spelling(code="Throttling", status=400),
        errors.UnknownOperationException: Spelling(code="InvalidAction", status=400),
        errors.UnrecognizedClientException: Spelling(code="InvalidClientTokenId", status=403),
        errors.ValidationException: Spelling(code="ValidationError", status=400),
    }
)
"""Codes and statuses of the query services' "Common Errors" pages (IAM and STS API references).

Beside those of JSON protocols: docs/aws-behaviour.md#errors-of-authentication.
"""


def spelled(error: ApiError) -> Spelling:
    """Return how an error looks where no model says anything of it."""
    return SHARED.get(type(error)) or Spelling(code=error.code, status=error.status)


class QueryProtocol:
    """A service's requests in flat parameters and its responses in XML; a WireProtocol."""

    def __init__(self, contract: Contract, *, in_json: bool = False) -> None:
        self._contract = contract
        self._in_json = in_json
        self._modelled: Mapping[str, Spelling] = MappingProxyType(
            {
                known: Spelling(code=error.code, status=error.status)
                for error in contract.errors.values()
                for known in (error.name, error.code)
            }
        )

    def for_request(self, request: HttpRequest) -> QueryProtocol:
        """Return the protocol in the form that a request accepts: JSON where it asks for that alone, else XML.

        Query services answer `Accept: application/json` in JSON: aws-iam-authenticator reads nothing else.
        """
        asked = (request.first("accept") or "").partition(";")[0].strip().lower()
        if asked != "application/json":
            return self
        return QueryProtocol(self._contract, in_json=True)

    def operation(self, request: HttpRequest) -> Operation:
        """Return the operation that Action names, if Version is the model's and the method is GET or POST.

        Raises UnknownOperationException when there is none, SerializationException when the parameters cannot be read.
        """
        parameters = _parameters(request)
        operation = self._contract.operations.get(parameters.get("Action", ""))
        if operation is None or parameters.get("Version") != self._contract.api_version:
            raise UnknownOperationException(
                f"This service has no such Action in Version {self._contract.api_version}."
            )
        return operation

    def parse(self, operation: Operation, request: HttpRequest) -> dict[str, Any]:
        """Return the typed, validated input.

        Raises SerializationException when the parameters cannot be read in one way only or have values of wrong types;
        ValidationException when the model's demands are not met.
        """
        shape = operation.model.input_shape
        tree = as_tree(_parameters(request))
        return operation.parse({} if shape is None else document_of(shape, tree))

    def respond(self, operation: Operation, answer: Mapping[str, Any], request_id: str) -> HttpResponse:
        """Return the response (200) that carries `answer`; AnswerMismatch when it does not fit the model."""
        if self._contract.signing_name in WHOLE_SECONDS:
            answer = _in_whole_seconds(answer)
        document = operation.serialise(answer)
        if self._in_json:
            return self._json_response(operation, document, request_id)
        shape = operation.model.output_shape
        result = "" if shape is None else xml.members(shape, answer)
        wrapper = None if shape is None else shape.serialization.get("resultWrapper")
        return self._response(
            200,
            request_id,
            xml.element(
                f"{operation.name}Response",
                result if wrapper is None else xml.element(wrapper, result),
                xml.element("ResponseMetadata", _request_id(request_id)),
                namespace=self._contract.xml_namespace,
            ),
        )

    def fault(self, error: ApiError, request_id: str) -> HttpResponse:
        """Return the response that carries `error`, with this protocol's code and status for it."""
        spelling = SHARED.get(type(error)) or self._modelled.get(error.code) or spelled(error)
        kind = "Receiver" if spelling.status >= 500 else "Sender"
        if self._in_json:
            told = {"Type": kind, "Code": spelling.code, "Message": error.message}
            return _json(spelling.status, request_id, {"Error": told, "RequestId": request_id})
        described = xml.element(
            "Error",
            xml.element("Type", kind),
            xml.element("Code", xml.text(spelling.code)),
            xml.element("Message", xml.text(error.message)),
        )
        return self._response(
            spelling.status,
            request_id,
            xml.element(
                "ErrorResponse", described, _request_id(request_id), namespace=self._contract.xml_namespace
            ),
        )

    @staticmethod
    def _json_response(operation: Operation, document: dict[str, Any], request_id: str) -> HttpResponse:
        shape = operation.model.output_shape
        wrapper = None if shape is None else shape.serialization.get("resultWrapper")
        result = document if wrapper is None else {wrapper: document}
        answer = {**result, "ResponseMetadata": {"RequestId": request_id}}
        return _json(200, request_id, {f"{operation.name}Response": answer})

    @staticmethod
    def _response(status: int, request_id: str, document: str) -> HttpResponse:
        headers = (("content-type", "text/xml"), ("x-amzn-RequestId", request_id))
        return HttpResponse(status=status, headers=headers, body=document.encode())


def _json(status: int, request_id: str, document: dict[str, Any]) -> HttpResponse:
    headers = (("content-type", "application/json"), ("x-amzn-RequestId", request_id))
    return HttpResponse(status=status, headers=headers, body=msgspec.json.encode(document))


def _in_whole_seconds(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(microsecond=0)
    if isinstance(value, Mapping):
        return {name: _in_whole_seconds(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_in_whole_seconds(each) for each in value]
    return value


def _parameters(request: HttpRequest) -> dict[str, str]:
    """Return the request's parameters, read once; only a POST may have a body."""
    kept = vars(request)
    if _PARAMETERS not in kept:
        kept[_PARAMETERS] = _read_parameters(request)
    parameters: dict[str, str] = kept[_PARAMETERS]
    return parameters


_PARAMETERS = "query parameters"


def _read_parameters(request: HttpRequest) -> dict[str, str]:
    if request.method not in {"GET", "POST"}:
        raise UnknownOperationException
    if request.body and request.method != "POST":
        raise SerializationException("A GET request has no body.")
    return read_parameters(request.query, request.body.decode("latin-1"))


def _request_id(request_id: str) -> str:
    return xml.element("RequestId", xml.text(request_id))
