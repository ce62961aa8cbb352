"""A load generator of our own, for machines without wrk: raw sockets on uvloop, in a process of its own.

python -m bench.client HOST:PORT CONNECTIONS SECONDS REQUESTS_FILE
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from bench.load import Measurement
from bench.signing import read_requests

_LENGTH = b"content-length: "


class Connection(asyncio.Protocol):
    """Sends a request, waits for the whole answer, sends the next."""

    def __init__(self, requests: Iterator[bytes], latencies: list[float]) -> None:
        self._requests = requests
        self._latencies = latencies
        self._received = b""
        self._sent = 0.0
        self.failures = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._received[:end].lower()
        start = head.index(_LENGTH) + len(_LENGTH)
        if len(self._received) < end + 4 + int(head[start:].split(b"\r\n", 1)[0]):
            return
        self._latencies.append(time.perf_counter() - self._sent)
        self.failures += not head.startswith(b"http/1.1 2")
        self._received = b""
        self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(next(self._requests))


async def run(host: str, connections: int, seconds: float, requests: list[bytes]) -> Measurement:
    """Walk the requests over `connections` connections for `seconds`; what is in flight at the end does not count."""
    address, port = host.rsplit(":", 1)
    loop, walk, latencies = asyncio.get_running_loop(), cycle(requests), list[float]()
    started = time.perf_counter()
    opened = [
        await loop.create_connection(lambda: Connection(walk, latencies), address, int(port))
        for _ in range(connections)
    ]
    await asyncio.sleep(seconds)
    elapsed, measured = time.perf_counter() - started, list(latencies)
    closed = sum(transport.is_closing() for transport, _ in opened)
    for transport, _ in opened:
        transport.abort()
    cuts = statistics.quantiles(measured, n=100) if len(measured) > 1 else [float("nan")] * 99
    return Measurement(
        requests=len(measured),
        seconds=elapsed,
        p50_ms=cuts[49] * 1000,
        p99_ms=cuts[98] * 1000,
        failures=closed + sum(connection.failures for _, connection in opened),
    )


def main(host: str, connections: str, seconds: str, path: str) -> None:
    """Print the result in the form that `bench.load` reads."""
    requests = read_requests(Path(path))
    measurement = uvloop.run(run(host, int(connections), float(seconds), requests))
    print(f"RESULT {msgspec.json.encode(measurement).decode()}")


if __name__ == "__main__":
    main(*sys.argv[1:5])
