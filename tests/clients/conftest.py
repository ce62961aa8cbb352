"""Servers as users run them, and clients that know three variables of the environment and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest

from tests.conftest import STORES, TEMPLATE
from tests.processes import REGION, Client, ServerProcess

CLI_SECONDS = 60.0
AWAY = "us-east-1"
"""The other Region that `served` has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running server and what a user exports to reach it."""

    process: ServerProcess
    scheme: str = "http"
    workers: int = 1

    @property
    def endpoint(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.process.port}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables. boto3 and the first `aws` read AWS_DEFAULT_REGION, every other SDK AWS_REGION."""
        return {
            "AWS_SHARED_CREDENTIALS_FILE": str(self.process.data_dir / "credentials"),
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
        }

    def client(self, service: str = "secretsmanager", **variables: str) -> Client:
        """Return boto3's client with its defaults, in that environment with `variables` beside."""
        with pytest.MonkeyPatch.context() as patch:
            for name in [
                name for name in os.environ if name.startswith("AWS_") or name.lower().endswith("_proxy")
            ]:
                patch.delenv(name)
            for name, value in {**self.environment, **variables}.items():
                patch.setenv(name, value)
            return boto3.Session().client(service)  # type: ignore[call-overload]

    def aws(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `aws` in that environment with `variables` beside."""
        programs = Path(sys.executable).parent
        return subprocess.run(
            [str(programs / "aws"), *arguments],
            env={
                "PATH": f"{programs}:{os.environ['PATH']}",
                "HOME": str(self.process.data_dir),
                **self.environment,
                **variables,
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CLI_SECONDS,
            check=False,
        )


@pytest.fixture(scope="module", params=[f"{store}-{workers}" for store in STORES for workers in (1, 2)])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server of one worker and of two, on each store."""
    store, _, workers = request.param.partition("-")
    database = new_database(request, f"turnlock_clients_{workers}") if store == "postgresql" else None
    data_dir = tmp_path_factory.mktemp("clients") / "turnlock"
    options = ("--regions", f"{REGION},{AWAY}", "--workers", workers)
    with ServerProcess(data_dir, database=database, options=options) as process:
        yield Served(process=process, workers=int(workers))


@pytest.fixture(scope="module")
def client(served: Served) -> Client:
    return served.client()


def new_database(request: pytest.FixtureRequest, name: str) -> str:
    """Make an empty, migrated database for a server, anew, and return its URL."""
    admin: psycopg.Connection[tuple[object, ...]] = request.getfixturevalue("postgresql_admin")
    server: Any = request.getfixturevalue("postgresql_server")
    admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    admin.execute(f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    url: str = server.admin_url(name, driver=None)
    return url
