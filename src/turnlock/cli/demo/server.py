"""The demo's server: `turnlock serve` as a child process, and a client of it."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import botocore.session
from botocore.config import Config as ClientConfig

from turnlock.cli.demo.place import Place
from turnlock.config import DEFAULT_LISTEN, parse_listen
from turnlock.errors import ConfigurationError
from turnlock.local_servers import start_bound

REGION = "eu-central-1"
_PATIENCE = 30.0
"""Seconds to wait for the server to start."""
_GRACE = 5.0
"""Seconds that it is given to end in good order: what it holds is wiped anyway."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildServer:
    """A server that runs as a child of this process, and ends with it however it ends."""

    place: Place
    port: int
    process: subprocess.Popen[bytes]

    @property
    def endpoint(self) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{self.port}"

    def await_ready(self) -> None:
        """Return once GET /health answers 200. Raises ConfigurationError when it ends, or does not in time."""
        deadline = time.monotonic() + _PATIENCE
        while not self._healthy():
            self.require_running()
            if time.monotonic() > deadline:
                raise ConfigurationError(
                    f"The server is not ready after {_PATIENCE:.0f} s; see {self.place.log}."
                )
            time.sleep(0.05)

    def require_running(self) -> None:
        """Raise ConfigurationError, with its last words, when the server has ended."""
        if self.process.poll() is not None:
            words = self.place.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise ConfigurationError(f"The server has ended: {words[-1] if words else 'it said nothing.'}")

    def client(self) -> Any:
        """Return a boto3 client with the credentials file that the server made, whatever else is configured here."""
        session = botocore.session.Session(profile="default")
        session.set_config_variable("credentials_file", str(self.place.credentials))
        session.set_config_variable("config_file", os.devnull)
        return boto3.Session(botocore_session=session).client(
            "secretsmanager",
            endpoint_url=self.endpoint,
            region_name=REGION,
            config=ClientConfig(proxies={}, connect_timeout=5, read_timeout=10, max_pool_connections=16),
        )

    def _healthy(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=2)
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()


@contextmanager
def starting_server(place: Place) -> Iterator[ChildServer]:
    """Start a server (without waiting until it is ready), and end it in good order on leaving."""
    port = _free_port()
    command = [sys.executable, "-m", "turnlock", "serve", "--data-dir", str(place.server)]
    try:
        process = start_bound([*command, "--listen", f"127.0.0.1:{port}"], account=None, log=place.log)
    except OSError as error:
        raise ConfigurationError(f"The server could not be started: {error.strerror}.") from None
    try:
        yield ChildServer(place=place, port=port, process=process)
    finally:
        process.terminate()
        try:
            process.wait(_GRACE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(_PATIENCE)


def default_port() -> int:
    """Return the port that `turnlock serve` listens on when it is not told another."""
    return parse_listen(DEFAULT_LISTEN)[1]


def _free_port() -> int:
    """Return the default port if nobody has it, else one that the system gives."""
    for port in (default_port(), 0):
        with socket.socket() as probe:
            # As the server itself does: a port whose last connections are still closing is free.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ConfigurationError("No port of 127.0.0.1 is free.")
