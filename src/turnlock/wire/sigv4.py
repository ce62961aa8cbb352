"""Verifies AWS Signature Version 4 (docs/aws-behaviour.md#signature-version-4). It imports neither the store nor the gate.

A request is authentic when all of these hold; `read_claim` walks 1 to 7, which need no secret, `verify` 8 to 10.

 1. It carries one signature: in an Authorization header or in X-Amz-* query parameters, never in both, and no header
    that decides anything is repeated. One in the query is read only where the caller allows it.
 2. The algorithm is exactly AWS4-HMAC-SHA256, and each part of the signature is there once, with nothing beside it.
 3. The credential is `key-id/yyyymmdd/region/service/aws4_request`.
 4. The moment of signing is X-Amz-Date or, in its absence, Date; its day is the credential's day.
 5. The signed headers are lower-case, sorted, unique and present; among them are host, every `x-amz-*` that was sent,
    and Date where it tells the moment.
 6. The signature is 64 lower-case hexadecimal digits.
 7. A signature in the query says how long it holds: from 1 to 900 seconds.
 8. The moment is at most five minutes away from now, either way; a signature in the query has not run out.
 9. X-Amz-Content-SHA256, when sent, is the hash of the body: unsigned and chunked payloads are refused.
10. The HMAC of the string to sign, made from the request as it was sent, is the signature; compared in constant time.

The query enters as sent (still percent-encoded). The path comes decoded, and is signed encoded twice: there are a few ways in
which clients encode a path the first time (`signed_paths`), and the signature must be that of one of them. Each decodes to the path
that is acted upon, so nothing can be signed for another; a path sent in a way that is not listed is refused, and so is one with
an encoded slash. Dot segments and doubled slashes are resolved first, as the algorithm demands. The access key id is not under the signature: another id
means another secret. A request that was captured can be sent again within the five minutes: only TLS prevents that.

Malformed signatures raise IncompleteSignatureException, those that do not hold InvalidSignatureException.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import unquote

import msgspec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC

from turnlock.errors import (
    IncompleteSignatureException,
    InvalidSignatureException,
    MissingAuthenticationTokenException,
)
from turnlock.wire.http import HttpRequest
from turnlock.wire.signed_paths import canonical_paths

ALGORITHM = "AWS4-HMAC-SHA256"
_MINUTE = timedelta(minutes=1)
MAX_SKEW = 5 * _MINUTE
MAX_PRESIGNED_SECONDS = 604_800
PRESIGNED_LIFETIME = 15 * _MINUTE
"""How long STS takes a signature in the query string, whatever X-Amz-Expires says."""

_TERMINATOR = "aws4_request"
_HEADER_PARTS = frozenset({"Credential", "SignedHeaders", "Signature"})
_QUERY_PARTS = frozenset(
    {
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Signature",
    }
)
_QUERY_TOKEN = "X-Amz-Security-Token"  # noqa: S105 - a parameter's name


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says about who signed it; worth nothing until `verify` returned."""

    access_key_id: str
    date: str
    """The day of the scope, `yyyymmdd`."""
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: bytes
    """32 bytes."""
    timestamp: datetime
    """The moment of signing, UTC."""
    stamp: str
    """The same as `yyyymmddThhmmssZ`."""
    session_token: str | None = None
    expires: timedelta | None = None
    """How long a signature in the query holds; None for one in the header."""

    def __repr__(self) -> str:
        return f"Claim({self.access_key_id} {self.scope})"

    @property
    def presigned(self) -> bool:
        """Say whether the signature is in the query."""
        return self.expires is not None

    @property
    def scope(self) -> str:
        """The credential scope: day, Region, service and terminator."""
        return f"{self.date}/{self.region}/{self.service}/{_TERMINATOR}"


def read_claim(request: HttpRequest, *, allow_presigned: bool = False) -> Claim:
    """Return what `request` claims, after obligations 1 to 7.

    A signature in the query is refused unless `allow_presigned`: only STS GetCallerIdentity takes one.
    Raises MissingAuthenticationTokenException, IncompleteSignatureException or InvalidSignatureException.
    """
    fields = request.fields  # (1) refuses repetitions
    authorization = fields.get("authorization")
    parameters = _amz_parameters(request.query) if request.query else None
    if not parameters:
        return _from_header(authorization, fields)
    if authorization is not None or "x-amz-security-token" in fields:
        raise IncompleteSignatureException(
            "The request is signed in a header and in the query string: use one."
        )
    if not allow_presigned:
        raise IncompleteSignatureException("This action does not accept a signature in the query string.")
    return _from_query(parameters, fields)


def signing_key(secret: str, claim: Claim) -> bytes:
    """Return the key (32 bytes) that `secret`, the secret access key, gives for the claim's day, Region and service."""
    key = f"AWS4{secret}".encode()
    for part in (claim.date, claim.region, claim.service, _TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def verify(claim: Claim, request: HttpRequest, signing_key: bytes, now: datetime) -> None:
    """Return when the claim that was read from `request` holds at `now` (aware) under `signing_key`: obligations 8 to 10.

    Raises InvalidSignatureException.
    """
    _check_clock(claim, now)  # (8)
    payload = _payload_hash(request)  # (9)
    for path in canonical_paths(request.path):
        mac = _keyed(signing_key).copy()
        mac.update(_string_to_sign(claim, request, path, payload))
        if hmac.compare_digest(mac.finalize(), claim.signature):  # (10)
            return
    raise InvalidSignatureException


@lru_cache(maxsize=1024)
def _keyed(signing_key: bytes) -> HMAC:
    """Return the HMAC that begins with a key: taking up the key is most of what one over a short text costs."""
    return HMAC(signing_key, SHA256())


def _from_header(authorization: str | None, fields: Mapping[str, str]) -> Claim:
    if authorization is None:
        raise MissingAuthenticationTokenException
    before, _, signature = authorization.rpartition("Signature=")
    if len(signature) == 64 and signature.isalnum() and len(before) <= _USUAL:
        # What stands before the signature is the same in all that a client sends in a day: it is read once.
        algorithm, credential, signed, _ = _known_parts(f"{before}Signature=-")
    else:
        algorithm, credential, signed, signature = _parts(authorization)
    return _claim(
        algorithm=algorithm,
        credential=credential,
        signed=signed,
        signature=signature,
        stamp=fields.get("x-amz-date"),
        token=fields.get("x-amz-security-token"),
        fields=fields,
    )


def _parts(authorization: str) -> tuple[str, str, str, str]:
    """Return algorithm, credential, signed headers and signature of an Authorization header; empty what is not there."""
    algorithm, _, rest = authorization.partition(" ")
    parts: dict[str, str] = {}
    for pair in rest.split(","):
        name, _, value = pair.strip(" ").partition("=")
        if name not in _HEADER_PARTS or name in parts or not value:
            raise IncompleteSignatureException(
                "The Authorization header must hold Credential, SignedHeaders and Signature, once each, as name=value."
            )
        parts[name] = value
    return algorithm, parts.get("Credential", ""), parts.get("SignedHeaders", ""), parts.get("Signature", "")


_USUAL = 512
"""Characters of a text that is worth remembering: a client sends the same one each time."""
_known_parts = lru_cache(maxsize=256)(_parts)


def _from_query(parameters: Mapping[str, str], fields: Mapping[str, str]) -> Claim:
    if parameters.keys() - {_QUERY_TOKEN} != _QUERY_PARTS:  # (2)
        raise IncompleteSignatureException(
            f"A signature in the query string must hold {', '.join(sorted(_QUERY_PARTS))}, and nothing else of X-Amz."
        )
    seconds = parameters["X-Amz-Expires"]  # (7)
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) <= 6):
        raise IncompleteSignatureException("X-Amz-Expires must be a number of seconds.")
    if not 1 <= int(seconds) <= MAX_PRESIGNED_SECONDS:
        raise IncompleteSignatureException(
            f"X-Amz-Expires must be from 1 to {MAX_PRESIGNED_SECONDS} seconds."
        )
    return _claim(
        algorithm=parameters["X-Amz-Algorithm"],
        credential=parameters["X-Amz-Credential"],
        signed=parameters["X-Amz-SignedHeaders"],
        signature=parameters["X-Amz-Signature"],
        stamp=parameters["X-Amz-Date"],
        token=parameters.get(_QUERY_TOKEN),
        fields=fields,
        expires=timedelta(seconds=int(seconds)),
    )


def _claim(
    *,
    algorithm: str,
    credential: str,
    signed: str,
    signature: str,
    stamp: str | None,
    token: str | None,
    fields: Mapping[str, str],
    expires: timedelta | None = None,
) -> Claim:
    if algorithm != ALGORITHM:  # (2)
        raise IncompleteSignatureException(f"The only supported signature algorithm is {ALGORITHM}.")
    access_key_id, date, region, service = _read_credential(credential)  # (3)
    by_date_header = stamp is None
    if stamp is None:
        stamp = _stamp_of_date_header(fields)
    timestamp = _read_stamp(stamp)  # (4)
    if stamp[:8] != date:
        raise InvalidSignatureException(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: "
            f"'{date}' != '{stamp[:8]}', from '{stamp}'."
        )
    signed_headers = _read_signed_headers(signed, fields, date_must_be_signed=by_date_header)  # (5)
    return Claim(
        access_key_id=access_key_id,
        date=date,
        region=region,
        service=service,
        signed_headers=signed_headers,
        signature=_read_signature(signature),  # (6)
        timestamp=timestamp,
        stamp=stamp,
        session_token=token,
        expires=expires,
    )


@lru_cache(maxsize=1024)
def _read_credential(credential: str) -> tuple[str, str, str, str]:
    parts = credential.split("/")
    if len(parts) != 5 or parts[4] != _TERMINATOR or not credential.isascii():
        raise IncompleteSignatureException(
            f"The credential must be access-key-id/yyyymmdd/region/service/{_TERMINATOR}."
        )
    access_key_id, date, region, service, _ = parts
    if not (access_key_id.isalnum() and len(access_key_id) <= 128):
        raise IncompleteSignatureException("The access key id in the credential is malformed.")
    if not (date.isdigit() and len(date) == 8):
        raise IncompleteSignatureException("The date in the credential must be yyyymmdd.")
    for name, part in (("Region", region), ("service", service)):
        if not (part.replace("-", "").isalnum() and part == part.lower() and len(part) <= 64):
            raise IncompleteSignatureException(f"The {name} in the credential is malformed.")
    return access_key_id, date, region, service


def _stamp_of_date_header(fields: Mapping[str, str]) -> str:
    """Return the Date header as `yyyymmddThhmmssZ`; it may already have that form or be an HTTP date."""
    date = fields.get("date")
    if date is None:
        raise IncompleteSignatureException(
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header."
        )
    if len(date) == 16 and date[8] == "T":
        return date
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, TypeError, OverflowError):
        raise IncompleteSignatureException("The Date header cannot be read.") from None
    # A zone of -0000 gives a naive value, which means UTC (RFC 5322, 3.3).
    if moment.utcoffset():
        raise IncompleteSignatureException("The Date header must be in GMT.")
    return f"{moment:%Y%m%dT%H%M%SZ}"


def _read_signature(signature: str) -> bytes:
    try:
        found = bytes.fromhex(signature)
    except ValueError:
        found = b""
    if len(found) != 32 or found.hex() != signature:
        raise IncompleteSignatureException("The signature must be 64 lower-case hexadecimal digits.")
    return found


@lru_cache(maxsize=256)
def _read_stamp(stamp: str) -> datetime:
    digits = stamp[:8] + stamp[9:15]
    if len(stamp) == 16 and stamp[8] == "T" and stamp[15] == "Z" and digits.isascii() and digits.isdigit():
        try:
            return datetime(
                int(digits[:4]), int(digits[4:6]), int(digits[6:8]),
                int(digits[8:10]), int(digits[10:12]), int(digits[12:]), tzinfo=UTC,
            )  # fmt: skip
        except ValueError:
            pass
    raise IncompleteSignatureException(
        "The date of the signature must be a moment in the form yyyymmddThhmmssZ."
    )


def _read_signed_headers(
    signed: str, fields: Mapping[str, str], *, date_must_be_signed: bool
) -> tuple[str, ...]:
    names, unique = _known_names(signed) if len(signed) <= _USUAL else _names(signed)
    if not unique <= fields.keys():
        raise IncompleteSignatureException("SignedHeaders names a header that was not sent.")
    if "host" not in unique:
        raise InvalidSignatureException("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    if date_must_be_signed and "date" not in unique:
        raise InvalidSignatureException("'Date' must be a 'SignedHeader' in the AWS Authorization.")
    for name in fields:
        if name.startswith("x-amz-") and name not in unique:
            raise InvalidSignatureException("There were X-Amz headers in the request that were not signed.")
    return names


def _names(signed: str) -> tuple[tuple[str, ...], frozenset[str]]:
    """Return the names in SignedHeaders, in order and as a set."""
    names = tuple(signed.split(";"))
    unique = frozenset(names)
    if signed != signed.lower() or len(unique) != len(names) or list(names) != sorted(names):
        raise IncompleteSignatureException("SignedHeaders must be lower-case, sorted and without repetition.")
    return names, unique


_known_names = lru_cache(maxsize=256)(_names)


def _amz_parameters(query: str) -> dict[str, str]:
    """Return the decoded X-Amz-* parameters of a query string; IncompleteSignatureException when one is repeated."""
    found: dict[str, str] = {}
    seen: set[str] = set()
    for raw_name, raw_value in _pairs(query):
        name = unquote(raw_name)
        folded = name.lower()
        if folded.startswith("x-amz-"):
            if folded in seen:
                raise IncompleteSignatureException("A parameter of the signature was sent more than once.")
            seen.add(folded)
            found[name] = unquote(raw_value)
    return found


def _pairs(query: str) -> Iterator[tuple[str, str]]:
    for pair in query.split("&"):
        name, _, value = pair.partition("=")
        yield name, value


def _check_clock(claim: Claim, now: datetime) -> None:
    # STS is the one service here that takes a signature in the query: tokens of EKS are signed with 60 seconds and used for 14
    # minutes, and botocore signs with an hour.
    lifetime = MAX_SKEW if claim.expires is None else PRESIGNED_LIFETIME
    if claim.timestamp < now - lifetime:
        raise InvalidSignatureException(
            f"Signature expired: {claim.stamp} is now earlier than {_stamp(now - lifetime)} "
            f"({_stamp(now)} - {lifetime / _MINUTE:g} min.)"
        )
    if claim.timestamp > now + MAX_SKEW:
        raise InvalidSignatureException(
            f"Signature not yet current: {claim.stamp} is still later than {_stamp(now + MAX_SKEW)} "
            f"({_stamp(now)} + {MAX_SKEW / _MINUTE:g} min.)"
        )


def _stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _payload_hash(request: HttpRequest) -> str:
    actual = request.body_digest
    declared = request.fields.get("x-amz-content-sha256")
    if declared is not None and declared != actual:
        raise InvalidSignatureException("The value of X-Amz-Content-SHA256 must be the SHA-256 of the body.")
    return actual


def _string_to_sign(claim: Claim, request: HttpRequest, path: str, payload: str) -> bytes:
    canonical = _canonical_request(claim, request, path, payload)
    return f"{ALGORITHM}\n{claim.stamp}\n{claim.scope}\n{hashlib.sha256(canonical).hexdigest()}".encode()


def _canonical_request(claim: Claim, request: HttpRequest, path: str, payload: str) -> bytes:
    fields = request.fields
    try:
        values = [fields[name] for name in claim.signed_headers]
        together = "".join(values)
        if " " in together or not together.isprintable():
            values = [_trimmed(value) for value in values]
        headers = "".join(
            [f"{name}:{value}\n" for name, value in zip(claim.signed_headers, values, strict=True)]
        )
        query = _canonical_query(request.query) if request.query else ""
        signed = ";".join(claim.signed_headers)
        return f"{request.method}\n{path}\n{query}\n{headers}\n{signed}\n{payload}".encode("latin-1")
    except UnicodeEncodeError:
        # What came over the wire has no character above U+00FF: this was never sent.
        raise InvalidSignatureException from None


def _trimmed(value: str) -> str:
    """Return a header's value without spaces around it and with single ones inside.

    Only ASCII white space counts: the second byte of a UTF-8 letter may look like a Latin-1 no-break space.
    """
    if " " not in value and value.isprintable():
        return value
    if value.isascii():
        return " ".join(value.split())
    return b" ".join(value.encode("latin-1").split()).decode("latin-1")


def _canonical_query(query: str) -> str:
    """Return the parameters as sent, sorted by name and value; the signature itself is left out."""
    return "&".join(f"{name}={value}" for name, value in sorted(_pairs(query)) if name != "X-Amz-Signature")
