"""The framing of sealed blobs, without any encryption."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turnlock.errors import SealBroken
from turnlock.root_keys.envelope import Envelope, RootSealed

key_arns = st.text(st.characters(codec="ascii"), min_size=1, max_size=255)
envelopes = st.builds(
    Envelope,
    key_arn=key_arns,
    material_id=st.integers(0, 2**32 - 1),
    wrapped_key=st.binary(min_size=60, max_size=60),
    body=st.binary(min_size=28, max_size=200),
)


def naive_pack(envelope: Envelope) -> bytes:
    key_arn = envelope.key_arn.encode()
    numbers = struct.pack(f">5sB{len(key_arn)}sI", b"TLKE\x01", len(key_arn), key_arn, envelope.material_id)
    return numbers + envelope.wrapped_key + envelope.body


def naive_parse(blob: bytes) -> Envelope | None:
    """Read the format with struct; None for what is no envelope."""
    try:
        marker, length = struct.unpack_from(">5sB", blob)
        key_arn, material_id, wrapped = struct.unpack_from(f">{length}sI60s", blob, 6)
        body = blob[6 + length + 64 :]
        if marker != b"TLKE\x01" or length == 0 or len(body) < 28:
            return None
        return Envelope(
            key_arn=key_arn.decode("ascii"), material_id=material_id, wrapped_key=wrapped, body=body
        )
    except (struct.error, UnicodeDecodeError):
        return None


@given(envelopes)
def test_an_envelope_is_packed_as_its_format_says_and_read_back(envelope: Envelope) -> None:
    blob = envelope.pack()
    assert blob == naive_pack(envelope)
    assert Envelope.parse(blob) == envelope
    assert blob == envelope.header + envelope.body


@given(st.binary(max_size=300) | st.binary(max_size=300).map(lambda rest: b"TLKE\x01" + rest))
def test_hostile_bytes_are_read_as_a_naive_parser_reads_them_or_refused(blob: bytes) -> None:
    expected = naive_parse(blob)
    if expected is None:
        with pytest.raises(SealBroken):
            Envelope.parse(blob)
    else:
        assert Envelope.parse(blob) == expected


@given(envelopes, st.integers(0, 4), st.integers(1, 255))
def test_another_marker_or_version_is_refused(envelope: Envelope, position: int, flip: int) -> None:
    blob = bytearray(envelope.pack())
    blob[position] ^= flip
    with pytest.raises(SealBroken):
        Envelope.parse(bytes(blob))


def test_an_envelope_cut_short_before_the_end_of_its_shortest_body_is_refused() -> None:
    blob = Envelope(key_arn="k", material_id=1, wrapped_key=bytes(60), body=bytes(28)).pack()
    for length in range(len(blob)):
        with pytest.raises(SealBroken):
            Envelope.parse(blob[:length])


@pytest.mark.parametrize(
    "parts",
    [
        {"key_arn": ""},
        {"key_arn": "x" * 256},
        {"key_arn": "ключ"},
        {"material_id": -1},
        {"material_id": 2**32},
        {"wrapped_key": bytes(59)},
        {"wrapped_key": bytes(61)},
        {"body": bytes(27)},
    ],
)
def test_what_does_not_fit_the_format_is_not_packed(parts: dict[str, object]) -> None:
    fitting: dict[str, object] = {
        "key_arn": "k",
        "material_id": 1,
        "wrapped_key": bytes(60),
        "body": bytes(28),
    }
    with pytest.raises(ValueError, match="format"):
        Envelope(**{**fitting, **parts}).pack()  # type: ignore[arg-type]


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=28, max_size=100))
def test_a_root_sealed_key_is_packed_and_read_back(root_key_id: bytes, body: bytes) -> None:
    sealed = RootSealed(root_key_id=root_key_id, body=body)
    assert sealed.pack() == b"TLKR\x01" + root_key_id + body
    assert RootSealed.parse(sealed.pack()) == sealed


@given(st.binary(max_size=60) | st.binary(max_size=40).map(lambda rest: b"TLKR\x01" + rest))
def test_hostile_root_sealed_bytes_are_refused_unless_they_are_long_enough(blob: bytes) -> None:
    if blob.startswith(b"TLKR\x01") and len(blob) >= 5 + 8 + 28:
        assert RootSealed.parse(blob).pack() == blob
    else:
        with pytest.raises(SealBroken):
            RootSealed.parse(blob)


def test_one_format_is_never_read_as_the_other() -> None:
    envelope = Envelope(key_arn="k", material_id=1, wrapped_key=bytes(60), body=bytes(28)).pack()
    root_sealed = RootSealed(root_key_id=bytes(8), body=bytes(100)).pack()
    with pytest.raises(SealBroken):
        RootSealed.parse(envelope)
    with pytest.raises(SealBroken):
        Envelope.parse(root_sealed)


def test_no_repr_shows_sealed_bytes() -> None:
    assert "AAAA" not in repr(Envelope(key_arn="k", material_id=1, wrapped_key=b"A" * 60, body=b"A" * 28))
    assert "AAAA" not in repr(RootSealed(root_key_id=bytes(8), body=b"A" * 28))


@pytest.mark.parametrize("parts", [{"root_key_id": bytes(7)}, {"body": bytes(27)}])
def test_a_root_sealed_key_that_does_not_fit_is_not_packed(parts: dict[str, bytes]) -> None:
    with pytest.raises(ValueError, match="format"):
        RootSealed(**{"root_key_id": bytes(8), "body": bytes(28), **parts}).pack()
