"""Refusals in the form of a service that is not served, so that its SDK reads them and does not try again for minutes.

A request says in its signature's scope which service it is for. The tables name the services whose errors are XML; all
others answer in JSON: by X-Amz-Target in the JSON protocols, else in REST. From botocore's models, by signing name.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Final

from turnlock.errors import ApiError
from turnlock.wire import xml_answers as xml
from turnlock.wire.http import HttpRequest, HttpResponse
from turnlock.wire.query_protocol import spelled

_Form = Callable[[str, ApiError, HttpRequest, str], HttpResponse]

_EC2: Final = frozenset({"ec2"})
_S3: Final = frozenset({"s3", "s3express", "s3-object-lambda", "s3-outposts"})
"""`<Error>` by itself."""
_REST_XML: Final = frozenset({"cloudfront", "route53"})
"""`<ErrorResponse>` in REST, like the query services'."""
_QUERY: Final = frozenset(
    {
        "autoscaling",
        "cloudformation",
        "cloudsearch",
        "elasticache",
        "elasticbeanstalk",
        "elasticloadbalancing",
        "iam",
        "monitoring",
        "rds",
        "redshift",
        "sdb",
        "ses",
        "sns",
        "sqs",
        "sts",
    }
)


def refusal(service: str, error: ApiError, request: HttpRequest, request_id: str) -> HttpResponse:
    """Return the response that carries `error` to a client of a service, by its signing name, that is not served."""
    return _form_of(service, request)(service, error, request, request_id)


def _form_of(service: str, request: HttpRequest) -> _Form:
    if request.first("x-amz-target") is not None:
        return _json
    form = next((form for names, form in _FORMS if service in names), None)
    if form is not None:
        return form
    sent = request.first("content-type") or ""
    return _error_response if sent.startswith("application/x-www-form-urlencoded") else _json


def _ec2(_service: str, error: ApiError, _request: HttpRequest, request_id: str) -> HttpResponse:
    told = xml.element("Errors", xml.element("Error", *_code_and_message(error)))
    return _xml(error, request_id, xml.element("Response", told, _id("RequestID", request_id)))


def _s3(_service: str, error: ApiError, request: HttpRequest, request_id: str) -> HttpResponse:
    where = xml.element("Resource", xml.text(request.path))
    told = (*_code_and_message(error), where, _id("RequestId", request_id))
    return _xml(error, request_id, xml.element("Error", *told))


def _error_response(service: str, error: ApiError, _request: HttpRequest, request_id: str) -> HttpResponse:
    kind = xml.element("Type", "Sender")
    told = xml.element("Error", kind, *_code_and_message(error))
    document = xml.element(
        "ErrorResponse",
        told,
        _id("RequestId", request_id),
        namespace=f"https://{service}.amazonaws.com/doc/",
    )
    return _xml(error, request_id, document)


def _json(_service: str, error: ApiError, request: HttpRequest, request_id: str) -> HttpResponse:
    sent = request.first("content-type") or ""
    aimed = request.first("x-amz-target") is not None and sent.startswith("application/x-amz-json-")
    headers = (
        ("content-type", sent.partition(";")[0] if aimed else "application/json"),
        ("x-amzn-RequestId", request_id),
        ("x-amzn-ErrorType", error.code),
    )
    body = json.dumps({"__type": error.code, "message": error.message, "Message": error.message})
    return HttpResponse(status=error.status, headers=headers, body=body.encode("ascii"))


_FORMS: Final[tuple[tuple[frozenset[str], _Form], ...]] = (
    (_EC2, _ec2),
    (_S3, _s3),
    (_REST_XML | _QUERY, _error_response),
)


def _code_and_message(error: ApiError) -> tuple[str, str]:
    code = xml.text(spelled(error).code)
    return xml.element("Code", code), xml.element("Message", xml.text(error.message))


def _id(name: str, request_id: str) -> str:
    return xml.element(name, xml.text(request_id))


def _xml(error: ApiError, request_id: str, document: str) -> HttpResponse:
    headers = (("content-type", "text/xml"), ("x-amzn-RequestId", request_id))
    body = '<?xml version="1.0" encoding="UTF-8"?>\n' + document
    return HttpResponse(status=spelled(error).status, headers=headers, body=body.encode())
