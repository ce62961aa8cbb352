"""Records in CloudTrail's shape (user guide, "CloudTrail record contents"), made from what the gate saw."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec

from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call, PrincipalKind
from turnlock.core.record import TrailEntry
from turnlock.errors import ApiError

_encode = msgspec.json.Encoder().encode


class ApiEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one call, already redacted."""

    call: Call
    request: Mapping[str, Any] | None
    response: Mapping[str, Any] | None
    error: ApiError | None
    read_only: bool
    shared_id: bytes | None = None
    """16 random bytes that the records of both accounts have in common; None where only one account is concerned."""


def api_event(event: ApiEvent, event_id: bytes) -> TrailEntry:
    """Return the record of an API call; `event_id` is 16 random bytes."""
    call = event.call
    body = {
        "eventVersion": "1.11",
        "userIdentity": _identity(call),
        "eventTime": _seconds(call.at),
        "eventSource": f"{call.service}.amazonaws.com",
        "eventName": call.action,
        "awsRegion": call.region,
        "sourceIPAddress": call.invoked_by or call.source_ip,
        "userAgent": call.invoked_by or call.user_agent,
        "requestParameters": event.request,
        "responseElements": None if event.read_only else event.response,
        "requestID": call.request_id,
        "eventID": (identifier := _uuid(event_id)),
        "readOnly": event.read_only,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": call.account_id,
        "eventCategory": "Management",
    }
    if event.shared_id is not None:
        body["sharedEventID"] = _uuid(event.shared_id)
    if event.error is not None:
        body["errorCode"] = event.error.code
        body["errorMessage"] = event.error.message
        body["responseElements"] = None
    return TrailEntry(
        account_id=call.account_id,
        region=call.region,
        event_id=identifier,
        event_name=call.action,
        at=call.at,
        body=_encode(body),
    )


def service_event(
    *,
    account_id: AccountId,
    region: Region,
    name: str,
    secret_arn: str,
    request_id: str,
    at: datetime,
    event_id: bytes,
    error: str | None = None,
) -> TrailEntry:
    """Return the record of something that Turnlock did by itself, such as RotationStarted.

    `event_id` is 16 random bytes; `error` must be free of values. The shape is that of real records of 2021 (BEHAVIOUR 6.2).
    """
    service = "secretsmanager.amazonaws.com"
    identifier = _uuid(event_id)
    body: dict[str, Any] = {
        "eventVersion": "1.08",
        "userIdentity": {"accountId": account_id, "invokedBy": service},
        "eventTime": _seconds(at),
        "eventSource": service,
        "eventName": name,
        "awsRegion": region,
        "sourceIPAddress": service,
        "userAgent": service,
        "requestParameters": None,
        "responseElements": None,
        "additionalEventData": {"SecretId": secret_arn},
        "requestID": request_id,
        "eventID": identifier,
        "readOnly": False,
        "eventType": "AwsServiceEvent",
        "managementEvent": True,
        "recipientAccountId": account_id,
        "eventCategory": "Management",
    }
    if error is not None:
        body["errorMessage"] = error
    return TrailEntry(
        account_id=account_id,
        region=region,
        event_id=identifier,
        event_name=name,
        at=at,
        body=_encode(body),
    )


def _identity(call: Call) -> dict[str, Any]:
    principal, session = call.principal, call.session
    identity: dict[str, Any] = {
        "type": principal.kind.value,
        "principalId": principal.principal_id,
        "arn": principal.arn,
        "accountId": principal.account_id,
        "accessKeyId": session.access_key_id,
    }
    if principal.kind is PrincipalKind.USER:
        identity["userName"] = principal.arn.rpartition("/")[2]
    elif principal.kind is PrincipalKind.WEB_IDENTITY:
        identity |= {
            "userName": principal.principal_id.removeprefix(f"{principal.arn}:").partition(":")[2],
            "identityProvider": principal.arn,
        }
    if session.created_at is not None:
        identity["sessionContext"] = {
            "attributes": {
                "creationDate": _seconds(session.created_at),
                "mfaAuthenticated": "true" if session.mfa_authenticated else "false",
            }
        }
    if call.invoked_by is not None:
        identity["invokedBy"] = call.invoked_by
    return identity


def _uuid(random: bytes) -> str:
    """Return 16 bytes as the text of a version 4 UUID (RFC 9562), a fifth of what uuid.UUID takes."""
    digits = random.hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


@lru_cache(maxsize=16)
def _seconds(at: datetime) -> str:
    # Much faster than strftime, and every moment here is in UTC.
    return at.isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
