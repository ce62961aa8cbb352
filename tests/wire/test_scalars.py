"""Scalars: strict on the way in, exact on the way out."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from botocore.model import Shape
from hypothesis import given
from hypothesis import strategies as st

from turnlock.errors import AnswerMismatch, SerializationException
from turnlock.wire.scalars import scalar_of, to_record


def decode(type_name: str, value: object, **traits: str) -> object:
    return scalar_of(Shape("X", {"type": type_name, **traits})).decode(value, "place")


def encode(type_name: str, value: object, **traits: str) -> object:
    return scalar_of(Shape("X", {"type": type_name, **traits})).encode(value, "place")


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("string", 1),
        ("string", True),
        ("string", ["a"]),
        ("boolean", 1),
        ("boolean", "true"),
        ("integer", True),
        ("integer", 1.5),
        ("integer", "1"),
        ("integer", 1 << 31),
        ("integer", float("inf")),
        ("long", 1 << 63),
        ("long", -(1 << 63) - 1),
        ("long", 1e300),
        ("double", "1"),
        ("double", True),
        ("double", 10**400),
        ("blob", 1),
        ("blob", "a"),
        ("blob", "YQ"),
        ("blob", "YR=="),
        ("blob", "YQ==\n"),
        ("blob", "Y Q=="),
        ("blob", "YQ==YQ=="),
        ("blob", "é==="),
        ("timestamp", "2020-01-01T00:00:00Z"),
        ("timestamp", True),
        ("timestamp", 1e300),
        ("timestamp", float("nan")),
        ("timestamp", datetime(2020, 1, 1)),  # noqa: DTZ001 - a naive one is what is refused
    ],
)
def test_a_value_of_the_wrong_type_is_refused(type_name: str, value: object) -> None:
    with pytest.raises(SerializationException, match="'place'"):
        decode(type_name, value)


@pytest.mark.parametrize("type_name", ["boolean", "integer", "long", "double", "blob", "timestamp"])
def test_a_refused_value_is_not_told(type_name: str) -> None:
    with pytest.raises(SerializationException) as refused:
        decode(type_name, "hush!")
    assert "hush" not in refused.value.message
    with pytest.raises(AnswerMismatch) as unfit:
        encode(type_name, "hush!")
    assert "hush" not in unfit.value.message


@pytest.mark.parametrize(
    ("type_name", "value"),
    [
        ("string", b"a"),
        ("boolean", 1),
        ("integer", True),
        ("integer", 1 << 31),
        ("double", "1"),
        ("blob", "YQ=="),
        ("timestamp", 5),
        ("timestamp", datetime(2020, 1, 1)),  # noqa: DTZ001 - a naive one is what is refused
    ],
)
def test_an_answer_of_the_wrong_type_is_a_mismatch(type_name: str, value: object) -> None:
    with pytest.raises(AnswerMismatch, match="'place'"):
        encode(type_name, value)


@given(st.integers(-(1 << 31), (1 << 31) - 1))
def test_whole_numbers_are_integers_however_they_are_written(number: int) -> None:
    for value in (decode("integer", number), decode("long", float(number)), encode("integer", number)):
        assert value == number
        assert type(value) is int


@given(st.integers(-(1 << 52), 1 << 52) | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_are_floats_where_the_model_says_so(number: float) -> None:
    decoded = decode("double", number)
    assert type(decoded) is float
    assert decoded == number
    assert encode("double", number) == number


@given(st.binary(max_size=80))
def test_blobs_are_base64(content: bytes) -> None:
    text = base64.b64encode(content).decode()
    assert decode("blob", text) == decode("blob", content) == content
    assert encode("blob", content) == text


MOMENTS = st.datetimes(
    datetime(1970, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds
    datetime(2200, 1, 1),  # noqa: DTZ001 - hypothesis wants naive bounds
    timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))]),
)


@given(MOMENTS)
def test_moments_survive_the_way_there_and_back_to_the_precision_of_their_format(moment: datetime) -> None:
    for format_name, precision in (("unixTimestamp", 1), ("iso8601", 1), ("rfc822", 1000)):
        wire = encode("timestamp", moment, timestampFormat=format_name)
        back = decode("timestamp", wire, timestampFormat=format_name)
        assert isinstance(back, datetime)
        assert back.tzinfo is UTC
        assert abs(back - moment) < timedelta(milliseconds=precision)


def test_a_moment_is_epoch_seconds_with_milliseconds() -> None:
    moment = datetime(2018, 5, 3, 17, 51, 2, 123456, tzinfo=UTC)
    assert encode("timestamp", moment) == 1525369862.123
    assert encode("timestamp", moment, timestampFormat="iso8601") == "2018-05-03T17:51:02.123Z"
    assert encode("timestamp", moment, timestampFormat="rfc822") == "Thu, 03 May 2018 17:51:02 GMT"


@pytest.mark.parametrize("format_name", ["iso8601", "rfc822"])
def test_text_that_is_no_moment_is_refused(format_name: str) -> None:
    for value in ("", "yesterday", 5, "2020-99-99"):
        with pytest.raises(SerializationException):
            decode("timestamp", value, timestampFormat=format_name)


def test_the_trail_shows_moments_as_cloudtrail_does() -> None:
    assert to_record(datetime(2018, 5, 3, 17, 51, 2, tzinfo=UTC)) == "May 3, 2018 5:51:02 PM"
    assert to_record(datetime(2026, 12, 31, 0, 5, 0, tzinfo=UTC)) == "Dec 31, 2026 12:05:00 AM"
    assert to_record(datetime(2026, 1, 1, 12, 0, 9, tzinfo=UTC)) == "Jan 1, 2026 12:00:09 PM"


@given(MOMENTS)
def test_what_the_trail_shows_of_a_moment_can_be_read_back(moment: datetime) -> None:
    read = datetime.strptime(to_record(moment), "%b %d, %Y %I:%M:%S %p").replace(tzinfo=UTC)
    assert read == moment.replace(microsecond=0)
