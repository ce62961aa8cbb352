"""The query protocol agrees with botocore, for services of this issue and of later ones.

Its requests are read as they were meant, our answers and faults as we meant them.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from botocore.awsrequest import AWSRequest, HeadersDict
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.sampling import examples
from tests.wire.model_values import values
from turnlock.errors import ApiError
from turnlock.wire import Contract, HttpRequest, HttpResponse, QueryProtocol, xml_answers
from turnlock.wire.flat_parameters import as_tree, document_of, read_parameters
from turnlock.wire.shapes import ShapeCompiler

SERVICES = ("cloudformation", "iam", "rds", "sns", "sts")
OPERATIONS = {
    service: [operation for _, operation in sorted(Contract.load(service).operations.items())]
    for service in SERVICES
}
PROTOCOLS = {service: QueryProtocol(Contract.load(service)) for service in SERVICES}
NOTHING = StructureShape("Nothing", {"type": "structure", "members": {}})
MANY = settings(max_examples=examples(50), deadline=None, suppress_health_check=list(HealthCheck))


def as_sent(parameters: dict[str, Any], model: OperationModel) -> HttpRequest:
    """Return the request that botocore makes."""
    serialised = create_serializer("query").serialize_to_request(parameters, model)
    request = AWSRequest(
        method=serialised["method"],
        url="http://127.0.0.1/",
        data=serialised["body"],
        headers=serialised["headers"],
    ).prepare()
    headers = tuple((name.lower(), str(value)) for name, value in request.headers.items())
    body = request.body if isinstance(request.body, bytes) else str(request.body).encode()
    return HttpRequest(method="POST", path="/", headers=headers, body=body)


def as_read(response: HttpResponse, shape: Any) -> dict[str, Any]:
    """Return what botocore reads in a response; the shape is None for operations without output."""
    wire = {"status_code": response.status, "headers": HeadersDict(response.headers), "body": response.body}
    parsed: dict[str, Any] = create_parser("query").parse(wire, shape)
    return parsed


def left_on_the_wire(shape: Shape, value: Any) -> Any:
    """Return what botocore sends of `value`: empty structures and empty maps leave no parameter; None for nothing at all.

    Draws again where that leaves a gap in a list, which nobody can number.
    """
    if isinstance(shape, StructureShape):
        kept = {name: left_on_the_wire(shape.members[name], item) for name, item in value.items()}
        return {name: item for name, item in kept.items() if item is not None} or None
    if isinstance(shape, ListShape):
        items = [left_on_the_wire(shape.member, item) for item in value]
        assume(None not in items)
        return items
    if isinstance(shape, MapShape):
        entries = {key: left_on_the_wire(shape.value, item) for key, item in value.items()}
        assume(None not in entries.values())
        return entries or None
    return value


def required_are_there(shape: Shape, value: Any) -> bool:
    """Tell whether no required member was lost on the wire."""
    if isinstance(shape, StructureShape):
        return all(name in value for name in shape.required_members) and all(
            required_are_there(shape.members[name], item) for name, item in value.items()
        )
    if isinstance(shape, ListShape):
        return all(required_are_there(shape.member, item) for item in value)
    return True


def as_xml_holds(value: Any, *, fractions: bool = True) -> Any:
    """Return `value` with U+FFFD for each character that XML 1.0 has not; moments without their fractions where the service has none."""
    if isinstance(value, str):
        return "".join(
            char if char in "\t\n\r" or " " <= char <= "\ufffd" or char > "\uffff" else "\ufffd"
            for char in value
        )
    if isinstance(value, datetime) and not fractions:
        return value.replace(microsecond=0)
    if isinstance(value, list):
        return [as_xml_holds(item, fractions=fractions) for item in value]
    if isinstance(value, dict):
        return {as_xml_holds(key): as_xml_holds(item, fractions=fractions) for key, item in value.items()}
    return value


@pytest.mark.parametrize(
    "service",
    # IAM has 160 operations, and to say how each one's input is drawn takes seconds.
    [pytest.param(one, marks=[pytest.mark.slow] if one == "iam" else []) for one in SERVICES],
)
@MANY
@given(st.data())
def test_what_botocore_sends_is_read_as_it_was_meant(service: str, data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(OPERATIONS[service]))
    shape = operation.model.input_shape or NOTHING
    parameters = data.draw(values(shape))
    expected = left_on_the_wire(shape, parameters) or {}
    assume(required_are_there(shape, expected))
    request = as_sent(parameters, operation.model)
    assert PROTOCOLS[service].operation(request) is operation
    assert PROTOCOLS[service].parse(operation, request) == expected


@pytest.mark.parametrize("service", SERVICES)
@MANY
@given(st.data())
def test_what_is_answered_botocore_reads_as_it_was_meant(service: str, data: st.DataObject) -> None:
    operation = data.draw(st.sampled_from(OPERATIONS[service]))
    shape = operation.model.output_shape
    answer = data.draw(values(shape or NOTHING))
    parsed = as_read(PROTOCOLS[service].respond(operation, answer, "id-1"), shape)
    assert parsed.pop("ResponseMetadata")["RequestId"] == "id-1"
    assert parsed == as_xml_holds(answer, fractions=service not in ("iam", "sts"))


FLATTENED = {
    "version": "2.0",
    "metadata": {
        "apiVersion": "2020-01-01",
        "protocol": "query",
        "serviceId": "Flat",
        "endpointPrefix": "flat",
        "xmlNamespace": "urn:flat",
    },
    "operations": {"Do": {"name": "Do", "input": {"shape": "In"}, "output": {"shape": "In"}}},
    "shapes": {
        "In": {
            "type": "structure",
            "members": {
                "Plain": {"shape": "Names"},
                "Named": {"shape": "NamedItems"},
                "Attributes": {"shape": "Flat", "locationName": "Attribute"},
                "Nested": {"shape": "Rows"},
                "At": {"shape": "Epoch"},
                "Sent": {"shape": "Mailed"},
            },
        },
        "Names": {"type": "list", "member": {"shape": "Text"}, "flattened": True},
        "NamedItems": {
            "type": "list",
            "member": {"shape": "Text", "locationName": "Item"},
            "flattened": True,
        },
        "Flat": {
            "type": "map",
            "key": {"shape": "Text", "locationName": "Name"},
            "value": {"shape": "Text", "locationName": "Value"},
            "flattened": True,
        },
        "Rows": {"type": "list", "member": {"shape": "Row"}},
        "Row": {"type": "structure", "required": ["Cells"], "members": {"Cells": {"shape": "Names"}}},
        "Text": {"type": "string", "min": 1},
        "Epoch": {"type": "timestamp", "timestampFormat": "unixTimestamp"},
        "Mailed": {"type": "timestamp", "timestampFormat": "rfc822"},
    },
}
"""No query service that is meant to come has flattened shapes or other timestamps; the protocol has them all the same."""


def whole_seconds(value: dict[str, Any]) -> dict[str, Any]:
    """Return `value` with moments as they are after a way in whole seconds, which is how botocore writes them there."""
    return {
        name: item.replace(microsecond=0) if name in {"At", "Sent"} else item for name, item in value.items()
    }


def without_empty(value: Any) -> Any:
    """Return `value` without empty flattened lists and maps, of which no trace is left in XML."""
    if isinstance(value, dict):
        return {name: without_empty(item) for name, item in value.items() if item not in ([], {})}
    if isinstance(value, list):
        return [without_empty(item) for item in value]
    return value


@MANY
@given(st.data())
def test_flattened_lists_and_maps_and_other_timestamps_go_both_ways(data: st.DataObject) -> None:
    model = ServiceModel(FLATTENED, "flat").operation_model("Do")
    shape = model.input_shape
    assert shape is not None
    value = whole_seconds(data.draw(values(shape)))
    sent = left_on_the_wire(shape, value) or {}
    # botocore sends an empty list under its own name, and a full one under its elements' name: the first is a lost case.
    assume(value.get("Named") != [])
    read = document_of(shape, as_tree(read_parameters(as_sent(value, model).body.decode())))
    assert ShapeCompiler().codec(shape).parse(read, "", []) == sent
    written = xml_answers.element("DoResponse", xml_answers.members(shape, value)).encode()
    parsed = as_read(HttpResponse(status=200, body=written), shape)
    parsed.pop("ResponseMetadata")
    assert without_empty(parsed) == without_empty(as_xml_holds(value))


def api_errors(base: type[ApiError] = ApiError) -> Iterator[type[ApiError]]:
    for error in base.__subclasses__():
        yield error
        yield from api_errors(error)


@pytest.mark.parametrize("error", list(api_errors()))
@settings(MANY, max_examples=5)
@given(st.text())
def test_faults_are_read_by_botocore_with_code_and_message(error: type[ApiError], message: str) -> None:
    response = PROTOCOLS["sts"].fault(error(message), "id-2")
    parsed = as_read(response, NOTHING)
    assert parsed["Error"]["Message"] == (as_xml_holds(message) or None)
    assert parsed["Error"]["Type"] == ("Receiver" if response.status >= 500 else "Sender")
    assert parsed["ResponseMetadata"] == {
        "RequestId": "id-2",
        "HTTPStatusCode": response.status,
        "HTTPHeaders": {"content-type": "text/xml", "x-amzn-requestid": "id-2"},
    }
    assert parsed["Error"]["Code"]
