"""The server's processes and its address, before any request."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from turnlock.config import Config
from turnlock.core.arn import Region
from turnlock.errors import ConfigurationError
from turnlock.shell import workers
from turnlock.shell.application import Application


def test_a_worker_whose_server_ended_before_it_could_ask_to_end_with_it_ends_at_once() -> None:
    program = "import os; from turnlock.shell import workers; workers.guard_process(parent_pid=os.getpid())"
    ended = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL


def never(_functions_endpoint: str) -> Application:
    pytest.fail("a worker was started")


def test_an_address_where_another_process_listens_is_refused_and_not_shared(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        config = Config(
            data_dir=tmp_path, host="127.0.0.1", port=port, regions=frozenset({Region("eu-central-1")})
        )
        with pytest.raises(ConfigurationError, match=rf"127.0.0.1:{port} cannot be used"):
            workers.serve(config, never)
