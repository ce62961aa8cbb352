"""An identity provider on 127.0.0.1: its configuration, its keys, and tokens signed with an independent implementation."""

from __future__ import annotations

import hashlib
import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from turnlock.local_servers.authority import ServerIdentity, loopback_identity

Key = RSAKey | ECKey


def new_key(kind: str | int = 2048, key_id: str = "k1") -> Key:
    """Return a private key with a name: RSA of so many bits, or of an elliptic curve."""
    if isinstance(kind, int):
        return RSAKey.generate_key(kind, {"kid": key_id})
    return ECKey.generate_key(kind, {"kid": key_id})


def key_set(*keys: Key) -> str:
    """Return the JWK Set of the public halves."""
    return json.dumps({"keys": [{**key.as_dict(private=False), "use": "sig"} for key in keys]})


def sign(key: Key, claims: dict[str, Any], *, algorithm: str = "RS256", **header: Any) -> str:
    """Return a token; `header` wins over the key's name, and None leaves it out."""
    head = {"alg": algorithm, "kid": key.as_dict(private=False)["kid"], **header}
    named = {name: value for name, value in head.items() if value is not None}
    return jwt.encode(named, claims, key, algorithms=[algorithm])


@dataclass(kw_only=True)
class Issuer:
    """What the provider publishes; tests change it while it serves."""

    url: str
    thumbprint: str
    keys: list[Any] = field(default_factory=lambda: [new_key()])
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    """By path: a status and a body to answer instead."""
    asked: list[str] = field(default_factory=list)

    def token(self, *, subject: str = "repo:main", audience: object = "turnlock", **more: Any) -> str:
        """Return a token of this issuer for ten minutes."""
        now = int(time.time())
        claims = {"iss": self.url, "sub": subject, "aud": audience, "iat": now, "exp": now + 600}
        return sign(self.keys[0], {**claims, **more})

    def answer(self, path: str) -> tuple[int, bytes]:
        """Return what is served at a path."""
        self.asked.append(path)
        if path in self.answers:
            return self.answers[path]
        if path == "/.well-known/openid-configuration":
            found = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
            return 200, json.dumps(found).encode()
        return (200, key_set(*self.keys).encode()) if path == "/keys" else (404, b"")


@contextmanager
def serving(directory: Path, identity: ServerIdentity | None = None) -> Iterator[Issuer]:
    """Serve an issuer over TLS at https://localhost:PORT until the end of the block."""
    identity = identity or loopback_identity(datetime.now(UTC))
    certificate, key = directory / "issuer.pem", directory / "issuer.key"
    certificate.write_bytes(identity.certificate)
    key.write_bytes(identity.key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    der = ssl.PEM_cert_to_DER_cert(identity.certificate.decode())
    issuer = Issuer(url=f"https://localhost:{server.server_port}", thumbprint=hashlib.sha1(der).hexdigest())
    server.issuer = issuer  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield issuer
    finally:
        server.shutdown()
        thread.join(60)
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = self.server.issuer.answer(self.path)  # type: ignore[attr-defined]
        self.send_response(status)
        if status == 302:
            self.send_header("Location", body.decode())
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""
