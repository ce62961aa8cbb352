"""What every AWS protocol does for the server, and the one place where errors become wire errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from turnlock.errors import ApiError, Contended, InternalServiceError, ThrottlingException
from turnlock.wire.contract import Operation
from turnlock.wire.http import HttpRequest, HttpResponse


class WireProtocol(Protocol):
    """Reads requests and writes responses of one service in one protocol. Holds no state of any request."""

    def operation(self, request: HttpRequest) -> Operation:
        """Return the operation that `request` asks for; UnknownOperationException when there is none."""
        ...

    def parse(self, operation: Operation, request: HttpRequest) -> dict[str, Any]:
        """Return the typed, validated input; SerializationException or ValidationException when it is wrong."""
        ...

    def respond(self, operation: Operation, answer: Mapping[str, Any], request_id: str) -> HttpResponse:
        """Return the response that carries `answer`; AnswerMismatch when it does not fit the model."""
        ...

    def for_request(self, request: HttpRequest) -> WireProtocol:
        """Return what writes the responses to `request`: this, or the same service in the form that the request accepts."""
        ...

    def fault(self, error: ApiError, request_id: str) -> HttpResponse:
        """Return the response that carries `error`."""
        ...


def as_api_error(error: BaseException) -> ApiError:
    """Return what the caller may learn of `error`: itself when it is meant for callers, else an opaque InternalServiceError.

    Where nothing was kept because too many others changed the same, it is ThrottlingException, which every SDK tries again.
    An InternalServiceError loses whatever was written into it. The details belong in the log, and that is the caller's work.
    """
    if isinstance(error, ApiError) and not isinstance(error, InternalServiceError):
        return error
    if isinstance(error, Contended):
        return ThrottlingException()
    return InternalServiceError()
