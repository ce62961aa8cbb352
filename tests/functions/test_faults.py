from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlock.functions import FaultKind
from turnlock.functions.runtime.faults import exited, read_answer, read_failure, timed_out

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(values)
def test_any_json_value_is_an_answer(value: object) -> None:
    assert read_answer(json.dumps(value).encode()) == value


@pytest.mark.parametrize("body", [b"", b"{", b"NaN", b"[Infinity]", b"\xff", b"[" * 200_000, b"{} {}"])
def test_what_is_not_strict_json_has_no_value(body: bytes) -> None:
    assert read_answer(body) is None


@pytest.mark.parametrize("many", [b"[" + b"[]," * 2_000_000 + b"[]]", b"[" + b"0," * 3_000_000 + b"0]"])
def test_an_answer_of_more_values_than_a_rotation_ever_has_is_not_read(many: bytes) -> None:
    """The parser holds Python's lock for as long as it reads: the server stood still for seconds."""
    assert read_answer(many) is None
    assert read_failure(b'{"errorType": "E", "x": ' + many + b"}", "Header").error_type == "Header"


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        (None, "Runtime exited without providing a reason"),
        (0, "Runtime exited without providing a reason"),
        (3, "Runtime exited with error: exit status 3"),
        (-9, "Runtime exited with error: signal: SIGKILL"),
        (-63, "Runtime exited with error: signal: 63"),
    ],
)
def test_an_exit_is_told_by_its_status(status: int | None, sentence: str) -> None:
    assert exited(FaultKind.EXITED, status).message == sentence


def test_a_timeout_is_told_with_its_limit() -> None:
    assert timed_out(3).message == "Task timed out after 3.00 seconds"


@pytest.mark.parametrize(
    ("body", "header", "expected"),
    [
        (b'{"errorType": "KeyError", "errorMessage": "x"}', "Other", ("KeyError", "x")),
        (b'{"errorType": 5, "errorMessage": []}', "Other", ("Other", "")),
        (b"[1]", "", ("Unhandled", "")),
        (b"\xff", "", ("Unhandled", "")),
        (b"[" * 200_000, "Deep", ("Deep", "")),
    ],
)
def test_an_error_report_of_any_shape_is_read(body: bytes, header: str, expected: tuple[str, str]) -> None:
    failure = read_failure(body, header)
    assert (failure.error_type, failure.message) == expected
    assert repr(failure) == "Failure()"
