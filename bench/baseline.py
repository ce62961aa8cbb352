"""The bare server, the yardstick: Granian (RSGI, uvloop, HTTP/1.1), reading each body and answering a constant.

python -m bench.baseline PORT BYTES WORKERS
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from typing import Any

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer as Granian


class Constant:
    """An RSGI application that knows one answer."""

    def __init__(self, size: int) -> None:
        self._body = b"x" * size
        self._headers = [
            ("content-type", "application/x-amz-json-1.1"),
            ("x-amzn-requestid", "00000000-0000-4000-8000-000000000000"),
        ]

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        pass

    async def __rsgi__(self, _scope: Any, protocol: Any) -> None:
        await protocol()
        protocol.response_bytes(200, self._headers, self._body)


def _load(size: int) -> Any:
    return Constant(size)


def main(port: int, size: int, workers: int) -> None:
    """Serve answers of `size` bytes on 127.0.0.1 until SIGINT or SIGTERM."""
    server = Granian(
        "bench.baseline",
        address="127.0.0.1",
        port=port,
        interface=Interfaces.RSGI,
        loop=Loops.uvloop,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(header_read_timeout=10_000, max_buffer_size=64 * 1024),
        workers=workers,
        websockets=False,
        backlog=1024,
        log_level=LogLevels.warning,
    )
    server.serve(target_loader=partial(_load, size), wrap_loader=False)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
