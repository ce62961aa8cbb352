"""Run in a network namespace of its own: a server on 0.0.0.0 with TLS, and a function that calls it."""

from __future__ import annotations

import fcntl
import json
import socket
import struct
import sys
from pathlib import Path

from tests.clients.test_functions_way import invoke_asking, reached_by_name, started, tls
from tests.processes import REGION, ServerProcess

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def bring_loopback_up() -> None:
    """Turn on the one interface that a new network namespace has."""
    with socket.socket() as line:
        fcntl.ioctl(line, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def main() -> None:
    """Print what the function was answered, as JSON."""
    directory, certificates, workers = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    bring_loopback_up()
    process = ServerProcess(directory / "turnlock")
    everywhere = ("--listen", f"0.0.0.0:{process.port}")
    process.options = ("--regions", REGION, "--workers", workers, *everywhere, *tls(certificates))
    root = certificates / "root.pem"
    with started(process, root):
        print(json.dumps(invoke_asking(lambda service: reached_by_name(process, root, service))))


if __name__ == "__main__":
    main()
