"""The contract agrees with botocore: its requests are read as they were meant, our answers as we meant them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.awsrequest import HeadersDict
from botocore.model import ListShape, MapShape, ServiceModel, Shape, StructureShape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.wire.model_values import values
from turnlock import errors
from turnlock.errors import AnswerMismatch, ApiError, ConfigurationError
from turnlock.wire import Contract, HttpRequest, JsonProtocol

CONTRACT = Contract.load("secretsmanager")
PROTOCOL = JsonProtocol(CONTRACT)
NOTHING = StructureShape("Nothing", {"type": "structure", "members": {}})
OPERATIONS = sorted(CONTRACT.operations)
FEW = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
SERVICES = (
    "cloudformation",
    "cloudtrail",
    "events",
    "iam",
    "kms",
    "lambda",
    "rds",
    "secretsmanager",
    "sns",
    "sts",
)


def as_sent(serialised: Mapping[str, Any]) -> HttpRequest:
    headers = tuple((name.lower(), value) for name, value in serialised["headers"].items())
    return HttpRequest(method=serialised["method"], path="/", headers=headers, body=serialised["body"])


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_botocore_sends_is_read_as_it_was_meant(name: str) -> None:
    model = CONTRACT.operations[name].model
    assert model.input_shape is not None
    serializer = create_serializer("json")

    @FEW
    @given(values(model.input_shape))
    def agrees(parameters: dict[str, Any]) -> None:
        request = as_sent(serializer.serialize_to_request(parameters, model))
        operation = PROTOCOL.operation(request)
        assert operation.name == name
        assert PROTOCOL.parse(operation, request) == parameters

    agrees()


@pytest.mark.parametrize("name", OPERATIONS)
def test_what_is_answered_botocore_reads_as_it_was_meant(name: str) -> None:
    operation = CONTRACT.operations[name]
    shape = operation.model.output_shape or NOTHING

    @FEW
    @given(values(shape))
    def agrees(answer: dict[str, Any]) -> None:
        response = PROTOCOL.respond(operation, answer, "id-1")
        wire = {
            "status_code": response.status,
            "headers": HeadersDict(response.headers),
            "body": response.body,
        }
        parsed = create_parser("json").parse(wire, shape)
        assert parsed.pop("ResponseMetadata")["RequestId"] == "id-1"
        assert parsed == answer

    agrees()


def api_errors(base: type[ApiError] = ApiError) -> Iterator[type[ApiError]]:
    for error in base.__subclasses__():
        yield error
        yield from api_errors(error)


@pytest.mark.parametrize("error", list(api_errors()))
@FEW
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_faults_are_read_by_botocore_with_code_and_message(error: type[ApiError], message: str) -> None:
    response = PROTOCOL.fault(error(message), "id-2")
    wire = {"status_code": response.status, "headers": HeadersDict(response.headers), "body": response.body}
    parsed = create_parser("json").parse(wire, NOTHING)
    assert parsed["Error"] == {"Code": error(message).code, "Message": message}
    assert parsed["ResponseMetadata"]["RequestId"] == "id-2"
    assert parsed["ResponseMetadata"]["HTTPStatusCode"] == response.status


def sensitive_texts(shape: Shape, value: Any) -> Iterator[Any]:
    """Yield every value in `value` that the model flags sensitive, and all bytes, by walking the model naively."""
    if shape.metadata.get("sensitive") or shape.type_name == "blob":
        yield value
    elif isinstance(shape, StructureShape):
        for name, item in value.items():
            yield from sensitive_texts(shape.members[name], item)
    elif isinstance(shape, ListShape):
        for item in value:
            yield from sensitive_texts(shape.member, item)
    elif isinstance(shape, MapShape):
        for item in value.values():
            yield from sensitive_texts(shape.value, item)


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for item in value.values():
            yield from leaves(item)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item)
    else:
        yield value


def marked(shape: Shape, value: Any) -> Any:
    """Return `value` with each sensitive text in it made recognisable."""
    if shape.metadata.get("sensitive") and isinstance(value, str):
        return "hush" + value
    if isinstance(shape, StructureShape):
        return {name: marked(shape.members[name], item) for name, item in value.items()}
    if isinstance(shape, ListShape):
        return [marked(shape.member, item) for item in value]
    return value


@pytest.mark.parametrize("name", OPERATIONS)
def test_records_hold_nothing_sensitive_and_all_the_rest(name: str) -> None:
    operation = CONTRACT.operations[name]
    request_shape = operation.model.input_shape or NOTHING
    answer_shape = operation.model.output_shape or NOTHING

    @FEW
    @given(values(request_shape), values(answer_shape))
    def agrees(request: dict[str, Any], answer: dict[str, Any]) -> None:
        for shape, value, redact in (
            (request_shape, request, operation.redact_request),
            (answer_shape, answer, operation.redact_answer),
        ):
            full = marked(shape, value)
            record = redact(full)
            assert "hush" not in json.dumps(record)
            kept = len(list(leaves(full))) - len(list(sensitive_texts(shape, full)))
            assert len(list(leaves(record))) == kept

    agrees()


def test_a_record_of_a_secret_value_shows_what_cloudtrail_shows() -> None:
    operation = CONTRACT.operations["DeleteSecret"]
    answer = {
        "ARN": "arn:aws:x",
        "Name": "n",
        "DeletionDate": datetime(2018, 5, 3, 17, 51, 2, tzinfo=UTC),
    }
    assert operation.redact_answer(answer) == {
        "arn": "arn:aws:x",
        "name": "n",
        "deletionDate": "May 3, 2018 5:51:02 PM",
    }
    put = CONTRACT.operations["PutSecretValue"]
    request = {"SecretId": "s", "SecretString": "hush", "SecretBinary": b"hush", "RotationToken": "hush"}
    assert put.redact_request({**request, "ClientRequestToken": "t"}) == {
        "secretId": "s",
        "clientRequestToken": "t",
    }
    assert CONTRACT.operations["GetRandomPassword"].redact_answer({"RandomPassword": "hush"}) == {}


def test_a_handlers_typo_is_found() -> None:
    with pytest.raises(AnswerMismatch, match="GetSecretValueResponse has no member 'Secretstring'"):
        CONTRACT.operations["GetSecretValue"].serialise({"Secretstring": "hush"})


def test_the_contract_tells_what_the_model_tells() -> None:
    assert CONTRACT.service == CONTRACT.signing_name == CONTRACT.target_prefix == "secretsmanager"
    assert (CONTRACT.protocol, CONTRACT.json_version) == ("json", "1.1")
    assert Contract.load("kms").signing_name == "kms"
    assert Contract.load("kms").target_prefix == "TrentService"
    assert Contract.load("sts").target_prefix == ""
    assert Contract.load("secretsmanager") is CONTRACT


def test_statuses_are_those_of_the_model_where_it_knows_the_error() -> None:
    assert CONTRACT.error_status("ResourceNotFoundException") == 400
    assert CONTRACT.error_status("InternalServiceError") == 500
    assert CONTRACT.error_status("AccessDeniedException") is None
    assert Contract.load("sts").error_status("ExpiredTokenException") == 400
    assert Contract.load("iam").error_status("NoSuchEntity") == 404


def test_our_errors_have_the_statuses_of_the_model() -> None:
    for code in CONTRACT.errors:
        ours = getattr(errors, code, None)
        assert ours is None or ours.status == CONTRACT.error_status(code)


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_in_scope_compiles_and_knows_all_its_operations(service: str) -> None:
    contract = Contract.load(service)
    model = next(iter(contract.operations.values())).model.service_model
    assert isinstance(model, ServiceModel)
    assert list(contract.operations) == list(model.operation_names)


def test_operations_without_input_or_output_take_and_give_nothing() -> None:
    logout = Contract.load("sns").operations["DeleteTopic"]
    assert logout.serialise({}) == {}
    with pytest.raises(AnswerMismatch):
        logout.serialise({"X": 1})


def test_an_unknown_service_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match="no model"):
        Contract.load("no-such-service")


def test_models_in_a_users_home_are_not_looked_at(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / ".aws" / "models" / "home-made" / "2020-01-01"
    home.mkdir(parents=True)
    (home / "service-2.json").write_text('{"metadata": {"protocol": "json"}, "operations": {}, "shapes": {}}')
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("botocore.loaders.Loader.CUSTOMER_DATA_PATH", str(tmp_path / ".aws" / "models"))
    with pytest.raises(ConfigurationError):
        Contract.load("home-made")
