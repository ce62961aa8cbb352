"""A real Redis with an ACL file of its own, as a child of the tests."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.processes import wait_until
from turnlock.local_servers.authority import loopback_identity
from turnlock.local_servers.process import HOST, free_port, start_bound

PROGRAM = shutil.which("redis-server")
NOT_HERE = "NOT RUN: Redis's server is needed (Debian's redis-server)"


class RedisServer:
    """Listens on one port of 127.0.0.1, in TLS or plain; its user `admin` may do everything. Use it as a context manager."""

    def __init__(self, *, tls: bool) -> None:
        self.tls = tls
        self.port = free_port()
        self.password = secrets.token_urlsafe(16)
        self.directory = Path(tempfile.mkdtemp(prefix="turnlock-redis-"))

    def __enter__(self) -> Self:
        identity = loopback_identity(datetime.now(UTC))
        for name, content in (("ca", identity.ca), ("crt", identity.certificate), ("key", identity.key)):
            (self.directory / name).write_bytes(content)
        (self.directory / "users").write_text(
            f"user default off\nuser admin on >{self.password} ~* &* +@all\n"
        )
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        shutil.rmtree(self.directory)

    @property
    def authority(self) -> Path:
        return self.directory / "ca"

    def start(self) -> None:
        assert PROGRAM is not None
        command = [PROGRAM, "--bind", HOST, "--dir", str(self.directory), "--save", ""]
        command += ["--aclfile", str(self.directory / "users")]
        if self.tls:
            command += ["--port", "0", "--tls-port", str(self.port), "--tls-auth-clients", "no"]
            command += [
                "--tls-cert-file",
                str(self.directory / "crt"),
                "--tls-key-file",
                str(self.directory / "key"),
            ]
            command += ["--tls-ca-cert-file", str(self.authority)]
        else:
            command += ["--port", str(self.port)]
        self._process = start_bound(command, account=None, log=self.directory / "log")
        wait_until(self._answers, 60, "an answering Redis")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(60)

    def client(self, username: str = "admin", password: str | None = None) -> redis.Redis:
        encryption: dict[str, Any] = {"ssl": True, "ssl_ca_certs": str(self.authority)} if self.tls else {}
        return redis.Redis(
            host=HOST,
            port=self.port,
            username=username,
            password=self.password if password is None else password,
            decode_responses=True,
            retry=Retry(
                NoBackoff(), 0
            ),  # of redis-py's own, a refused login takes three with seconds between them
            **encryption,
        )

    def accepts(self, username: str, password: str) -> bool:
        """Tell whether the server lets a user in."""
        with self.client(username, password) as client:
            try:
                client.ping()
            except redis.exceptions.NoPermissionError:
                return True  # it has logged in; PING is what it may not do
            except redis.exceptions.AuthenticationError:
                return False
        return True

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except (redis.exceptions.RedisError, OSError):
                return False
