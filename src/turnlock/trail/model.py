"""Records in CloudTrail's shape (user guide, "CloudTrail record contents"), made from what the gate saw."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import msgspec

from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call, Principal, PrincipalKind
from turnlock.core.record import TrailEntry
from turnlock.errors import ApiError

_encode = msgspec.json.Encoder().encode

MOST_TEXT: Final = 1024
"""Bytes of userAgent and errorMessage that a record keeps (CloudTrail user guide, "CloudTrail record contents")."""

MOST_ELEMENTS: Final = 100 * 1024
"""Bytes of requestParameters, and of responseElements, beyond which only their size is kept (the same page)."""


class ApiEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to one call, already redacted."""

    call: Call
    request: Mapping[str, Any] | None
    response: Mapping[str, Any] | None
    error: ApiError | None
    read_only: bool
    shared_id: bytes | None = None
    """16 random bytes that the records of both accounts have in common; None where only one account is concerned."""


class _ApiRecord(
    msgspec.Struct,
    kw_only=True,
    rename={
        "event_version": "eventVersion",
        "user_identity": "userIdentity",
        "event_time": "eventTime",
        "event_source": "eventSource",
        "event_name": "eventName",
        "aws_region": "awsRegion",
        "source_ip": "sourceIPAddress",
        "user_agent": "userAgent",
        "request_parameters": "requestParameters",
        "response_elements": "responseElements",
        "request_id": "requestID",
        "event_id": "eventID",
        "read_only": "readOnly",
        "event_type": "eventType",
        "management_event": "managementEvent",
        "recipient_account_id": "recipientAccountId",
        "event_category": "eventCategory",
        "shared_event_id": "sharedEventID",
        "error_code": "errorCode",
        "error_message": "errorMessage",
    },
):
    """The record of an API call; a member that is UNSET is left out."""

    event_version: str = "1.11"
    user_identity: msgspec.Raw
    event_time: str
    event_source: str
    event_name: str
    aws_region: str
    source_ip: str
    user_agent: str
    request_parameters: msgspec.Raw
    response_elements: msgspec.Raw
    request_id: str
    event_id: str
    read_only: bool
    event_type: str = "AwsApiCall"
    management_event: bool = True
    recipient_account_id: str
    event_category: str = "Management"
    shared_event_id: str | msgspec.UnsetType = msgspec.UNSET
    error_code: str | msgspec.UnsetType = msgspec.UNSET
    error_message: str | msgspec.UnsetType = msgspec.UNSET


def api_event(event: ApiEvent, event_id: bytes) -> TrailEntry:
    """Return the record of an API call; `event_id` is 16 random bytes."""
    call, error = event.call, event.error
    record = _ApiRecord(
        user_identity=_identity(
            call.principal,
            call.session.access_key_id,
            call.session.created_at,
            call.session.mfa_authenticated,
            call.invoked_by,
        ),
        event_time=_seconds(call.at),
        event_source=f"{call.service}.amazonaws.com",
        event_name=call.action,
        aws_region=call.region,
        source_ip=call.invoked_by or call.source_ip,
        user_agent=cut_text(call.invoked_by or call.user_agent),
        request_parameters=_elements(event.request, "requestParameters"),
        response_elements=_elements(
            None if event.read_only or error is not None else event.response, "responseElements"
        ),
        request_id=call.request_id,
        event_id=(identifier := _uuid(event_id)),
        read_only=event.read_only,
        recipient_account_id=call.account_id,
    )
    if event.shared_id is not None:
        record.shared_event_id = _uuid(event.shared_id)
    if error is not None:
        record.error_code, record.error_message = error.code, cut_text(error.message)
    return TrailEntry(
        account_id=call.account_id,
        region=call.region,
        event_id=identifier,
        event_name=call.action,
        at=call.at,
        body=_encode(record),
    )


def cut_text(text: str) -> str:
    """Return as much of a caller's text as a record keeps of it: MOST_TEXT bytes of UTF-8, whole characters."""
    if len(text) <= MOST_TEXT // 4:
        return text
    return text.encode("utf-8", "replace")[:MOST_TEXT].decode("utf-8", "ignore")


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

    `event_id` is 16 random bytes; `error` must be free of values. The form: docs/aws-behaviour.md#service-events.
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
        body["errorMessage"] = cut_text(error)
    return TrailEntry(
        account_id=account_id,
        region=region,
        event_id=identifier,
        event_name=name,
        at=at,
        body=_encode(body),
    )


@lru_cache(maxsize=1024)
def _identity(
    principal: Principal,
    access_key_id: str,
    created_at: datetime | None,
    mfa_authenticated: bool,
    invoked_by: str | None,
) -> msgspec.Raw:
    """Return the userIdentity element as JSON: the same in all that a session asks."""
    identity: dict[str, Any] = {
        "type": principal.kind.value,
        "principalId": principal.principal_id,
        "arn": principal.arn,
        "accountId": principal.account_id,
        "accessKeyId": access_key_id,
    }
    if principal.kind is PrincipalKind.USER:
        identity["userName"] = principal.arn.rpartition("/")[2]
    elif principal.kind is PrincipalKind.WEB_IDENTITY:
        identity |= {
            "userName": principal.principal_id.removeprefix(f"{principal.arn}:").partition(":")[2],
            "identityProvider": principal.arn,
        }
    if created_at is not None:
        identity["sessionContext"] = {
            "attributes": {
                "creationDate": _seconds(created_at),
                "mfaAuthenticated": "true" if mfa_authenticated else "false",
            }
        }
    if invoked_by is not None:
        identity["invokedBy"] = invoked_by
    return msgspec.Raw(_encode(identity))


def _elements(found: Mapping[str, Any] | None, name: str) -> msgspec.Raw:
    """Return what a call gave or got as JSON; of more than MOST_ELEMENTS, how much it was."""
    if found is None:
        return _NULL
    encoded = _encode(found)
    if len(encoded) > MOST_ELEMENTS:
        encoded = _encode({"omitted": True, "originalSize": len(encoded), "reason": f"{name} too large"})
    return msgspec.Raw(encoded)


_NULL: Final = msgspec.Raw(b"null")


def _uuid(random: bytes) -> str:
    """Return 16 bytes as the text of a version 4 UUID (RFC 9562), a fifth of what uuid.UUID takes."""
    digits = random.hex()
    variant = "89ab"[int(digits[16], 16) & 3]
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{variant}{digits[17:20]}-{digits[20:]}"


@lru_cache(maxsize=16)
def _seconds(at: datetime) -> str:
    # Much faster than strftime, and every moment here is in UTC.
    return at.isoformat(timespec="seconds").removesuffix("+00:00") + "Z"
