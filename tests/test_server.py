"""The server's processes and its address, before any request."""

from __future__ import annotations

import asyncio
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from turnlock import server
from turnlock.app import Application
from turnlock.config import Config
from turnlock.core.arn import Region
from turnlock.errors import ConfigurationError


def test_a_worker_whose_server_ended_before_it_could_ask_to_end_with_it_ends_at_once() -> None:
    program = "import os; from turnlock import server; server._guard_process(parent_pid=os.getpid())"
    ended = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL


def never() -> Application:
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
            server.serve(config, never)


def patiently(seconds: float, *waits: float) -> list[str]:
    """Run tasks that wait so long for something under one Patience; return how each ended."""

    async def main() -> list[str]:
        patience = server.Patience(asyncio.get_running_loop(), seconds)

        async def body(wait: float) -> str:
            task = patience.begin()
            try:
                await asyncio.sleep(wait)
            except asyncio.CancelledError:
                return "late"
            patience.end(task)
            await asyncio.sleep(2 * seconds)  # what it does afterwards may take its time
            return "in time"

        return await asyncio.wait_for(asyncio.gather(*map(body, waits)), 20)

    return asyncio.run(main())


def test_who_takes_too_long_is_cancelled_and_nobody_else() -> None:
    assert patiently(0.2, 0, 30, 0.01, 60) == ["in time", "late", "in time", "late"]


def test_patience_begins_anew_for_each() -> None:
    async def main() -> tuple[float, float]:
        loop = asyncio.get_running_loop()
        patience = server.Patience(loop, 0.2)

        async def late(after: float) -> float:
            await asyncio.sleep(after)
            began = loop.time()
            patience.begin()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.sleep(30)
            return loop.time() - began

        return await asyncio.gather(late(0), late(0.1))

    assert all(took >= 0.19 for took in asyncio.run(main()))
