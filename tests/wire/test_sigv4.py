"""SigV4: each proof obligation, met and not met."""

from __future__ import annotations

import hashlib
from datetime import UTC, timedelta
from itertools import permutations
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from msgspec.structs import replace

from turnlock.errors import (
    ApiError,
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
)
from turnlock.wire import HttpRequest, read_claim, signing_key

if TYPE_CHECKING:
    from tests.wire.conftest import Signer


def test_a_claim_tells_who_signed_what_and_when(signer: Signer) -> None:
    claim = signer.check(signer.sign(token="session-token"))
    assert claim.access_key_id == "AKIDEXAMPLE"
    assert (claim.region, claim.service) == ("eu-central-1", "secretsmanager")
    assert claim.signed_headers == (
        "content-type",
        "host",
        "x-amz-date",
        "x-amz-security-token",
        "x-amz-target",
    )
    assert claim.session_token == "session-token"
    assert claim.date == claim.stamp[:8] == f"{claim.timestamp:%Y%m%d}"
    assert claim.timestamp.tzinfo is UTC
    assert len(claim.signature) == 32
    assert not claim.presigned


def test_a_claim_shows_neither_token_nor_signature(signer: Signer) -> None:
    claim = signer.check(signer.sign(token="session-token"))
    assert "session-token" not in repr(claim)
    assert "signature=" not in repr(claim)


def test_another_valid_signature_is_invalid_and_a_malformed_one_incomplete(signer: Signer) -> None:
    request = signer.sign()
    opening, _, signature = (request.header("authorization") or "").partition("Signature=")
    for other, error in (
        (signature[:-1] + ("0" if signature[-1] != "0" else "1"), InvalidSignatureException),
        (signature.upper(), IncompleteSignatureException),
        (signature[:-1], IncompleteSignatureException),
        (signature + "0", IncompleteSignatureException),
        ("g" * 64, IncompleteSignatureException),
        ("٣" * 64, IncompleteSignatureException),
    ):
        with pytest.raises(error):
            signer.check(signer.with_header(request, "authorization", f"{opening}Signature={other}"))


def test_a_request_without_a_signature_is_missing_its_token(signer: Signer) -> None:
    with pytest.raises(MissingAuthenticationTokenException, match="Missing Authentication Token"):
        read_claim(HttpRequest(method="POST", path="/", headers=(("host", signer.host),)))


@pytest.mark.parametrize(
    "authorization",
    [
        "",
        "Basic dXNlcjpwYXNz",
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA512 {rest}",
        "aws4-hmac-sha256 {rest}",
        "AWS4-ECDSA-P256-SHA256 {rest}",
        "AWS4-HMAC-SHA256 {rest}, Extra=1",
        "AWS4-HMAC-SHA256 {rest}, {rest}",
        "AWS4-HMAC-SHA256 {rest},",
        "AWS4-HMAC-SHA256 {credential}, {signature}",
        "AWS4-HMAC-SHA256 {credential}, {headers}",
        "AWS4-HMAC-SHA256 {headers}, {signature}",
        "AWS4-HMAC-SHA256 {credential}, {headers}, Signature=",
        "AWS4-HMAC-SHA256 {credential}/more, {headers}, {signature}",
        "AWS4-HMAC-SHA256 Credential=AKID/20260101/eu/sm/aws3_request, {headers}, {signature}",
        "AWS4-HMAC-SHA256 Credential=AKID/2026010/eu/sm/aws4_request, {headers}, {signature}",
        "AWS4-HMAC-SHA256 Credential=AK ID/20260101/eu/sm/aws4_request, {headers}, {signature}",
        "AWS4-HMAC-SHA256 Credential=/20260101/eu/sm/aws4_request, {headers}, {signature}",
        "AWS4-HMAC-SHA256 Credential=AKID/20260101//sm/aws4_request, {headers}, {signature}",
        "AWS4-HMAC-SHA256 Credential=AKID/20260101/EU/sm/aws4_request, {headers}, {signature}",
        "AWS4-HMAC-SHA256 Credential=AKID/٢٠٢٦٠١٠١/eu/sm/aws4_request, {headers}, {signature}",
    ],
)
def test_a_malformed_authorization_header_is_incomplete(signer: Signer, authorization: str) -> None:
    request = signer.sign()
    _, _, rest = (request.header("authorization") or "").partition(" ")
    credential, headers, signature = rest.split(", ")
    text = authorization.format(rest=rest, credential=credential, headers=headers, signature=signature)
    with pytest.raises(IncompleteSignatureException):
        signer.check(signer.with_header(request, "authorization", text))


def test_the_commas_of_the_authorization_header_may_lack_spaces(signer: Signer) -> None:
    request = signer.sign()
    text = (request.header("authorization") or "").replace(", ", ",")
    signer.check(signer.with_header(request, "authorization", text))


def test_the_parts_of_the_authorization_header_may_stand_in_any_order(signer: Signer) -> None:
    request = signer.sign()
    algorithm, _, rest = (request.header("authorization") or "").partition(" ")
    for parts in permutations(rest.split(", ")):
        for joint in (", ", ",", " ,  "):
            text = f"{algorithm} {joint.join(parts)}"
            assert signer.check(signer.with_header(request, "authorization", text)) == signer.check(request)


def test_host_must_be_signed(signer: Signer) -> None:
    request = signer.sign()
    text = (request.header("authorization") or "").replace("content-type;host;", "content-type;")
    with pytest.raises(InvalidSignatureException, match="Host"):
        signer.check(signer.with_header(request, "authorization", text))


def test_an_unsigned_x_amz_header_is_refused_and_an_unsigned_sdk_header_is_not(signer: Signer) -> None:
    request = signer.sign()
    signer.check(signer.with_header(request, "amz-sdk-invocation-id", "1"))
    signer.check(signer.with_header(request, "x-amzn-trace-id", "1"))
    for name in ("x-amz-security-token", "x-amz-anything"):
        with pytest.raises(InvalidSignatureException, match="not signed"):
            signer.check(signer.with_header(request, name, "1"))


@pytest.mark.parametrize(
    "names",
    [
        "host;content-type;x-amz-date;x-amz-target",
        "content-type;host;host;x-amz-date;x-amz-target",
        "Content-Type;host;x-amz-date;x-amz-target",
        "content-type;host;x-absent;x-amz-date;x-amz-target",
        ";content-type;host;x-amz-date;x-amz-target",
    ],
)
def test_signed_headers_must_be_lower_case_sorted_unique_and_present(signer: Signer, names: str) -> None:
    request = signer.sign()
    text = (request.header("authorization") or "").replace("content-type;host;x-amz-date;x-amz-target", names)
    with pytest.raises(IncompleteSignatureException, match="SignedHeaders"):
        signer.check(signer.with_header(request, "authorization", text))


@pytest.mark.parametrize("name", ["authorization", "host", "x-amz-date", "x-amz-target"])
def test_a_repeated_header_is_refused_even_when_both_agree(signer: Signer, name: str) -> None:
    request = signer.sign()
    with pytest.raises(ApiError, match="more than once"):
        signer.check(replace(request, headers=(*request.headers, (name, request.header(name) or ""))))


@pytest.mark.parametrize("other", ["X-Amz-Signature=00", "x-amz-algorithm=a", "X%2DAmz-Credential=c"])
def test_a_signature_in_header_and_query_together_is_refused(signer: Signer, other: str) -> None:
    with pytest.raises(IncompleteSignatureException, match="in a header and in the query"):
        read_claim(signer.sign(target=f"/?{other}"), allow_presigned=True)
    with pytest.raises(IncompleteSignatureException, match="in a header and in the query"):
        read_claim(signer.with_header(signer.presign(), "x-amz-security-token", "t"), allow_presigned=True)


@pytest.mark.parametrize(
    "declared",
    [
        "UNSIGNED-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "",
        "0" * 64,
        hashlib.sha256(b"other").hexdigest(),
    ],
)
def test_a_declared_payload_hash_must_be_that_of_the_body(signer: Signer, declared: str) -> None:
    body = b'{"SecretId":"x"}'
    request = signer.sign(headers={"X-Amz-Content-SHA256": declared}, body=body)
    with pytest.raises(InvalidSignatureException, match="SHA-256 of the body"):
        signer.check(request)
    signer.check(signer.sign(headers={"X-Amz-Content-SHA256": hashlib.sha256(body).hexdigest()}, body=body))


def test_the_clock_may_be_five_minutes_off_either_way_and_no_more(signer: Signer) -> None:
    request = signer.sign()
    signed_at = signer.check(request).timestamp
    five = timedelta(minutes=5)
    for at in (signed_at - five, signed_at + five):
        signer.check(request, at=at)
    late, early = signed_at + five + timedelta(seconds=1), signed_at - five - timedelta(seconds=1)
    with pytest.raises(InvalidSignatureException) as expired:
        signer.check(request, at=late)
    assert expired.value.message == (
        f"Signature expired: {signed_at:%Y%m%dT%H%M%SZ} is now earlier than {late - five:%Y%m%dT%H%M%SZ} "
        f"({late:%Y%m%dT%H%M%SZ} - 5 min.)"
    )
    with pytest.raises(InvalidSignatureException) as future:
        signer.check(request, at=early)
    assert future.value.message == (
        f"Signature not yet current: {signed_at:%Y%m%dT%H%M%SZ} is still later than "
        f"{early + five:%Y%m%dT%H%M%SZ} ({early:%Y%m%dT%H%M%SZ} + 5 min.)"
    )


@pytest.mark.parametrize("seconds", [1, 60, 900, 3600])
def test_a_presigned_request_holds_for_fifteen_minutes_whatever_it_says(signer: Signer, seconds: int) -> None:
    """As at STS: tokens of EKS are signed with 60 and used for 14 minutes."""
    request = signer.presign(seconds)
    signed_at = signer.check(request).timestamp
    signer.check(request, at=signed_at + timedelta(seconds=900))
    for at in (signed_at + timedelta(seconds=901), signed_at - timedelta(seconds=301)):
        with pytest.raises(InvalidSignatureException, match="Signature"):
            signer.check(request, at=at)


@pytest.mark.parametrize("seconds", ["0", "604801", "999999", "-1", "1.5", "", "1e2", "٣", "9" * 5000])
def test_a_presigned_request_says_a_week_at_most(signer: Signer, seconds: str) -> None:
    request = signer.presign()
    query = request.query.replace("X-Amz-Expires=60", f"X-Amz-Expires={quote(seconds)}")
    with pytest.raises(IncompleteSignatureException, match="X-Amz-Expires"):
        read_claim(replace(request, query=query), allow_presigned=True)


def test_presigned_parameters_must_be_complete_single_and_nothing_else(signer: Signer) -> None:
    query = signer.presign().query
    for altered in (
        query.replace("X-Amz-Date=", "Date="),
        query + "&X-Amz-Expires=60",
        query + "&x-amz-expires=60",
        query + "&X-Amz-Other=1",
    ):
        with pytest.raises(IncompleteSignatureException):
            read_claim(replace(signer.presign(), query=altered), allow_presigned=True)


def test_a_date_header_may_replace_x_amz_date(signer: Signer) -> None:
    request = signer.sign(headers={"Date": "Mon, 01 Jan 2001 00:00:00 GMT"})
    assert request.header("x-amz-date") is None
    claim = signer.check(request)
    assert "date" in claim.signed_headers
    for text in ("nonsense", "Mon, 01 Jan 2001 00:00:00 +0100", "20010101T000000"):
        with pytest.raises(IncompleteSignatureException):
            signer.check(signer.with_header(request, "date", text))
    with pytest.raises(IncompleteSignatureException, match="Date"):
        signer.check(signer.with_header(signer.with_header(signer.sign(), "x-amz-date", None), "date", None))


def test_a_date_header_that_tells_the_moment_must_be_signed(signer: Signer) -> None:
    request = signer.sign(headers={"Date": "Mon, 01 Jan 2001 00:00:00 GMT"})
    text = (request.header("authorization") or "").replace("content-type;date;host", "content-type;host")
    with pytest.raises(InvalidSignatureException, match="Date"):
        signer.check(signer.with_header(request, "authorization", text))


def test_the_day_of_the_scope_must_be_the_day_of_the_date(signer: Signer) -> None:
    request = signer.sign()
    claim = signer.check(request)
    tomorrow = f"{claim.timestamp + timedelta(days=1):%Y%m%d}"
    text = (request.header("authorization") or "").replace(claim.date, tomorrow)
    with pytest.raises(InvalidSignatureException, match="Date in Credential scope does not match"):
        signer.check(signer.with_header(request, "authorization", text))


@pytest.mark.parametrize(
    "stamp", ["20260230T000000Z", "20260101T250000Z", "20260101 000000Z", "2026-01-01T00:00Z"]
)
def test_a_date_that_is_no_moment_is_incomplete(signer: Signer, stamp: str) -> None:
    with pytest.raises(IncompleteSignatureException):
        read_claim(signer.with_header(signer.sign(), "x-amz-date", stamp))


def test_the_published_example_of_a_signing_key_is_met(signer: Signer) -> None:
    """The example of AWS's General Reference, "Deriving the signing key"."""
    claim = replace(signer.check(signer.sign()), date="20120215", region="us-east-1", service="iam")
    assert signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", claim).hex() == (
        "f4780e2d9f65fa895f9c67b32ce1baf0b0d8a43505a000a1a9e090d414db404d"
    )
