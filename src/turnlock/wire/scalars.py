"""The scalar types of AWS's models: from a document to Python and back, and into a trail record.

A *document* is what a protocol's parser makes: text, numbers, booleans. Where a protocol reads bytes or moments itself,
bytes and aware datetimes are taken as they are.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from types import MappingProxyType
from typing import Any

from botocore.model import Shape

from turnlock.errors import AnswerMismatch, SerializationException

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_KINDS = (
    (bool, "BOOLEAN_VALUE"),
    (str, "STRING_VALUE"),
    (int | float, "NUMBER_VALUE"),
    (list, "START_OF_LIST"),
    (dict, "START_OF_OBJECT"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """One scalar type."""

    decode: Callable[[Any, str], Any]
    """Document value and its place → Python value; raises SerializationException."""
    encode: Callable[[Any, str], Any]
    """Python value and its place → JSON value; raises AnswerMismatch."""
    record: Callable[[Any], Any] = lambda value: value
    """Python value → what a trail record shows of it."""


def wrong_type(value: object, wanted: str, place: str) -> SerializationException:
    """Return the error for a `value` at `place` that is not a `wanted`; the value itself is not told."""
    kind = next((name for python, name in _KINDS if isinstance(value, python)), "NULL_VALUE")
    where = f" at '{place}'" if place else ""
    return SerializationException(f"{kind} can not be converted to a {wanted}{where}")


def mismatch(wanted: str, place: str) -> AnswerMismatch:
    """Return the error for an answer's value at `place` that is not a `wanted`; the value itself is not told."""
    return AnswerMismatch(f"The answer's value at '{place}' is not a {wanted}.")


def _decode_string(value: object, place: str) -> str:
    if type(value) is not str:
        raise wrong_type(value, "String", place)
    return value


def _encode_string(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise mismatch("str", place)
    return value


def _decode_boolean(value: object, place: str) -> bool:
    if value is not True and value is not False:
        raise wrong_type(value, "Boolean", place)
    return value


def _encode_boolean(value: object, place: str) -> bool:
    if value is not True and value is not False:
        raise mismatch("bool", place)
    return value


def _integer(bits: int, wanted: str) -> Scalar:
    limit = 1 << (bits - 1)

    def decode(value: object, place: str) -> int:
        whole = int(value) if isinstance(value, float) and value.is_integer() else value
        if type(whole) is not int or not -limit <= whole < limit:
            raise wrong_type(value, wanted, place)
        return whole

    def encode(value: object, place: str) -> int:
        if type(value) is not int or not -limit <= value < limit:
            raise mismatch("int of that size", place)
        return value

    return Scalar(decode=decode, encode=encode)


def _decode_float(value: object, place: str) -> float:
    if type(value) is float:
        return value
    # An integer beyond 2**1023 has no float.
    if type(value) is not int or value.bit_length() > 1023:
        raise wrong_type(value, "Double", place)
    return float(value)


def _encode_float(value: object, place: str) -> float:
    if type(value) is not float and type(value) is not int:
        raise mismatch("float", place)
    return value


def _decode_blob(value: object, place: str) -> bytes:
    if type(value) is bytes:
        return value
    try:
        return _decode_base64(_decode_string(value, place))
    except ValueError:
        raise SerializationException(f"The value at '{place}' is not Base64") from None


_PIECE = 1024 * 1024
"""Characters that are decoded at once; a multiple of four."""


def _decode_base64(text: str) -> bytes:
    """Decode canonical Base64, piece by piece so that other threads get their turns. ValueError for anything else.

    What b64decode forgives (stray bits in the last character) does not survive the way back.
    """
    pieces = []
    for at in range(0, len(text), _PIECE):
        piece = text[at : at + _PIECE]
        content = base64.b64decode(piece, validate=True)
        is_last = at + _PIECE >= len(text)
        if base64.b64encode(content).decode() != piece or not (is_last or len(content) * 4 == len(piece) * 3):
            raise ValueError("not canonical")
        pieces.append(content)
    return b"".join(pieces)


def _encode_blob(value: object, place: str) -> str:
    if not isinstance(value, bytes):
        raise mismatch("bytes", place)
    return base64.b64encode(value).decode()


def _from_epoch(value: object) -> datetime:
    if type(value) is not int and type(value) is not float:
        raise TypeError
    return _EPOCH + timedelta(seconds=value)


def read_iso8601(value: object) -> datetime:
    """Return the moment that a text in ISO 8601 tells, in UTC, which it means when it names no zone.

    Raises ValueError or OverflowError for other texts, SerializationException for what is no text.
    """
    moment = datetime.fromisoformat(_decode_string(value, ""))
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _from_rfc822(value: object) -> datetime:
    moment = parsedate_to_datetime(_decode_string(value, ""))
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def to_epoch(moment: datetime) -> float:
    """Return `moment` in seconds since 1970, rounded to milliseconds."""
    return round(moment.timestamp(), 3)


def to_iso8601(moment: datetime) -> str:
    """Return `moment` in UTC as `2018-05-03T17:51:02.123Z`, a whole second as `2018-05-03T17:51:02Z`."""
    precision = "milliseconds" if moment.microsecond else "seconds"
    return moment.astimezone(UTC).isoformat(timespec=precision).replace("+00:00", "Z")


def to_rfc822(moment: datetime) -> str:
    """Return `moment` as `Thu, 03 May 2018 17:51:02 GMT`."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)


def to_record(moment: datetime) -> str:
    """Return `moment` in UTC as CloudTrail's responseElements show it: `May 3, 2018 5:51:02 PM`.

    Source: docs/aws-behaviour.md#records-of-api-calls.
    """
    at = moment.astimezone(UTC)
    half = "AM" if at.hour < 12 else "PM"
    return f"{_MONTHS[at.month - 1]} {at.day}, {at.year} {at.hour % 12 or 12}:{at.minute:02}:{at.second:02} {half}"


def _timestamp(read: Callable[[object], datetime], write: Callable[[datetime], Any]) -> Scalar:
    def decode(value: object, place: str) -> datetime:
        if isinstance(value, datetime) and value.tzinfo is not None:
            return value.astimezone(UTC)
        try:
            return read(value)
        except (TypeError, ValueError, OverflowError, SerializationException):
            raise wrong_type(value, "Timestamp", place) from None

    def encode(value: object, place: str) -> object:
        if not isinstance(value, datetime) or value.tzinfo is None:
            raise mismatch("datetime with a time zone", place)
        return write(value)

    return Scalar(decode=decode, encode=encode, record=to_record)


STRING = Scalar(decode=_decode_string, encode=_encode_string)
_FLOAT = Scalar(decode=_decode_float, encode=_encode_float)
_SCALARS: Mapping[str, Scalar] = MappingProxyType(
    {
        "blob": Scalar(decode=_decode_blob, encode=_encode_blob),
        "boolean": Scalar(decode=_decode_boolean, encode=_encode_boolean),
        "character": STRING,
        "double": _FLOAT,
        "float": _FLOAT,
        "integer": _integer(32, "Integer"),
        "long": _integer(64, "Long"),
        "string": STRING,
    }
)
_TIMESTAMPS: Mapping[str, Scalar] = MappingProxyType(
    {
        "iso8601": _timestamp(read_iso8601, to_iso8601),
        "rfc822": _timestamp(_from_rfc822, to_rfc822),
        "unixTimestamp": _timestamp(_from_epoch, to_epoch),
    }
)


def scalar_of(shape: Shape) -> Scalar:
    """Return the scalar type of `shape`; a timestamp without a format of its own is written in epoch seconds, as JSON does."""
    if shape.type_name == "timestamp":
        return _TIMESTAMPS[shape.serialization.get("timestampFormat", "unixTimestamp")]
    return _SCALARS[shape.type_name]
