"""What one connection can make the server hold: a line that is cut, a wait that ends, a large body beside which there is no other."""

from __future__ import annotations

import io
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

CHUNK_BYTES: Final = 64 * 1024
GIVE_WAY_SECONDS: Final = 1.0
"""How long a connection that was cut off may take to be gone before the new one is refused."""
_MAX_HEAD_BYTES = 3 * 1024 * 1024
_KEPT_LINE_BYTES = 1024


class Sole:
    """Lets one connection do what takes much memory; a new one cuts the former off. `most` may overlap while that one ends."""

    def __init__(self, most: int) -> None:
        self._slots = threading.BoundedSemaphore(most)
        self._lock = threading.Lock()
        self._holder: socket.socket | None = None

    @contextmanager
    def taken_by(self, connection: socket.socket) -> Iterator[None]:
        """Hold it; ConnectionResetError when the one before does not let go of its memory."""
        with self._lock:
            former, self._holder = self._holder, connection
        if former is not None:
            shut(former)
        if not self._slots.acquire(timeout=GIVE_WAY_SECONDS):
            raise ConnectionResetError
        try:
            yield
        finally:
            self._slots.release()
            with self._lock:
                if self._holder is connection:
                    self._holder = None


def shut(connection: socket.socket) -> None:
    """End a connection both ways, also under a thread that waits for it."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return


class Timed(io.RawIOBase):
    """What a connection sends; TimeoutError once `until` is past, however little came before."""

    def __init__(self, connection: socket.socket, until: float) -> None:
        self._connection = connection
        self.until: float | None = until
        """`time.monotonic()`; None for no limit."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self.until is not None:
            self._connection.settimeout(max(0.001, self.until - time.monotonic()))
        return self._connection.recv_into(buffer)


class CuttingReader(io.BufferedReader):
    """Cuts long header lines: `awslambdaric` repeats an error's text, up to 1 MiB, in a header that nobody reads."""

    head_bytes = 0
    """Read by lines since this was last set to 0."""

    def readline(self, _size: int | None = -1, /) -> bytes:
        line = piece = super().readline(_KEPT_LINE_BYTES)
        self.head_bytes += len(line)
        while piece and not piece.endswith(b"\n"):
            piece = super().readline(CHUNK_BYTES)
            self.head_bytes += len(piece)
            if self.head_bytes > _MAX_HEAD_BYTES:
                raise ConnectionResetError
        return line if line.endswith(b"\n") or not line else line + b"\r\n"
