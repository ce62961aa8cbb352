"""Requests and responses as values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlock.errors import (
    ApiError,
    IncompleteSignatureException,
    SerializationException,
    UnknownOperationException,
)
from turnlock.wire import HttpRequest, HttpResponse


def request(*headers: tuple[str, str]) -> HttpRequest:
    return HttpRequest(method="POST", path="/", headers=headers, body=b"s3cr3t")


def test_a_header_is_found_by_its_lower_case_name_and_absent_ones_are_none() -> None:
    sent = request(("host", "a"), ("content-type", "b"))
    assert sent.header("content-type") == "b"
    assert sent.header("date") is None


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("authorization", IncompleteSignatureException),
        ("content-length", SerializationException),
        ("content-type", SerializationException),
        ("date", IncompleteSignatureException),
        ("host", IncompleteSignatureException),
        ("transfer-encoding", SerializationException),
        ("x-amz-content-sha256", IncompleteSignatureException),
        ("x-amz-date", IncompleteSignatureException),
        ("x-amz-security-token", IncompleteSignatureException),
        ("x-amz-target", UnknownOperationException),
    ],
)
def test_a_header_that_must_be_single_is_refused_when_repeated(name: str, error: type[ApiError]) -> None:
    sent = request((name, "same"), ("other", "x"), (name, "same"))
    with pytest.raises(error, match=f"'{name}'"):
        sent.header(name)
    with pytest.raises(error):
        sent.header("other")


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c"]), st.text("xyz", max_size=3)), max_size=8))
def test_other_repeated_headers_are_joined_by_commas_in_order(headers: list[tuple[str, str]]) -> None:
    sent = request(*headers)
    for name in "abc":
        values = [value for other, value in headers if other == name]
        assert sent.header(name) == (",".join(values) if values else None)


def test_neither_bodies_nor_headers_are_shown_in_a_repr() -> None:
    assert "s3cr3t" not in repr(request(("authorization", "s3cr3t")))
    assert "s3cr3t" not in repr(HttpResponse(status=200, body=b"s3cr3t"))
