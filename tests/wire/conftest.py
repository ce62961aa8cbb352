"""Requests as botocore signs them and as a server sees them."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from msgspec.structs import replace

from turnlock.errors import ApiError, InvalidSignatureException
from turnlock.wire import Claim, HttpRequest, read_claim, signing_key, verify


class Signer:
    """Signs with botocore, and checks with the wire room."""

    host = "127.0.0.1:7768"
    key_id = "AKIDEXAMPLE"
    secret = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"
    target = (
        ("X-Amz-Target", "secretsmanager.GetSecretValue"),
        ("Content-Type", "application/x-amz-json-1.1"),
    )

    def sign(
        self,
        method: str = "POST",
        target: str = "/",
        headers: dict[str, str] | None = None,
        body: bytes = b"{}",
        token: str | None = None,
    ) -> HttpRequest:
        """Return a request to Secrets Manager, signed in a header; `headers` come beside the usual ones."""
        request = AWSRequest(
            method=method,
            url=f"http://{self.host}{target}",
            headers={**dict(self.target), **(headers or {})},
            data=body,
        )
        credentials = Credentials(self.key_id, self.secret, token)
        SigV4Auth(credentials, "secretsmanager", "eu-central-1").add_auth(request)
        return self._received(request)

    def presign(
        self, expires: int = 60, token: str | None = None, headers: dict[str, str] | None = None
    ) -> HttpRequest:
        """Return a request for GetCallerIdentity, signed in the query string."""
        url = f"http://{self.host}/?Action=GetCallerIdentity&Version=2011-06-15"
        request = AWSRequest(method="GET", url=url, headers=headers or {})
        credentials = Credentials(self.key_id, self.secret, token)
        SigV4QueryAuth(credentials, "sts", "eu-central-1", expires=expires).add_auth(request)
        return self._received(request)

    def check(self, request: HttpRequest, *, secret: str = secret, at: datetime | None = None) -> Claim:
        """Verify `request` as of `at` (now) and return its claim."""
        claim = read_claim(request, allow_presigned=True)
        verify(claim, request, signing_key(secret, claim), at or datetime.now(UTC))
        return claim

    def refuses(self, request: HttpRequest, at: datetime, *errors: type[ApiError]) -> None:
        """Assert that `request` is refused with one of `errors` (InvalidSignatureException when none is named)."""
        with pytest.raises(errors or InvalidSignatureException):
            self.check(request, at=at)

    @staticmethod
    def with_header(request: HttpRequest, name: str, value: str | None) -> HttpRequest:
        """Return the request with the header set (or left out, for None)."""
        kept = [(other, content) for other, content in request.headers if other != name]
        return replace(request, headers=(*kept, *([] if value is None else [(name, value)])))

    @staticmethod
    def _received(signed: AWSRequest) -> HttpRequest:
        """Return what a server sees, the path decoded; header values are the Latin-1 reading of their UTF-8."""
        url = urlsplit(str(signed.url))
        headers = {name.lower(): value.encode().decode("latin-1") for name, value in signed.headers.items()}
        headers.setdefault("host", url.netloc)
        return HttpRequest(
            method=str(signed.method),
            path=unquote(url.path),
            query=url.query,
            headers=tuple(headers.items()),
            body=signed.data or b"",
        )


@pytest.fixture(scope="session")
def signer() -> Signer:
    """Return a signer with a long-term key."""
    return Signer()
