"""Workers and functions end with their parents, whenever those are killed."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import proofs
from tests.processes import ServerProcess, family, wait_until
from tests.rotated import create_secret, new_role, rotate
from turnlock.local_servers import EmbeddedPostgres

pytestmark = pytest.mark.slow

STARTS = 40 if proofs.FULL else 4
"""How many servers are killed while they start."""

START_SECONDS = 1.5
"""About as long as a start takes."""

TESTS = """
import signal, sys, time
from pathlib import Path
from tests.processes import ServerProcess
signal.signal(signal.SIGQUIT, signal.SIG_IGN)
server = ServerProcess(Path(sys.argv[1]), options=("--workers", "2"))
server.start()
print(server.pid, flush=True)
time.sleep(600)
"""
"""Tests that are about to be killed."""


@pytest.fixture(scope="module")
def rotated_database() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(fsync=False) as server:
        yield server


def with_a_warm_function(server: ServerProcess, target: EmbeddedPostgres) -> None:
    client = server.client()
    rotate(client, create_secret(client, new_role(target)))
    assert len(server.functions()) == 1


def test_workers_and_functions_end_with_a_killed_server(
    rotated_database: EmbeddedPostgres, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path / "turnlock", options=("--workers", "2")) as server:
        with_a_warm_function(server, rotated_database)
        members = server.family()
        served = [one for one in members if "launcher.py" not in one.command]
        assert len(served) == 3, "the main process and two workers"
        assert len(server.functions()) == 1
        server.kill()
    assert not [one for one in members if one.alive]


def test_a_server_that_is_told_to_end_leaves_nothing(
    rotated_database: EmbeddedPostgres, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path / "turnlock") as server:
        with_a_warm_function(server, rotated_database)
        server.stop()


def test_a_function_ends_with_its_killed_worker_which_is_replaced(
    rotated_database: EmbeddedPostgres, tmp_path: Path
) -> None:
    with ServerProcess(tmp_path / "turnlock", options=("--lease-seconds", "1")) as server:
        with_a_warm_function(server, rotated_database)
        (function,) = server.functions()
        worker = next(one for one in server.servers() if one.pid == function.parent)
        worker.signal(signal.SIGKILL)
        wait_until(lambda: not (function.alive or worker.alive), 60, "the end of the worker and its function")
        wait_until(server.answers, 60, "another worker")
        with_a_warm_function(server, rotated_database)


def test_a_server_ends_with_the_tests_that_started_it_however_those_end(tmp_path: Path) -> None:
    """Also where a shell started them in the background, with SIGQUIT ignored."""
    with subprocess.Popen(
        [sys.executable, "-c", TESTS, str(tmp_path / "turnlock")],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
    ) as tests:
        assert tests.stdout is not None
        session = int(tests.stdout.readline())
        members = family(session)
        assert len(members) >= 3, "the main process and two workers"
        tests.kill()
    wait_until(lambda: not family(session), 60, "the end of the server and its workers")
    assert not [one for one in members if one.alive]


@pytest.mark.parametrize("share", range(STARTS))
def test_nothing_remains_of_a_server_that_is_killed_while_it_starts(share: int, tmp_path: Path) -> None:
    server = ServerProcess(tmp_path / "turnlock", options=("--workers", "2"))
    server.launch()
    session = server.pid
    time.sleep(START_SECONDS * (share + random.Random(proofs.SEED + share).random()) / STARTS)
    server.kill()
    assert not family(session)
    with server:
        assert server.client().get_random_password()["RandomPassword"]
