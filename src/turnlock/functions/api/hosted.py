"""Hosted functions as Lambda shows functions: tools look them up before they name them in RotateSecret."""

from __future__ import annotations

import base64
import hashlib
import platform
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from turnlock.core.action import Answer, Request
from turnlock.core.arn import AccountId, Region, partition_of
from turnlock.core.call import Call
from turnlock.functions.api import store
from turnlock.functions.api.answers import as_lambda_writes
from turnlock.functions.api.model import LATEST, function_arn
from turnlock.functions.api.names import named
from turnlock.functions.api.settings import MACHINE
from turnlock.functions.model import HOSTED, HostedFunction
from turnlock.storage import Unit

_MADE: Final = datetime(2026, 11, 28, tzinfo=UTC)
SHOWN: Final = {name: one for name, one in HOSTED.items() if not name.startswith("RDSManaged")}
"""The hosted functions that tools look up: that of managed master passwords nobody names, and AWS shows it to nobody."""
_TIMEOUT: Final = 30
"""Seconds; what AWS's own rotation functions have."""


def hosted_named(call: Call, request: Request, unit: Unit) -> dict[str, Any] | None:
    """Return the configuration of the hosted function that a request names; None for any other.

    A function of one's own that has the name, from before there was the hosted one, goes first.
    """
    asked = named(call, request)
    function = SHOWN.get(asked.name)
    if function is None or asked.qualifier not in (None, LATEST):
        return None
    if (asked.account_id, asked.region) != (call.account_id, call.region):
        return None
    if store.find_function(unit, asked.account_id, asked.region, asked.name) is not None:
        return None
    return hosted_configuration(
        asked.account_id, asked.region, function, qualified=asked.qualifier is not None
    )


def or_hosted(
    handler: Callable[[Call, Request, Unit], Answer], answer: Callable[[dict[str, Any]], Answer]
) -> Callable[[Call, Request, Unit], Answer]:
    """Return a handler that answers by a hosted function's configuration where the request names one, else as `handler` does."""

    def handle(call: Call, request: Request, unit: Unit) -> Answer:
        hosted = hosted_named(call, request, unit)
        return handler(call, request, unit) if hosted is None else answer(hosted)

    return handle


def as_version(hosted: dict[str, Any]) -> dict[str, Any]:
    """Return the configuration of a hosted function as that of its one version."""
    return {**hosted, "FunctionArn": f"{hosted['FunctionArn'].removesuffix(f':{LATEST}')}:{LATEST}"}


def hosted_configuration(
    account_id: AccountId, region: Region, function: HostedFunction, *, qualified: bool
) -> dict[str, Any]:
    """Return the FunctionConfiguration of a hosted function. Its package is this server's own code; its digest is the name's."""
    arn = function_arn(account_id, region, function.name)
    digest = hashlib.sha256(function.handler.encode()).digest()
    return {
        "FunctionName": function.name,
        "FunctionArn": f"{arn}:{LATEST}" if qualified else arn,
        "Runtime": f"python{sys.version_info.major}.{sys.version_info.minor}",
        "Role": f"arn:{partition_of(region)}:iam::{account_id}:role/{function.name}",
        "Handler": function.handler,
        "CodeSize": 0,
        "Description": "A rotation function that this server hosts",
        "Timeout": _TIMEOUT,
        "MemorySize": 128,
        "LastModified": as_lambda_writes(_MADE),
        "CodeSha256": base64.b64encode(digest).decode(),
        "Version": LATEST,
        "TracingConfig": {"Mode": "PassThrough"},
        "RevisionId": digest.hex()[:32],
        "State": "Active",
        "LastUpdateStatus": "Successful",
        "PackageType": "Zip",
        "Architectures": [MACHINE.get(platform.machine(), "x86_64")],
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{function.name}"},
    }
