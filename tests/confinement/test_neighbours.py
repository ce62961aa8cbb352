"""Functions that loop, fork, allocate, fill their disk or print for ever: each is stopped, and the server serves on."""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests import proofs
from tests.own_functions import Operator, zipped
from tests.processes import ServerProcess
from turnlock.confinement import landlock

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(landlock.abi() < 3, reason="this kernel cannot confine functions of one's own"),
]
HOSTILE = """
import os, sys, threading, time

def loop(event, context):
    while True:
        pass

def loop_with_threads(event, context):
    for _ in range(8):
        threading.Thread(target=loop, args=(event, context), daemon=True).start()
    loop(event, context)

def fork(event, context):
    while True:
        try:
            os.fork()
        except OSError:
            pass

def allocate(event, context):
    kept = []
    while True:
        kept.append(bytearray(os.urandom(1 << 20)))

def fill(event, context):
    with open("/tmp/ballast" if os.environ.get("TMPDIR") is None else os.environ["TMPDIR"] + "/ballast", "wb") as file:
        while True:
            file.write(bytes(1 << 20))

def talk(event, context):
    while True:
        os.write(1, b"x" * 65536)
"""
EXPECTED = {
    "loop": {"Sandbox.Timedout"},
    "loop_with_threads": {"Sandbox.Timedout"},
    "fork": {"Turnlock.ProcessesExceeded", "Runtime.OutOfMemory"},
    "allocate": {"Runtime.OutOfMemory", "MemoryError"},
    "fill": {"OSError"},
    "talk": {"Turnlock.OutputExceeded"},
}
SECONDS = 3.0 if proofs.FULL else 0.7
ROUNDS = 5 if proofs.FULL else 1
MOST_LOST = 0.10
"""The share of its speed that the server may lose; it is judged in a proof only, on a machine that does nothing else."""


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    with ServerProcess(tmp_path_factory.mktemp("neighbours") / "turnlock") as server:
        made = Operator(server=server)
        made.create_secret("asked-for", {"user": "app"})
        package = zipped(server.data_dir.parent / "nothing", main=HOSTILE)
        for name in EXPECTED:
            made.create_function(
                name,
                package,
                Handler=f"main.{name}",
                Timeout=int(SECONDS * 2) + 3 if name.startswith("loop") else 60,
                EphemeralStorage={"Size": 512},
            )
        yield made


def requests_per_second(operator: Operator, seconds: float) -> float:
    """Return how many reads a client gets answered in a second, one after the other."""
    client = operator.client("secretsmanager")
    began, count = time.monotonic(), 0
    while time.monotonic() - began < seconds:
        client.get_secret_value(SecretId="asked-for")
        count += 1
    return count / (time.monotonic() - began)


@pytest.mark.parametrize("name", EXPECTED if proofs.FULL else ("loop_with_threads", "fork", "talk"))
def test_it_is_stopped_with_a_clear_error_while_the_server_serves(operator: Operator, name: str) -> None:
    alone: list[float] = []
    beside: list[float] = []
    for _ in range(ROUNDS):
        alone.append(requests_per_second(operator, SECONDS))
        answers: list[Any] = []
        caller = threading.Thread(target=lambda told=answers: told.append(invoke(operator, name)))
        caller.start()
        time.sleep(1.0)  # until it runs
        beside.append(requests_per_second(operator, SECONDS))
        caller.join(120)
        (answer,) = answers
        assert answer["errorType"] in EXPECTED[name], answer
        assert answer["errorMessage"]
    lost = 1 - statistics.median(beside) / statistics.median(alone)
    print(
        f"{name}: {statistics.median(alone):.0f} requests/s alone, {statistics.median(beside):.0f} beside it"
    )
    if proofs.FULL:
        assert lost < MOST_LOST, f"{lost:.0%} of the speed was lost"


def invoke(operator: Operator, name: str) -> Any:
    answer = operator.client("lambda").invoke(FunctionName=name)
    assert answer["FunctionError"] == "Unhandled"
    return json.loads(answer["Payload"].read())
