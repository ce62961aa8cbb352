"""The two servers that are measured, each a child process, and the secrets of the one."""

from __future__ import annotations

import configparser
import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config as ClientConfig

from bench.signing import Target

REGION = "eu-central-1"
PATIENCE = 30.0
"""Seconds to wait for a server to start or to end."""


@contextmanager
def turnlock(directory: Path, workers: int = 1) -> Iterator[str]:
    """Run Turnlock with its defaults on SQLite in `directory`, by so many processes; yield its HOST:PORT."""
    host = f"127.0.0.1:{_free_port()}"
    arguments = ["-m", "turnlock", "serve", "--data-dir", str(directory), "--listen", host]
    arguments += ["--workers", str(workers)]
    with _running(arguments, host, directory.parent / "turnlock.log"):
        yield host


@contextmanager
def bare(size: int, directory: Path, workers: int) -> Iterator[str]:
    """Run the bare server that answers `size` bytes, by so many processes; its log goes to `directory`; yield its HOST:PORT."""
    port = _free_port()
    host = f"127.0.0.1:{port}"
    with _running(["-m", "bench.baseline", str(port), str(size), str(workers)], host, directory / "bare.log"):
        yield host


def store_secrets(host: str, data_dir: Path, count: int) -> Target:
    """Store `count` secrets, each a database credential; return how to ask for them as root."""
    profile = configparser.ConfigParser()
    profile.read(data_dir / "credentials")
    target = Target(
        host=host,
        region=REGION,
        key_id=profile["default"]["aws_access_key_id"],
        secret_key=profile["default"]["aws_secret_access_key"],
        names=[f"bench/database-{number}" for number in range(count)],
    )
    made = client(host, data_dir)

    def create(name: str) -> None:
        value = f'{{"engine":"postgres","host":"db.internal","username":"{name}","password":"{"x" * 32}"}}'
        made.create_secret(Name=name, SecretString=value)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(create, target.names))
    return target


def client(host: str, data_dir: Path) -> Any:
    """Return boto3's client of Secrets Manager for root, by the credentials that the server has left in its directory."""
    profile = configparser.ConfigParser()
    profile.read(data_dir / "credentials")
    return boto3.client(
        "secretsmanager",
        endpoint_url=f"http://{host}",
        region_name=REGION,
        aws_access_key_id=profile["default"]["aws_access_key_id"],
        aws_secret_access_key=profile["default"]["aws_secret_access_key"],
        config=ClientConfig(max_pool_connections=8),
    )


def answer_size(host: str, request: bytes) -> int:
    """Return how long the body is that answers a prepared request; RuntimeError unless it is a 200."""
    head, _, body = request.partition(b"\r\n\r\n")
    fields = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
    connection = http.client.HTTPConnection(host, timeout=PATIENCE)
    try:
        connection.request("POST", "/", body, dict(fields))
        response = connection.getresponse()
        length = len(response.read())
    finally:
        connection.close()
    if response.status != 200:
        raise RuntimeError(f"the server answered {response.status} to a prepared request")
    return length


@contextmanager
def _running(arguments: Sequence[str], host: str, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, *arguments], stdout=output, stderr=output)
    try:
        _await_listener(process, host, log)
        yield
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(PATIENCE)


def _await_listener(process: subprocess.Popen[bytes], host: str, log: Path) -> None:
    """Return once GET /health is answered."""
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection(host, timeout=PATIENCE)
        try:
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
        finally:
            connection.close()
    raise RuntimeError(f"a server did not start: {log.read_text(encoding='utf-8', errors='replace')}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
