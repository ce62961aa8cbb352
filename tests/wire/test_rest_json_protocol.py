"""rest-json: what botocore sends is understood, what is answered botocore understands; hostile requests raise ApiErrors."""

from __future__ import annotations

import base64
import json
from contextlib import suppress
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from botocore.awsrequest import prepare_request_dict
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import given, settings
from hypothesis import strategies as st

from turnlock.errors import (
    AccessDeniedException,
    ApiError,
    ResourceNotFoundException,
    SerializationException,
    UnknownOperationException,
    ValidationException,
)
from turnlock.wire import Contract, HttpRequest, RestJsonProtocol

CONTRACT = Contract.load("lambda")
PROTOCOL = RestJsonProtocol(CONTRACT)
NAME = st.from_regex(r"[a-zA-Z0-9_-]{1,20}", fullmatch=True)
NAMES = st.one_of(NAME, NAME.map(lambda name: f"arn:aws:lambda:eu-central-1:123456789012:function:{name}"))
TEXT = st.text("aé +&=/:%.-_@Ω", max_size=12)
TAG = st.text("aé +=/:.-_@", min_size=1, max_size=9)
PARAMETERS: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "Invoke": st.fixed_dictionaries(
        {"FunctionName": NAMES},
        optional={
            "InvocationType": st.sampled_from(["Event", "RequestResponse", "DryRun"]),
            "LogType": st.sampled_from(["None", "Tail"]),
            "ClientContext": st.binary(min_size=1, max_size=9).map(lambda b: base64.b64encode(b).decode()),
            "Payload": st.binary(min_size=1, max_size=40),
            "Qualifier": st.sampled_from(["$LATEST", "1", "live"]),
        },
    ),
    "CreateFunction": st.fixed_dictionaries(
        {
            "FunctionName": NAMES,
            "Role": st.just("arn:aws:iam::123456789012:role/service/rotation"),
            "Code": st.fixed_dictionaries({"ZipFile": st.binary(max_size=60)}),
        },
        optional={
            "Runtime": st.sampled_from(["python3.11", "provided.al2023"]),
            "Environment": st.fixed_dictionaries(
                {
                    "Variables": st.dictionaries(
                        st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{1,5}", fullmatch=True), TEXT
                    )
                }
            ),
            "Timeout": st.integers(1, 900),
            "Publish": st.booleans(),
            "Tags": st.dictionaries(TAG, TAG, max_size=3),
        },
    ),
    "ListFunctions": st.fixed_dictionaries(
        {}, optional={"Marker": TEXT.filter(bool), "MaxItems": st.integers(1, 10_000)}
    ),
    "GetFunction": st.fixed_dictionaries({"FunctionName": NAMES}, optional={"Qualifier": st.just("$LATEST")}),
    "ListVersionsByFunction": st.fixed_dictionaries({"FunctionName": NAMES}),
    "DeleteFunction": st.fixed_dictionaries({"FunctionName": NAMES}),
    "RemovePermission": st.fixed_dictionaries({"FunctionName": NAMES, "StatementId": NAME}),
    "UntagResource": st.fixed_dictionaries(
        {
            "Resource": NAME.map(lambda name: f"arn:aws:lambda:eu-central-1:123456789012:function:{name}"),
            "TagKeys": st.lists(TAG, min_size=1, max_size=4),
        }
    ),
}
CALLS = st.sampled_from(sorted(PARAMETERS)).flatmap(lambda name: st.tuples(st.just(name), PARAMETERS[name]))


def sent(operation: str, parameters: dict[str, Any]) -> HttpRequest:
    """Return what a server gets of a request that botocore serialises."""
    model = CONTRACT.operations[operation].model
    made = create_serializer("rest-json").serialize_to_request(dict(parameters), model)
    prepare_request_dict(made, "http://127.0.0.1:7768")
    url = urlsplit(made["url"])
    body = made["body"]
    return HttpRequest(
        method=made["method"],
        path=unquote(url.path),
        query=url.query,
        headers=tuple((name.lower(), str(value)) for name, value in made["headers"].items()),
        body=body.encode() if isinstance(body, str) else bytes(body or b""),
    )


@settings(max_examples=80, deadline=None)
@given(CALLS)
def test_what_botocore_sends_is_what_was_meant(call: tuple[str, dict[str, Any]]) -> None:
    name, parameters = call
    request = sent(name, parameters)
    operation = PROTOCOL.operation(request)
    assert operation.name == name
    assert PROTOCOL.parse(operation, request) == parameters


@pytest.mark.parametrize(
    ("operation", "answer", "status"),
    [
        ("Invoke", {"StatusCode": 202}, 202),
        (
            "Invoke",
            {
                "StatusCode": 200,
                "Payload": b'{"a":1}',
                "FunctionError": "Unhandled",
                "LogResult": "bG9n",
                "ExecutedVersion": "$LATEST",
            },
            200,
        ),
        ("DeleteFunction", {"StatusCode": 204}, 204),
        ("CreateFunction", {"FunctionName": "f", "CodeSize": 7, "State": "Active"}, 201),
        ("ListTags", {"Tags": {"a": "b"}}, 200),
    ],
)
def test_what_is_answered_botocore_understands(operation: str, answer: dict[str, Any], status: int) -> None:
    response = PROTOCOL.respond(CONTRACT.operations[operation], answer, "id-1")
    assert response.status == status
    shape = CONTRACT.operations[operation].model.output_shape
    parsed = create_parser("rest-json").parse(
        {"status_code": response.status, "headers": dict(response.headers), "body": response.body},
        shape,  # type: ignore[arg-type]  # None is what botocore's own client gives for operations without output
    )
    metadata = parsed.pop("ResponseMetadata")
    assert metadata["HTTPHeaders"]["x-amzn-requestid"] == "id-1"
    if shape is not None and "Payload" in shape.members:
        answer = {**answer, "Payload": answer.get("Payload", b"").decode()}
    assert parsed == answer


@pytest.mark.parametrize(
    ("error", "code", "status"),
    [
        (ResourceNotFoundException("Function not found: f"), "ResourceNotFoundException", 404),
        (AccessDeniedException("no"), "AccessDeniedException", 403),
        (UnknownOperationException(), "UnknownOperationException", 404),
    ],
)
def test_errors_have_the_models_status_or_that_of_rest_services(
    error: ApiError, code: str, status: int
) -> None:
    response = PROTOCOL.fault(error, "id-1")
    assert response.status == status
    assert ("x-amzn-ErrorType", code) in response.headers
    spelt = "message" if status == 404 and code.startswith("Unknown") else "Message"
    assert json.loads(response.body) == {"__type": code, spelt: error.message}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("POST", "/2015-03-31/functions/a/b/c"),
        ("PATCH", "/2015-03-31/functions/a"),
        ("GET", "/2015-03-31/functions/./versions"),
        ("GET", "/2015-03-31/functions/../versions"),
        ("GET", "/2015-03-31//functions"),
        ("GET", "/x/../2015-03-31/functions"),
    ],
)
def test_other_paths_are_no_operation(method: str, path: str) -> None:
    with pytest.raises(UnknownOperationException):
        PROTOCOL.operation(HttpRequest(method=method, path=path))


def test_the_body_cannot_say_what_stands_elsewhere() -> None:
    request = HttpRequest(
        method="POST",
        path="/2015-03-31/functions/named-in-the-path/policy",
        body=b'{"FunctionName":"another","Qualifier":"1","StatementId":"s","Action":"lambda:InvokeFunction",'
        b'"Principal":"p"}',
    )
    parsed = PROTOCOL.parse(PROTOCOL.operation(request), request)
    assert (parsed["FunctionName"], "Qualifier" in parsed) == ("named-in-the-path", False)


def test_a_parameter_that_comes_twice_is_refused() -> None:
    request = HttpRequest(method="GET", path="/2015-03-31/functions/f", query="Qualifier=1&Qualifier=2")
    with pytest.raises(SerializationException):
        PROTOCOL.parse(PROTOCOL.operation(request), request)


def test_a_number_that_is_none_is_refused() -> None:
    request = HttpRequest(method="GET", path="/2015-03-31/functions/", query="MaxItems=many")
    with pytest.raises(SerializationException):
        PROTOCOL.parse(PROTOCOL.operation(request), request)


def test_a_name_that_the_model_refuses_is_refused() -> None:
    request = HttpRequest(method="GET", path="/2015-03-31/functions/no good")
    with pytest.raises(ValidationException):
        PROTOCOL.parse(PROTOCOL.operation(request), request)


@settings(max_examples=80, deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    path=st.lists(
        st.sampled_from(["2015-03-31", "2017-03-31", "functions", "tags", "policy", "f", "..", "", "\x00é"])
    ).map(lambda parts: "/" + "/".join(parts)),
    query=st.text(max_size=12),
    body=st.binary(max_size=30),
)
def test_whatever_is_sent_only_ever_raises_api_errors(
    method: str, path: str, query: str, body: bytes
) -> None:
    request = HttpRequest(method=method, path=path, query=query, body=body)
    with suppress(ApiError):
        PROTOCOL.parse(PROTOCOL.operation(request), request)
