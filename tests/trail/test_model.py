"""Records, field by field (docs/aws-behaviour.md#records-of-api-calls, docs/aws-behaviour.md#service-events)."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from turnlock.core.arn import AccountId, Region
from turnlock.core.call import Call, Principal, PrincipalKind, Session
from turnlock.core.record import TrailEntry
from turnlock.errors import ResourceNotFoundException
from turnlock.trail import ApiEvent, api_event, service_event

AT = datetime(2026, 11, 23, 12, 0, 1, 999_999, tzinfo=UTC)
SECRET = "arn:aws:secretsmanager:eu-central-1:123456789012:secret:db-abcdef"
EVENT_ID = bytes(range(16))

ROOT = Call(
    principal=Principal(
        kind=PrincipalKind.ROOT,
        arn="arn:aws:iam::123456789012:root",
        account_id=AccountId("123456789012"),
        principal_id="123456789012",
    ),
    session=Session(access_key_id="AKIAEXAMPLE"),
    account_id=AccountId("123456789012"),
    region=Region("eu-central-1"),
    service="secretsmanager",
    action="DeleteSecret",
    request_id="the-request",
    source_ip="192.0.2.7",
    user_agent="aws-cli/2.0 \x1b[31m",
    at=AT,
)
ROLE = replace(
    ROOT,
    principal=Principal(
        kind=PrincipalKind.ASSUMED_ROLE,
        arn="arn:aws:sts::123456789012:assumed-role/Rotation/session-1",
        account_id=AccountId("123456789012"),
        principal_id="AROAEXAMPLE:session-1",
    ),
    session=Session(access_key_id="ASIAEXAMPLE", created_at=AT - timedelta(minutes=5)),
)


def event(call: Call = ROOT, **changes: Any) -> ApiEvent:
    given: dict[str, Any] = {
        "call": call,
        "request": {"secretId": "db"},
        "response": {"arn": SECRET},
        "error": None,
        "read_only": False,
    }
    return ApiEvent(**{**given, **changes})


def body(entry: TrailEntry) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(entry.body)
    return content


def test_the_record_of_a_change_by_root() -> None:
    assert body(api_event(event(), EVENT_ID)) == {
        "eventVersion": "1.11",
        "userIdentity": {
            "type": "Root",
            "principalId": "123456789012",
            "arn": "arn:aws:iam::123456789012:root",
            "accountId": "123456789012",
            "accessKeyId": "AKIAEXAMPLE",
        },
        "eventTime": "2026-11-23T12:00:01Z",
        "eventSource": "secretsmanager.amazonaws.com",
        "eventName": "DeleteSecret",
        "awsRegion": "eu-central-1",
        "sourceIPAddress": "192.0.2.7",
        "userAgent": "aws-cli/2.0 \x1b[31m",
        "requestParameters": {"secretId": "db"},
        "responseElements": {"arn": SECRET},
        "requestID": "the-request",
        "eventID": "00010203-0405-4607-8809-0a0b0c0d0e0f",
        "readOnly": False,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": "123456789012",
        "eventCategory": "Management",
    }


@pytest.mark.parametrize(("mfa", "told"), [(False, "false"), (True, "true")])
def test_the_record_of_a_role_tells_how_its_session_began(mfa: bool, told: str) -> None:
    call = replace(ROLE, session=replace(ROLE.session, mfa_authenticated=mfa))
    assert body(api_event(event(call), EVENT_ID))["userIdentity"] == {
        "type": "AssumedRole",
        "principalId": "AROAEXAMPLE:session-1",
        "arn": "arn:aws:sts::123456789012:assumed-role/Rotation/session-1",
        "accountId": "123456789012",
        "accessKeyId": "ASIAEXAMPLE",
        "sessionContext": {"attributes": {"creationDate": "2026-11-23T11:55:01Z", "mfaAuthenticated": told}},
    }


def test_the_record_of_a_read_has_no_response_elements() -> None:
    record = body(api_event(event(read_only=True, response={"name": "db"}), EVENT_ID))
    assert record["readOnly"] is True
    assert record["responseElements"] is None
    assert "errorCode" not in record


def test_the_record_of_a_failure_tells_code_and_message_and_no_response() -> None:
    record = body(api_event(event(error=ResourceNotFoundException()), EVENT_ID))
    assert record["errorCode"] == "ResourceNotFoundException"
    assert record["errorMessage"] == "Secrets Manager can't find the specified secret."
    assert record["responseElements"] is None
    assert record["requestParameters"] == {"secretId": "db"}


def test_input_that_could_not_be_read_is_null() -> None:
    assert body(api_event(event(request=None), EVENT_ID))["requestParameters"] is None


def test_an_entry_says_where_the_record_belongs() -> None:
    entry = api_event(event(), EVENT_ID)
    assert (entry.account_id, entry.region, entry.event_name, entry.at) == (
        "123456789012",
        "eu-central-1",
        "DeleteSecret",
        AT,
    )
    assert entry.event_id == body(entry)["eventID"]


def test_a_record_is_one_line_whatever_a_caller_sent() -> None:
    call = replace(ROOT, user_agent="a\nb\r\u2028\x85\x00")
    assert b"\n" not in api_event(event(call, request={"secretId": "x\ny"}), EVENT_ID).body
    assert body(api_event(event(call), EVENT_ID))["userAgent"] == call.user_agent


def told(**changes: Any) -> TrailEntry:
    given: dict[str, Any] = {
        "account_id": AccountId("123456789012"),
        "region": Region("eu-central-1"),
        "name": "RotationStarted",
        "secret_arn": SECRET,
        "request_id": f"Rotation-{SECRET}-11111111-1111-4111-8111-111111111111",
        "at": AT,
        "event_id": EVENT_ID,
    }
    return service_event(**{**given, **changes})


def test_the_record_of_what_turnlock_did_by_itself() -> None:
    assert body(told()) == {
        "eventVersion": "1.08",
        "userIdentity": {"accountId": "123456789012", "invokedBy": "secretsmanager.amazonaws.com"},
        "eventTime": "2026-11-23T12:00:01Z",
        "eventSource": "secretsmanager.amazonaws.com",
        "eventName": "RotationStarted",
        "awsRegion": "eu-central-1",
        "sourceIPAddress": "secretsmanager.amazonaws.com",
        "userAgent": "secretsmanager.amazonaws.com",
        "requestParameters": None,
        "responseElements": None,
        "additionalEventData": {"SecretId": SECRET},
        "requestID": f"Rotation-{SECRET}-11111111-1111-4111-8111-111111111111",
        "eventID": "00010203-0405-4607-8809-0a0b0c0d0e0f",
        "readOnly": False,
        "eventType": "AwsServiceEvent",
        "managementEvent": True,
        "recipientAccountId": "123456789012",
        "eventCategory": "Management",
    }


def test_a_failed_service_event_has_an_error_message() -> None:
    assert body(told(name="RotationFailed", error="why"))["errorMessage"] == "why"
    assert told(name="RotationFailed").event_name == "RotationFailed"


def test_the_record_of_a_user_names_it_and_tells_how_its_session_began() -> None:
    user = Principal(
        kind=PrincipalKind.USER,
        arn="arn:aws:iam::123456789012:user/team/ann",
        account_id=AccountId("123456789012"),
        principal_id="AIDAEXAMPLE",
    )
    plain = body(api_event(event(replace(ROOT, principal=user)), EVENT_ID))["userIdentity"]
    assert (plain["type"], plain["userName"]) == ("IAMUser", "ann")
    assert "sessionContext" not in plain
    proved = Session(access_key_id="ASIAEXAMPLE", created_at=AT, mfa_authenticated=True)
    found = body(api_event(event(replace(ROOT, principal=user, session=proved)), EVENT_ID))["userIdentity"]
    assert found["sessionContext"]["attributes"]["mfaAuthenticated"] == "true"


def test_text_that_a_caller_chose_is_cut_where_cloudtrail_cuts_it() -> None:
    long = replace(ROOT, user_agent="é" * 5_000)
    record = body(api_event(event(long, error=ResourceNotFoundException("€" * 5_000)), EVENT_ID))
    assert record["userAgent"] == "é" * 512
    assert record["errorMessage"] == "€" * 341
    assert body(api_event(event(replace(ROOT, user_agent="x" * 1_024)), EVENT_ID))["userAgent"] == "x" * 1_024


@pytest.mark.parametrize(("length", "kept"), [(102_385, True), (102_386, False)])
def test_of_elements_beyond_100_kib_only_their_size_is_kept(length: int, kept: bool) -> None:
    given = {"secretId": "x" * length}
    record = body(api_event(event(request=given, response=given), EVENT_ID))
    for name in ("requestParameters", "responseElements"):
        if kept:
            assert record[name] == given
        else:
            assert record[name] == {
                "omitted": True,
                "originalSize": length + 15,
                "reason": f"{name} too large",
            }
