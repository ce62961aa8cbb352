"""Twenty functions of one's own that hang, as real processes of a running server, and one that takes half a second."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.own_functions import Operator, zipped
from tests.processes import ServerProcess, wait_until
from tests.proofs import FULL
from tests.rotation.test_own_functions import FAULTY, TEMPLATE
from turnlock.confinement import landlock

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(landlock.abi() < 3, reason="this kernel cannot confine functions of one's own"),
]

SECONDS = 5.0
"""How long a quick rotation may take beside those that hang."""
PATIENCE = 4
"""How many times what the same rotation took alone it may take instead: test machines do much else."""


def test_a_quick_rotation_is_done_within_seconds_while_twenty_functions_hang(tmp_path: Path) -> None:
    with ServerProcess(tmp_path / "turnlock") as server:
        operator = Operator(server=server)
        package = zipped(TEMPLATE, faulty=FAULTY)
        quick = operator.create_function("quick", package, Handler="faulty.handler")
        alone = seconds_of_a_rotation(operator, "alone", quick, 120)
        most = SECONDS if FULL else max(SECONDS, PATIENCE * alone)
        for number in range(20):
            function = operator.create_function(
                f"hangs-{number}",
                package,
                Handler="faulty.handler",
                Timeout=300,
                Environment={"Variables": {"FAULT": "createSecret:hang"}},
            )
            secret = operator.create_secret(f"hangs-{number}", {"user": "app", "password": "first"})
            operator.rotate(secret, function)
        wait_until(lambda: len(server.functions()) >= 4, 30, "functions that hang")
        took = []
        for number in range(3):
            took.append(seconds_of_a_rotation(operator, f"quick-{number}", quick, most))
            time.sleep(5)
            assert len(server.functions()) <= 16
        print(f"alone {alone:.2f} s; beside 20 that hang: {', '.join(f'{one:.2f}' for one in took)} s")


def seconds_of_a_rotation(operator: Operator, name: str, function: str, most: float) -> float:
    """Rotate a new secret, wait at most so many seconds for the end, and return how many it took."""
    secret = operator.create_secret(name, {"user": "app", "password": "first"})
    began = time.monotonic()
    operator.await_rotated(secret, operator.rotate(secret, function), most)
    return time.monotonic() - began
