"""Invoke: an event for a function, waited for or promised."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

import msgspec

from turnlock.core.action import Action, Answer, Pending, Request
from turnlock.core.call import Call
from turnlock.core.credentials import TemporaryCredentials
from turnlock.errors import (
    InvalidParameterValueException,
    InvalidRequestContentException,
    RequestTooLargeException,
    TooManyRequestsException,
)
from turnlock.functions.api.model import FunctionVersion
from turnlock.functions.api.names import function_subject, named, require_version
from turnlock.functions.code.catalogue import role_credentials
from turnlock.functions.events import Event, promise
from turnlock.functions.model import MIB, FaultKind, Invocation, InvocationResult
from turnlock.functions.runtime.log_lines import invocation_log
from turnlock.functions.runtime.runner import Functions
from turnlock.functions.runtime.runtime_api import MAX_PAYLOAD_BYTES
from turnlock.storage import Database, Unit

LARGEST_EVENT: Final = MIB
"""Bytes of an asynchronous event (Lambda quotas)."""
TAIL_BYTES: Final = 4096
"""Bytes of the log that LogType=Tail shows."""
CREDENTIAL_SECONDS: Final = 3600


class Invoking:
    """The action, with what it invokes functions by: a pool of its own, so that no caller can hold up rotations."""

    def __init__(self, functions: Functions, database: Database) -> None:
        self._functions = functions
        self._database = database

    def actions(self) -> tuple[Action, ...]:
        """Return the row for Lambda's table of actions."""
        return (
            Action(
                name="Invoke",
                handler=self.invoke,
                subject=function_subject,
                mutates=True,
                permission="InvokeFunction",
            ),
        )

    def invoke(self, call: Call, request: Request, unit: Unit) -> Answer:
        """Invoke: the answer is pending; with InvocationType=Event it is promised, with DryRun only allowed.

        Raises ResourceNotFoundException, InvalidRequestContentException, RequestTooLargeException,
        TooManyRequestsException for a function whose reserved concurrency is 0.
        """
        function, version = require_version(call, request, unit)
        payload = checked_event(request.get("Payload", b""))
        if function.concurrency == 0:
            raise TooManyRequestsException("Rate Exceeded.")
        arn = named(call, request).arn
        kind = request.get("InvocationType", "RequestResponse")
        if kind == "DryRun":
            return {"StatusCode": 204}
        if kind == "Event":
            if len(request.get("Payload", b"")) > LARGEST_EVENT:
                raise RequestTooLargeException(
                    f"{LARGEST_EVENT} byte payload is too large for the Event invocation type"
                )
            promise(
                unit, Event(account_id=function.account_id, region=function.region, arn=arn, payload=payload)
            )
            return {"StatusCode": 202}
        if request.get("DurableExecutionName"):
            raise InvalidParameterValueException("Durable executions are not supported.")
        return Pending(partial(self._wait, version, arn, payload, tail=request.get("LogType") == "Tail"))

    def run(self, arn: str, payload: bytes) -> InvocationResult:
        """Run one event (JSON) of a function to its end, on behalf of nobody's secret."""
        return self._functions.invoke(
            Invocation(
                function_arn=arn,
                payload=payload,
                secret_arn="",
                credentials=credentials_from(self._database, arn),
            ),
            abort=threading.Event(),
        )

    def _wait(self, version: FunctionVersion, arn: str, payload: bytes, *, tail: bool) -> Answer:
        result = self.run(arn, payload)
        fault = result.fault
        if fault is not None and fault.kind is FaultKind.UNAVAILABLE:
            raise TooManyRequestsException(fault.message)
        return {
            "StatusCode": 200,
            "ExecutedVersion": version.version,
            "FunctionError": None if fault is None else "Unhandled",
            "LogResult": _tail(version, result) if tail else None,
            "Payload": result.body if fault is None else json.dumps(_error(result)).encode(),
        }


def credentials_from(database: Database, arn: str) -> Callable[[], TemporaryCredentials]:
    """Return what makes credentials of a function's role in a unit of its own."""

    def make() -> TemporaryCredentials:
        made = database.write(partial(role_credentials, function_arn=arn, seconds=CREDENTIAL_SECONDS))
        if made is None:
            raise InvalidParameterValueException(f"Function not found: {arn}")
        return made

    return make


def checked_event(body: bytes) -> bytes:
    """Return the event's JSON as it was sent; an empty body is an empty object, as on Lambda."""
    if len(body) > MAX_PAYLOAD_BYTES:
        raise RequestTooLargeException(
            f"Request must be smaller than {MAX_PAYLOAD_BYTES} bytes for the InvokeFunction operation"
        )
    try:
        body.decode()
        # Looked over, not built: objects of 6 MiB take a second, during which no other thread runs.
        msgspec.json.decode(body or b"{}", type=msgspec.Raw)
    except (ValueError, RecursionError):
        raise InvalidRequestContentException("Could not parse request body into json.") from None
    return body or b"{}"


def _error(result: InvocationResult) -> Mapping[str, Any]:
    """Return what Lambda gives for a function that failed (Developer Guide, "Function errors").

    What the function's runtime reported is handed on as it is: `stackTrace` from Python, `trace` from Node.js.
    """
    assert result.fault is not None
    fault = result.fault
    if result.report is not None:
        return (
            {**result.report, "requestId": result.request_id}
            if "requestId" in result.report
            else result.report
        )
    if fault.kind is FaultKind.FUNCTION:
        return {"errorMessage": fault.message, "errorType": fault.error_type, "requestId": result.request_id}
    return {
        "errorType": fault.error_type,
        "errorMessage": f"RequestId: {result.request_id} Error: {fault.message}",
    }


def _tail(version: FunctionVersion, result: InvocationResult) -> str:
    lines = invocation_log(
        result, request_id=result.request_id, version=version.version, memory_bytes=version.memory * MIB
    )
    return base64.b64encode("".join(f"{line}\n" for line in lines).encode()[-TAIL_BYTES:]).decode()
