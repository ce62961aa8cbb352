"""The event of Invoke: handed on as it was sent, and what it costs to look it over."""

from __future__ import annotations

import time

import pytest

from turnlock.errors import InvalidRequestContentException, RequestTooLargeException
from turnlock.functions.api.invoking import checked_event
from turnlock.functions.runtime.runtime_api import MAX_PAYLOAD_BYTES

MOST_SECONDS = 0.05
"""CPU time that one request may take without letting other threads run (docs/decisions/0030)."""


def filled(one: bytes) -> bytes:
    """Return a list of these, as large as an event may be."""
    count = MAX_PAYLOAD_BYTES // (len(one) + 1) - 2
    return b"[" + b",".join([one] * count) + b"]"


@pytest.mark.parametrize("one", [b"[]", b'{"a":1}', b"1", b'"\\u00e9\\n"', "ä".encode() * 9])
def test_the_largest_event_is_looked_over_in_50_ms(one: bytes) -> None:
    """`json.loads` took 936 ms for lists in a list, during which nothing else ran."""
    body = filled(b'"' + one + b'"' if one[0] > 127 else one)
    costs = []
    for _ in range(5):
        began = time.thread_time()
        assert checked_event(body) is body
        costs.append(time.thread_time() - began)
    assert min(costs) <= MOST_SECONDS, costs


@pytest.mark.parametrize("body", [b"{}", b' {"a": 1.0, "a": 2}', b"null", b'"x"', b"1e999"])
def test_an_event_is_handed_on_as_it_was_sent(body: bytes) -> None:
    assert checked_event(body) == body


def test_no_event_is_an_empty_object() -> None:
    assert checked_event(b"") == b"{}"


@pytest.mark.parametrize(
    "body", [b"{", b"{}}", b"NaN", b'"\xff"', b'"\n"', b"[1,]", b"01", b"[" * 100_000 + b"]" * 100_000]
)
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequestContentException):
        checked_event(body)


def test_one_byte_too_many_is_refused() -> None:
    with pytest.raises(RequestTooLargeException):
        checked_event(b'"' + b"x" * (MAX_PAYLOAD_BYTES - 1) + b'"')
