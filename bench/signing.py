"""Requests as an SDK sends them, made before the timed part: each with a secret, a moment and a signature of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from botocore.auth import SIGV4_TIMESTAMP, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

SKEW = timedelta(seconds=150)
"""Moments lie this far around the present; a server accepts five minutes, and a run must fit in the rest."""

_USER_AGENT = (
    "Boto3/1.43.0 md/Botocore#1.43.0 ua/2.1 os/linux md/arch#x86_64 lang/python#3.11.7 cfg/retry-mode#legacy"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Who asks whom for what."""

    host: str
    """`127.0.0.1:PORT`."""
    region: str
    key_id: str
    secret_key: str = field(repr=False)
    names: Sequence[str]
    """The secrets, asked for in turn."""


def write_requests(target: Target, count: int, path: Path) -> int:
    """Write `count` requests to `path`, each behind its length in eight digits; return how many there are.

    There are never more than secrets times moments: two requests of one secret differ by a second at least.
    """
    with path.open("wb") as file:
        written = 0
        for request in islice(signed_requests(target), count):
            file.write(b"%08d" % len(request) + request)
            written += 1
    return written


def read_requests(path: Path) -> list[bytes]:
    """Return what `write_requests` wrote."""
    data, requests, at = path.read_bytes(), [], 0
    while at < len(data):
        length = int(data[at : at + 8])
        requests.append(data[at + 8 : at + 8 + length])
        at += 8 + length
    return requests


def signed_requests(target: Target) -> Iterator[bytes]:
    """Yield requests of the secrets in turn, each second of SKEW around now."""
    signer = SigV4Auth(Credentials(target.key_id, target.secret_key), "secretsmanager", target.region)
    now = datetime.now(UTC).replace(microsecond=0)
    for second in range(-int(SKEW.total_seconds()), int(SKEW.total_seconds())):
        moment = (now + timedelta(seconds=second)).strftime(SIGV4_TIMESTAMP)
        for name in target.names:
            yield _signed(signer, target.host, name, moment)


def _signed(signer: SigV4Auth, host: str, name: str, moment: str) -> bytes:
    """Return one request's bytes: the steps of botocore's add_auth, at a moment of our choice."""
    body = json.dumps({"SecretId": name}).encode()
    request = AWSRequest(
        method="POST",
        url=f"http://{host}/",
        headers={
            "X-Amz-Target": "secretsmanager.GetSecretValue",
            "Content-Type": "application/x-amz-json-1.1",
            "X-Amz-Date": moment,
        },
        data=body,
    )
    request.context["timestamp"] = moment
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    scope = f"Credential={signer.scope(request)}"
    signed = f"SignedHeaders={signer.signed_headers(signer.headers_to_sign(request))}"
    signature = f"Signature={signer.signature(to_sign, request)}"
    lines = [
        "POST / HTTP/1.1",
        f"Host: {host}",
        "Accept-Encoding: identity",
        *(f"{header}: {value}" for header, value in request.headers.items()),
        f"User-Agent: {_USER_AGENT}",
        f"Authorization: AWS4-HMAC-SHA256 {scope}, {signed}, {signature}",
        f"Content-Length: {len(body)}",
        "",
        "",
    ]
    return "\r\n".join(lines).encode() + body
