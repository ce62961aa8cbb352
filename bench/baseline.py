"""The bare server: Granian as Turnlock sets it up, reading each body and answering a constant.

python -m bench.baseline PORT BYTES WORKERS
"""

from __future__ import annotations

import asyncio
import sys
from functools import partial
from pathlib import Path
from typing import Any

from turnlock.config import Config
from turnlock.shell import server


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
    config = Config(data_dir=Path(), host="127.0.0.1", port=port, regions=frozenset(), workers=workers)
    server.listener(config).serve(target_loader=partial(_load, size), wrap_loader=False)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
