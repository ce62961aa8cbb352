"""Requests in flat parameters, answers and faults in XML."""

from __future__ import annotations

import pytest

from turnlock import errors
from turnlock.errors import (
    AnswerMismatch,
    ApiError,
    SerializationException,
    UnknownOperationException,
    ValidationException,
)
from turnlock.wire import PROTOCOLS, Contract, HttpRequest, JsonProtocol, QueryProtocol, RestJsonProtocol

STS, IAM, SNS = (QueryProtocol(Contract.load(name)) for name in ("sts", "iam", "sns"))
WHO = b"Action=GetCallerIdentity&Version=2011-06-15"


def post(body: bytes, query: str = "", method: str = "POST") -> HttpRequest:
    return HttpRequest(method=method, path="/", query=query, body=body)


def get(query: str) -> HttpRequest:
    return HttpRequest(method="GET", path="/", query=query)


@pytest.mark.parametrize(
    "request_",
    [
        post(WHO),
        post(b"Version=2011-06-15&Action=GetCallerIdentity"),
        post(b"", WHO.decode()),
        post(b"Action=GetCallerIdentity", "Version=2011-06-15"),
        get(WHO.decode()),
        get(WHO.decode() + "&X-Amz-Signature=0"),
    ],
)
def test_an_operation_is_named_by_action_and_version_wherever_they_stand(request_: HttpRequest) -> None:
    operation = STS.operation(request_)
    assert operation.name == "GetCallerIdentity"
    assert STS.parse(operation, request_) == {}


@pytest.mark.parametrize(
    "request_",
    [
        post(b""),
        post(b"Version=2011-06-15"),
        post(b"Action=GetCallerIdentity"),
        post(b"Action=GetCallerIdentity&Version="),
        post(b"Action=GetCallerIdentity&Version=2011-06-16"),
        post(b"Action=getcalleridentity&Version=2011-06-15"),
        post(b"action=GetCallerIdentity&version=2011-06-15"),
        post(b"Action=&Version=2011-06-15"),
        post(b"Action=CreateUser&Version=2010-05-08"),
        post(WHO, method="PUT"),
        post(b"", WHO.decode(), method="HEAD"),
    ],
)
def test_other_actions_versions_and_methods_are_unknown(request_: HttpRequest) -> None:
    with pytest.raises(UnknownOperationException):
        STS.operation(request_)


@pytest.mark.parametrize(
    "request_",
    [
        post(WHO, WHO.decode()),
        post(WHO + b"&Action=GetCallerIdentity"),
        post(WHO, method="GET"),
        post(b"{}"),
        post("Action=\xfc".encode()),
        post(b"\xff\xfe"),
    ],
)
def test_what_cannot_be_read_in_one_way_is_refused(request_: HttpRequest) -> None:
    with pytest.raises(SerializationException):
        STS.operation(request_)


def test_the_models_demands_hold() -> None:
    request = post(b"Action=CreateUser&Version=2010-05-08&UserName=%24")
    with pytest.raises(ValidationException, match="at 'userName' failed to satisfy constraint"):
        IAM.parse(IAM.operation(request), request)
    request = post(b"Action=CreateUser&Version=2010-05-08")
    with pytest.raises(ValidationException, match="Value null at 'userName'"):
        IAM.parse(IAM.operation(request), request)


def test_an_answer_has_the_form_of_the_api_reference() -> None:
    operation = Contract.load("sts").operations["GetCallerIdentity"]
    arn = "arn:aws:iam::123456789012:root"
    answer = {"UserId": "123456789012", "Account": "123456789012", "Arn": arn}
    response = STS.respond(operation, answer, "id-1")
    assert (response.status, dict(response.headers)) == (
        200,
        {"content-type": "text/xml", "x-amzn-RequestId": "id-1"},
    )
    assert response.body.decode() == (
        '<GetCallerIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        "<GetCallerIdentityResult><UserId>123456789012</UserId><Account>123456789012</Account>"
        f"<Arn>{arn}</Arn></GetCallerIdentityResult>"
        "<ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    )


def test_operations_without_output_answer_with_metadata_alone() -> None:
    operation = Contract.load("iam").operations["DeleteUser"]
    assert b"Result>" not in IAM.respond(operation, {}, "id-1").body


def test_none_members_are_left_out_and_others_than_the_models_are_bugs() -> None:
    operation = Contract.load("sts").operations["GetCallerIdentity"]
    assert b"<UserId>" not in STS.respond(operation, {"UserId": None}, "id-1").body
    for answer in ({"UserID": "x"}, {"UserId": 1}):
        with pytest.raises(AnswerMismatch):
            STS.respond(operation, answer, "id-1")


@pytest.mark.parametrize(
    ("error", "code", "status", "kind"),
    [
        (errors.AccessDeniedException, "AccessDenied", 403, "Sender"),
        (errors.ExpiredTokenException, "ExpiredToken", 403, "Sender"),
        (errors.IncompleteSignatureException, "IncompleteSignature", 400, "Sender"),
        (errors.InternalServiceError, "InternalFailure", 500, "Receiver"),
        (errors.InvalidSignatureException, "SignatureDoesNotMatch", 403, "Sender"),
        (errors.MissingAuthenticationTokenException, "MissingAuthenticationToken", 403, "Sender"),
        (errors.RequestEntityTooLargeException, "RequestEntityTooLarge", 413, "Sender"),
        (errors.SerializationException, "MalformedInput", 400, "Sender"),
        (errors.ThrottlingException, "Throttling", 400, "Sender"),
        (errors.UnknownOperationException, "InvalidAction", 400, "Sender"),
        (errors.UnrecognizedClientException, "InvalidClientTokenId", 403, "Sender"),
        (errors.ValidationException, "ValidationError", 400, "Sender"),
        (errors.InvalidRequestException, "InvalidRequestException", 400, "Sender"),
    ],
)
def test_shared_errors_have_the_codes_of_query_services(
    error: type[ApiError], code: str, status: int, kind: str
) -> None:
    response = STS.fault(error("Why <not>"), "id-2")
    assert response.status == status
    assert response.body.decode() == (
        '<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">'
        f"<Error><Type>{kind}</Type><Code>{code}</Code><Message>Why &lt;not&gt;</Message></Error>"
        "<RequestId>id-2</RequestId></ErrorResponse>"
    )


class NoSuchEntityException(ApiError):
    """No such user."""


class NotFound(ApiError):
    """No such topic."""


@pytest.mark.parametrize(
    ("protocol", "error", "code"),
    [(IAM, NoSuchEntityException, "NoSuchEntity"), (SNS, NotFound, "NotFound"), (STS, NotFound, "NotFound")],
)
def test_modelled_errors_have_the_code_and_status_of_the_model_under_either_name(
    protocol: QueryProtocol, error: type[ApiError], code: str
) -> None:
    response = protocol.fault(error(), "id-3")
    assert f"<Code>{code}</Code>".encode() in response.body
    assert response.status == (400 if protocol is STS else 404)


def test_the_table_of_protocols_has_what_is_spoken() -> None:
    assert dict(PROTOCOLS) == {
        "json": JsonProtocol,
        "query": QueryProtocol,
        "rest-json": RestJsonProtocol,
    }
