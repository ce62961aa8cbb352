"""SigV4: what botocore signs verifies, what was altered does not, and hostile input only ever raises ApiErrors."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.sampling import examples
from turnlock.errors import (
    ApiError,
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
)
from turnlock.wire import read_claim

if TYPE_CHECKING:
    from tests.wire.conftest import Signer

RAW = "".join(chr(code) for code in range(33, 127) if chr(code) not in "#?\\")
SEGMENTS = st.sampled_from(
    ["a", "b c", "..", ".", "", "~x", "é", "%", "%2F", "a+b", "arn:aws:x", "a;b=c", "$LATEST"]
)
PATHS = st.builds(
    lambda parts, kept: "/" + "/".join(quote(part, safe=kept) for part in parts),
    st.lists(SEGMENTS, max_size=6),
    st.sampled_from(["~", "~:", "~:@!$&'()*+,;="]),
)
"""Paths as clients make them: each segment encoded, one or the other sign left as it is."""
QUERIES = st.one_of(
    st.just(""),
    st.lists(st.tuples(st.text(max_size=6), st.text(max_size=6)), max_size=4).map(
        lambda pairs: urlencode(pairs, quote_via=quote, safe="-_.~", errors="replace")
    ),
    st.text(RAW, max_size=20).filter(lambda text: "x-amz" not in text.lower()),
)
HEADER_VALUES = st.text(
    st.sampled_from([" ", "\t", "a", "B", ",", ";", "é", "à", "…", '"', "%"]), min_size=1, max_size=12
)
BODIES = st.one_of(st.binary(max_size=64), st.text(max_size=20).map(str.encode))


@settings(max_examples=examples(150), deadline=None)
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE"]),
    target=st.builds(lambda path, query: f"{path}?{query}" if query else path, PATHS, QUERIES),
    extra=st.dictionaries(
        st.sampled_from(["x-amz-meta", "x-custom", "accept", "amz-sdk-request"]), HEADER_VALUES
    ),
    body=BODIES,
    token=st.none() | st.text("abc/+=", min_size=1, max_size=40),
)
def test_whatever_botocore_signs_verifies_and_not_under_another_secret(
    signer: Signer, *, method: str, target: str, extra: dict[str, str], body: bytes, token: str | None
) -> None:
    request = signer.sign(method, target, extra, body, token)
    assert signer.check(request).session_token == token
    with pytest.raises(InvalidSignatureException):
        signer.check(request, secret=signer.secret + "x")


@settings(max_examples=examples(40), deadline=None)
@given(expires=st.integers(1, 900), token=st.none() | st.text("abc/+=", min_size=1, max_size=40))
def test_whatever_botocore_presigns_verifies_where_it_is_allowed(
    signer: Signer, expires: int, token: str | None
) -> None:
    request = signer.presign(expires, token, {"x-k8s-aws-id": "cluster"})
    claim = signer.check(request)
    assert claim.presigned
    assert claim.session_token == token
    assert claim.expires == timedelta(seconds=expires)
    with pytest.raises(IncompleteSignatureException):
        read_claim(request)


def flips(text: str) -> list[str]:
    """Return `text` with each bit of each character flipped, one at a time."""
    return [
        text[:at] + chr(ord(text[at]) ^ 1 << bit) + text[at + 1 :]
        for at in range(len(text))
        for bit in range(7)
    ]


@pytest.mark.parametrize("part", ["method", "path", "query", "body"])
def test_every_flipped_bit_of_the_request_breaks_the_signature(signer: Signer, part: str) -> None:
    request = signer.sign("POST", "/functions/name%20x?b=2&a=%7E1&c", body=b'{"SecretId":"x"}')
    at = signer.check(request).timestamp
    altered = {
        "method": [replace(request, method=text) for text in flips(request.method)],
        "path": [replace(request, path=text) for text in flips(request.path)],
        "query": [replace(request, query=text) for text in flips(request.query)],
        "body": [replace(request, body=text.encode()) for text in flips(request.body.decode())],
    }
    for other in altered[part]:
        signer.refuses(other, at)


@pytest.mark.parametrize("name", ["content-type", "host", "x-amz-security-token", "x-amz-target"])
def test_every_flipped_bit_of_a_signed_header_breaks_the_signature(signer: Signer, name: str) -> None:
    request = signer.sign(token="token")
    at = signer.check(request).timestamp
    for text in flips(request.header(name) or ""):
        signer.refuses(signer.with_header(request, name, text), at)


def test_every_flipped_bit_of_the_date_is_refused(signer: Signer) -> None:
    request = signer.sign()
    at = signer.check(request).timestamp
    for text in flips(request.header("x-amz-date") or ""):
        signer.refuses(
            signer.with_header(request, "x-amz-date", text),
            at,
            InvalidSignatureException,
            IncompleteSignatureException,
        )


def test_every_flipped_bit_of_the_authorization_header_after_the_key_id_is_refused(signer: Signer) -> None:
    request = signer.sign()
    at = signer.check(request).timestamp
    opening, sign_, rest = (request.header("authorization") or "").partition("AKIDEXAMPLE/")
    for text in flips(rest):
        altered = signer.with_header(request, "authorization", opening + sign_ + text)
        signer.refuses(altered, at, InvalidSignatureException, IncompleteSignatureException)
    for text in flips(opening):
        signer.refuses(
            signer.with_header(request, "authorization", text + sign_ + rest),
            at,
            IncompleteSignatureException,
        )


def test_every_flipped_bit_of_a_presigned_query_is_refused(signer: Signer) -> None:
    request = signer.presign(60, "token")
    at = signer.check(request).timestamp
    key_id = request.query.index("AKIDEXAMPLE")
    for place, text in enumerate(flips(request.query)):
        if not key_id <= place // 7 < key_id + len("AKIDEXAMPLE"):
            signer.refuses(
                replace(request, query=text),
                at,
                InvalidSignatureException,
                IncompleteSignatureException,
                MissingAuthenticationTokenException,
            )


@settings(max_examples=examples(300), deadline=None)
@given(
    st.text(max_size=80)
    | st.text("Credential=SignedHeaders,;/ aws4_request0123456789", max_size=200).map(
        "AWS4-HMAC-SHA256 {}".format
    )
)
def test_hostile_authorization_headers_raise_nothing_but_api_errors(signer: Signer, text: str) -> None:
    with pytest.raises(ApiError):
        signer.check(signer.with_header(signer.sign(), "authorization", text))


@settings(max_examples=examples(200), deadline=None)
@given(
    st.sampled_from(["x-amz-date", "host", "x-amz-content-sha256", "x-amz-target", "date"]),
    st.text(max_size=20),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_hostile_headers_paths_and_queries_raise_nothing_but_api_errors(
    signer: Signer, name: str, value: str, path: str, query: str
) -> None:
    hostile = replace(signer.with_header(signer.sign(), name, value), path=path, query=query)
    with suppress(ApiError):
        signer.check(signer.with_header(hostile, "x-extra", value))


@settings(max_examples=examples(100), deadline=None)
@given(st.text(max_size=40), st.sampled_from(["Algorithm", "Credential", "Date", "Expires", "SignedHeaders"]))
def test_hostile_presigned_parameters_raise_nothing_but_api_errors(
    signer: Signer, value: str, name: str
) -> None:
    request = signer.presign()
    pairs = dict(parse_qsl(request.query))
    pairs[f"X-Amz-{name}"] += value + "x"
    with pytest.raises(ApiError):
        signer.check(replace(request, query=urlencode(pairs, quote_via=quote, errors="replace")))


def test_very_long_headers_are_refused_in_linear_time(signer: Signer) -> None:
    started = datetime.now(UTC)
    for text in (
        "," * 100_000,
        "Credential=" + "/" * 100_000,
        "SignedHeaders=" + "a;" * 50_000,
        " " * 100_000,
    ):
        with pytest.raises(ApiError):
            signer.check(signer.with_header(signer.sign(), "authorization", f"AWS4-HMAC-SHA256 {text}"))
    assert datetime.now(UTC) - started < timedelta(seconds=2)
