"""The JSON protocol: strict reading, plain writing, faults that every client can read."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.sampling import examples
from turnlock.errors import (
    AccessDeniedException,
    ApiError,
    InternalServiceError,
    NotFoundException,
    RequestEntityTooLargeException,
    ResourceNotFoundException,
    SerializationException,
    UnknownOperationException,
    ValidationException,
)
from turnlock.wire import MAX_DEPTH, Contract, HttpRequest, JsonProtocol, WireProtocol
from turnlock.wire.json_protocol import read_object

CONTRACT = Contract.load("secretsmanager")
PROTOCOL: WireProtocol = JsonProtocol(CONTRACT)
GET = CONTRACT.operations["GetSecretValue"]


def post(body: bytes, target: str = "secretsmanager.GetSecretValue", method: str = "POST") -> HttpRequest:
    return HttpRequest(method=method, path="/", headers=(("x-amz-target", target),), body=body)


def test_the_target_names_the_operation() -> None:
    assert PROTOCOL.operation(post(b"")) is GET


@pytest.mark.parametrize(
    "target",
    [
        "",
        "GetSecretValue",
        "secretsmanager.",
        "secretsmanager.getsecretvalue",
        "kms.GetSecretValue",
        "é" * 9999,
    ],
)
def test_an_unknown_target_is_an_unknown_operation(target: str) -> None:
    with pytest.raises(UnknownOperationException):
        PROTOCOL.operation(post(b"", target))
    with pytest.raises(UnknownOperationException):
        PROTOCOL.operation(HttpRequest(method="POST", path="/"))


def test_only_post_calls_operations() -> None:
    with pytest.raises(UnknownOperationException):
        PROTOCOL.operation(post(b"", method="GET"))


def test_a_body_is_parsed_and_validated() -> None:
    assert PROTOCOL.parse(GET, post(b' {"SecretId": "x", "Other": [1, {}]} ')) == {"SecretId": "x"}
    with pytest.raises(
        ValidationException, match=r"^1 validation error detected: Value '' at 'secretId' failed"
    ):
        PROTOCOL.parse(GET, post(b'{"SecretId": ""}'))


def test_an_empty_body_is_an_empty_object() -> None:
    assert PROTOCOL.parse(CONTRACT.operations["ListSecrets"], post(b"")) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"null",
        b"[]",
        b'"x"',
        b"1",
        b" ",
        b"{",
        b"{}{}",
        b"{}x",
        b"{'a':1}",
        b'{"a":NaN}',
        b'{"a":Infinity}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":01}',
        b'{"a":1,}',
        b'{"a" 1}',
        b'{"a":"\x01"}',
        b'{"a":"\xff"}',
        b'{"a":"\xed\xa0\x80"}',
        b'{"a":"\\ud800"}',
        b'{"a":"\\udc00x"}',
        b'{"a":"\\ud800\\u0041"}',
        b'{"a":"\\x"}',
        b'\xef\xbb\xbf{"a":1}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":1,"a":2}',
        b'{"a":1,"\\u0061":1}',
        b'{"b":[{"a":":","a":":"}]}',
        b'{"a":{"x":1},"a":"\\u003a"}',
    ],
)
def test_a_body_that_is_not_one_clean_object_is_refused(body: bytes) -> None:
    with pytest.raises(SerializationException) as refused:
        read_object(body)
    assert refused.value.__context__ is None


def test_a_refused_body_is_in_no_message_and_no_context() -> None:
    with pytest.raises(SerializationException) as refused:
        read_object(b'{"SecretString": "hush\xff"}')
    assert "hush" not in refused.value.message
    assert refused.value.__context__ is None


@pytest.mark.parametrize("opening", [b'{"a":', b"["])
def test_nesting_is_limited(opening: bytes) -> None:
    closing = b"}" if opening.startswith(b"{") else b"]"

    def nested(depth: int) -> bytes:
        inner = depth - 1
        return b'{"x":' + opening * inner + b"1" + closing * inner + b"}"

    assert read_object(nested(MAX_DEPTH))
    for depth in (MAX_DEPTH + 1, 5_000):
        with pytest.raises(SerializationException, match="nested deeper"):
            read_object(nested(depth))
    with pytest.raises(SerializationException, match="nested deeper"):
        read_object(b"[" * 100_000)


def test_brackets_and_colons_inside_strings_count_for_nothing() -> None:
    text = '[{"\\' * 200 + ":" * 200 + '"'
    assert read_object(json.dumps({text: text, "other": [text] * 40}).encode()) == {
        text: text,
        "other": [text] * 40,
    }
    assert read_object(b'{"wide":[' + b",".join([b"[]"] * 500) + b"]}")


TREES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text('a:"\\{[é😀\n', max_size=5),
    lambda trees: (
        st.lists(trees, max_size=3)
        | st.lists(st.tuples(st.sampled_from(["a", "b", ":", '"', "é"]), trees), max_size=3).map(tuple)
    ),
    max_leaves=12,
)


def write(tree: Any, escape: bool) -> str:
    """Return a tree as JSON; objects are tuples of pairs, so that keys can be repeated."""
    if isinstance(tree, tuple):
        pairs = (f"{json.dumps(key, ensure_ascii=escape)} :{write(value, escape)}" for key, value in tree)
        return "{" + ",\n".join(pairs) + "}"
    if isinstance(tree, list):
        return "[" + ", ".join(write(value, escape) for value in tree) + "]"
    return json.dumps(tree, ensure_ascii=escape)


def naive_read(text: str) -> dict[str, Any] | None:
    """Return the object, or None when a key in it is repeated; by the standard library alone."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(pairs)) != len(pairs):
            raise LookupError
        return dict(pairs)

    try:
        read: dict[str, Any] = json.loads(text, object_pairs_hook=once)
    except LookupError:
        return None
    return read


@settings(max_examples=examples(400), deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", "é"]), TREES), max_size=3).map(tuple), st.booleans())
def test_repeated_keys_are_found_at_every_depth(tree: tuple[tuple[str, Any], ...], escape: bool) -> None:
    text = write(tree, escape)
    wanted = naive_read(text)
    if wanted is None:
        with pytest.raises(SerializationException, match="same key twice"):
            read_object(text.encode())
    else:
        assert read_object(text.encode()) == wanted


@settings(max_examples=examples(300), deadline=None)
@given(st.binary(max_size=40) | st.text('{}[]":\\,a1 ', max_size=40).map(str.encode))
def test_hostile_bodies_raise_nothing_but_serialization_errors(body: bytes) -> None:
    try:
        read = read_object(body)
    except SerializationException:
        return
    assert read == json.loads(body)


@settings(max_examples=examples(200), deadline=None)
@given(st.text('[{"\\:a', max_size=30), st.integers(0, 60))
def test_nothing_deeper_than_the_limit_is_ever_built(opening: str, depth: int) -> None:
    """What the standard library reads and finds too deep is refused for that reason."""
    text = json.dumps({opening: opening})[:-1] + ',"deep":' + ("[" * depth + "]" * depth or "1") + "}"
    if depth + 1 > MAX_DEPTH:
        with pytest.raises(SerializationException, match="nested deeper"):
            read_object(text.encode())
    else:
        assert read_object(text.encode()) == json.loads(text)


def test_an_answer_goes_out_with_its_request_id() -> None:
    response = PROTOCOL.respond(GET, {"ARN": "a", "SecretString": "s\x00é", "VersionId": None}, "id-1")
    assert response.status == 200
    assert dict(response.headers) == {
        "content-type": "application/x-amz-json-1.1",
        "x-amzn-RequestId": "id-1",
    }
    assert json.loads(response.body) == {"ARN": "a", "SecretString": "s\x00é"}


@pytest.mark.parametrize(
    ("error", "status", "spelt"),
    [
        (ResourceNotFoundException("gone"), 400, "Message"),
        (InternalServiceError(), 500, "Message"),
        (AccessDeniedException("no"), 400, "Message"),
        (SerializationException("bad"), 400, "Message"),
        (ValidationException("bad"), 400, "message"),
        (RequestEntityTooLargeException(), 413, "message"),
    ],
)
def test_a_fault_carries_code_status_and_message_as_the_model_or_aws_spells_it(
    error: ApiError, status: int, spelt: str
) -> None:
    response = PROTOCOL.fault(error, "id-2")
    assert response.status == status
    assert dict(response.headers) == {
        "content-type": "application/x-amz-json-1.1",
        "x-amzn-RequestId": "id-2",
        "x-amzn-ErrorType": error.code,
    }
    assert json.loads(response.body) == {"__type": error.code, spelt: error.message}


@pytest.mark.parametrize(
    ("service", "error", "spelt"),
    [
        ("kms", ApiError("x"), "message"),
        ("kms", NotFoundException("no key"), "message"),
        ("kms", AccessDeniedException("no"), "Message"),
        ("logs", ResourceNotFoundException("no group"), "message"),
        ("logs", AccessDeniedException("no"), "Message"),
    ],
)
def test_other_services_spell_it_as_their_models_do(service: str, error: ApiError, spelt: str) -> None:
    body = json.loads(JsonProtocol(Contract.load(service)).fault(error, "id").body)
    assert {name for name in body if name.lower() == "message"} == {spelt}


@given(
    st.text(st.characters(), max_size=20)
    | st.sampled_from(["\x00\x1b[2J\r\n", "\x7f\x80\x9b\u2028", "\ud800"])
)
def test_a_fault_is_printable_ascii_whatever_its_message_quotes(message: str) -> None:
    body = PROTOCOL.fault(ValidationException(message), "id").body
    assert re.fullmatch(rb"[\x20-\x7e]+", body)
    assert json.loads(body)["message"] == message


def test_deep_nesting_does_not_touch_the_recursion_limit() -> None:
    limit = sys.getrecursionlimit()
    with pytest.raises(SerializationException):
        read_object(b'{"a":' * (limit * 2))


@pytest.mark.parametrize("value", ["1", '""', "{}", "[]", '{"a":1}'])
def test_a_body_of_more_values_than_one_can_have_is_refused_and_text_that_looks_like_them_is_not(
    value: str,
) -> None:
    many = ",".join([value] * 25_000)
    with pytest.raises(SerializationException, match="more than 20000 values"):
        read_object(f'{{"x":[{many}]}}'.encode())
    text = json.dumps({"x": many})
    assert read_object(text.encode()) == {"x": many}
    assert read_object(f'{{"x":[{",".join([value] * 6_000)}]}}'.encode())
