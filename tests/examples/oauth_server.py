"""An OAuth 2.0 server on Authlib: client_credentials and refresh_token, introspection, several client secrets at once.

A refresh token is bound to the client secret under which it was issued: used under a newer one, it yields a new refresh token;
when its secret is removed, it is no longer accepted.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from authlib.common.encoding import to_bytes
from authlib.oauth2 import AuthorizationServer, OAuth2Error
from authlib.oauth2.rfc6749 import ClientMixin, OAuth2Request, TokenMixin, grants
from authlib.oauth2.rfc6749.requests import BasicOAuth2Payload
from authlib.oauth2.rfc6750 import BearerTokenGenerator
from authlib.oauth2.rfc7662 import IntrospectionEndpoint

StartResponse = Callable[..., Any]


@dataclass
class Token(TokenMixin):
    access_token: str
    refresh_token: str | None
    label: str
    """The client secret under which it was issued."""
    client: Client
    issued_at: float = field(default_factory=time.time)

    def check_client(self, client: Any) -> bool:
        return client is self.client

    def get_scope(self) -> str:
        return "profile"

    def get_expires_in(self) -> int:
        return 3600

    def is_expired(self) -> bool:
        return time.time() > self.issued_at + 3600

    def is_revoked(self) -> bool:
        return self.label not in self.client.secrets


@dataclass
class Client(ClientMixin):
    client_id: str
    secrets: dict[str, str]
    """By label."""
    used: threading.local = field(default_factory=threading.local)

    def get_client_id(self) -> str:
        return self.client_id

    def check_client_secret(self, client_secret: str) -> bool:
        for label, known in dict(self.secrets).items():
            if secrets.compare_digest(known, client_secret):
                self.used.label = label
                return True
        return False

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_basic"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in ("client_credentials", "refresh_token")

    def get_allowed_scope(self, scope: Any) -> Any:
        return scope


class _Request(OAuth2Request):
    """A request of WSGI's as Authlib reads it."""

    def __init__(self, request: Any) -> None:
        super().__init__(request["method"], request["url"], headers=request["headers"])
        self.payload = BasicOAuth2Payload(request["form"])
        self._fields: dict[str, str] = request["form"]

    @property
    def form(self) -> dict[str, str]:
        return self._fields

    @property
    def args(self) -> dict[str, str | None]:
        return {}


class Server(AuthorizationServer):
    """Authlib's server over WSGI, with everything in memory."""

    def __init__(self) -> None:
        super().__init__(scopes_supported=["profile"])
        self.client = Client("mobile-app", {"first": secrets.token_urlsafe(24)})
        self.tokens: list[Token] = []
        self.statuses: Counter[int] = Counter()
        self.register_token_generator(
            "default",
            BearerTokenGenerator(
                lambda **_: secrets.token_urlsafe(24), lambda **_: secrets.token_urlsafe(24)
            ),
        )
        self.register_grant(_ClientCredentials)
        self.register_grant(_Refresh)
        self.register_endpoint(_Introspection)

    def query_client(self, client_id: str) -> Any:
        return self.client if client_id == self.client.client_id else None

    def save_token(self, token: dict[str, Any], _request: OAuth2Request) -> None:
        self.tokens.append(
            Token(token["access_token"], token.get("refresh_token"), self.client.used.label, self.client)
        )

    def create_oauth2_request(self, request: Any) -> OAuth2Request:
        if isinstance(request, OAuth2Request):
            return request
        return _Request(request)

    def handle_response(self, status: int, body: Any, headers: Any) -> tuple[int, Any, Any]:
        return status, body, headers

    def send_signal(self, *_arguments: Any, **_named: Any) -> None:
        """Nobody listens."""

    def refresh(self, text: str) -> Token | None:
        """Return the token of a refresh token that is valid."""
        found = [one for one in self.tokens if one.refresh_token == text and not one.is_revoked()]
        return found[0] if found else None

    def issue(self) -> str:
        """Return a refresh token under the client's first secret, as a user's login gives one."""
        token = Token(secrets.token_urlsafe(24), secrets.token_urlsafe(24), "first", self.client)
        self.tokens.append(token)
        assert token.refresh_token is not None
        return token.refresh_token

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        form = {
            key: values[0] for key, values in parse_qs(environ["wsgi.input"].read(length).decode()).items()
        }
        headers = {"Authorization": environ.get("HTTP_AUTHORIZATION", "")}
        body: Any
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        request = {"method": method, "url": f"https://localhost{path}", "headers": headers, "form": form}
        if path == "/token":
            status, body, _ = self.create_token_response(request)
        elif path == "/introspect":
            status, body, _ = self.create_endpoint_response("introspection", request)  # type: ignore[no-untyped-call]
        else:
            status, body = self.keep_secrets(method, path, request)
        self.statuses[status] += 1
        text = to_bytes(body if isinstance(body, str | bytes) else json.dumps(body))
        start_response(f"{status} {'OK' if status < 400 else 'No'}", [("Content-Type", "application/json")])
        return [text]

    def keep_secrets(self, method: str, path: str, request: Any) -> tuple[int, Any]:
        """The provider's own interface for client secrets."""
        try:
            self.authenticate_client(
                self.create_oauth2_request(request), ["client_secret_basic"], endpoint="token"
            )
        except OAuth2Error:
            return 401, {"error": "invalid_client"}
        label = path.removeprefix("/secrets").strip("/")
        if method == "GET":
            return 200, {"labels": list(self.client.secrets)}
        if method == "PUT":
            return 200, {"client_secret": self.client.secrets.setdefault(label, secrets.token_urlsafe(24))}
        self.client.secrets.pop(label, None)
        return 200, {}


class _ClientCredentials(grants.ClientCredentialsGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)


class _Refresh(grants.RefreshTokenGrant):
    TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_basic",)

    def authenticate_refresh_token(self, refresh_token: str) -> Any:
        found = self.server.refresh(refresh_token)
        self.INCLUDE_NEW_REFRESH_TOKEN = found is not None and found.label != self.server.client.used.label
        return found

    def authenticate_user(self, _refresh_token: Any) -> str:
        return "somebody"

    def revoke_old_credential(self, refresh_token: Any) -> None:
        """It ends with its client secret."""


class _Introspection(IntrospectionEndpoint):
    CLIENT_AUTH_METHODS = ("client_secret_basic",)

    def query_token(self, token_string: str, _hint: str | None) -> Any:
        return self.server.refresh(token_string)

    def check_permission(self, token: Token, client: Client, _request: Any) -> bool:
        return token.client is client

    def introspect_token(self, token: Token) -> dict[str, Any]:
        return {"active": not token.is_revoked(), "client_id": token.client.client_id}


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- http.server's naming
        """Log nothing."""


@contextmanager
def running() -> Iterator[tuple[Server, str]]:
    """Run a server on a port of 127.0.0.1 that the system chooses; give it and its URL."""
    application = Server()
    http: WSGIServer = make_server("127.0.0.1", 0, application, handler_class=_Quiet)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield application, f"http://127.0.0.1:{http.server_port}"
    finally:
        http.shutdown()
        thread.join(60)
        http.server_close()
